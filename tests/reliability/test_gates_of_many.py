"""Limits and breakers hold over many worker processes on PostgreSQL."""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest_asyncio
from aiohttp import web
from sqlalchemy import select

from flowkick.app import Process
from flowkick.core.settings import load_settings
from flowkick.delivery.models import WebhookDelivery
from flowkick.storage import migrate
from tests.conftest import MASTER_KEY, new_admin
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import (
    all_in,
    attempts,
    create_subscription,
    emit,
    subscription,
    until,
    user_created,
)
from tests.support.killing import environment
from tests.support.postgres import Cluster

RATE = 20.0
WINDOW = 10.0
"""Seconds over which a limit is promised to 5 %."""
STEP = 0.05


@pytest_asyncio.fixture
async def process(cluster: Cluster) -> AsyncIterator[Process]:
    name = "gates_of_many"
    url = cluster.create_database(name)
    made = Process(load_settings(_env_file=None, database_url=url, secret_key=MASTER_KEY))
    await migrate.upgrade(made.database)
    yield made
    await made.database.close()
    cluster.drop_database(name)


@asynccontextmanager
async def _two_workers(process: Process, folder: Path, **more: str) -> AsyncIterator[None]:
    """Both deliver when this is entered."""
    async with AsyncExitStack() as stack:
        logs = [folder / f"worker-{number}.log" for number in (1, 2)]
        for log in logs:
            await stack.enter_async_context(_worker(process, log, **more))
        async with asyncio.timeout(60):
            while not all("delivering" in log.read_text() for log in logs):
                await asyncio.sleep(STEP)
        yield


@asynccontextmanager
async def _worker(process: Process, log: Path, **more: str) -> AsyncIterator[None]:
    variables = environment(process.settings.database_url, FLOWKICK_LOG_LEVEL="info", **more)
    with log.open("wb") as stderr:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flowkick", "worker", env=variables, cwd=log.parent, stderr=stderr
        )
    try:
        yield
    finally:
        running.terminate()
        await running.wait()


async def _subscribe(process: Process, admin_id: str, url: str, **values: object) -> str:
    keys = process.settings.key_ring
    return await create_subscription(process.database, keys, admin_id, url, **values)


class Watch:
    """What is seen while workers run: who holds leases, and how late this process wakes up."""

    def __init__(self, process: Process) -> None:
        self._database = process.database
        self.holders = set[str]()
        self.stall = 0.0
        """Seconds; on a machine that stalls, requests of the engine leave late as well."""

    async def look(self) -> None:
        async with self._database.system_reading() as session:
            held = await session.scalars(select(WebhookDelivery.lease_id).distinct())
            self.holders.update(lease for lease in held if lease is not None)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            start = loop.time()
            await asyncio.sleep(STEP)
            self.stall = max(self.stall, loop.time() - start - STEP)
            await self.look()


@asynccontextmanager
async def _watched(process: Process) -> AsyncIterator[Watch]:
    watch = Watch(process)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_limit_is_kept_by_two_workers_together(process: Process, tmp_path: Path) -> None:
    """In every ten seconds from the first request on, by the moments at which they were sent."""
    database, count = process.database, int(RATE * WINDOW * 1.2)
    admin_id, _ = await new_admin(database)
    async with Endpoint() as endpoint, _two_workers(process, tmp_path), _watched(process) as watch:
        await _subscribe(process, admin_id, endpoint.url, rate_limit=RATE)
        await emit(database, admin_id, [user_created(number) for number in range(1, count + 1)])
        await endpoint.wait_for(count)
        await until(database, all_in("success"))
    assert len(watch.holders) == 2
    sent = sorted(one.sent_at.timestamp() for one in await attempts(database))
    whole = [place for place, start in enumerate(sent) if start + WINDOW <= sent[-1]]
    assert whole
    tolerance = 0.05 * RATE * WINDOW + RATE * watch.stall
    for place in whole:
        within = bisect_left(sent, sent[place] + WINDOW) - place
        assert abs(within - RATE * WINDOW) <= tolerance


class Receiver:
    """Is down, until it is up."""

    up = False

    def __call__(self, _arrival: Arrival) -> web.Response:
        return web.Response(status=200 if self.up else 502)


async def test_two_workers_probe_an_endpoint_one_at_a_time_until_it_is_back(
    process: Process, tmp_path: Path
) -> None:
    database, receiver = process.database, Receiver()
    admin_id, _ = await new_admin(database)
    quick = {
        "FLOWKICK_BREAKER_FAILURES": "5",
        "FLOWKICK_BREAKER_PAUSE_SECONDS": "0.5",
        "FLOWKICK_LONGEST_PAUSE_SECONDS": "0.5",
    }
    # While a probe is under way, the other worker has the time to send one as well.
    async with (
        Endpoint(receiver, delay=0.2) as endpoint,
        _two_workers(process, tmp_path, **quick),
        _watched(process) as watch,
    ):
        id_ = await _subscribe(process, admin_id, endpoint.url, retry_attempts=10)
        ids = await emit(database, admin_id, [user_created(number) for number in range(1, 201)])
        await _opened(process, id_, 2)
        begun = (await subscription(database, id_)).failed_count
        await _opened(process, id_, 10)
        probes = [one.sent_at.timestamp() for one in await attempts(database)][begun:]
        receiver.up = True
        await until(database, all_in("success"))
        assert (await subscription(database, id_)).breaker == "closed"
    assert len(watch.holders) == 2
    assert len(probes) >= 8
    # Each is answered before the pause begins after which the next one is sent.
    apart = [later - earlier for earlier, later in pairwise(probes)]
    assert min(apart) >= 0.2 + 0.9 * 0.5 - 0.01
    assert {arrival.event_id for arrival in endpoint.arrivals} == set(ids)


async def _opened(process: Process, subscription_id: str, count: int) -> None:
    """Wait until its breaker opened so often."""
    async with asyncio.timeout(60):
        while (await subscription(process.database, subscription_id)).breaker_openings < count:
            await asyncio.sleep(STEP)
