"""Every recorded event reaches every subscription, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import httpx
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from flowkick.app import Process
from flowkick.core.settings import load_settings
from flowkick.delivery.models import WebhookEvent
from flowkick.storage import migrate
from flowkick.storage.database import Database
from tests.conftest import MASTER_KEY, new_admin
from tests.support.endpoint import Endpoint
from tests.support.factories import all_in, create_subscription, deliveries, emit, user_created
from tests.support.killing import environment, killed_at_random
from tests.support.ports import free_port
from tests.support.postgres import Cluster

EVENTS = 2000
BATCH = 20
PATIENT = {"retry_attempts": 10, "retry_delay": 1}


async def _all_delivered(database: Database) -> None:
    async with asyncio.timeout(120):
        while True:
            with suppress(SQLAlchemyError, OSError):
                rows = await deliveries(database)
                if all_in("success")(rows):
                    return
            await asyncio.sleep(0.2)


async def _recorded(database: Database) -> dict[str, bytes]:
    async with database.system_reading() as session:
        rows = await session.execute(select(WebhookEvent.id, WebhookEvent.body))
        return {row.id: row.body for row in rows}


def _assert_complete(endpoint: Endpoint, recorded: dict[str, bytes]) -> None:
    assert {arrival.event_id for arrival in endpoint.arrivals} == set(recorded)
    assert all(arrival.body == recorded[arrival.event_id] for arrival in endpoint.arrivals)


async def test_workers_are_killed_and_postgresql_restarts_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    with Cluster(durable=True) as cluster:
        url = cluster.create_database("nothing_lost")
        process = Process(load_settings(_env_file=None, database_url=url, secret_key=MASTER_KEY))
        database = process.database
        await migrate.upgrade(database)
        admin_id, _ = await new_admin(database)
        async with Endpoint() as first, Endpoint() as second:
            for endpoint in (first, second):
                await create_subscription(
                    database, process.settings.key_ring, admin_id, endpoint.url, **PATIENT
                )
            given = environment(url)
            async with killed_at_random(
                "worker",
                given,
                tmp_path,
                count=3,
                every=0.8,
                progress=lambda: len(first.arrivals),
            ) as kills:
                await _emit_through_restarts(database, admin_id, cluster)
                await _all_delivered(database)
            recorded = await _recorded(database)
            assert len(recorded) >= EVENTS
            assert kills[0] >= 3
            _assert_complete(first, recorded)
            _assert_complete(second, recorded)
        await database.close()


async def _emit_through_restarts(database: Database, admin_id: str, cluster: Cluster) -> None:
    for first in range(0, EVENTS, BATCH):
        if first == EVENTS // 2:
            await asyncio.to_thread(cluster.restart)
        drafts = [user_created(number) for number in range(first, first + BATCH)]
        while True:
            try:
                await emit(database, admin_id, drafts)
                break
            except (SQLAlchemyError, OSError):
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.04)


async def test_the_one_process_on_sqlite_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/flowkick.db"
    process = Process(load_settings(_env_file=None, database_url=url, secret_key=MASTER_KEY))
    database = process.database
    await migrate.upgrade(database)
    admin_id, key = await new_admin(database)
    async with Endpoint() as endpoint:
        await create_subscription(
            database, process.settings.key_ring, admin_id, endpoint.url, **PATIENT
        )
        port, answers = free_port(), [0]
        given = environment(url, FLOWKICK_PORT=str(port))
        async with killed_at_random(
            "serve",
            given,
            tmp_path,
            count=1,
            every=3,
            progress=lambda: answers[0],
        ) as kills:
            await _push_through_kills(f"http://127.0.0.1:{port}", key, answers)
            while kills[0] < 3:  # three are wanted, however fast it is
                await _ask(f"http://127.0.0.1:{port}/healthz", answers)
            await _all_delivered(database)
        recorded = await _recorded(database)
        assert len(recorded) == EVENTS
        _assert_complete(endpoint, recorded)
    await database.close()


async def _ask(url: str, answers: list[int]) -> None:
    with suppress(httpx.HTTPError):
        async with httpx.AsyncClient(timeout=10) as http:
            await http.get(url)
            answers[0] += 1
    await asyncio.sleep(0.1)


async def _push_through_kills(url: str, key: str, answers: list[int]) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as http:
        for first in range(0, EVENTS, BATCH):
            users = [{"manychatId": str(number)} for number in range(first, first + BATCH)]
            async with asyncio.timeout(60):
                while True:
                    try:
                        answer = await http.post("/api/admin/users/batch", json={"users": users})
                        answer.raise_for_status()
                        answers[0] += 1
                        break
                    except httpx.HTTPError:
                        await asyncio.sleep(0.1)
