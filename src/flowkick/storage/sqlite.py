"""Connections to SQLite, each statement of which is one trip to the connection's thread.

aiosqlite goes there four times for a statement: to make a cursor, to execute it, to fetch, and to
close. The event loop comes back to who waits for one of them once it has been round, which takes
milliseconds while it is busy; and all that time a transaction keeps others from writing.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Connection, event
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
)
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

_LOCKED_TRIES: Final = 200
_LOCKED_PAUSE_SECONDS: Final = 0.05


def sqlite_engine(url: URL, size: int, pragmas: Sequence[str], begin: str) -> AsyncEngine:
    """An engine with at most `size` connections, whose transactions start with `begin`."""
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=30,
        hide_parameters=True,
        connect_args={"factory": _SqliteConnection},
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    _on_connect(engine, pragmas)
    _on_begin(engine, begin)
    return engine


class _SqliteConnection(sqlite3.Connection):
    """A connection that holds no lock once it is closed.

    Where a task is cancelled while it reads a SELECT a few rows at a time, the connection is closed
    before the SELECT is finished. SQLite then keeps the transaction, with its write lock, until
    Python happens to free the cursor.
    """

    def close(self) -> None:
        """End the transaction that is open, and close."""
        if self.in_transaction:
            self.rollback()
        super().close()


class _Ran(NamedTuple):
    """What SQLAlchemy asks a cursor about a statement that has run."""

    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None
    arraysize: int = 1

    def close(self) -> None:
        """Nothing is open any more."""


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """A cursor that executes, fetches and closes in one trip to the connection's thread."""

    __slots__ = ()
    _awaitable_cursor_close = False

    def _make_new_cursor(self, connection: Any) -> Any:  # noqa: ARG002  # none is made here
        return _Ran()

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        await self._trip(sqlite3.Cursor.execute, operation, parameters or ())

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> Any:
        await self._trip(sqlite3.Cursor.executemany, operation, seq_of_parameters)

    async def _trip(self, execute: Any, operation: Any, parameters: Any) -> None:
        adapted, driver = self._adapt_connection, cast("Any", self._connection)
        # What the base class uses, too; the driver has no public way to its thread.
        run = partial(_run, driver._conn, execute, operation, parameters)  # noqa: SLF001
        async with adapted._execute_mutex:  # noqa: SLF001
            self._cursor, rows = await driver._execute(run)  # noqa: SLF001
            self._rows = deque(rows)


def _run(
    connection: sqlite3.Connection, execute: Any, operation: str, parameters: Any
) -> tuple[_Ran, Sequence[Any]]:
    cursor = connection.cursor()
    try:
        execute(cursor, operation, parameters)
        rows = cursor.fetchall() if cursor.description else ()
        return _Ran(cursor.description, cursor.rowcount, cursor.lastrowid), rows
    finally:
        cursor.close()


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()
    _cursor_cls = _Cursor


def _connect(dialect: Any, _record: Any, arguments: Any, options: Any) -> _Connection:
    made = dialect.connect(*arguments, **options)
    return _Connection(made.dbapi, made.driver_connection)


def _on_connect(engine: AsyncEngine, pragmas: Sequence[str]) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        # Transactions are begun by `_on_begin`, not by the driver.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("busy_timeout = 10000", *pragmas):
            _set_pragma(connection, cursor, pragma)
        cursor.close()


def _set_pragma(connection: Any, cursor: Any, pragma: str) -> None:
    """Set it, waiting where another process is just turning the same new file to WAL.

    SQLite does not apply its busy timeout to that change: it says "locked" at once.
    """
    for _ in range(_LOCKED_TRIES):
        try:
            cursor.execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
        else:
            return
        connection.run_async(lambda _: asyncio.sleep(_LOCKED_PAUSE_SECONDS))
    cursor.execute(f"PRAGMA {pragma}")


def _on_begin(engine: AsyncEngine, statement: str) -> None:
    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)
