"""The engine delivers what is due, logs every attempt, and settles what came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio
from aiohttp import web
from sqlalchemy import update

from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.delivery.models import WebhookDelivery, WebhookSubscription
from flowkick.storage.database import Database
from flowkick.webhooks import outbox
from tests.conftest import new_admin
from tests.support.endpoint import Answer, Arrival, Endpoint
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


@pytest_asyncio.fixture
async def admin_id(database: Database) -> str:
    return (await new_admin(database))[0]


@pytest_asyncio.fixture
async def running(process: Process) -> AsyncIterator[Process]:
    async with process.running(deliver=True):
        yield process


async def subscribe(process: Process, admin_id: str, url: str, **values: object) -> str:
    return await create_subscription(
        process.database, process.settings.key_ring, admin_id, url, **values
    )


def failing_first(times: int, status: int = 500, **headers: str) -> Answer:
    """An endpoint's answer: `status` so many times, then 200."""
    left = times

    def answer(_arrival: Arrival) -> web.Response:
        nonlocal left
        left -= 1
        return web.Response(status=status if left >= 0 else 200, headers=headers)

    return answer


async def test_an_event_reaches_every_matching_subscription_once(
    running: Process, admin_id: str
) -> None:
    async with Endpoint() as endpoint, Endpoint() as other:
        await subscribe(running, admin_id, endpoint.url, events=["user.*"])
        await subscribe(running, admin_id, endpoint.url, events=["booking.created"])
        await subscribe(running, admin_id, other.url, events=["user.created"])
        ids = await emit(running.database, admin_id, [user_created(n) for n in range(1, 51)])
        await until(running.database, all_in("success"))
    assert sorted(a.event_id for a in endpoint.arrivals) == sorted(ids)
    assert sorted(a.event_id for a in other.arrivals) == sorted(ids)
    assert {a.body for a in endpoint.arrivals} == {a.body for a in other.arrivals}
    assert [a.status_code for a in await attempts(running.database)] == [200] * 100


async def test_nothing_is_sent_for_a_change_that_rolls_back(
    running: Process, admin_id: str
) -> None:
    async with Endpoint() as endpoint:
        await subscribe(running, admin_id, endpoint.url)
        try:
            async with running.database.transaction(admin_id) as session:
                await outbox.emit(session, [user_created()], source="api", now=system_clock())
                raise ConnectionAbortedError  # noqa: TRY301
        except ConnectionAbortedError:
            pass
        await emit(running.database, admin_id, [user_created(2)])
        await until(running.database, all_in("success"))
    assert [a.json()["metadata"]["sequence"] for a in endpoint.arrivals] == [2]


async def test_a_failed_attempt_is_retried_with_the_same_bytes_and_counted(
    running: Process, admin_id: str
) -> None:
    async with Endpoint(answer=failing_first(1)) as endpoint:
        subscription_id = await subscribe(running, admin_id, endpoint.url)
        await emit(running.database, admin_id, [user_created()])
        await until(running.database, all_in("success"))
    first, second = endpoint.arrivals
    assert first.body == second.body
    assert first.event_id == second.event_id
    assert [a.headers["x-webhook-attempt"] for a in endpoint.arrivals] == ["1", "2"]
    logged = await attempts(running.database)
    assert [(a.attempt, a.status, a.status_code) for a in logged] == [
        (1, "failed", 500),
        (2, "success", 200),
    ]
    row = await subscription(running.database, subscription_id)
    assert (row.success_count, row.failed_count, row.consecutive_failures) == (1, 1, 0)
    assert row.last_delivery_status == "success"


async def test_retries_end_in_failed(running: Process, admin_id: str) -> None:
    async with Endpoint(answer=failing_first(9)) as endpoint:
        await subscribe(running, admin_id, endpoint.url, retry_attempts=1)
        await emit(running.database, admin_id, [user_created()])
        (row,) = await until(running.database, all_in("failed"))
    assert (row.attempt, row.due_at, row.lease_id) == (2, None, None)
    assert len(endpoint.arrivals) == 2


async def test_gone_deactivates_and_holds_what_waits(running: Process, admin_id: str) -> None:
    async with Endpoint(answer=failing_first(9, status=410)) as endpoint:
        subscription_id = await subscribe(running, admin_id, endpoint.url)
        await emit(running.database, admin_id, [user_created()])
        await until(running.database, all_in("failed"))
        await emit(running.database, admin_id, [user_created(2)])
        rows = await deliveries(running.database)
    row = await subscription(running.database, subscription_id)
    assert (row.active, row.disabled_reason) == (False, "gone")
    assert [r.status for r in rows] == ["failed", "held"]
    assert len(endpoint.arrivals) == 1


async def test_too_many_consecutive_failures_deactivate(running: Process, admin_id: str) -> None:
    async with Endpoint(answer=failing_first(99)) as endpoint:
        subscription_id = await subscribe(running, admin_id, endpoint.url, auto_disable_after=2)
        await emit(running.database, admin_id, [user_created()])
        await until(running.database, all_in("held"))
    row = await subscription(running.database, subscription_id)
    assert (row.active, row.disabled_reason) == (False, "consecutive_failures")
    assert row.consecutive_failures == 2


async def test_retry_after_is_honoured(running: Process, admin_id: str) -> None:
    answer = failing_first(1, 503, **{"Retry-After": "120"})
    async with Endpoint(answer=answer) as endpoint:
        await subscribe(running, admin_id, endpoint.url)
        before = system_clock()
        await emit(running.database, admin_id, [user_created()])
        (row,) = await until(running.database, all_in("retrying"))
    assert row.due_at is not None
    assert row.due_at - before >= timedelta(seconds=119)


async def test_what_is_held_is_released_when_its_subscription_is_active(
    running: Process, admin_id: str
) -> None:
    async with Endpoint() as endpoint:
        subscription_id = await subscribe(running, admin_id, endpoint.url, active=False)
        await emit(running.database, admin_id, [user_created()])
        assert [row.status for row in await deliveries(running.database)] == ["held"]
        async with running.database.transaction(admin_id) as session:
            await session.execute(
                update(WebhookSubscription)
                .where(WebhookSubscription.id == subscription_id)
                .values(active=True)
            )
        await until(running.database, all_in("success"))
    assert len(endpoint.arrivals) == 1


async def test_a_delivery_whose_worker_died_is_sent_when_its_lease_ends(
    process: Process, admin_id: str
) -> None:
    async with Endpoint() as endpoint:
        await subscribe(process, admin_id, endpoint.url)
        await emit(process.database, admin_id, [user_created()])
        async with process.database.system_transaction() as session:
            await session.execute(
                update(WebhookDelivery).values(
                    lease_id="wrk_dead", due_at=system_clock() + timedelta(seconds=2)
                )
            )
        async with process.running(deliver=True):
            (row,) = await until(process.database, all_in("success"))
    assert row.attempt == 1


async def test_stopping_finishes_what_is_in_flight_and_leases_back_the_rest(
    process: Process, admin_id: str
) -> None:
    async with Endpoint(delay=0.5) as endpoint:
        await subscribe(process, admin_id, endpoint.url)
        await emit(process.database, admin_id, [user_created(n) for n in range(300)])
        async with process.running(deliver=True):
            await endpoint.wait_for(1)
        in_flight = len(endpoint.arrivals)
    rows = await deliveries(process.database)
    await process.database.close()
    assert 0 < in_flight < 300
    assert sum(row.status == "success" for row in rows) == in_flight
    assert all(row.lease_id is None for row in rows)
