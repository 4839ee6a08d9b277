"""Bytes of what is removed: SQLite leaves them in its files until their room is needed.

PostgreSQL decides by itself when removed rows go: its vacuum does that.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text

from flowkick.storage.database import Database, after_commit
from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession

_BY_HAND: Final = {"scoped_by_hand": True}
_AFTERWARDS: Final = (
    "secure_delete = OFF",
    "busy_timeout = 0",  # a long reader keeps the log: then it is overwritten later
    "wal_checkpoint(TRUNCATE)",
    "busy_timeout = 10000",
)


async def overwrite_removed(session: TenantSession) -> None:
    """Let what this transaction removes be overwritten with zeros, in the log of writes, too."""
    if is_sqlite(session):
        statement = text("PRAGMA secure_delete = ON")
        await session.execute(statement, execution_options=_BY_HAND)
        after_commit(session, _empty_log)


async def _empty_log(database: Database) -> None:
    async with database.writer.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        for pragma in _AFTERWARDS:
            async with driver.execute(f"PRAGMA {pragma}") as cursor:
                await cursor.fetchall()
