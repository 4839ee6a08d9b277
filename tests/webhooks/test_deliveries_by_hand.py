"""Requests that somebody asks for: tests of a subscription, and resends of a delivery."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy.exc import IntegrityError

from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.delivery.signing import body_signature
from tests.support import factories
from tests.support.endpoint import Arrival, Endpoint
from tests.support.ports import free_port
from tests.support.server import Api
from tests.webhooks.test_deliveries import change, emit, log_attempt
from tests.webhooks.test_subscriptions import PATH, create, get


def failing(_arrival: Arrival) -> web.Response:
    return web.Response(status=500, text="Oh no")


async def send_test(api: Api, webhook: dict[str, Any]) -> dict[str, Any]:
    response = await api.http.post(f"{PATH}/{webhook['id']}/test")
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert set(answer) == {"success", "test", "message"}
    assert answer["success"] is True
    assert set(answer["test"]) == {"sent", "status", "statusCode", "responseTime", "error"}
    test: dict[str, Any] = answer["test"]
    return test


async def resend(api: Api, delivery: dict[str, Any]) -> dict[str, Any]:
    response = await api.http.post(f"/api/admin/deliveries/{delivery['id']}/resend")
    assert response.status_code == 200, response.text
    attempt: dict[str, Any] = response.json()["attempt"]
    return attempt


async def one_delivery(api: Api, endpoint: Endpoint, **values: Any) -> dict[str, Any]:
    """The only delivery of a new subscription, as `values` say."""
    webhook = await create(api, url=endpoint.url, retryAttempts=0)
    await emit(api, 1)
    (delivery,) = (await get(api, webhook))["deliveries"]
    await change(api, delivery["id"], **values)
    shown: dict[str, Any] = (await get(api, webhook))["deliveries"][0]
    return shown


async def test_a_test_is_sent_signed_and_logged(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook = await create(api, url=endpoint.url, headers={"X-Token": "t1"})
        test = await send_test(api, webhook)
    assert (test["sent"], test["status"], test["statusCode"]) == (True, "delivered", 200)
    assert test["error"] is None
    assert test["responseTime"] >= 0
    (arrival,) = endpoint.arrivals
    assert arrival.event == "webhook.test"
    assert arrival.headers["x-token"] == "t1"
    assert arrival.headers["x-webhook-attempt"] == "1"
    assert arrival.headers["x-webhook-signature"] == body_signature(webhook["secret"], arrival.body)
    body = arrival.json()
    assert body["data"]["webhookId"] == webhook["id"]
    assert body["data"]["webhookName"] == webhook["name"]
    assert body["metadata"]["eventId"] == arrival.event_id

    shown = await get(api, webhook)
    (delivery,) = shown["deliveries"]
    assert (delivery["status"], delivery["statusCode"], delivery["attempt"]) == ("success", 200, 1)
    assert delivery["payload"] == body
    (attempt,) = await factories.attempts(api.database)
    assert attempt.trigger == "test"


async def test_a_test_says_nothing_of_deliveries(api: Api) -> None:
    async with Endpoint(failing) as endpoint:
        webhook = await create(api, url=endpoint.url, autoDisableAfter=1)
        before = await get(api, webhook)
        test = await send_test(api, webhook)
    assert (test["sent"], test["status"], test["statusCode"]) == (True, "failed", 500)
    assert "500" in test["error"]
    after = await get(api, webhook)
    (delivery,) = after["deliveries"]
    assert (delivery["status"], delivery["responseBody"]) == ("failed", "Oh no")
    assert {**after, "deliveries": []} == before
    assert [row.due_at for row in await factories.deliveries(api.database)] == [None]


async def test_a_paused_subscription_can_be_tested(api: Api) -> None:
    async with Endpoint() as endpoint:
        webhook = await create(api, url=endpoint.url, active=False)
        assert (await send_test(api, webhook))["status"] == "delivered"
    assert len(endpoint.arrivals) == 1


async def test_an_endpoint_that_is_not_there_fails_the_test(api: Api) -> None:
    webhook = await create(api, url=f"http://127.0.0.1:{free_port()}/")
    test = await send_test(api, webhook)
    assert (test["sent"], test["status"], test["statusCode"]) == (True, "failed", None)
    assert test["error"]


async def test_a_target_that_is_refused_is_not_sent_to(api: Api, settings: Settings) -> None:
    private = "http://10.0.0.1/"
    subscription_id = await factories.create_subscription(
        api.database, settings.key_ring, api.admin_id, private
    )
    test = await send_test(api, {"id": subscription_id})
    assert (test["sent"], test["status"], test["statusCode"]) == (False, "failed", None)
    assert "public" in test["error"]


async def test_a_resend_has_the_same_bytes_and_id(api: Api) -> None:
    async with Endpoint() as endpoint:
        delivery = await one_delivery(api, endpoint, status="success", attempt=1)
        attempt = await resend(api, delivery)
        again = await resend(api, delivery)
    first, second = endpoint.arrivals
    assert first.body == second.body
    assert first.json() == delivery["payload"]
    assert first.event_id == second.event_id == delivery["eventId"]
    assert (attempt["trigger"], attempt["status"], attempt["statusCode"]) == (
        "resend",
        "success",
        200,
    )
    assert [arrival.headers["x-webhook-attempt"] for arrival in endpoint.arrivals] == ["2", "3"]
    assert (attempt["attempt"], again["attempt"]) == (2, 3)


@pytest.mark.parametrize("leased", [False, True])
async def test_requests_of_a_delivery_never_share_a_number(api: Api, leased: bool) -> None:
    async with Endpoint() as endpoint:
        lease = {"lease_id": "lease", "status": "pending"} if leased else {"status": "failed"}
        delivery = await one_delivery(api, endpoint, attempt=1, **lease)
        attempts = await asyncio.gather(*(resend(api, delivery) for _ in range(6)))
    numbers = [attempt["attempt"] for attempt in attempts]
    assert len(set(numbers)) == 6
    assert min(numbers) == (3 if leased else 2)  # 2 is on its way where it is leased
    carried = [int(arrival.headers["x-webhook-attempt"]) for arrival in endpoint.arrivals]
    assert sorted(carried) == sorted(numbers)
    shown = (await api.http.get(f"/api/admin/deliveries/{delivery['id']}")).json()["delivery"]
    assert [attempt["attempt"] for attempt in shown["attempts"]] == sorted(numbers)
    with pytest.raises(IntegrityError):
        await log_attempt(api, delivery, numbers[0])


async def test_a_resend_that_arrives_makes_a_failed_delivery_a_success(api: Api) -> None:
    async with Endpoint() as endpoint:
        delivery = await one_delivery(
            api, endpoint, status="failed", attempt=1, due_at=None, note="It was given up."
        )
        assert delivery["errorMessage"] == "It was given up."
        await resend(api, delivery)
    shown = (await api.http.get(f"/api/admin/deliveries/{delivery['id']}")).json()["delivery"]
    assert (shown["status"], shown["errorMessage"]) == ("success", None)


@pytest.mark.parametrize("status", ["pending", "retrying", "held", "success", "failed"])
@pytest.mark.parametrize("leased", [False, True])
async def test_a_resend_changes_nothing_of_what_is_planned(
    api: Api, status: str, leased: bool
) -> None:
    async with Endpoint(failing) as endpoint:
        waits = status in {"pending", "retrying"}
        delivery = await one_delivery(
            api,
            endpoint,
            status=status,
            attempt=2,
            due_at=system_clock() + timedelta(hours=1) if waits else None,
            lease_id="lease" if waits and leased else None,
        )
        (before,) = await factories.deliveries(api.database)
        failed = await resend(api, delivery)
        endpoint.answer = lambda _arrival: web.Response()
        if status != "failed":
            await resend(api, delivery)
    assert (failed["status"], failed["statusCode"]) == ("failed", 500)
    (after,) = await factories.deliveries(api.database)
    columns = {column.key for column in after.__mapper__.column_attrs} - {"last_attempt"}
    assert [getattr(after, name) for name in columns] == [getattr(before, name) for name in columns]


async def test_what_was_sent_to_a_deleted_subscription_can_not_be_resent(api: Api) -> None:
    async with Endpoint() as endpoint:
        delivery = await one_delivery(api, endpoint, status="success")
        await api.http.delete(f"{PATH}/{delivery['webhookId']}")
        response = await api.http.post(f"/api/admin/deliveries/{delivery['id']}/resend")
    assert response.status_code == 404
    assert delivery["webhookId"] in response.json()["error"]
    assert endpoint.arrivals == []


async def test_a_resend_counts_for_no_statistics(api: Api) -> None:
    async with Endpoint(failing) as endpoint:
        delivery = await one_delivery(api, endpoint, status="failed", attempt=1)
        before = await get(api, {"id": delivery["webhookId"]})
        await resend(api, delivery)
        after = await get(api, {"id": delivery["webhookId"]})
    names = ("successCount", "failedCount", "consecutiveFailures", "lastDeliveryAt", "active")
    assert [after[name] for name in names] == [before[name] for name in names]
