"""A replay sends past deliveries again, without getting in the way, to its end and only once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import select, update

from flowkick.app import Process
from flowkick.core.clock import isoformat, system_clock
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookDelivery, WebhookEvent
from flowkick.jobs.models import Job
from flowkick.replays import past, pump
from flowkick.replays.past import Place, Wanted
from flowkick.storage.database import Database
from flowkick.webhooks import payloads, samples
from flowkick.webhooks.outbox import Draft
from tests.conftest import client, new_admin
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import all_in, create_subscription, emit, until, user_created
from tests.support.server import Api, running_server


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(pump, "_PAUSE_SECONDS", 0.05)


def tag_added() -> Draft:
    return Draft("tag.added", payloads.TagChanged(samples.USER, samples.TAG), samples.USER.id, 1)


async def subscribe(api: Api, endpoint: Endpoint, **fields: Any) -> str:
    hook = {"url": endpoint.url, "events": ["*"], "retryAttempts": 0, **fields}
    made = await api.http.post("/api/admin/webhooks", json=hook)
    assert made.status_code == 201, made.text
    return str(made.json()["webhook"]["id"])


async def replay(api: Api, webhook_id: str, expected: int = 202, /, **body: Any) -> dict[str, Any]:
    answer = await api.http.post(f"/api/admin/webhooks/{webhook_id}/replay", json=body)
    assert answer.status_code == expected, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ended(api: Api, webhook_id: str, job_id: str, kind: str = "replay") -> dict[str, Any]:
    """The replay when it is at its end and nothing of it waits."""
    async with asyncio.timeout(60):
        while True:
            path = f"/api/admin/webhooks/{webhook_id}/{kind}s/{job_id}"
            shown: dict[str, Any] = (await api.http.get(path)).json()[kind]
            if shown["status"] not in {"queued", "running"} and not shown["waiting"]:
                return shown
            await asyncio.sleep(0.02)


def fails_for(names: set[str]) -> Any:
    return lambda arrival: web.Response(status=500 if arrival.event in names else 200)


async def test_what_failed_is_sent_again_with_the_same_bytes_and_ids(api: Api) -> None:
    async with Endpoint(fails_for({"tag.added"})) as endpoint:
        webhook_id = await subscribe(api, endpoint)
        await emit(api.database, api.admin_id, [user_created(n) for n in range(3)])
        failed = await emit(api.database, api.admin_id, [tag_added() for _ in range(5)])
        await until(api.database, all_in("success", "failed"))
        await api.http.post(f"/api/admin/webhooks/{webhook_id}/test")
        counted = await replay(api, webhook_id, 200, status="failed", dryRun=True)
        assert (counted["count"], counted["replay"]) == (5, None)
        assert (await replay(api, webhook_id, 200, dryRun=True))["count"] == 8  # not the test
        assert len(endpoint.arrivals) == 9
        first = {one.event_id: one.body for one in endpoint.arrivals}
        endpoint.answer = fails_for(set())
        started = await replay(api, webhook_id, status="failed")
        assert started["count"] == 5
        done = await ended(api, webhook_id, started["replay"]["id"])
        assert (done["status"], done["queued"], done["delivered"]) == ("completed", 5, 5)
        again = endpoint.arrivals[9:]
    assert sorted(one.event_id for one in again) == sorted(failed)
    assert all(one.body == first[one.event_id] for one in again)
    # They have succeeded since.
    assert (await replay(api, webhook_id, 200, status="failed", dryRun=True))["count"] == 0
    listed = (await api.http.get(f"/api/admin/webhooks/{webhook_id}/replays")).json()
    assert [one["id"] for one in listed["replays"]] == [done["id"]]
    log = f"/api/admin/webhooks/{webhook_id}/deliveries"
    of_jobs = [one["jobId"] for one in (await api.http.get(log)).json()["deliveries"]]
    assert Counter(of_jobs) == {done["id"]: 5, None: 9}


async def test_filters_choose_and_what_is_not_kept_is_counted(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook_id = await subscribe(api, endpoint)
        users = await emit(api.database, api.admin_id, [user_created(n) for n in range(4)])
        await asyncio.sleep(0.005)
        moment = isoformat(system_clock())
        await asyncio.sleep(0.005)
        tags = await emit(api.database, api.admin_id, [tag_added() for _ in range(3)])
        await until(api.database, all_in("success"))
        async with api.database.transaction(api.admin_id) as session:
            await session.execute(
                update(WebhookEvent).where(WebhookEvent.id == tags[1]).values(body=b""),
                execution_options={"synchronize_session": False},
            )
        for body, expected in (
            ({}, (6, 1)),
            ({"events": ["user.*"]}, (4, 0)),
            ({"since": moment}, (2, 1)),
            ({"until": moment}, (4, 0)),
            ({"until": moment, "events": ["tag.added"]}, (0, 0)),
            ({"status": "failed"}, (0, 0)),
            ({"since": moment, "status": "success", "events": ["*"]}, (2, 1)),
        ):
            counted = await replay(api, webhook_id, 200, **body, dryRun=True)
            assert (counted["count"], counted["removed"]) == expected, body
        started = await replay(api, webhook_id, since=moment)
        done = await ended(api, webhook_id, started["replay"]["id"])
        assert (done["queued"], done["removed"]) == (2, 1)
        again = sorted(one.event_id for one in endpoint.arrivals[7:])
        assert again == sorted([tags[0], tags[2]])
        assert users[0] not in again
    wrong: dict[str, Any]
    for wrong in (
        {"status": "pending"},
        {"events": []},
        {"events": ["nothing.here"]},
        {"rate": 0},
        {"since": "yesterday"},
        {"since": "2026-01-02", "until": "2026-01-01"},
        {"dryrun": True},
    ):
        refused = await replay(api, webhook_id, 400, **wrong)
        assert refused["code"] == "invalid_input"


async def test_a_stretch_without_a_match_ends_nothing(
    database: Database, settings: Settings
) -> None:
    admin_id, _ = await new_admin(database)
    webhook_id = await create_subscription(
        database, settings.key_ring, admin_id, "http://127.0.0.1:9", events=["user.*"]
    )
    await emit(database, admin_id, [tag_added() for _ in range(25)])
    (wanted_id,) = await emit(database, admin_id, [user_created()])
    async with database.transaction(admin_id) as session:
        await session.execute(update(WebhookDelivery).values(status="failed", due_at=None))
    wanted = Wanted(webhook_id, None, system_clock(), ["failed"], ["user.created", "tag.added"])
    place: Place | None = None
    found: list[tuple[str, str]] = []
    async with database.reading(admin_id) as session:
        for _ in range(10):
            part = await past.find(session, wanted, place, limit=5, stretch=10)
            found += part.events
            if (place := part.place) is None:
                break
    assert found == [(wanted_id, "user.created")]
    assert place is None


async def test_live_events_never_wait_behind_more_than_a_few_of_a_replay(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook_id = await subscribe(api, endpoint)
        await emit(api.database, api.admin_id, [user_created()] * 700)
        await until(api.database, all_in("success"))
        endpoint.delay = 0.02
        started = await replay(api, webhook_id)
        most = 0
        while (shown := await _shown(api, webhook_id, started))["status"] != "completed":
            most = max(most, shown["waiting"])
        assert 0 < most <= pump.MOST_WAITING
        await ended(api, webhook_id, started["replay"]["id"])
        counts = Counter(one.event_id for one in endpoint.arrivals)
    assert set(counts.values()) == {2}


async def _shown(api: Api, webhook_id: str, started: dict[str, Any]) -> dict[str, Any]:
    path = f"/api/admin/webhooks/{webhook_id}/replays/{started['replay']['id']}"
    shown: dict[str, Any] = (await api.http.get(path)).json()["replay"]
    return shown


async def test_a_rate_a_second_job_and_a_cancellation(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook_id = await subscribe(api, endpoint)
        await emit(api.database, api.admin_id, [user_created()] * 60)
        await until(api.database, all_in("success"))
        started = await replay(api, webhook_id, rate=20)
        job_id = started["replay"]["id"]
        busy = await replay(api, webhook_id, 409)
        assert job_id in busy["error"]
        backfill = await api.http.post(f"/api/admin/webhooks/{webhook_id}/backfill", json={})
        assert backfill.status_code == 409
        await endpoint.wait_for(62)
        path = f"/api/admin/webhooks/{webhook_id}/replays/{job_id}/cancel"
        cancelled = (await api.http.post(path)).json()["replay"]
        assert cancelled["status"] == "cancelled"
        assert 0 < cancelled["queued"] < 60
        assert (await api.http.post(path)).status_code == 409
        done = await ended(api, webhook_id, job_id)
        assert done["queued"] == done["delivered"] + done["failed"]
        await replay(api, webhook_id)  # there is room for another


async def test_an_inactive_subscription_is_waited_for_and_a_deleted_one_is_not(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook_id = await subscribe(api, endpoint)
        await emit(api.database, api.admin_id, [user_created()] * 5)
        await until(api.database, all_in("success"))
        path = f"/api/admin/webhooks/{webhook_id}"
        await api.http.patch(path, json={"active": False})
        started = await replay(api, webhook_id)
        await asyncio.sleep(0.5)  # time enough to do it wrongly
        assert len(endpoint.arrivals) == 5
        shown = await _shown(api, webhook_id, started)
        assert (shown["status"], shown["queued"]) in {("running", 0), ("queued", 0)}
        await api.http.patch(path, json={"active": True})
        await ended(api, webhook_id, started["replay"]["id"])
        assert len(endpoint.arrivals) == 10
        await api.http.patch(path, json={"active": False})
        started = await replay(api, webhook_id)
        await api.http.delete(path)
    async with asyncio.timeout(60):
        while (job := await _job(api, started))["status"] not in {"failed", "completed"}:
            await asyncio.sleep(0.02)
    assert job == {"status": "failed", "error": "The subscription was deleted."}


async def _job(api: Api, started: dict[str, Any]) -> dict[str, Any]:
    async with api.database.reading(api.admin_id) as session:
        job = await session.scalar(select(Job).where(Job.id == started["replay"]["id"]))
        assert job is not None
        return {"status": job.status, "error": job.error}


async def test_a_replay_goes_on_where_a_stopped_worker_left_it(
    settings: Settings, database: Database
) -> None:
    admin_id, key = await new_admin(database)
    seen: list[Arrival] = []
    async with Endpoint() as endpoint:
        webhook_id = await create_subscription(
            database, settings.key_ring, admin_id, endpoint.url, timeout_ms=20_000
        )
        process = Process(settings)
        async with running_server(process) as url, client(url, key) as http:
            await emit(database, admin_id, [user_created()] * 500)
            await until(database, all_in("success"))
            seen, endpoint.arrivals = endpoint.arrivals, []
            path = f"/api/admin/webhooks/{webhook_id}/replay"
            started = (await http.post(path, json={"rate": 200})).json()["replay"]
            await endpoint.wait_for(50)
        assert len(endpoint.arrivals) < 500
        async with running_server(Process(settings)) as url, client(url, key) as http:
            api = Api(url, admin_id, key, http, database)
            done = await ended(api, webhook_id, started["id"])
    assert (done["status"], done["queued"], done["delivered"]) == ("completed", 500, 500)
    assert sorted(one.event_id for one in endpoint.arrivals) == sorted(one.event_id for one in seen)
