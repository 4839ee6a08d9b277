"""Endpoints that hang hold up nobody but themselves."""

from __future__ import annotations

from sqlalchemy import func, select

from flowkick.app import Process
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookDelivery
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.delivery.hostile import HostileReceiver
from tests.support.endpoint import Endpoint
from tests.support.factories import all_in, create_subscription, emit, until, user_created

SLOTS = 10


async def test_a_healthy_endpoint_is_served_beside_others_that_hang_with_long_queues(
    settings: Settings, database: Database
) -> None:
    process = Process(settings.model_copy(update={"concurrency": SLOTS}))
    noisy_admin, _ = await new_admin(database)
    healthy_admin, _ = await new_admin(database)
    keys = process.settings.key_ring
    async with (
        process.running(deliver=True),
        Endpoint() as endpoint,
        HostileReceiver() as hostile,
    ):
        for _ in range(3):
            await create_subscription(
                database, keys, noisy_admin, hostile.url("/silent"), timeout_ms=60_000
            )
        await emit(process.database, noisy_admin, [user_created(n) for n in range(1, 401)])
        await hostile.arrival()
        await create_subscription(database, keys, healthy_admin, endpoint.url)
        for first in range(1, 200, 50):
            drafts = [user_created(number) for number in range(first, first + 50)]
            await emit(process.database, healthy_admin, drafts)
            await endpoint.wait_for(first + 49, seconds=30)
        assert len(hostile.requests) < SLOTS
        async with database.system_reading() as session:
            claimed = await session.scalar(
                select(func.count()).where(WebhookDelivery.lease_id.is_not(None))
            )
        assert claimed is not None
        assert claimed <= 12 * SLOTS  # of the 1,200 that are due


async def test_a_queue_longer_than_what_is_claimed_at_once_is_sent_in_whole(
    settings: Settings, database: Database
) -> None:
    process = Process(settings.model_copy(update={"concurrency": 3}))
    admin_id, _ = await new_admin(database)
    async with Endpoint() as one, Endpoint() as two:
        for endpoint in (one, two):
            await create_subscription(database, process.settings.key_ring, admin_id, endpoint.url)
        await emit(database, admin_id, [user_created(number) for number in range(1, 301)])
        async with process.running(deliver=True):
            await until(process.database, all_in("success"), seconds=60)
        for endpoint in (one, two):
            assert len({arrival.event_id for arrival in endpoint.arrivals}) == 300
