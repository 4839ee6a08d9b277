"""Events of one user reach a webhook that asks for it one after the other, in their order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import pairwise

import pytest
import pytest_asyncio
from aiohttp import web
from sqlalchemy import update

from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.delivery import engine
from flowkick.delivery.models import WebhookDelivery, WebhookEvent
from flowkick.retention.service import Retention
from flowkick.webhooks import payloads, samples
from flowkick.webhooks.outbox import Draft
from tests.conftest import new_admin
from tests.support.endpoint import Answer, Arrival, Endpoint
from tests.support.factories import all_in, create_subscription, deliveries, emit, until
from tests.support.server import Api


@pytest_asyncio.fixture
async def admin_id(process: Process) -> str:
    return (await new_admin(process.database))[0]


@pytest_asyncio.fixture
async def running(process: Process, admin_id: str) -> AsyncIterator[Process]:
    async with process.running(deliver=True):
        yield process


async def subscribe(process: Process, admin_id: str, url: str, **values: object) -> str:
    keys = process.settings.key_ring
    return await create_subscription(
        process.database, keys, admin_id, url, **{"ordering": "user", **values}
    )


def changed(user_id: str, number: int) -> Draft:
    data = payloads.UserCreated(samples.USER)
    return Draft("user.created", data, user_id, number)


def sequences(arrivals: Sequence[Arrival]) -> list[int]:
    return [arrival.json()["metadata"]["sequence"] for arrival in arrivals]


def refusing(*refused: int, times: int = 10**9, status: int = 500) -> Answer:
    """An endpoint's answer: `status` to events of these numbers, so many times each."""
    seen: Counter[int] = Counter()

    def answer(arrival: Arrival) -> web.Response:
        (number,) = sequences([arrival])
        seen[number] += 1
        return web.Response(status=status if number in refused and seen[number] <= times else 200)

    return answer


async def test_events_of_a_user_arrive_one_after_the_other(running: Process, admin_id: str) -> None:
    ended: dict[str, float] = {}

    def answer(arrival: Arrival) -> web.Response:
        ended[arrival.event_id] = time.time()
        return web.Response()

    users = [f"usr_{n}" for n in range(20)]
    lines: dict[str, list[str]] = {user: [] for user in users}
    async with Endpoint(answer, delay=0.002) as endpoint:
        await subscribe(running, admin_id, endpoint.url)
        for number in range(1, 11):
            ids = await emit(running.database, admin_id, [changed(u, number) for u in users])
            for user, event_id in zip(users, ids, strict=True):
                lines[user].append(event_id)
        await until(running.database, all_in("success"))
    began = {arrival.event_id: arrival.at for arrival in endpoint.arrivals}
    assert len(endpoint.arrivals) == len(began) == 200
    for line in lines.values():
        assert all(ended[former] <= began[later] for former, later in pairwise(line))


async def test_a_retry_holds_up_its_user_and_nobody_else(running: Process, admin_id: str) -> None:
    async with Endpoint(refusing(2, times=1)) as endpoint:
        await subscribe(running, admin_id, endpoint.url)
        drafts = [changed("usr_1", number) for number in (1, 2, 3)]
        await emit(running.database, admin_id, [*drafts, changed("usr_2", 4)])
        await until(running.database, all_in("success"))
    arrived = sequences(endpoint.arrivals)
    assert [number for number in arrived if number != 4] == [1, 2, 2, 3]
    assert arrived.index(4) < 4


async def test_what_is_behind_a_delivery_that_was_given_up_goes_on(
    running: Process, admin_id: str
) -> None:
    async with Endpoint(refusing(1)) as endpoint:
        await subscribe(running, admin_id, endpoint.url, retry_attempts=1)
        await emit(running.database, admin_id, [changed("usr_1", n) for n in (1, 2, 3)])
        rows = await until(running.database, all_in("success", "failed"))
    assert sequences(endpoint.arrivals) == [1, 1, 2, 3]
    assert [row.status for row in rows] == ["failed", "success", "success"]
    assert [row.ordering_key for row in rows] == [None] * 3


async def _held_up(running: Process, admin_id: str, url: str) -> tuple[str, list[str]]:
    """A webhook at which the second of three deliveries of a user was given up, and the others'."""
    webhook_id = await subscribe(running, admin_id, url, retry_attempts=0, on_give_up="hold")
    await emit(running.database, admin_id, [changed("usr_1", n) for n in (1, 2, 3)])
    await until(running.database, lambda rows: len(rows) == 3 and rows[1].status == "failed")
    await emit(running.database, admin_id, [changed("usr_2", 4), changed("usr_1", 5)])

    def others_done(rows: Sequence[WebhookDelivery]) -> bool:
        return len(rows) == 5 and rows[3].status == "success" and _is_parked(rows[4])

    rows = await until(running.database, others_done)
    assert [row.status for row in rows] == ["success", "failed", "pending", "success", "pending"]
    return webhook_id, [str(row.id) for row in rows]


def _is_parked(row: WebhookDelivery) -> bool:
    return row.status == "pending" and row.due_at is None and row.lease_id is None


async def test_a_resend_with_success_lets_go_on_what_a_failure_held_up(
    api: Api, process: Process
) -> None:
    mended = False

    def answer(arrival: Arrival) -> web.Response:
        return web.Response(status=200 if mended or sequences([arrival]) != [2] else 500)

    async with Endpoint(answer) as endpoint:
        _, ids = await _held_up(process, api.admin_id, endpoint.url)
        refused = await api.http.post(f"/api/admin/deliveries/{ids[2]}/resend")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        again = await api.http.post(f"/api/admin/deliveries/{ids[1]}/resend")
        assert again.json()["attempt"]["status"] == "failed"
        mended = True
        again = await api.http.post(f"/api/admin/deliveries/{ids[1]}/resend")
        assert again.json()["attempt"]["status"] == "success"
        await until(api.database, all_in("success"))
    assert sequences(endpoint.arrivals) == [1, 2, 4, 2, 2, 3, 5]


async def test_a_replay_of_what_failed_comes_before_what_it_held_up(
    api: Api, process: Process
) -> None:
    async with Endpoint(refusing(2, times=1)) as endpoint:
        webhook_id, _ = await _held_up(process, api.admin_id, endpoint.url)
        answer = await api.http.post(
            f"/api/admin/webhooks/{webhook_id}/replay", json={"status": "failed"}
        )
        assert answer.status_code == 202
        await until(
            api.database,
            lambda rows: [row.status for row in rows] == ["success", "failed", *["success"] * 4],
        )
    assert sequences(endpoint.arrivals) == [1, 2, 4, 2, 3, 5]


async def test_no_longer_holding_lets_go_on_what_a_failure_held_up(
    api: Api, process: Process
) -> None:
    async with Endpoint(refusing(2)) as endpoint:
        webhook_id, _ = await _held_up(process, api.admin_id, endpoint.url)
        await api.http.patch(f"/api/admin/webhooks/{webhook_id}", json={"onGiveUp": "skip"})
        await until(api.database, all_in("success", "failed"))
    assert sequences(endpoint.arrivals) == [1, 2, 4, 3, 5]


@pytest.mark.parametrize("there_and_back", [False, True])
async def test_an_order_given_up_lets_everything_go(
    api: Api, process: Process, *, there_and_back: bool
) -> None:
    async with Endpoint(refusing(2)) as endpoint:
        webhook_id, _ = await _held_up(process, api.admin_id, endpoint.url)
        path = f"/api/admin/webhooks/{webhook_id}"
        await api.http.patch(path, json={"ordering": "none", "onGiveUp": "skip"})
        if there_and_back:
            await api.http.patch(path, json={"ordering": "user"})
        await until(api.database, all_in("success", "failed"))
    assert sorted(sequences(endpoint.arrivals)) == [1, 2, 3, 4, 5]


async def test_what_waits_is_lined_up_when_an_order_is_asked_for(
    api: Api, process: Process
) -> None:
    async with Endpoint() as endpoint:
        webhook_id = await subscribe(
            process, api.admin_id, endpoint.url, ordering="none", active=False
        )
        await emit(api.database, api.admin_id, [changed("usr_1", n) for n in range(1, 21)])
        path = f"/api/admin/webhooks/{webhook_id}"
        await api.http.patch(path, json={"ordering": "user"})
        await api.http.patch(path, json={"active": True})
        await until(api.database, all_in("success"))
    assert sequences(endpoint.arrivals) == list(range(1, 21))


async def test_an_order_asked_for_while_something_is_in_flight_holds_up_nothing(
    api: Api, process: Process
) -> None:
    async with Endpoint(delay=0.5) as endpoint:
        webhook_id = await subscribe(process, api.admin_id, endpoint.url, ordering="none")
        await emit(api.database, api.admin_id, [changed("usr_1", 1)])
        await endpoint.wait_for(1)
        await api.http.patch(f"/api/admin/webhooks/{webhook_id}", json={"ordering": "user"})
        await emit(api.database, api.admin_id, [changed("usr_1", n) for n in (2, 3)])
        await until(api.database, all_in("success"))
    assert sequences(endpoint.arrivals) == [1, 2, 3]


async def test_what_holds_up_a_line_is_kept_however_old(api: Api, process: Process) -> None:
    mended = False

    def answer(arrival: Arrival) -> web.Response:
        return web.Response(status=200 if mended or sequences([arrival]) != [2] else 500)

    async with Endpoint(answer) as endpoint:
        _, ids = await _held_up(process, api.admin_id, endpoint.url)
        in_a_year = Retention.of(
            process.database, process.settings, lambda: system_clock() + timedelta(days=365)
        )
        await in_a_year.prune(pauses=0)
        mended = True
        again = await api.http.post(f"/api/admin/deliveries/{ids[1]}/resend")
        assert again.json()["attempt"]["status"] == "success"
        await until(api.database, all_in("success"))
    assert sequences(endpoint.arrivals)[-2:] == [3, 5]


async def test_one_users_backlog_holds_up_nobody_else(process: Process, admin_id: str) -> None:
    """What is due of the others is found behind a long line by the first claims."""
    async with Endpoint(refusing(1)) as endpoint:
        await subscribe(process, admin_id, endpoint.url, retry_delay=3600)
        await emit(process.database, admin_id, [changed("usr_1", n) for n in range(1, 901)])
        await emit(process.database, admin_id, [changed("usr_2", 1000)])
        async with process.running(deliver=True):
            await endpoint.wait_for(2)
        assert sequences(endpoint.arrivals) == [1, 1000]
        parked = [row for row in await deliveries(process.database) if _is_parked(row)]
    assert len(parked) == 899


async def test_deactivating_and_activating_keeps_the_order(api: Api, process: Process) -> None:
    async with Endpoint(refusing(1, times=1)) as endpoint:
        webhook_id = await subscribe(process, api.admin_id, endpoint.url, retry_delay=3600)
        await emit(api.database, api.admin_id, [changed("usr_1", n) for n in (1, 2, 3)])
        await until(api.database, lambda rows: rows[0].status == "retrying")
        path = f"/api/admin/webhooks/{webhook_id}"
        await api.http.patch(path, json={"active": False})
        assert {row.status for row in await deliveries(api.database)} == {"held"}
        await api.http.patch(path, json={"active": True})
        await until(api.database, all_in("success"))
    assert sequences(endpoint.arrivals) == [1, 1, 2, 3]


async def test_a_line_that_stands_still_is_found(
    process: Process, admin_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STALLED_SECONDS", 0.05)
    async with Endpoint() as endpoint:
        await subscribe(process, admin_id, endpoint.url)
        users = [f"usr_{n}" for n in range(30)]
        for number in (1, 2):
            await emit(process.database, admin_id, [changed(user, number) for user in users])
        async with process.database.system_transaction() as session:
            await session.execute(update(WebhookDelivery).values(due_at=None))
        async with process.running(deliver=True):
            await until(process.database, all_in("success"))
    assert sorted(sequences(endpoint.arrivals)) == [*[1] * 30, *[2] * 30]


async def test_an_event_that_is_no_longer_kept_holds_up_nothing(
    process: Process, admin_id: str
) -> None:
    async with Endpoint() as endpoint:
        await subscribe(process, admin_id, endpoint.url, on_give_up="hold")
        ids = await emit(process.database, admin_id, [changed("usr_1", n) for n in (1, 2)])
        async with process.database.transaction(admin_id) as session:
            first = update(WebhookEvent).where(WebhookEvent.id == ids[0])
            await session.execute(first.values(body=b""))
        async with process.running(deliver=True):
            await until(process.database, all_in("success", "failed"))
    assert sequences(endpoint.arrivals) == [2]


@pytest.mark.parametrize(("field", "asked"), [("coalesce", True), ("onGiveUp", "hold")])
async def test_what_goes_by_lines_needs_an_order(api: Api, field: str, asked: object) -> None:
    webhook = {"url": "http://127.0.0.1:9/", "events": ["*"], field: asked}
    refused = await api.http.post("/api/admin/webhooks", json=webhook)
    assert refused.status_code == 400
    assert refused.json()["details"][0]["field"] == field
    made = await api.http.post("/api/admin/webhooks", json={**webhook, "ordering": "user"})
    assert made.json()["webhook"][field] == asked
    path = f"/api/admin/webhooks/{made.json()['webhook']['id']}"
    refused = await api.http.patch(path, json={"ordering": "none"})
    assert refused.status_code == 400
