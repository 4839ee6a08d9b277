"""What is old goes for good, in small steps; what is still to be delivered stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, insert, select, update

from flowkick.core.clock import system_clock
from flowkick.core.ids import new_id
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookAttempt, WebhookDelivery, WebhookEvent
from flowkick.http.models import IdempotencyKey
from flowkick.jobs import service as jobs
from flowkick.jobs.models import Job, JobStatus
from flowkick.retention import service
from flowkick.retention.models import RetentionMark
from flowkick.retention.service import Retention
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.support.endpoint import Endpoint
from tests.support.factories import create_subscription
from tests.support.server import Api

DAY = timedelta(days=1)


class Past:
    """Events that were delivered, or not, some time ago; and a retention that looks at them."""

    def __init__(self, database: Database, admin_id: str) -> None:
        self.database = database
        self.admin_id = admin_id
        self.now = system_clock()

    def retention(self, *, later: timedelta = timedelta(0)) -> Retention:
        return Retention(self.database, lambda: self.now + later, 90 * DAY, 30 * DAY)

    async def event(
        self, age: timedelta, *statuses: str, delivered: timedelta | None = None
    ) -> str:
        """An event of some age, with a delivery of each status and an attempt of each of those."""
        return (await self.events([age], *statuses, delivered=delivered))[0]

    async def events(
        self, ages: Sequence[timedelta], *statuses: str, delivered: timedelta | None = None
    ) -> list[str]:
        rows = [_event(self.admin_id, self.now - age) for age in ages]
        deliveries = [
            _delivery(row, status, row["created_at"] if delivered is None else self.now - delivered)
            for row in rows
            for status in statuses
        ]
        async with self.database.system_transaction() as session:
            await session.execute(insert(WebhookEvent), rows)
            if deliveries:
                made = await session.scalars(
                    insert(WebhookDelivery).returning(WebhookDelivery), deliveries
                )
                attempts = [_attempt(delivery) for delivery in made]
                await session.execute(insert(WebhookAttempt), attempts)
        return [row["id"] for row in rows]

    async def finish(self, event_id: str) -> None:
        async with self.database.system_transaction() as session:
            await session.execute(
                update(WebhookDelivery)
                .where(WebhookDelivery.event_id == event_id)
                .values(status="success")
            )

    async def bodies(self) -> dict[str, bytes]:
        async with self.database.system_reading() as session:
            rows = await session.execute(select(WebhookEvent.id, WebhookEvent.body))
            return {row.id: row.body for row in rows}

    async def count(self, model: type[Any]) -> int:
        async with self.database.system_reading() as session:
            return await session.scalar(select(func.count()).select_from(model)) or 0

    async def answers(self) -> list[str | None]:
        async with self.database.system_reading() as session:
            statement = select(WebhookAttempt.response_body).order_by(WebhookAttempt.sent_at)
            return list(await session.scalars(statement))


def _event(admin_id: str, at: datetime) -> dict[str, Any]:
    # As ids are made: the milliseconds first.
    milliseconds = int(at.timestamp() * 1000)
    return {
        "id": f"evt_{milliseconds:012x}{new_id('evt')[-20:]}",
        "admin_id": admin_id,
        "event": "user.created",
        "user_id": "usr_1",
        "sequence": 1,
        "body": b'{"event":"user.created"}',
        "created_at": at,
    }


def _delivery(event: dict[str, Any], status: str, at: datetime) -> dict[str, Any]:
    waits = status in {"pending", "retrying"}
    return {
        "admin_id": event["admin_id"],
        "subscription_id": "sub_1",
        "event_id": event["id"],
        "event": event["event"],
        "status": status,
        "due_at": at if waits else None,
        "created_at": at,
    }


def _attempt(delivery: WebhookDelivery) -> dict[str, Any]:
    return {
        "admin_id": delivery.admin_id,
        "delivery_id": delivery.id,
        "subscription_id": delivery.subscription_id,
        "attempt": 1,
        "trigger": "schedule",
        "status": "success",
        "status_code": 200,
        "response_body": "Thank you, Ada",
        "error_message": None,
        "duration_ms": 3,
        "sent_at": delivery.created_at,
    }


@pytest_asyncio.fixture
async def past(database: Database) -> Past:
    return Past(database, (await new_admin(database))[0])


async def test_old_events_go_with_their_deliveries_and_attempts(past: Past) -> None:
    await past.events([91 * DAY, 400 * DAY], "success", "failed")
    young = await past.event(89 * DAY, "success")
    untold = await past.event(1 * DAY)
    removed = await past.retention().prune(pauses=0)
    assert removed["events"] == 2
    assert set(await past.bodies()) == {young, untold}
    assert await past.count(WebhookDelivery) == 1
    assert await past.count(WebhookAttempt) == 1


@pytest.mark.parametrize("status", ["pending", "retrying", "held"])
async def test_what_is_still_to_be_delivered_stays_whole_whatever_its_age(
    past: Past, status: str
) -> None:
    kept = await past.event(200 * DAY, "success", status)
    await past.retention().prune(pauses=0)
    assert await past.bodies() == {kept: b'{"event":"user.created"}'}
    assert await past.count(WebhookDelivery) == 2
    await past.finish(kept)
    await past.retention().prune(pauses=0)
    assert await past.count(WebhookEvent) + await past.count(WebhookDelivery) == 0


async def test_an_old_event_that_was_sent_again_lately_stays(past: Past) -> None:
    again = await past.event(200 * DAY, "success", delivered=2 * DAY)
    await past.retention().prune(pauses=0)
    assert set(await past.bodies()) == {again}


async def test_bodies_and_answers_go_before_the_rest(past: Past) -> None:
    old, young = await past.event(31 * DAY, "success"), await past.event(29 * DAY, "success")
    removed = await past.retention().prune(pauses=0)
    assert (removed["bodies"], removed["answers"]) == (1, 1)
    assert await past.bodies() == {old: b"", young: b'{"event":"user.created"}'}
    assert await past.answers() == [None, "Thank you, Ada"]


async def test_a_body_that_had_to_be_kept_goes_when_it_is_delivered(past: Past) -> None:
    await past.event(50 * DAY, "success")
    held = await past.event(45 * DAY, "held")
    await past.event(40 * DAY, "success")
    assert (await past.retention().prune(pauses=0))["bodies"] == 2
    await past.finish(held)
    assert (await past.retention().prune(pauses=0))["bodies"] == 1
    assert set((await past.bodies()).values()) == {b""}


async def test_a_sweep_goes_on_where_it_had_nothing_left_to_do(past: Past) -> None:
    await past.events([DAY * days for days in range(31, 60)], "success")
    await past.retention().prune(pauses=0)
    seen: list[tuple[str, int]] = []
    await past.retention().prune(pauses=0, tell=lambda name, _, rows: seen.append((name, rows)))
    assert [rows for name, rows in seen if name in {"bodies", "answers"}] == [0, 0]
    # What grew old since is found.
    new = await past.event(29 * DAY, "success")
    await past.retention(later=2 * DAY).prune(pauses=0)
    assert (await past.bodies())[new] == b""


async def test_many_steps_remove_all_of_it(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_FIRST_STEP", 7)
    monkeypatch.setattr(service, "_SMALLEST", 7)
    monkeypatch.setattr(service, "_LARGEST", 7)
    await past.events([100 * DAY + timedelta(seconds=n) for n in range(100)], "success")
    await past.events([50 * DAY + timedelta(seconds=n) for n in range(100)], "success")
    removed = await past.retention().prune(pauses=0)
    assert (removed["events"], removed["bodies"], removed["answers"]) == (100, 100, 100)


async def test_bodies_are_not_kept_for_longer_than_their_events(past: Past) -> None:
    long = Retention(past.database, lambda: past.now, 10 * DAY, 30 * DAY)
    assert "bodies" not in {sweep.name for sweep in long.sweeps()}
    await past.event(11 * DAY, "success")
    assert (await long.prune(pauses=0))["events"] == 1


async def test_old_idempotency_keys_and_jobs_go(past: Past) -> None:
    async with past.database.transaction(past.admin_id) as session:
        for key, age in (("old", 2 * DAY), ("young", timedelta(hours=1))):
            row = {"admin_id": past.admin_id, "key": key, "request_hash": "", "status": 200}
            await session.execute(
                insert(IdempotencyKey), [{**row, "answer": "", "created_at": past.now - age}]
            )
        for age in (91 * DAY, 80 * DAY):
            job = await jobs.start(session, "count", {}, now=past.now - age)
            job.status, job.finished_at, job.due_at = JobStatus.COMPLETED, past.now - age, None
        await jobs.start(session, "count", {}, now=past.now - 100 * DAY)
    removed = await past.retention().prune(pauses=0)
    assert (removed["idempotency keys"], removed["jobs"]) == (1, 1)
    assert await past.count(IdempotencyKey) == 1
    assert await past.count(Job) == 2


async def test_one_worker_of_all_prunes_once_an_hour(past: Past) -> None:
    turns = await asyncio.gather(*(past.retention().take_turn() for _ in range(5)))
    assert turns.count(True) == 1
    assert not await past.retention(later=timedelta(minutes=59)).take_turn()
    assert await past.retention(later=timedelta(minutes=61)).take_turn()


async def test_a_turn_taken_by_a_clock_that_was_ahead_stops_nobody(past: Past) -> None:
    assert await past.retention(later=400 * DAY).take_turn()
    turns = await asyncio.gather(*(past.retention().take_turn() for _ in range(3)))
    assert turns.count(True) == 1


async def test_what_was_removed_is_told_of(api: Api, settings: Settings) -> None:
    async with Endpoint() as endpoint:
        key_ring = settings.key_ring
        webhook = await create_subscription(api.database, key_ring, api.admin_id, endpoint.url)
        await api.http.post("/api/admin/users", json={"firstName": "Ada"})
        log = f"/api/admin/webhooks/{webhook}/deliveries?status=success"
        async with asyncio.timeout(30):
            while not (found := (await api.http.get(log)).json()["deliveries"]):
                await asyncio.sleep(0.02)
        retention = Retention(api.database, lambda: system_clock() + 31 * DAY, 90 * DAY, 30 * DAY)
        await retention.prune(pauses=0)
        delivery = (await api.http.get(f"/api/admin/deliveries/{found[0]['id']}")).json()
        assert delivery["delivery"]["payload"] is None
        assert delivery["delivery"]["attempts"][0]["responseBody"] is None
        again = await api.http.post(f"/api/admin/deliveries/{found[0]['id']}/resend")
        assert again.status_code == 409
        assert "no longer kept" in json.dumps(again.json())


async def test_marks_belong_to_no_admin(past: Past) -> None:
    await past.event(50 * DAY, "success")
    await past.retention().prune(pauses=0)
    assert await past.count(RetentionMark) == 2
