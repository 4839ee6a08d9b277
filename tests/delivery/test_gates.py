"""Breakers and limits over a database: what is claimed, when, and what it costs."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest_asyncio
from aiohttp import web
from sqlalchemy import update

from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookDelivery
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import (
    all_in,
    create_subscription,
    deliveries,
    emit,
    subscription,
    until,
    user_created,
)
from tests.support.server import Api

QUICK = {"breaker_failures": 5, "breaker_pause_seconds": 0.5, "longest_pause_seconds": 1.0}
PATIENT = {"breaker_failures": 5, "breaker_pause_seconds": 600.0, "longest_pause_seconds": 600.0}


@pytest_asyncio.fixture
async def admin_id(database: Database) -> str:
    return (await new_admin(database))[0]


def process_with(settings: Settings, **values: object) -> Process:
    return Process(settings.model_copy(update=values))


class Switch:
    """An endpoint's answer: 503 until it is switched on."""

    on = False

    def __call__(self, _arrival: Arrival) -> web.Response:
        return web.Response(status=200 if self.on else 503)


async def turned(database: Database, subscription_id: str, state: str) -> None:
    async with asyncio.timeout(30):
        while (await subscription(database, subscription_id)).breaker != state:
            await asyncio.sleep(0.02)


async def opened(process: Process, admin_id: str, endpoint: Endpoint, **values: object) -> str:
    """A subscription of which 40 events opened the breaker."""
    id_ = await create_subscription(
        process.database, process.settings.key_ring, admin_id, endpoint.url, **values
    )
    await emit(process.database, admin_id, [user_created(number) for number in range(1, 41)])
    await turned(process.database, id_, "open")
    return id_


async def failed_beside_probes(database: Database, subscription_id: str, openings: int) -> int:
    """Failed attempts that were no probes, once its breaker opened so often."""
    async with asyncio.timeout(30):
        while (row := await subscription(database, subscription_id)).breaker_openings < openings:
            await asyncio.sleep(0.02)
    return row.failed_count - row.breaker_openings


async def test_while_it_is_open_no_retries_are_burnt(settings: Settings, admin_id: str) -> None:
    process = process_with(settings, **PATIENT)
    async with process.running(deliver=True), Endpoint(Switch()) as endpoint:
        await opened(process, admin_id, endpoint)
        await until(process.database, lambda rows: all(row.lease_id is None for row in rows))
        tried = len(endpoint.arrivals)
        other = await create_subscription(
            process.database, process.settings.key_ring, admin_id, endpoint.url, retry_attempts=2
        )
        await emit(process.database, admin_id, [user_created(41)])
        # Two retries of another subscription take three seconds: those of this one, one.
        await until(
            process.database,
            lambda rows: any(r.subscription_id == other and r.status == "failed" for r in rows),
        )
        rows = [row for row in await deliveries(process.database) if row.subscription_id != other]
    assert sum(row.attempt for row in rows) == tried
    assert tried < 40
    assert {row.status for row in rows} == {"pending", "retrying"}
    assert all(row.attempt <= 1 for row in rows)


async def test_it_recovers_by_one_probe_and_everything_arrives(
    settings: Settings, admin_id: str
) -> None:
    process, switch = process_with(settings, **QUICK), Switch()
    async with process.running(deliver=True), Endpoint(switch) as endpoint:
        id_ = await opened(process, admin_id, endpoint, retry_attempts=10)
        beside_probes = [await failed_beside_probes(process.database, id_, n) for n in (3, 5)]
        assert beside_probes[0] == beside_probes[1]
        assert len(endpoint.arrivals) < 40
        switch.on = True
        await until(process.database, all_in("success"))
        assert (await subscription(process.database, id_)).breaker == "closed"
        assert (await subscription(process.database, id_)).paused_until is None


async def test_a_retry_after_pauses_the_whole_subscription(
    settings: Settings, admin_id: str
) -> None:
    process = process_with(settings, longest_pause_seconds=1.0)
    first = True

    def answer(_arrival: Arrival) -> web.Response:
        nonlocal first
        busy, first = first, False
        return web.Response(status=429 if busy else 200, headers={"Retry-After": "3600"})

    async with process.running(deliver=True), Endpoint(answer) as endpoint:
        id_ = await create_subscription(
            process.database, process.settings.key_ring, admin_id, endpoint.url
        )
        await emit(process.database, admin_id, [user_created(1)])
        await until(process.database, all_in("retrying"))
        (waits,) = await deliveries(process.database)
        paused = (await subscription(process.database, id_)).paused_until
        assert paused is not None
        assert waits.due_at is not None
        assert waits.due_at > paused + timedelta(minutes=50)  # it alone waits as long as was asked
        await emit(process.database, admin_id, [user_created(2)])
        await endpoint.wait_for(2)
        assert endpoint.arrivals[1].at >= paused.timestamp() - 0.01


async def test_a_limit_paces_requests_and_holds_up_nobody_else(
    settings: Settings, admin_id: str
) -> None:
    process = process_with(settings, concurrency=10)
    async with process.running(deliver=True), Endpoint() as paced, Endpoint() as free:
        keys = process.settings.key_ring
        await create_subscription(process.database, keys, admin_id, paced.url, rate_limit=20.0)
        await create_subscription(process.database, keys, admin_id, free.url)
        await emit(process.database, admin_id, [user_created(number) for number in range(1, 201)])
        await free.wait_for(200)
        assert len(paced.arrivals) < 200
        await paced.wait_for(60)
        taken = paced.arrivals[59].at - paced.arrivals[0].at
    assert taken >= 59 / 20 - 0.45  # at most what may be made up for, and given ahead


async def test_a_limit_on_a_retry_counts_like_any_other(settings: Settings, admin_id: str) -> None:
    process = process_with(settings)
    async with process.running(deliver=True), Endpoint(Switch()) as endpoint:
        await create_subscription(
            process.database,
            process.settings.key_ring,
            admin_id,
            endpoint.url,
            rate_limit=2.0,
            retry_attempts=1,
        )
        await emit(process.database, admin_id, [user_created(1), user_created(2)])
        await until(process.database, all_in("failed"))
    assert len(endpoint.arrivals) == 4
    assert endpoint.arrivals[3].at - endpoint.arrivals[0].at >= 3 / 2 - 0.45


async def test_a_probe_that_a_killed_process_took_with_it_is_made_again(
    settings: Settings, admin_id: str
) -> None:
    process, switch = process_with(settings, **QUICK), Switch()
    switch.on = True
    async with Endpoint(switch) as endpoint:
        id_ = await create_subscription(
            process.database,
            process.settings.key_ring,
            admin_id,
            endpoint.url,
            breaker="half_open",
            breaker_openings=1,
            paused_until=system_clock() + timedelta(seconds=1),
        )
        await emit(process.database, admin_id, [user_created(number) for number in range(1, 21)])
        async with process.running(deliver=True):
            await until(process.database, all_in("success"))
            assert (await subscription(process.database, id_)).breaker == "closed"


async def test_a_test_that_succeeds_closes_the_breaker(api: Api, process: Process) -> None:
    until_then = system_clock() + timedelta(hours=1)
    async with Endpoint() as endpoint:
        id_ = await create_subscription(
            api.database,
            process.settings.key_ring,
            api.admin_id,
            endpoint.url,
            breaker="open",
            breaker_openings=4,
            paused_until=until_then,
        )
        path = f"/api/admin/webhooks/{id_}"
        shown = (await api.http.get(path)).json()["webhook"]
        assert shown["breaker"] == "open"
        assert shown["pausedUntil"] is not None
        assert (await api.http.post(f"{path}/test", json={})).json()["test"]["sent"]
        shown = (await api.http.get(path)).json()["webhook"]
    assert (shown["breaker"], shown["pausedUntil"]) == ("closed", None)


async def test_a_retry_is_shown_as_due_no_sooner_than_the_pause_ends(
    api: Api, process: Process
) -> None:
    until_then = system_clock() + timedelta(hours=1)
    id_ = await create_subscription(
        api.database,
        process.settings.key_ring,
        api.admin_id,
        "http://127.0.0.1:9/hook",
        breaker="open",
        paused_until=until_then,
    )
    await emit(api.database, api.admin_id, [user_created(1)])
    async with api.database.system_transaction() as session:
        await session.execute(update(WebhookDelivery).values(status="retrying"))
    path = f"/api/admin/webhooks/{id_}"
    webhook = (await api.http.get(path)).json()["webhook"]
    assert webhook["deliveries"][0]["nextRetryAt"] == webhook["pausedUntil"]
    changed = await api.http.patch(path, json={"active": True})
    assert changed.json()["webhook"]["breaker"] == "closed"
