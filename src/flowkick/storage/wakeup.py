"""Hears from other processes, over PostgreSQL's LISTEN, that deliveries were queued."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from flowkick.core.logs import get_logger
from flowkick.storage.database import Database
from flowkick.storage.dialects import DELIVERIES_CHANNEL

_log = get_logger(__name__)
_CHECK_SECONDS: Final = 15.0
_RECONNECT_SECONDS: Final = 1.0


async def listen(database: Database, wake: Callable[[], None]) -> None:
    """Call `wake` at each notification, until cancelled; reconnects for ever.

    On SQLite there is nobody to hear from, and this returns at once.
    """
    if database.connect is None:
        return
    import asyncpg  # noqa: PLC0415  # only PostgreSQL needs it

    while True:
        try:
            connection = await database.connect()
            try:
                await _listen_on(connection, wake)
            finally:
                connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # Polling goes on meanwhile: events come a little later, none is lost.
            _log.warning("wake_up_lost", error=type(error).__name__)
        await asyncio.sleep(_RECONNECT_SECONDS)


async def _listen_on(connection: Any, wake: Callable[[], None]) -> None:
    await connection.add_listener(DELIVERIES_CHANNEL, lambda *_: wake())
    wake()  # for what was queued while nobody listened
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        await connection.execute("SELECT 1", timeout=10)
