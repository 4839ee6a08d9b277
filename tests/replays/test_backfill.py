"""A receiver that starts empty ends with what we have, whatever changes while it is filled."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from aiohttp import web

from flowkick.app import Process
from flowkick.core.settings import Settings
from flowkick.replays import pump
from flowkick.storage.database import Database
from flowkick.webhooks.catalogue import CATALOGUE
from tests.conftest import client, new_admin
from tests.feed.test_reconcile import documented_hash, states
from tests.replays.test_replay import ended, subscribe
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import deliveries, until
from tests.support.server import Api, running_server

DOCS = Path(__file__).parents[2] / "docs" / "receivers.md"
USERS = "/api/admin/users"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(pump, "_PAUSE_SECONDS", 0.05)


def documented_rule() -> Callable[[dict[str, Any], dict[str, Any]], None]:
    names: dict[str, Any] = {}
    (found,) = (
        part
        for part in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if "def apply" in part
    )
    exec(found, names)  # noqa: S102  # the docs' own lines
    rule: Callable[[dict[str, Any], dict[str, Any]], None] = names["apply"]
    return rule


async def make_users(http: httpx.AsyncClient, count: int) -> list[str]:
    people = [
        {"manychatId": str(n), "firstName": f"Zoë {n}", "tags": ["vip"] if n % 3 else []}
        for n in range(count)
    ]
    answer = await http.post(f"{USERS}/batch", json={"users": people})
    return [one["id"] for one in answer.json()["results"]]


async def backfill(http: httpx.AsyncClient, webhook_id: str, **body: Any) -> dict[str, Any]:
    answer = await http.post(f"/api/admin/webhooks/{webhook_id}/backfill", json=body)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()["backfill"]
    return found


async def change_for_a_while(
    http: httpx.AsyncClient, ids: list[str], luck: random.Random, done: asyncio.Event
) -> None:
    """What goes on while a backfill runs: changes, deletions, and new users."""
    for turn in range(10_000):
        if done.is_set():
            return
        user = f"{USERS}/{luck.choice(ids)}"
        what = luck.random()
        if what < 0.5:
            await http.patch(user, json={"email": f"{turn}@example.com", "tags": [f"t{turn % 5}"]})
        elif what < 0.7:
            await http.delete(f"{user}/tags/vip")
        elif what < 0.9:
            await http.put(f"{user}/custom-fields/f", json={"value": str(turn)})
        elif what < 0.95:
            await http.delete(user)
        else:
            await http.post(USERS, json={"firstName": f"new {turn}"})


def fits_its_schema(arrival: Arrival) -> bool:
    schema = CATALOGUE[arrival.event].json_schema()
    return jsonschema_rs.Draft202012Validator(schema).is_valid(arrival.json())


async def test_a_receiver_is_filled_while_users_change(api: Api) -> None:
    rule, hashed, luck = documented_rule(), documented_hash(), random.Random(7)
    ids = await make_users(api.http, 250)

    def sometimes_fail(_arrival: Arrival) -> web.Response:
        return web.Response(status=503 if luck.random() < 0.05 else 200)

    async with Endpoint(sometimes_fail) as endpoint:
        webhook_id = await subscribe(api, endpoint, retryAttempts=10, retryDelay=1)
        done = asyncio.Event()
        changing = [
            asyncio.create_task(change_for_a_while(api.http, ids, random.Random(n), done))
            for n in range(2)
        ]
        await asyncio.sleep(0)
        started = await backfill(api.http, webhook_id, rate=1000)
        shown = await ended(api, webhook_id, started["id"], "backfill")
        done.set()
        await asyncio.gather(*changing)
        ours = {id_: digest for id_, (_, digest) in (await states(api)).items()}
        contacts: dict[str, Any] = {}
        async with asyncio.timeout(60):
            while True:  # until what was changed last has arrived, retried ones included
                arrivals = list(endpoint.arrivals)
                contacts = {}
                for arrival in arrivals:
                    rule(contacts, arrival.json())
                kept = {i: hashed(c["user"]) for i, c in contacts.items() if not c["deleted"]}
                if kept == ours:
                    break
                await asyncio.sleep(0.1)
    assert shown["status"] == "completed"
    # Who is erased while their state waits is not sent any more.
    erased = [one for one in await deliveries(api.database) if "erased" in (one.note or "")]
    unsent = sum(one.job_id == started["id"] for one in erased)
    assert shown["queued"] == shown["delivered"] + unsent
    sent = [one for one in arrivals if one.json()["metadata"]["source"] == "backfill"]
    assert all(map(fits_its_schema, sent))
    first, last = sent[0].json(), sent[-1].json()
    assert (first["event"], last["event"]) == ("backfill.started", "backfill.completed")
    assert last["data"] == {
        "backfillId": started["id"],
        "webhookId": webhook_id,
        "event": "user.created",
        "status": "completed",
        "count": shown["queued"],
        "delivered": shown["delivered"],
        "failed": unsent,
    }
    assert {one.event for one in sent[1:-1] if one.event != "backfill.started"} <= {
        "user.created",
        "backfill.completed",
    }


async def test_filters_choose_whom_it_sends_and_nobody_else_hears_of_it(api: Api) -> None:
    ids = await make_users(api.http, 30)
    async with Endpoint() as endpoint, Endpoint() as other:
        webhook_id = await subscribe(api, endpoint, events=["qr.*"])
        await subscribe(api, other)
        started = await backfill(api.http, webhook_id, filters={"hasTag": ["VIP"]})
        assert started["count"] == 20
        assert started["filters"] == {"hasTag": ["VIP"]}
        await ended(api, webhook_id, started["id"], "backfill")
        users = [one.json() for one in (await endpoint.wait_for(22))[1:-1]]
        assert sorted(one["data"]["user"]["id"] for one in users) == sorted(
            id_ for n, id_ in enumerate(ids) if n % 3
        )
        assert {one["metadata"]["sequence"] for one in users} == {1}
        feed = (await api.http.get("/api/admin/events", params={"wait": 1})).json()["events"]
        assert {one["metadata"]["source"] for one in feed} == {"api"}
        # It takes no numbers: the next change has the next one.
        await api.http.patch(f"{USERS}/{ids[1]}", json={"phone": "1"})
        (told,) = await other.wait_for(1)
        assert told.json()["metadata"]["sequence"] == 2
        listed = (await api.http.get(f"/api/admin/webhooks/{webhook_id}/backfills")).json()
        assert [one["id"] for one in listed["backfills"]] == [started["id"]]
        wrongs: tuple[dict[str, Any], ...] = (
            {"events": "tag.added"},
            {"filters": {"hasTags": ["x"]}},
            {"filters": {"sortBy": "createdAt"}},
            {"rate": 1001},
        )
        for wrong in wrongs:
            path = f"/api/admin/webhooks/{webhook_id}/backfill"
            refused = await api.http.post(path, json=wrong)
            assert refused.status_code == 400, wrong
        for subscribed in ("backfill.started", "backfill.*"):
            hook = {"url": endpoint.url, "events": [subscribed]}
            assert (await api.http.post("/api/admin/webhooks", json=hook)).status_code == 400


async def test_a_cancelled_one_says_so_and_a_stopped_worker_is_followed_by_another(
    settings: Settings, database: Database
) -> None:
    admin_id, key = await new_admin(database)
    async with Endpoint() as endpoint:
        async with running_server(Process(settings)) as url, client(url, key) as http:
            api = Api(url, admin_id, key, http, database)
            ids = await make_users(http, 300)
            webhook_id = await subscribe(api, endpoint)
            started = await backfill(http, webhook_id, rate=200)
            await endpoint.wait_for(40)
        async with running_server(Process(settings)) as url, client(url, key) as http:
            api = Api(url, admin_id, key, http, database)
            done = await ended(api, webhook_id, started["id"], "backfill")
            assert (done["status"], done["queued"], done["delivered"]) == ("completed", 300, 300)
            sent = [
                one.json()["data"]["user"]["id"] for one in (await endpoint.wait_for(302))[1:-1]
            ]
            assert sorted(sent) == sorted(ids)
            endpoint.arrivals.clear()
            again = await backfill(http, webhook_id, rate=50)
            await endpoint.wait_for(5)
            path = f"/api/admin/webhooks/{webhook_id}/backfills/{again['id']}/cancel"
            assert (await http.post(path)).json()["backfill"]["status"] == "cancelled"
            async with asyncio.timeout(60):
                while endpoint.arrivals[-1].event != "backfill.completed":
                    await asyncio.sleep(0.01)
            last = endpoint.arrivals[-1].json()
    assert last["data"]["status"] == "cancelled"
    assert last["data"]["count"] < 300


async def test_a_backfill_ends_although_a_failure_holds_up_some_of_it(api: Api) -> None:
    def answer(arrival: Arrival) -> web.Response:
        user = arrival.json()["data"].get("user")
        return web.Response(status=500 if user and user["manychatId"] == "0" else 200)

    async with Endpoint(answer) as endpoint:
        webhook_id = await subscribe(api, endpoint, ordering="user", onGiveUp="hold")
        await make_users(api.http, 3)
        await until(api.database, lambda rows: [row.status for row in rows].count("failed") == 1)
        started = await backfill(api.http, webhook_id)
        await endpoint.wait_for(7)
        path = f"/api/admin/webhooks/{webhook_id}/backfills/{started['id']}"
        shown = (await api.http.get(path)).json()["backfill"]
    assert [shown[name] for name in ("queued", "delivered", "failed", "waiting")] == [3, 2, 0, 1]
    assert endpoint.arrivals[-1].event == "backfill.completed"
    told = endpoint.arrivals[-1].json()["data"]
    assert [told[name] for name in ("count", "delivered", "failed")] == [3, 2, 0]
