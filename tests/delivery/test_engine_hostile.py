"""Hostile receivers cost the engine one logged attempt each, and their neighbour nothing."""

from __future__ import annotations

from collections import Counter

from flowkick.app import Process
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.delivery.hostile import HostileReceiver
from tests.support.endpoint import Endpoint
from tests.support.factories import (
    all_in,
    attempts,
    create_subscription,
    emit,
    until,
    user_created,
)

PATHS = [
    "/drip",
    "/gigabyte",
    "/gzip-bomb",
    "/body?hex=00ff00fe80",
    "/redirect?to=http://169.254.169.254/",
    "/cut-body",
    "/close",
    "/silent",
    "/interim-flood",
    "/interim-drip",
    "/huge-header",
    "/endless-headers",
    "/garbage",
]


async def test_each_hostile_receiver_gives_one_logged_attempt(
    process: Process, database: Database
) -> None:
    admin_id, _ = await new_admin(database)
    keys = process.settings.key_ring
    async with HostileReceiver() as hostile, Endpoint() as honest:
        urls = [*map(hostile.url, PATHS), hostile.url("/ok", scheme="https"), honest.url]
        ids = [
            await create_subscription(
                database, keys, admin_id, url, retry_attempts=0, timeout_ms=1000
            )
            for url in urls
        ]
        async with process.running(deliver=True):
            await emit(process.database, admin_id, [user_created()])
            await until(process.database, all_in("success", "failed"), seconds=60)
            logged = await attempts(process.database)
    assert Counter(row.subscription_id for row in logged) == Counter(ids)
    assert len(honest.arrivals) == 1
    for row in logged:
        if row.response_body is not None:
            assert len(row.response_body) <= 1000
            assert "\x00" not in row.response_body
        assert row.status == "success" or row.error_message
