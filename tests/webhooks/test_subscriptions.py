"""Subscriptions over HTTP: what they take, what they show, and what they never show."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from flowkick.core.settings import Settings
from flowkick.storage.database import Database
from tests.conftest import client, new_admin
from tests.support import factories
from tests.support.server import Api

PATH = "/api/admin/webhooks"
URL = "http://127.0.0.1:9/hook"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SHOWN = {
    "id",
    "name",
    "url",
    "description",
    "events",
    "active",
    "disabledReason",
    "retryAttempts",
    "retryDelay",
    "timeoutMs",
    "headers",
    "rateLimit",
    "ordering",
    "onGiveUp",
    "coalesce",
    "autoDisableAfter",
    "secretHint",
    "lastDeliveryAt",
    "lastDeliveryStatus",
    "successCount",
    "failedCount",
    "consecutiveFailures",
    "breaker",
    "pausedUntil",
    "createdAt",
    "updatedAt",
}


async def create(api: Api, **values: Any) -> dict[str, Any]:
    body = {"url": URL, "events": ["user.created"], **values}
    response = await api.http.post(PATH, json=body)
    assert response.status_code == 201, response.text
    webhook: dict[str, Any] = response.json()["webhook"]
    return webhook


async def send(api: Api, method: str, path: str, body: Any) -> httpx.Response:
    """As `json=` does, but with what UTF-8 can't hold written as JSON's escapes."""
    headers = {"Content-Type": "application/json"}
    return await api.http.request(method, path, content=json.dumps(body), headers=headers)


async def get(api: Api, webhook: dict[str, Any]) -> dict[str, Any]:
    response = await api.http.get(f"{PATH}/{webhook['id']}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["webhook"]
    return found


async def test_a_new_subscription_has_the_documented_fields_and_defaults(api: Api) -> None:
    webhook = await create(api)
    assert set(webhook) == SHOWN | {"secret", "signingSecret"}
    assert webhook["id"].startswith("whs_")
    assert re.fullmatch(r"[0-9a-f]{64}", webhook["secret"])
    assert webhook["signingSecret"].startswith("whsec_")
    assert webhook["secretHint"] == webhook["secret"][-4:]
    assert TIMESTAMP.fullmatch(webhook["createdAt"])
    assert webhook["name"] == f"Webhook {webhook['createdAt']}"
    defaults: dict[str, Any] = {
        "url": URL,
        "events": ["user.created"],
        "description": None,
        "retryAttempts": 3,
        "retryDelay": 60,
        "timeoutMs": 10_000,
        "headers": {},
        "rateLimit": None,
        "ordering": "none",
        "onGiveUp": "skip",
        "coalesce": False,
        "autoDisableAfter": 100,
        "active": True,
        "disabledReason": None,
        "lastDeliveryAt": None,
        "lastDeliveryStatus": None,
        "successCount": 0,
        "failedCount": 0,
        "consecutiveFailures": 0,
        "breaker": "closed",
        "pausedUntil": None,
    }
    assert {name: webhook[name] for name in defaults} == defaults


async def test_the_secret_is_shown_once_and_stored_sealed(api: Api) -> None:
    webhook = await create(api)
    answers = [
        (await api.http.get(PATH)).text,
        (await api.http.get(f"{PATH}/{webhook['id']}")).text,
        (await api.http.patch(f"{PATH}/{webhook['id']}", json={"name": "Other"})).text,
    ]
    assert not [text for text in answers if webhook["secret"] in text or "signingSecret" in text]
    stored = await factories.subscription(api.database, webhook["id"])
    assert webhook["secret"] not in stored.secret


async def test_subscriptions_are_listed_newest_first(api: Api) -> None:
    created = [(await create(api, name=f"Number {number}"))["id"] for number in range(3)]
    answer = (await api.http.get(PATH)).json()
    assert answer["success"] is True
    assert answer["count"] == 3
    assert [row["id"] for row in answer["webhooks"]] == created[::-1]
    assert set(answer["webhooks"][0]) == SHOWN


async def test_every_field_is_kept_and_can_be_changed(api: Api) -> None:
    given: dict[str, Any] = {
        "name": "CRM",
        "url": "http://127.0.0.1:9/a?b=c",
        "events": ["user.*", "tag.added"],
        "description": "To the CRM",
        "retryAttempts": 0,
        "retryDelay": 3600,
        "timeoutMs": 1000,
        "autoDisableAfter": None,
        "active": False,
    }
    webhook = await create(api, **given)
    assert {name: webhook[name] for name in given} == given
    changes: dict[str, Any] = {
        "name": "CRM 2",
        "url": "http://127.0.0.1:9/other",
        "events": ["*"],
        "description": None,
        "retryAttempts": 10,
        "retryDelay": 1,
        "timeoutMs": 60_000,
        "autoDisableAfter": 1,
        "active": True,
    }
    for name, value in changes.items():
        before = await get(api, webhook)
        answer = await api.http.patch(f"{PATH}/{webhook['id']}", json={name: value})
        assert answer.status_code == 200, answer.text
        after = answer.json()["webhook"]
        different = {key for key in SHOWN if before[key] != after[key]}
        assert different - {"updatedAt"} == {name}
        assert after[name] == value


@pytest.mark.parametrize(
    ("values", "field", "says"),
    [
        ({"name": ""}, "name", "at least 1"),
        ({"name": "   "}, "name", "at least 1"),
        ({"name": "x" * 256}, "name", "at most 255"),
        ({"name": "a\x00b"}, "name", "U+0000"),
        ({"name": None}, "name", ""),
        ({"url": "ftp://example.com/"}, "url", "http"),
        ({"url": "/relative"}, "url", ""),
        ({"url": "http://user:pass@127.0.0.1/"}, "url", ""),
        ({"url": "http://127.0.0.1/#part"}, "url", "fragment"),
        ({"url": "http://127.0.0.1/" + "x" * 2048}, "url", "2048"),
        ({"url": "http://10.0.0.1/"}, "url", "public"),
        ({"url": "http://169.254.169.254/latest"}, "url", "public"),
        ({"events": []}, "events", "at least 1"),
        ({"events": ["user.exploded"]}, "events", "user.exploded"),
        ({"events": ["webhook.test"]}, "events", "webhook.test"),
        ({"events": "user.created"}, "events", "list"),
        ({"retryAttempts": -1}, "retryAttempts", "0"),
        ({"retryAttempts": 11}, "retryAttempts", "10"),
        ({"retryAttempts": "3"}, "retryAttempts", "integer"),
        ({"retryAttempts": True}, "retryAttempts", "integer"),
        ({"retryDelay": 0}, "retryDelay", "1"),
        ({"retryDelay": 3601}, "retryDelay", "3600"),
        ({"timeoutMs": 999}, "timeoutMs", "1000"),
        ({"timeoutMs": 60_001}, "timeoutMs", "60000"),
        ({"autoDisableAfter": 0}, "autoDisableAfter", "1"),
        ({"headers": {"Host": "x"}}, "headers", "Host"),
        ({"headers": {"X-Webhook-Event": "x"}}, "headers", "X-Webhook-Event"),
        ({"headers": {"A": "b\r\nC: d"}}, "headers", "printable"),
        ({"headers": {f"X-{n}": "x" for n in range(21)}}, "headers", "20"),
        ({"headers": {"X-Token": "••••"}}, "headers", "printable"),
        ({"rateLimit": 0}, "rateLimit", "0.01"),
        ({"rateLimit": 10_001}, "rateLimit", "10000"),
        ({"rateLimit": "5"}, "rateLimit", "number"),
        ({"rateLimit": True}, "rateLimit", "number"),
        ({"rateLimit": [5]}, "rateLimit", "number"),
        ({"ordering": "booking"}, "ordering", "'none' or 'user'"),
        ({"onGiveUp": "stop"}, "onGiveUp", "'skip' or 'hold'"),
        ({"name": "\ud800"}, "name", "surrogate"),
        ({"description": "\ud800"}, "description", "surrogate"),
        ({"events": ["\ud800"]}, "events", ""),
        ({"\ud800": 1}, "", ""),
        ({"active": 1}, "active", "boolean"),
        ({"secret": "ab" * 32}, "secret", "unknown field"),
        ({"lastDeliveryStatus": "success"}, "lastDeliveryStatus", "unknown field"),
        ({"successCount": 0}, "successCount", "unknown field"),
        ({"disabledReason": None}, "disabledReason", "unknown field"),
    ],
)
async def test_what_breaks_a_rule_is_refused_with_its_field(
    api: Api, values: dict[str, Any], field: str, says: str
) -> None:
    webhook = await create(api)
    attempts = [await send(api, "PATCH", f"{PATH}/{webhook['id']}", values)]
    if values != {"name": None}:
        body = {"url": URL, "events": ["*"], **values}
        attempts.append(await send(api, "POST", PATH, body))
    for response in attempts:
        answer = response.json()
        assert response.status_code == 400, response.text
        assert answer["code"] == "invalid_input"
        assert any(detail["field"].startswith(field) for detail in answer["details"]), answer
        assert says in answer["error"]
    shown = await get(api, webhook)
    assert {**shown, "updatedAt": None} == {
        **{name: webhook[name] for name in SHOWN},
        "deliveries": [],
        "updatedAt": None,
    }
    assert (await api.http.get(PATH)).json()["count"] == 1


@pytest.mark.parametrize("missing", ["url", "events"])
async def test_what_is_required_must_be_there(api: Api, missing: str) -> None:
    body = {"url": URL, "events": ["*"]}
    del body[missing]
    response = await api.http.post(PATH, json=body)
    assert response.status_code == 400
    assert response.json()["details"][0]["field"] == missing


async def test_header_values_are_sealed_and_masked(api: Api, settings: Settings) -> None:
    value = "Bearer very-secret-token"
    webhook = await create(api, headers={"X-Token": value, "X-Other": "two"})
    assert webhook["headers"] == {"X-Other": "••••", "X-Token": "••••"}
    stored = await factories.subscription(api.database, webhook["id"])
    assert stored.headers is not None
    assert "very-secret" not in stored.headers
    await api.http.patch(f"{PATH}/{webhook['id']}", json={"name": "Same headers"})
    assert (await factories.subscription(api.database, webhook["id"])).headers == stored.headers

    nothings: list[dict[str, str] | None] = [{}, None]
    for nothing in nothings:
        answer = await api.http.patch(f"{PATH}/{webhook['id']}", json={"headers": nothing})
        assert answer.json()["webhook"]["headers"] == {}
    assert (await factories.subscription(api.database, webhook["id"])).headers is None


async def test_an_empty_patch_is_a_change_of_nothing(api: Api) -> None:
    webhook = await create(api)
    answer = await api.http.patch(f"{PATH}/{webhook['id']}", json={})
    assert answer.status_code == 200
    assert {**answer.json()["webhook"], "updatedAt": None} == {
        **{name: webhook[name] for name in SHOWN},
        "updatedAt": None,
    }


async def test_a_deleted_subscription_is_gone(api: Api) -> None:
    webhook = await create(api)
    answer = await api.http.delete(f"{PATH}/{webhook['id']}")
    assert answer.status_code == 200
    assert set(answer.json()) == {"success", "message"}
    assert (await api.http.get(f"{PATH}/{webhook['id']}")).status_code == 404
    assert (await api.http.delete(f"{PATH}/{webhook['id']}")).status_code == 404
    assert (await api.http.get(PATH)).json()["count"] == 0


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"name": "Mine"}),
        ("DELETE", "", None),
        ("POST", "/test", None),
        ("POST", "/rotate-secret", {}),
        ("GET", "/deliveries", None),
    ],
)
async def test_another_admins_subscription_is_as_if_it_were_not(
    api: Api, database: Database, method: str, suffix: str, body: Any
) -> None:
    webhook = await create(api)
    before = await get(api, webhook)
    _, key = await new_admin(database)
    async with client(api.url, key) as stranger:
        assert (await stranger.get(PATH)).json()["webhooks"] == []
        theirs = await stranger.request(method, f"{PATH}/{webhook['id']}{suffix}", json=body)
        missing = await stranger.request(method, f"{PATH}/whs_0{suffix}", json=body)
    assert theirs.status_code == missing.status_code == 404
    assert theirs.json() == {
        **missing.json(),
        "error": missing.json()["error"].replace("whs_0", webhook["id"]),
    }
    assert await get(api, webhook) == before


async def test_the_catalogue_tells_each_event_with_schema_and_example(api: Api) -> None:
    answer = (await api.http.get(f"{PATH}/events")).json()
    assert answer["success"] is True
    assert answer["count"] == len(answer["events"])
    for event in answer["events"]:
        assert set(event) == {"name", "description", "schema", "example"}
        assert event["example"]["event"] == event["name"]
        assert event["schema"]["type"] == "object"
    names = {event["name"] for event in answer["events"]}
    assert {"user.created", "user.updated", "user.deleted", "tag.added"} <= names
