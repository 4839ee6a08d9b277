"""Hears from other connections and processes that something may have been committed.

On PostgreSQL by LISTEN. On SQLite by looking at a number that every commit of another connection
changes: it lies in memory that all processes share, and is read in a few microseconds.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from flowkick.core.logs import get_logger
from flowkick.storage.database import Database
from flowkick.storage.dialects import DELIVERIES_CHANNEL
from flowkick.storage.postgres import Connector

_log = get_logger(__name__)
_CHECK_SECONDS: Final = 15.0
_RECONNECT_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.05


async def listen(
    database: Database,
    wake: Callable[[], None],
    channels: Sequence[str] = (DELIVERIES_CHANNEL,),
) -> None:
    """Call `wake` when something was told on `channels`, until cancelled; reconnects for ever.

    On SQLite, when anything may have been committed.
    """
    if database.connect is None:
        await _watch(database.url.database or "", wake)
    else:
        await _listen(database.connect, wake, channels)


async def _watch(path: str, wake: Callable[[], None]) -> None:
    """Call `wake` after commits of any connection to a SQLite file, this process's own included."""
    while True:
        try:
            with closing(_open_to_look(path)) as connection:
                seen = _commits(connection)
                while True:
                    await asyncio.sleep(LOOK_SECONDS)
                    if (now := _commits(connection)) != seen:
                        seen = now
                        wake()
        except sqlite3.Error as error:
            _log.warning("wake_up_lost", error=type(error).__name__)
        await asyncio.sleep(_RECONNECT_SECONDS)


def _open_to_look(path: str) -> sqlite3.Connection:
    """A connection that writes nothing, and waits for nobody: it is used in the event loop."""
    uri = f"{Path(path).absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)


def _commits(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return number


async def _listen(connect: Connector, wake: Callable[[], None], channels: Sequence[str]) -> None:
    import asyncpg  # noqa: PLC0415  # only PostgreSQL needs it

    while True:
        try:
            connection = await connect()
            try:
                await _listen_on(connection, wake, channels)
            finally:
                connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # Polling goes on meanwhile: events come a little later, none is lost.
            _log.warning("wake_up_lost", error=type(error).__name__)
        await asyncio.sleep(_RECONNECT_SECONDS)


async def _listen_on(connection: Any, wake: Callable[[], None], channels: Sequence[str]) -> None:
    for channel in channels:
        await connection.add_listener(channel, lambda *_: wake())
    wake()  # for what was queued while nobody listened
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        await connection.execute("SELECT 1", timeout=10)
