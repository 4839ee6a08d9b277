"""Subscriptions at the edges of their rules, and whatever else is sent instead of one."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from flowkick.webhooks.catalogue import SUBSCRIBABLE
from tests.support.server import Api
from tests.webhooks.test_subscriptions import PATH, URL, create, get, send

JSON = {"content-type": "application/json"}
EVENTS = [
    "user.created",
    "user.updated",
    "user.deleted",
    "booking.created",
    "booking.updated",
    "booking.cancelled",
    "booking.completed",
    "qr.created",
    "qr.scanned",
    "qr.validated",
    "tag.added",
    "tag.removed",
    "customfield.updated",
    "subscription.disabled",
    "subscription.failing",
    "subscription.recovered",
    "delivery.failed",
    "webhook.test",
    "backfill.started",
    "backfill.completed",
]
DEEP = "[" * 50_000 + "]" * 50_000


@pytest.mark.parametrize(
    "values",
    [
        {"name": "x"},
        {"name": "é" * 255},
        {"url": "HTTP://127.0.0.1:9/"},
        {"url": "http://127.0.0.1:9/" + "x" * (2048 - 19)},
        {"url": "http://nobody.invalid/hook"},
        {"events": [name for name in EVENTS if name in SUBSCRIBABLE]},
        {"events": ["*", "user.*", "booking.*", "qr.*", "tag.*", "customfield.*"]},
        {"description": "x" * 10_000},
        {"description": ""},
        {"headers": {f"X-{number}": "x" for number in range(20)}},
        {"headers": {"Authorization": "Bearer x"}},
        {"rateLimit": None, "ordering": "none"},
        {"autoDisableAfter": 1_000_000},
        {"name": None, "headers": None, "description": None, "autoDisableAfter": None},
    ],
    ids=lambda values: str(values)[:40],
)
async def test_what_keeps_to_the_rules_is_taken(api: Api, values: dict[str, Any]) -> None:
    webhook = await create(api, **values)
    shown = await get(api, webhook)
    for name, value in values.items():
        if name == "headers":
            assert shown[name] == dict.fromkeys(value or {}, "••••")
        elif (name, value) == ("name", None):
            assert shown[name].startswith("Webhook 20")
        else:
            assert shown[name] == value


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "127.0.0.1:9/hook",
        "//127.0.0.1:9/",
        "http:/127.0.0.1:9/",
        "http:///hook",
        "http://",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x/",
        "http://127.0.0.1:0/",
        "http://@127.0.0.1:9/",
        "http://127.0.0.1:9/#",
        "http://127.0.0.1:9/\r\nX: y",
        "http://127.0.0.1 :9/",
        "http://[::1/",
        "http://[::1]:9/",
        "http://0.0.0.0:9/",
        "http://2130706433.1/",
        "http://0x0a000001/",
        "http://012.0.0.1/",
        "http://10.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[fe80::1%25eth0]/",
        "http://192.168.1.1/",
        "http://224.0.0.1/",
        "http://100.64.0.1/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://\ud800.example/",
        "http://exa mple.com/",
        "http://" + "a" * 64 + ".example/",
        5,
        None,
        ["http://127.0.0.1:9/"],
    ],
    ids=lambda url: ascii(url)[:40],
)
async def test_a_url_that_cannot_be_called_is_refused(api: Api, url: Any) -> None:
    webhook = await create(api)
    for method, path in (("POST", PATH), ("PATCH", f"{PATH}/{webhook['id']}")):
        answer = await send(api, method, path, {"url": url, "events": ["*"]})
        assert answer.status_code == 400, answer.text
        assert answer.json()["details"][0]["field"] == "url"
    assert (await api.http.get(PATH)).json()["count"] == 1
    assert (await get(api, webhook))["url"] == URL


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "1", "x-a": "2"},
        {"": "x"},
        {"X A": "x"},
        {"X-A": ""},
        {"X-A": " x"},
        {"X-A": 5},
        {"X-A": None},
        {"X-A": "\x00"},
        {"X-A": "ä"},
        {"X-A": "x" * 5000},
        {"x" * 129: "x"},
        {"COOKIE": "a=b"},
        {"webhook-signature": "x"},
        {"User-Agent": "x"},
        {"Content-Length": "1"},
        [],
        "X-A: 1",
    ],
    ids=lambda headers: str(headers)[:30],
)
async def test_a_header_that_cannot_be_added_is_refused(api: Api, headers: Any) -> None:
    webhook = await create(api, headers={"X-Keep": "1"})
    for method, path in (("POST", PATH), ("PATCH", f"{PATH}/{webhook['id']}")):
        answer = await send(api, method, path, {"url": URL, "events": ["*"], "headers": headers})
        assert answer.status_code == 400, answer.text
        assert answer.json()["details"][0]["field"].startswith("headers")
    assert (await get(api, webhook))["headers"] == {"X-Keep": "••••"}


async def test_whatever_is_sent_as_a_subscription_is_refused(api: Api) -> None:
    webhook = await create(api)
    one = f"{PATH}/{webhook['id']}"
    targets = [("POST", PATH), ("PATCH", one), ("POST", f"{one}/rotate-secret")]
    bodies = ["[]", "5", '"x"', "{", DEEP, f'{{"url": {DEEP}}}', f'{{"a": {"9" * 5000}}}', "\x00"]
    for method, path in targets:
        for body in bodies:
            answer = await api.http.request(method, path, content=body, headers=JSON)
            assert answer.status_code == 400, (path, body[:20], answer.text)
            assert set(answer.json()) == {"success", "error", "code", "details"}
    values: list[Any] = [[], {}, [[]], {"a": {}}, 10**400, -0.5, "\ud800", "\x00", "x" * 10_001]
    for name in ("name", "url", "events", "retryAttempts", "timeoutMs", "active", "held"):
        for value in values:
            if (name, value) == ("name", "x" * 10_001):
                continue
            answer = await send(api, "PATCH", one, {name: value})
            assert answer.status_code == 400, (name, value)


async def test_the_catalogue_is_whole_and_its_examples_fit(api: Api) -> None:
    told = (await api.http.get(f"{PATH}/events")).json()["events"]
    assert [event["name"] for event in told] == EVENTS
    for event in told:
        validator = jsonschema_rs.Draft202012Validator(event["schema"], validate_formats=True)
        assert validator.is_valid(event["example"])
        assert list(event["example"]) == ["event", "timestamp", "data", "metadata"]
        spoiled = {**event["example"], "data": {}}
        assert not validator.is_valid(spoiled)
