"""A database that is read-only, full or slow for a while: nothing is lost, all goes on after."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from flowkick.app import Process
from flowkick.core.settings import Settings
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.support.endpoint import Endpoint
from tests.support.factories import all_in, attempts, create_subscription, emit, until, user_created
from tests.support.server import Api

Fault = Callable[[Database], AbstractAsyncContextManager[None]]
_WHILE = 1.5
"""Seconds of each fault: the engine tries several times meanwhile."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease_seconds": 1.0})


@pytest_asyncio.fixture
async def running(process: Process) -> AsyncIterator[Process]:
    async with process.running(deliver=True):
        yield process


async def _pragma(database: Database, statement: str) -> None:
    """Set something of SQLite's writer, outside of any transaction."""
    async with database.writer.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute(f"PRAGMA {statement}")


async def _on_writer(database: Database, *statements: str) -> None:
    async with database.writer.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))
        await connection.commit()


@asynccontextmanager
async def read_only(database: Database) -> AsyncIterator[None]:
    """SQLite's one writer may only read; PostgreSQL's server lets nobody else begin to write."""
    if database.is_sqlite:
        await _pragma(database, "query_only = ON")
        yield
        await _pragma(database, "query_only = OFF")
        return
    name = str(database.url.database)
    await _on_writer(database, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await database.writer.dispose()  # sessions read the setting as they begin
    yield
    await _on_writer(
        database,
        "SET TRANSACTION READ WRITE",
        f'ALTER DATABASE "{name}" RESET default_transaction_read_only',
    )
    await database.writer.dispose()


_FULL = """
CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device'
   USING ERRCODE = 'disk_full'; END $$
"""
_GROWING = ("WebhookEvent", "WebhookAttempt", "User")


@asynccontextmanager
async def full(database: Database) -> AsyncIterator[None]:
    """No table grows: SQLite by its own limit of pages, PostgreSQL by the error of a full disk."""
    if database.is_sqlite:
        await _pragma(database, "max_page_count = 1")  # as many as there are, at least
        yield
        await _pragma(database, "max_page_count = 1073741823")
        return
    await _on_writer(
        database,
        _FULL,
        *(
            f'CREATE TRIGGER disk_full BEFORE INSERT ON "{table}" FOR EACH STATEMENT'
            " EXECUTE FUNCTION disk_full()"
            for table in _GROWING
        ),
    )
    yield
    await _on_writer(database, "DROP FUNCTION disk_full CASCADE")


@asynccontextmanager
async def slow(database: Database) -> AsyncIterator[None]:
    """Somebody else holds what every write needs."""
    if database.is_sqlite:
        other = sqlite3.connect(str(database.url.database), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
        other.close()
        return
    assert database.connect is not None
    blocker = await database.connect()
    await blocker.execute('BEGIN; LOCK TABLE "WebhookDelivery" IN EXCLUSIVE MODE')
    yield
    await blocker.execute("ROLLBACK")
    await blocker.close()


FAULTS = pytest.mark.parametrize("fault", [read_only, full, slow])


@FAULTS
async def test_what_was_recorded_before_is_delivered_and_logged(
    running: Process, fault: Fault
) -> None:
    database = running.database
    admin_id, _ = await new_admin(database)
    async with Endpoint(delay=0.2) as endpoint:
        await create_subscription(
            database, running.settings.key_ring, admin_id, endpoint.url, retry_attempts=10
        )
        ids = await emit(database, admin_id, [user_created(n) for n in range(1, 21)])
        await endpoint.wait_for(1)
        async with fault(database):
            await asyncio.sleep(_WHILE)
        later = await emit(database, admin_id, [user_created(n) for n in range(21, 31)])
        await until(database, all_in("success"))
        logged = await attempts(database)
    assert {arrival.event_id for arrival in endpoint.arrivals} == {*ids, *later}
    assert {row.status for row in logged} == {"success"}
    assert len({row.delivery_id for row in logged}) == 30


@pytest.mark.parametrize("fault", [read_only, full])
async def test_a_change_that_can_not_be_kept_is_refused_and_not_told(
    api: Api, process: Process, fault: Fault
) -> None:
    async with Endpoint() as endpoint:
        await create_subscription(
            api.database, process.settings.key_ring, api.admin_id, endpoint.url
        )
        async with fault(process.database):
            people = [{"manychatId": str(n), "firstName": "x" * 200} for n in range(200)]
            refused = await api.http.post("/api/admin/users/batch", json={"users": people})
            assert refused.status_code in {500, 503}
            assert refused.json()["success"] is False
            assert (await api.http.get("/api/admin/users")).json()["users"] == []
        made = await api.http.post("/api/admin/users", json={"firstName": "Ada"})
        assert made.status_code == 201
        await until(api.database, all_in("success"))
    assert [arrival.event for arrival in endpoint.arrivals] == ["user.created"]


async def test_the_faults_are_faults(database: Database) -> None:
    admin_id, _ = await new_admin(database)
    for fault in (read_only, full):
        async with fault(database):
            with pytest.raises(DBAPIError):
                await emit(database, admin_id, [user_created(n) for n in range(500)])
        await emit(database, admin_id, [user_created(1)])
