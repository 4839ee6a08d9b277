"""Order holds while receivers fail at random and workers are killed at random."""

from __future__ import annotations

import random
from pathlib import Path

from aiohttp import web

from flowkick.app import Process
from flowkick.core.settings import load_settings
from flowkick.storage import migrate
from flowkick.webhooks import payloads, samples
from flowkick.webhooks.outbox import Draft
from tests.conftest import MASTER_KEY, new_admin
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import all_in, create_subscription, emit, until
from tests.support.killing import environment, killed_at_random
from tests.support.postgres import Cluster

USERS = 20
EVENTS_OF_EACH = 10


def event(user: int, number: int) -> Draft:
    return Draft("user.created", payloads.UserCreated(samples.USER), f"usr_{user}", number)


async def test_first_receipts_rise_and_nothing_is_lost(tmp_path: Path) -> None:
    """Four workers on PostgreSQL; one answer in five is a failure."""
    chance = random.Random(5)

    def answer(_arrival: Arrival) -> web.Response:
        return web.Response(status=500 if chance.random() < 0.2 else 200)

    with Cluster(durable=True) as cluster:
        url = cluster.create_database("order")
        process = Process(load_settings(_env_file=None, database_url=url, secret_key=MASTER_KEY))
        await migrate.upgrade(process.database)
        admin_id, _ = await new_admin(process.database)
        async with Endpoint(answer) as endpoint:
            await create_subscription(
                process.database,
                process.settings.key_ring,
                admin_id,
                endpoint.url,
                ordering="user",
                retry_attempts=10,
            )
            async with killed_at_random(
                "worker",
                environment(url),
                tmp_path,
                count=4,
                every=3,
                progress=lambda: len(endpoint.arrivals),
            ) as kills:
                place: dict[str, tuple[int, int]] = {}
                for number in range(1, EVENTS_OF_EACH + 1):
                    drafts = [event(user, number) for user in range(USERS)]
                    ids = await emit(process.database, admin_id, drafts)
                    place |= {id_: (user, number) for user, id_ in enumerate(ids)}
                await until(process.database, all_in("success"), seconds=240)
        await process.database.close()
    first: dict[str, None] = dict.fromkeys(arrival.event_id for arrival in endpoint.arrivals)
    received: dict[int, list[int]] = {user: [] for user in range(USERS)}
    for event_id in first:
        user, number = place[event_id]
        received[user].append(number)
    assert received == {user: list(range(1, EVENTS_OF_EACH + 1)) for user in range(USERS)}
    assert kills[0] >= 1
