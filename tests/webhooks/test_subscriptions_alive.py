"""Subscriptions while the engine runs: what is asked for over HTTP is what arrives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.delivery.signing import verify_body, verify_standard
from tests.support import factories
from tests.support.endpoint import Arrival, Endpoint
from tests.support.server import Api
from tests.users.recorded import create as create_user
from tests.webhooks.test_subscriptions import PATH, create, get


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With the engine."""
    return settings.model_copy(update={"worker": True})


async def patch(api: Api, webhook: dict[str, Any], **values: Any) -> dict[str, Any]:
    answer = await api.http.patch(f"{PATH}/{webhook['id']}", json=values)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_what_was_held_arrives_when_it_is_released_in_its_order(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook = await create(api, url=endpoint.url, events=["user.*", "tag.added"])
        await patch(api, webhook, active=False)
        user = await create_user(api.http, firstName="A")
        path = f"/api/admin/users/{user['id']}"
        await api.http.patch(path, json={"firstName": "B", "tags": ["vip"]})
        await api.http.delete(f"{path}/tags/vip")  # not subscribed to
        await asyncio.sleep(0.3)
        assert endpoint.arrivals == []
        assert {row["status"] for row in (await get(api, webhook))["deliveries"]} == {"held"}
        assert (await patch(api, webhook, active=True, held="release"))["released"] == 3
        arrivals = await endpoint.wait_for(3)
        await factories.until(api.database, factories.all_in("success"))
    assert {a.event for a in arrivals} == {"user.created", "user.updated", "tag.added"}
    shown = await get(api, webhook)
    assert (shown["successCount"], shown["failedCount"]) == (3, 0)
    assert shown["lastDeliveryStatus"] == "success"
    assert shown["lastDeliveryAt"]
    assert len(shown["deliveries"]) == 3
    for row in shown["deliveries"]:
        (arrival,) = [a for a in arrivals if a.event_id == row["eventId"]]
        assert row["payload"] == arrival.json()
        assert row["payloadSizeBytes"] == len(arrival.body)
        assert (row["statusCode"], row["attempt"]) == (200, 1)
        assert verify_body(webhook["secret"], arrival.body, arrival.headers["x-webhook-signature"])


async def test_what_was_discarded_never_arrives_and_can_be_resent(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook = await create(api, url=endpoint.url, events=["user.*"], active=False)
        await create_user(api.http)
        assert (await patch(api, webhook, active=True, held="discard"))["discarded"] == 1
        second = await create_user(api.http)
        (arrival,) = await endpoint.wait_for(1)
        assert arrival.json()["data"]["user"]["id"] == second["id"]
        await factories.until(api.database, factories.all_in("success", "failed"))
        discarded = (await get(api, webhook))["deliveries"][1]
        assert discarded["status"] == "failed"
        answer = await api.http.post(f"/api/admin/deliveries/{discarded['id']}/resend")
        assert answer.json()["attempt"]["status"] == "success"
    shown = (await api.http.get(f"/api/admin/deliveries/{discarded['id']}")).json()["delivery"]
    assert shown["status"] == "success"
    assert endpoint.arrivals[1].event_id == discarded["eventId"]


async def test_a_deleted_subscription_gets_nothing_more(api: Api) -> None:
    def failing(_arrival: Arrival) -> web.Response:
        return web.Response(status=500)

    async with Endpoint(failing) as endpoint:
        webhook = await create(api, url=endpoint.url, events=["*"], retryDelay=1)
        await create_user(api.http)
        await factories.until(api.database, factories.all_in("retrying"))
        await api.http.delete(f"{PATH}/{webhook['id']}")
        (row,) = await factories.deliveries(api.database)
        await create_user(api.http)
        await asyncio.sleep(1.5)
    assert len(endpoint.arrivals) == 1
    assert [r.status for r in await factories.deliveries(api.database)] == ["failed"]
    log = (await api.http.get(f"/api/admin/deliveries/{row.id}")).json()["delivery"]
    assert [attempt["statusCode"] for attempt in log["attempts"]] == [500]


async def test_a_resend_beside_the_schedule_leaves_the_retry_to_come(api: Api) -> None:
    async with Endpoint(lambda _: web.Response(status=500)) as endpoint:
        webhook = await create(api, url=endpoint.url, events=["*"], retryDelay=2)
        await create_user(api.http)
        (row,) = await factories.until(api.database, factories.all_in("retrying"))
        endpoint.answer = lambda _: web.Response()
        answer = await api.http.post(f"/api/admin/deliveries/{row.id}/resend")
        assert answer.json()["attempt"]["status"] == "success"
        (waiting,) = await factories.deliveries(api.database)
        assert (waiting.status, waiting.due_at) == ("retrying", row.due_at)
        await factories.until(api.database, factories.all_in("success"))
    assert len({arrival.body for arrival in endpoint.arrivals}) == 1
    assert len({arrival.event_id for arrival in endpoint.arrivals}) == 1
    assert len(endpoint.arrivals) == 3
    log = (await api.http.get(f"/api/admin/deliveries/{row.id}")).json()["delivery"]
    assert [attempt["trigger"] for attempt in log["attempts"]] == [
        "automatic",
        "resend",
        "automatic",
    ]
    assert [attempt["attempt"] for attempt in log["attempts"]] == [1, 2, 3]
    assert (await get(api, webhook))["successCount"] == 1


async def test_events_are_signed_with_both_secrets_while_they_overlap(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook = await create(api, url=endpoint.url, events=["*"])
        rotated = await api.http.post(
            f"{PATH}/{webhook['id']}/rotate-secret", json={"overlapHours": 168}
        )
        await create_user(api.http)
        (arrival,) = await endpoint.wait_for(1)
    secrets = [webhook["secret"], rotated.json()["webhook"]["secret"]]
    for secret in secrets:
        assert verify_standard(secret, arrival.headers, arrival.body, system_clock())
    assert verify_body(secrets[0], arrival.body, arrival.headers["x-webhook-signature"])
    assert not verify_standard("0" * 64, arrival.headers, arrival.body, system_clock())


async def test_a_receiver_that_is_too_slow_fails_the_test_call_in_its_time(api: Api) -> None:
    async with Endpoint(delay=120) as endpoint:
        webhook = await create(api, url=endpoint.url, timeoutMs=1000)
        answer = await api.http.post(f"{PATH}/{webhook['id']}/test")
    test = answer.json()["test"]
    assert (test["sent"], test["status"], test["statusCode"]) == (True, "failed", None)
    assert 900 <= test["responseTime"] < 60_000  # far from the time that the receiver takes
    assert test["error"]
