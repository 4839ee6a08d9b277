"""The log of deliveries over HTTP: fields, filters, pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, update

from flowkick.app import Process
from flowkick.core.clock import isoformat, system_clock
from flowkick.delivery.models import WebhookAttempt, WebhookDelivery, WebhookEvent
from flowkick.storage.database import Database
from flowkick.webhooks import payloads
from flowkick.webhooks.outbox import Draft
from tests.conftest import client, new_admin
from tests.support import factories
from tests.support.server import Api
from tests.webhooks.test_subscriptions import PATH, create, get

SHOWN = {
    "id",
    "webhookId",
    "eventId",
    "event",
    "status",
    "attempt",
    "statusCode",
    "responseBody",
    "errorMessage",
    "durationMs",
    "payload",
    "payloadSizeBytes",
    "sentAt",
    "jobId",
    "nextRetryAt",
    "createdAt",
}


async def emit(api: Api, count: int) -> list[str]:
    drafts = [factories.user_created(number) for number in range(count)]
    return await factories.emit(api.database, api.admin_id, drafts)


async def change(api: Api, delivery_id: str, **values: Any) -> None:
    values.setdefault("last_attempt", values.get("attempt", 0))
    async with api.database.system_transaction() as session:
        await session.execute(
            update(WebhookDelivery).where(WebhookDelivery.id == int(delivery_id)).values(**values)
        )


async def log_attempt(api: Api, delivery: dict[str, Any], number: int, **values: Any) -> None:
    row = {
        "delivery_id": int(delivery["id"]),
        "subscription_id": delivery["webhookId"],
        "attempt": number,
        "trigger": "automatic",
        "status": "failed",
        "status_code": 500,
        "response_body": "Oh no",
        "error_message": "The receiver answered 500.",
        "duration_ms": 12,
        "sent_at": system_clock(),
    }
    async with api.database.transaction(api.admin_id) as session:
        session.add(WebhookAttempt(**{**row, **values}))


async def listed(api: Api, webhook: dict[str, Any], **query: Any) -> dict[str, Any]:
    response = await api.http.get(f"{PATH}/{webhook['id']}/deliveries", params=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [row["id"] for row in answer["deliveries"]]


async def test_a_delivery_nobody_has_tried_shows_its_payload_and_nothing_else(api: Api) -> None:
    webhook = await create(api)
    (event_id,) = await emit(api, 1)
    (delivery,) = (await get(api, webhook))["deliveries"]
    assert set(delivery) == SHOWN
    assert isinstance(delivery["id"], str)
    assert delivery["eventId"] == event_id == delivery["payload"]["metadata"]["eventId"]
    assert list(delivery["payload"]) == ["event", "timestamp", "data", "metadata"]
    assert delivery["payloadSizeBytes"] > 500
    assert (delivery["status"], delivery["attempt"], delivery["webhookId"]) == (
        "pending",
        0,
        webhook["id"],
    )
    unknown = (
        "statusCode",
        "responseBody",
        "errorMessage",
        "durationMs",
        "sentAt",
        "jobId",
        "nextRetryAt",
    )
    assert [delivery[name] for name in unknown] == [None] * 7


async def test_the_last_attempt_speaks_for_a_delivery(api: Api) -> None:
    webhook = await create(api)
    await emit(api, 1)
    (before,) = (await get(api, webhook))["deliveries"]
    await log_attempt(api, before, 1, error_message="first")
    sent_at = system_clock()
    await log_attempt(api, before, 2, status_code=503, error_message="second", sent_at=sent_at)
    due = sent_at + timedelta(minutes=2)
    await change(api, before["id"], status="retrying", attempt=2, due_at=due)

    (delivery,) = (await get(api, webhook))["deliveries"]
    assert delivery["attempt"] == 2
    assert (delivery["statusCode"], delivery["errorMessage"]) == (503, "second")
    assert (delivery["sentAt"], delivery["nextRetryAt"]) == (isoformat(sent_at), isoformat(due))

    one = (await api.http.get(f"/api/admin/deliveries/{before['id']}")).json()["delivery"]
    attempts = one.pop("attempts")
    assert one == delivery
    assert [(row["attempt"], row["errorMessage"]) for row in attempts] == [
        (1, "first"),
        (2, "second"),
    ]
    assert {row["trigger"] for row in attempts} == {"automatic"}


async def test_the_end_of_a_lease_is_no_retry(api: Api) -> None:
    webhook = await create(api)
    await emit(api, 1)
    (before,) = (await get(api, webhook))["deliveries"]
    await change(api, before["id"], status="retrying", lease_id="lease")
    (delivery,) = (await get(api, webhook))["deliveries"]
    assert delivery["nextRetryAt"] is None


async def test_a_body_that_retention_removed_is_null(api: Api) -> None:
    webhook = await create(api)
    await emit(api, 1)
    async with api.database.system_transaction() as session:
        await session.execute(update(WebhookEvent).values(body=b""))
    (delivery,) = (await get(api, webhook))["deliveries"]
    assert (delivery["payload"], delivery["payloadSizeBytes"]) == (None, None)
    resent = await api.http.post(f"/api/admin/deliveries/{delivery['id']}/resend")
    assert (resent.status_code, resent.json()["code"]) == (409, "conflict")


async def test_a_subscription_shows_its_last_50_newest_first(api: Api) -> None:
    webhook, other = await create(api), await create(api)
    await emit(api, 60)
    shown = (await get(api, webhook))["deliveries"]
    numbers = [int(row["id"]) for row in shown]
    assert len(numbers) == 50
    assert numbers == sorted(numbers, reverse=True)
    assert {row["webhookId"] for row in shown} == {webhook["id"]}
    assert max(numbers) >= max(int(row["id"]) for row in (await get(api, other))["deliveries"]) - 1


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements that the readers of a database execute meanwhile."""
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(database.reader.sync_engine, "before_cursor_execute", count)
    yield statements
    event.remove(database.reader.sync_engine, "before_cursor_execute", count)


async def test_any_number_of_deliveries_takes_the_same_number_of_statements(
    api: Api, process: Process
) -> None:
    webhook = await create(api)
    await emit(api, 1)
    with counted(process.database) as few:
        await get(api, webhook)
    await emit(api, 49)
    with counted(process.database) as many:
        await get(api, webhook)
    assert 0 < len(many) == len(few)


async def test_pages_show_each_delivery_once(api: Api) -> None:
    webhook = await create(api)
    await emit(api, 7)
    everything = ids(await listed(api, webhook))
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        answer = await listed(api, webhook, **query)
        seen += ids(answer)
        await emit(api, 1)  # what is new meanwhile disturbs nobody
        page = answer["pagination"]
        assert page["limit"] == 3
        assert page["hasMore"] is (page["nextCursor"] is not None)
        if not page["hasMore"]:
            break
        query["cursor"] = page["nextCursor"]
    assert seen == everything
    assert len(seen) == 7


async def test_a_full_last_page_has_no_next(api: Api) -> None:
    webhook = await create(api)
    await emit(api, 2)
    answer = await listed(api, webhook, limit=2)
    assert answer["pagination"] == {"limit": 2, "hasMore": False, "nextCursor": None}
    assert (await listed(api, webhook))["pagination"]["limit"] == 50


async def test_the_log_filters_by_status_event_and_time(api: Api) -> None:
    webhook = await create(api, events=["*"])
    await emit(api, 2)
    deleted = Draft(
        "user.deleted", payloads.UserDeleted(payloads.DeletedUser("usr_1", None)), "usr_1", 3
    )
    await factories.emit(api.database, api.admin_id, [deleted])
    newest, middle, oldest = ids(await listed(api, webhook))
    await change(api, middle, status="success")
    day = timedelta(days=1)
    noon = system_clock().replace(hour=12, minute=0, second=0, microsecond=0)
    await change(api, oldest, created_at=noon - 2 * day)

    assert ids(await listed(api, webhook, status="success")) == [middle]
    assert ids(await listed(api, webhook, status="pending")) == [newest, oldest]
    assert ids(await listed(api, webhook, status="held")) == []
    assert ids(await listed(api, webhook, event="user.deleted")) == [newest]
    assert ids(await listed(api, webhook, since=isoformat(noon - day))) == [newest, middle]
    assert ids(await listed(api, webhook, until=isoformat(noon - 2 * day))) == [oldest]
    assert ids(await listed(api, webhook, since=isoformat(noon - 2 * day))) == [
        newest,
        middle,
        oldest,
    ]
    bare = (noon - day).date().isoformat()
    assert ids(await listed(api, webhook, until=bare, status="pending", limit=1)) == [oldest]


@pytest.mark.parametrize(
    "query",
    [
        {"status": "delivered"},
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "many"},
        {"cursor": "abc"},
        {"cursor": ""},
        {"cursor": "9" * 20},
        {"since": "yesterday"},
        {"until": "9999-12-31T23:59:59-10:00"},
        {"page": "2"},
        {"event": "x" * 101},
    ],
)
async def test_a_query_the_log_does_not_know_is_refused(api: Api, query: dict[str, str]) -> None:
    webhook = await create(api)
    response = await api.http.get(f"{PATH}/{webhook['id']}/deliveries", params=query)
    assert response.status_code == 400, response.text
    assert next(iter(query)) in response.json()["error"]


@pytest.mark.parametrize("number", ["x", "1.5", "-1", "0", "٣", "9" * 19, "9" * 30, "1e3", "%20"])
async def test_what_is_no_delivery_id_is_not_found(api: Api, number: str) -> None:
    for method, suffix in (("GET", ""), ("POST", "/resend")):
        response = await api.http.request(method, f"/api/admin/deliveries/{number}{suffix}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_another_admins_delivery_is_as_if_it_were_not(api: Api, database: Database) -> None:
    webhook = await create(api)
    await emit(api, 1)
    (delivery,) = (await get(api, webhook))["deliveries"]
    _, key = await new_admin(database)
    async with client(api.url, key) as stranger:
        for method, suffix in (("GET", ""), ("POST", "/resend")):
            path = f"/api/admin/deliveries/{delivery['id']}{suffix}"
            assert (await stranger.request(method, path)).status_code == 404
    assert await factories.attempts(api.database) == []
