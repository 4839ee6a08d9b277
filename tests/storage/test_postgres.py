"""Connections to PostgreSQL cost no more trips than they must, and are never found dead."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from flowkick.storage import postgres
from flowkick.storage.database import DATABASE_ERRORS, Database

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
_END_OTHERS = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""


async def _end_connections(database: Database) -> int:
    """End those that lie idle in the pool, as a restart or a firewall would."""
    connect = database.connect
    assert connect is not None
    other = await connect()
    ended: int = await other.fetchval(_END_OTHERS)
    await other.close()
    return ended


async def test_a_connection_that_ended_while_it_lay_idle_is_replaced(database: Database) -> None:
    async with database.system_reading() as session:
        await session.execute(text("SELECT 1"))
    assert await _end_connections(database) >= 1
    await asyncio.sleep(postgres._TRUSTED_SECONDS)  # noqa: SLF001
    async with database.system_reading() as session:
        assert await session.scalar(text("SELECT 1")) == 1
    async with database.system_transaction() as session:
        assert await session.scalar(text("SELECT 1")) == 1


async def test_one_that_ends_just_when_it_is_wanted_costs_one_error(database: Database) -> None:
    async with database.system_reading() as session:
        await session.execute(text("SELECT 1"))
    await _end_connections(database)
    worked = 0
    for _ in range(3):
        try:
            await database.check()
        except DATABASE_ERRORS:
            assert not worked
        else:
            worked += 1
    assert worked >= 2


async def test_what_only_reads_has_no_transaction(database: Database) -> None:
    async with database.system_reading() as session:
        begun = [await session.scalar(text("SELECT now()")) for _ in range(2)]
    assert begun[0] != begun[1]
    async with database.system_transaction() as session:
        begun = [await session.scalar(text("SELECT now()")) for _ in range(2)]
    assert begun[0] == begun[1]
