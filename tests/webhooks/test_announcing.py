"""Operators are told of webhooks that fail: once, by others, and never in a circle."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import jsonschema_rs
import pytest_asyncio
from aiohttp import web

from flowkick.app import Process
from flowkick.core.settings import Settings
from flowkick.delivery.signing import verify_body
from flowkick.storage.database import Database
from flowkick.webhooks.catalogue import CATALOGUE, OPERATIONAL
from flowkick.webhooks.outbox import Draft
from tests.conftest import client, new_admin
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import (
    SECRET,
    all_in,
    create_subscription,
    emit,
    subscription,
    until,
    user_created,
)
from tests.support.server import running_server

MACHINERY = ["subscription.*", "delivery.failed"]


class Mood:
    """The answers of an endpoint, which a test changes."""

    def __init__(self, status: int) -> None:
        self.status = status

    def __call__(self, _arrival: Arrival) -> web.Response:
        return web.Response(status=self.status, text="jane@example.com")


@pytest_asyncio.fixture
async def running(settings: Settings, database: Database) -> AsyncIterator[Process]:
    """A process that calls two failures in a row failing."""
    del database  # it is migrated
    process = Process(settings.model_copy(update={"failing_after": 2}))
    async with process.running(deliver=True):
        yield process


async def subscribe(process: Process, admin_id: str, url: str, **values: Any) -> str:
    return await create_subscription(
        process.database, process.settings.key_ring, admin_id, url, **values
    )


def names(endpoint: Endpoint) -> list[str]:
    return [arrival.event for arrival in endpoint.arrivals]


async def test_a_webhook_that_fails_and_works_again_is_told_of_to_others_who_ask(
    running: Process,
) -> None:
    admin_id, _ = await new_admin(running.database)
    other_id, _ = await new_admin(running.database)
    mood = Mood(500)
    async with Endpoint(answer=mood) as broken, Endpoint() as watching, Endpoint() as all_else:
        about = await subscribe(
            running, admin_id, broken.url, events=["*", *MACHINERY], retry_attempts=1, name="My CRM"
        )
        await subscribe(running, admin_id, watching.url, events=MACHINERY)
        await subscribe(running, admin_id, all_else.url, events=["*"])
        await subscribe(running, other_id, all_else.url, events=MACHINERY)
        (event_id,) = await emit(running.database, admin_id, [user_created()])
        await watching.wait_for(2)
        await until(running.database, all_in("success", "failed"))
        mood.status = 200
        await emit(running.database, admin_id, [user_created(2)])
        await watching.wait_for(3)
        rows = await until(running.database, all_in("success", "failed"))
    assert Counter(names(watching)) == Counter(
        ["subscription.failing", "delivery.failed", "subscription.recovered"]
    )
    assert set(names(broken)) == set(names(all_else)) == {"user.created"}
    told = {arrival.event: arrival.json() for arrival in watching.arrivals}
    failing, recovered = told["subscription.failing"], told["subscription.recovered"]
    since = failing["data"]["failingSince"]
    webhook = {"webhookId": about, "webhookName": "My CRM"}
    assert failing["data"] == {
        **webhook,
        "failingSince": since,
        "consecutiveFailures": 2,
        "outcome": "response",
        "statusCode": 500,
    }
    assert recovered["data"] == {**webhook, "failingSince": since}
    (lost,) = [row for row in rows if row.status == "failed"]
    assert told["delivery.failed"]["data"] == {
        **webhook,
        "deliveryId": str(lost.id),
        "event": "user.created",
        "eventId": event_id,
        "attempts": 2,
        "outcome": "response",
        "statusCode": 500,
    }
    for arrival in watching.arrivals:
        schema = CATALOGUE[arrival.event].json_schema()
        jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(arrival.json())
        assert arrival.json()["metadata"]["source"] == "engine"
        assert verify_body(SECRET, arrival.body, arrival.headers["x-webhook-signature"])
        assert not any(hidden in arrival.body for hidden in (b"@", b"127.0.0.1", SECRET.encode()))


async def test_a_webhook_that_is_deactivated_is_told_of_and_so_is_its_return(
    running: Process,
) -> None:
    admin_id, key = await new_admin(running.database)
    mood = Mood(500)
    async with Endpoint(answer=mood) as broken, Endpoint() as watching:
        about = await subscribe(
            running, admin_id, broken.url, events=["user.*"], auto_disable_after=1
        )
        gone = await subscribe(running, admin_id, broken.url, events=["tag.*"], retry_attempts=0)
        await subscribe(running, admin_id, watching.url, events=["subscription.*"])
        await emit(running.database, admin_id, [user_created()])
        await watching.wait_for(1)
        mood.status = 410
        tagged = Draft("tag.added", CATALOGUE["tag.added"].example_data, None, 0)
        await emit(running.database, admin_id, [tagged])
        await watching.wait_for(2)
        mood.status = 200
        async with running_server(Process(running.settings)) as url, client(url, key) as http:
            path = f"/api/admin/webhooks/{about}"
            assert (await http.patch(path, json={"active": True})).status_code == 200
            await watching.wait_for(3)
    first, second, third = (arrival.json() for arrival in watching.arrivals)
    reasons = [
        (told["event"], told["data"]["webhookId"], told["data"]["reason"])
        for told in (first, second)
    ]
    assert reasons == [
        ("subscription.disabled", about, "consecutive_failures"),
        ("subscription.disabled", gone, "gone"),
    ]
    assert (third["event"], third["data"]["webhookId"]) == ("subscription.recovered", about)
    assert third["data"]["failingSince"] == first["data"]["failingSince"]
    row = await subscription(running.database, about)
    assert row.failing_since is None
    assert row.recovered_at is not None


async def test_receivers_of_such_events_that_are_all_down_do_not_keep_each_other_busy(
    running: Process,
) -> None:
    admin_id, _ = await new_admin(running.database)
    async with Endpoint(answer=Mood(503)) as broken:
        for events in (["user.*"], MACHINERY, MACHINERY):
            await subscribe(running, admin_id, broken.url, events=events, retry_attempts=0)
        await emit(running.database, admin_id, [user_created(1), user_created(2)])
        rows = await until(running.database, all_in("failed"))
        settled = len(rows)
        rows = await until(running.database, all_in("failed"))
    assert len(rows) == settled
    count = Counter(row.event for row in rows)
    # Both are told of the two deliveries, and of the first webhook; and each of the other.
    assert count == {"user.created": 2, "delivery.failed": 2 * 2, "subscription.failing": 2 + 2}


async def test_the_feed_gives_them_to_those_who_name_them(
    running: Process,
) -> None:
    admin_id, key = await new_admin(running.database)
    async with Endpoint(answer=Mood(500)) as broken:
        await subscribe(running, admin_id, broken.url, retry_attempts=0)
        await emit(running.database, admin_id, [user_created(1), user_created(2)])
        await until(running.database, all_in("failed"))
        async with running_server(Process(running.settings)) as url, client(url, key) as http:
            given = {
                types: [
                    body["event"]
                    for body in (
                        await http.get(
                            "/api/admin/events", params={"types": types} if types else {}
                        )
                    ).json()["events"]
                ]
                for types in ("", "*", "delivery.*", "*,subscription.*")
            }
    assert given[""] == given["*"] == ["user.created"] * 2
    assert given["delivery.*"] == ["delivery.failed"] * 2
    assert sorted(given["*,subscription.*"]) == ["subscription.failing", *["user.created"] * 2]


async def test_an_event_of_the_machinery_reaches_nobody_who_asks_for_all(
    database: Database, settings: Settings
) -> None:
    admin_id, _ = await new_admin(database)
    wanted = [["*"], ["user.*"], ["*", "subscription.*"], sorted(OPERATIONAL)]
    made = [
        await create_subscription(
            database, settings.key_ring, admin_id, "http://127.0.0.1:9/", events=events
        )
        for events in wanted
    ]
    failing = CATALOGUE["subscription.failing"]
    await emit(database, admin_id, [Draft(failing.name, failing.example_data, None, 0)])
    rows = await until(database, all_in("pending"))
    assert [row.subscription_id for row in rows] == made[2:]
