"""What the database refuses to record of one delivery holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import pytest_asyncio
from aiohttp import web

from flowkick.app import Process
from flowkick.core.settings import Settings
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import (
    all_in,
    attempts,
    create_subscription,
    deliveries,
    emit,
    subscription,
    until,
    user_created,
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease_seconds": 1.0})


@pytest_asyncio.fixture
async def running(process: Process) -> AsyncIterator[Process]:
    async with process.running(deliver=True):
        yield process


async def refuse(database: Database, event: str, table: str, condition: str) -> None:
    """Let the database refuse rows, as a broken disk, a limit, or somebody's trigger might."""
    statements = (
        [
            (
                f'CREATE TRIGGER refuse BEFORE {event} ON "{table}" WHEN {condition}'
                " BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        ]
        if database.is_sqlite
        else [
            (
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'refused'; END $$"
            ),
            (
                f'CREATE TRIGGER refuse BEFORE {event} ON "{table}" FOR EACH ROW'
                f" WHEN ({condition}) EXECUTE FUNCTION refuse()"
            ),
        ]
    )
    async with database.writer.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


def spoilt_third(arrival: Arrival) -> web.Response:
    sequence = arrival.json()["metadata"]["sequence"]
    return web.Response(text="spoilt" if sequence == 3 else "fine")


async def test_an_answer_that_can_not_be_stored_is_left_out(running: Process) -> None:
    database, keys = running.database, running.settings.key_ring
    await refuse(database, "INSERT", "WebhookAttempt", "NEW.\"responseBody\" = 'spoilt'")
    admin_id, _ = await new_admin(database)
    async with Endpoint(spoilt_third) as endpoint:
        made = await create_subscription(database, keys, admin_id, endpoint.url)
        await emit(database, admin_id, [user_created(number) for number in range(20)])
        await until(database, all_in("success"))
    assert len(endpoint.arrivals) == 20
    bodies = [attempt.response_body for attempt in await attempts(database)]
    assert (bodies.count("fine"), bodies.count(None)) == (19, 1)
    assert (await subscription(database, made)).success_count == 20


async def test_a_delivery_that_can_not_be_logged_ends_beside_the_others(running: Process) -> None:
    database, keys = running.database, running.settings.key_ring
    admin_id, _ = await new_admin(database)
    async with Endpoint() as endpoint:
        good, bad = [
            await create_subscription(database, keys, admin_id, endpoint.url) for _ in range(2)
        ]
        condition = f"NEW.\"subscriptionId\" = '{bad}'"
        await refuse(database, "INSERT", "WebhookAttempt", condition)
        await emit(database, admin_id, [user_created(number) for number in range(10)])
        rows = await until(database, all_in("success"))
    assert len(endpoint.arrivals) == 20
    assert {row.note is None for row in rows if row.subscription_id == good} == {True}
    assert {row.note for row in rows if row.subscription_id == bad} == {
        "It was sent, but the attempt could not be logged."
    }
    assert {attempt.subscription_id for attempt in await attempts(database)} == {good}
    assert (await subscription(database, good)).success_count == 10


async def test_a_delivery_that_can_not_be_changed_is_sent_once(running: Process) -> None:
    database, keys = running.database, running.settings.key_ring
    admin_id, _ = await new_admin(database)
    async with Endpoint() as endpoint:
        good, bad = [
            await create_subscription(database, keys, admin_id, endpoint.url) for _ in range(2)
        ]
        condition = f"NEW.status = 'success' AND NEW.\"subscriptionId\" = '{bad}'"
        await refuse(database, "UPDATE", "WebhookDelivery", condition)
        await emit(database, admin_id, [user_created()])
        await until(database, lambda rows: any(row.status == "success" for row in rows))
        leases: set[datetime | None] = set()
        while len(leases) < 3:  # twice it was free, and claimed anew
            leases.update(r.due_at for r in await deliveries(database) if r.subscription_id == bad)
            await asyncio.sleep(0.05)
    assert len(endpoint.arrivals) == 2
    assert [a.subscription_id for a in await attempts(database)] == [good]


async def test_what_can_not_be_given_back_for_a_while_is_sent_after_it(running: Process) -> None:
    database, keys = running.database, running.settings.key_ring
    admin_id, _ = await new_admin(database)
    async with Endpoint() as endpoint:
        await create_subscription(database, keys, admin_id, endpoint.url)
        await emit(database, admin_id, [user_created(number) for number in range(100)])
        await until(database, all_in("success"))
        given_back = 'OLD."leaseId" IS NOT NULL AND NEW."leaseId" IS NULL'
        await refuse(
            database, "UPDATE", "WebhookDelivery", f"{given_back} AND NEW.status = 'pending'"
        )
        endpoint.delay = 2.5  # so that it is found slow, and much of it was claimed ahead
        await emit(database, admin_id, [user_created(number) for number in range(400)])
        await asyncio.sleep(2)
        async with database.writer.begin() as connection:
            on = "" if database.is_sqlite else ' ON "WebhookDelivery"'
            await connection.exec_driver_sql(f"DROP TRIGGER refuse{on}")
        endpoint.delay = 0.0
        await until(database, all_in("success"))
    assert len({arrival.event_id for arrival in endpoint.arrivals}) == 500
