"""Erasures beside what else is at work on the same person: nothing of them is written behind it."""

from __future__ import annotations

import asyncio

import pytest

from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.replays.backfilling import _states
from flowkick.webhooks import outbox
from flowkick.webhooks.outbox import Draft
from flowkick.webhooks.payloads import UserCreated
from tests.history.made import get, post
from tests.privacy.test_erasure import PERSON, TRACES
from tests.privacy.whole_database import all_rows, holding
from tests.support.factories import create_subscription
from tests.support.server import Api


async def waits(task: asyncio.Task[object], api: Api) -> None:
    """Until PostgreSQL has somebody wait for a lock, or the task has ended without."""
    async with asyncio.timeout(30):
        while not task.done():
            rows = await _waiting(api)
            if rows:
                return
            await asyncio.sleep(0.02)


async def _waiting(api: Api) -> int:
    async with api.database.reader.connect() as connection:
        found = await connection.exec_driver_sql(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(found.scalar_one())


@pytest.mark.parametrize("erased_first", [False, True])
async def test_a_backfill_writes_nobody_down_who_is_erased_meanwhile(
    api: Api, settings: Settings, *, erased_first: bool
) -> None:
    """What a backfill read of a user is either erased with them, or never written."""
    webhook = await create_subscription(
        api.database, settings.key_ring, api.admin_id, "http://127.0.0.1:9/", active=False
    )
    user = (await post(api.http, "/users", PERSON))["user"]["id"]
    if erased_first:
        await api.http.delete(f"/api/admin/users/{user}")
    async with api.database.transaction(api.admin_id) as session:
        states = await _states(session, [user])
        assert bool(states) is not erased_first
        erasing = asyncio.create_task(api.http.delete(f"/api/admin/users/{user}"))
        if not api.database.is_sqlite:  # where one writes at a time anyway
            await waits(erasing, api)
        await outbox.emit_to_one(
            session,
            [
                Draft("user.created", UserCreated(shown), shown.id, number)
                for shown, number in states
            ],
            subscription_id=webhook,
            job_id="job_1",
            source="backfill",
            now=system_clock(),
        )
    assert (await erasing).status_code == (404 if erased_first else 200)
    assert holding(await all_rows(api.database), TRACES) == [
        f"WebhookEvent: {PERSON['manychatId']}"  # the end, which is yet to be told
    ]


async def test_two_erasures_at_once_are_one(api: Api) -> None:
    user = (await post(api.http, "/users", PERSON))["user"]["id"]
    answers = await asyncio.gather(*(api.http.delete(f"/api/admin/users/{user}") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]
    assert len((await get(api.http, "/erasures"))["erasures"]) == 1
