"""Receivers that are away for long, names that do not resolve for a while, clocks that jump."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest_asyncio
from aiohttp import web
from sqlalchemy import select

from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookDelivery
from flowkick.storage.database import Database
from flowkick.webhooks import outbox
from tests.conftest import new_admin
from tests.delivery.names import Names
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import (
    all_in,
    attempts,
    create_subscription,
    deliveries,
    until,
    user_created,
)

_LOOKS = 4
_STEP = timedelta(minutes=30)


class MovableClock:
    """The system's clock, moved by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return system_clock() + self.ahead


@pytest_asyncio.fixture
async def clock() -> MovableClock:
    return MovableClock()


@pytest_asyncio.fixture
async def moving(
    settings: Settings, database: Database, clock: MovableClock
) -> AsyncIterator[Process]:
    """A running process whose clock the test moves."""
    del database  # migrated
    process = Process(settings, clock)
    async with process.running(deliver=True):
        yield process


async def subscribe(process: Process, url: str, **values: object) -> str:
    admin_id, _ = await new_admin(process.database)
    await create_subscription(process.database, process.settings.key_ring, admin_id, url, **values)
    return admin_id


async def _waiting(process: Process) -> tuple[bool, timedelta | None]:
    """Whether anything is in flight, and how long until the first of the rest is due."""
    model = WebhookDelivery
    async with process.database.system_reading() as session:
        found = await session.execute(
            select(model.due_at, model.lease_id).where(model.due_at.is_not(None))
        )
        rows = [(due - process.clock(), lease_id) for due, lease_id in found if due is not None]
    return any(lease for _, lease in rows), min((left for left, _ in rows), default=None)


async def _let_time_pass(process: Process, clock: MovableClock, until_moment: datetime) -> None:
    """Move the clock from one thing that is due to the next, up to a moment.

    What is due may still be held back, since its endpoint is left alone: then by half an hour.
    """
    idle = 0
    while clock() < until_moment:
        in_flight, left = await _waiting(process)
        if in_flight or (left is not None and left <= timedelta() and idle < _LOOKS):
            idle = 0 if in_flight else idle + 1
            await asyncio.sleep(0.02)
            continue
        idle = 0
        step = max(left or _STEP, _STEP)
        clock.ahead += min(step, until_moment - clock())
        process.worker._wake()  # noqa: SLF001  # else it looks within a second of real time


async def record(process: Process, admin_id: str, *numbers: int) -> list[str]:
    """Record events by the clock of the process."""
    async with process.database.transaction(admin_id) as session:
        drafts = [user_created(number) for number in numbers]
        return await outbox.emit(session, drafts, source="api", now=process.clock())


async def test_a_receiver_that_is_down_for_a_day_gets_everything(
    moving: Process, clock: MovableClock
) -> None:
    down = True

    def answer(_arrival: Arrival) -> web.Response:
        return web.Response(status=503 if down else 200)

    async with Endpoint(answer) as endpoint:
        admin_id = await subscribe(moving, endpoint.url, retry_attempts=10, retry_delay=300)
        ids = await record(moving, admin_id, *range(1, 21))
        began = clock()
        await _let_time_pass(moving, clock, began + timedelta(days=1))
        assert {row.status for row in await deliveries(moving.database)} == {"retrying"}
        down = False
        await _let_time_pass(moving, clock, began + timedelta(days=3))
        rows = await until(moving.database, all_in("success"))
    assert {arrival.event_id for arrival in endpoint.arrivals} == set(ids)
    assert all(row.attempt <= 11 for row in rows)


async def test_a_name_that_does_not_resolve_for_a_while_is_tried_again(
    process: Process, database: Database
) -> None:
    async with Endpoint() as endpoint:
        port = endpoint.url.split(":")[2].split("/")[0]
        gone = OSError("Temporary failure in name resolution")
        process.guard._lookup = Names(gone, gone, ["127.0.0.1"])  # noqa: SLF001
        admin_id = await subscribe(process, f"http://crm.example:{port}/hook")
        async with process.running(deliver=True):
            await record(process, admin_id, 1)
            await until(database, all_in("success"))
        logged = await attempts(database)
    assert [row.status for row in logged] == ["failed", "failed", "success"]
    assert all("name" in str(row.error_message) for row in logged[:2])


async def test_a_clock_that_jumps_ahead_sends_at_once_and_loses_nothing(
    moving: Process, clock: MovableClock
) -> None:
    """Leases of what is in flight seem to have ended: it may be sent twice, never not at all."""
    async with Endpoint(delay=0.5) as endpoint:
        admin_id = await subscribe(moving, endpoint.url)
        ids = await record(moving, admin_id, *range(1, 11))
        await endpoint.wait_for(1)
        clock.ahead += timedelta(days=2)
        ids += await record(moving, admin_id, *range(11, 21))
        rows = await until(moving.database, all_in("success"))
        logged = await attempts(moving.database)
    assert {arrival.event_id for arrival in endpoint.arrivals} == set(ids)
    assert [row.attempt for row in rows] == [1] * 20
    assert len({(row.delivery_id, row.attempt) for row in logged}) == len(logged)


async def test_a_clock_that_jumps_back_holds_up_no_new_event(
    moving: Process, clock: MovableClock
) -> None:
    """A retry that was planned by the clock ahead comes when time has caught up, at the latest."""
    refused: list[str] = []

    def answer(arrival: Arrival) -> web.Response:
        if refused:
            return web.Response()
        refused.append(arrival.event_id)
        return web.Response(status=500)

    clock.ahead = timedelta(hours=6)
    async with Endpoint(answer) as endpoint:
        admin_id = await subscribe(moving, endpoint.url)
        early = await record(moving, admin_id, 1)
        await until(moving.database, lambda rows: rows[0].status == "retrying")
        clock.ahead = timedelta()
        late = await record(moving, admin_id, 2)
        await until(moving.database, lambda rows: rows[-1].status == "success")
        assert refused == early
        await _let_time_pass(moving, clock, clock() + timedelta(hours=7))
        await until(moving.database, all_in("success"))
    assert [arrival.event_id for arrival in endpoint.arrivals] == [*early, *late, *early]
