"""Contacts with any part of them turned into nonsense are taken or refused, and taken once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.server import Api
from tests.users.recorded import events, sequences

CONTACT = "/api/manychat/contact"
JSON = {"content-type": "application/json"}
FULL: dict[str, Any] = {
    "key": "user:90071992547409931",
    "id": "90071992547409931",
    "page_id": "1",
    "user_refs": [],
    "status": "active",
    "first_name": "Zoë",
    "last_name": "Ångström",
    "name": "Zoë Ångström",
    "gender": "female",
    "profile_pic": "https://example.com/z.png",
    "locale": "en_US",
    "language": "English",
    "timezone": "UTC+02",
    "live_chat_url": "https://example.com/chat",
    "last_input_text": "Hi",
    "optin_phone": False,
    "phone": "+4915112345678",
    "optin_email": True,
    "email": "zoe@example.com",
    "subscribed": "2025-10-01T10:00:00+00:00",
    "last_interaction": "2025-11-01T10:00:00+00:00",
    "ig_last_interaction": None,
    "ig_id": 17841400000000000,
    "ig_username": "zoe",
    "whatsapp_phone": None,
    "optin_whatsapp": False,
    "optin_instagram": True,
    "custom_fields": {"drink": "tea", "messagescountinsta": 4, "born": "2000-01-31"},
    "tags": [{"id": 5, "name": "vip"}, "new"],
}
INFO: dict[str, Any] = {
    "status": "success",
    "data": {
        **FULL,
        "custom_fields": [
            {"id": 7, "name": "drink", "type": "text", "description": "", "value": "tea"},
            {"id": 8, "name": "visits", "type": "number", "description": "", "value": 5},
            {"id": 9, "name": "born", "type": "date", "description": "", "value": None},
        ],
    },
}
ODD: list[Any] = [
    None,
    True,
    "",
    " ",
    "\x00",
    "\ud800",
    "a\udfffb\x00c",
    "x" * 10_000,
    "ﬁ" * 300,
    "\u202e\u200b\ufeff",
    0,
    -1,
    2**53 + 1,
    10**80,
    10**4000,
    -(10**400),
    0.1,
    1e308,
    float("inf"),
    float("nan"),
    [],
    {},
    [[[]]],
    {"a": {"b": []}},
    {"name": {"name": "x"}},
    [None, True, 5, "x", "X", {"name": "x"}, {"name": None}, {"id": []}],
    {"": 1, " a ": 2, "a": 3, "A": 4, "\x00": 5},
    "2025-13-45T99:99:99Z",
    "9999-12-31T23:59:59-23:59",
    '{"id": 1}',
]


def spoiled(contact: Any, chance: random.Random) -> Any:
    """The contact with about two of its parts, names included, replaced."""
    text = json.dumps(contact)
    spots = text.count(":") + text.count(",")

    def walk(value: Any) -> Any:
        if chance.random() < 2 / spots:
            return chance.choice(ODD)
        if isinstance(value, dict):
            return {
                str(chance.choice(ODD)) if chance.random() < 0.01 else name: walk(item)
                for name, item in value.items()
            }
        return [walk(item) for item in value] if isinstance(value, list) else value

    return walk(contact)


def odd_everywhere(contact: Any, chance: random.Random) -> Any:
    """Every value but the id replaced."""
    inner = contact.get("data", contact)
    return {name: chance.choice(ODD) for name in inner} | {"id": inner["id"]}


@pytest.mark.parametrize("shape", [FULL, INFO], ids=["full contact data", "getInfo"])
@pytest.mark.parametrize("spoil", [spoiled, odd_everywhere])
async def test_a_spoiled_contact_is_taken_once_or_refused(
    api: Api, shape: Any, spoil: Callable[[Any, random.Random], Any]
) -> None:
    chance = random.Random(20251106)  # the same in every run
    for _ in range(80):
        body = json.dumps(spoil(shape, chance))
        answer = await api.http.post(CONTACT, content=body, headers=JSON)
        assert answer.status_code in {200, 400}, body
        if answer.status_code == 200:
            again = await api.http.post(CONTACT, content=body, headers=JSON)
            assert again.json()["status"] == "unchanged", body
            path = f"/api/admin/users/{answer.json()['user']['id']}"
            assert (await api.http.get(path)).status_code == 200
    numbers: dict[str, list[int]] = {}
    for told in await events(api.database):
        numbers.setdefault(told["data"]["user"]["id"], []).extend(sequences([told]))
    for taken in numbers.values():
        assert taken == list(range(1, len(taken) + 1))


async def test_both_whole_shapes_lead_to_the_same_user(api: Api) -> None:
    first = (await api.http.post(CONTACT, json=FULL)).json()
    second = (await api.http.post(CONTACT, json=INFO)).json()
    assert first["user"] == second["user"]
    user = (await api.http.get(f"/api/admin/users/{first['user']['id']}")).json()["user"]
    expected = {
        "manychatId": "90071992547409931",
        "instagramId": "17841400000000000",
        "igUsername": "zoe",
        "firstName": "Zoë",
        "lastName": "Ångström",
        "email": "zoe@example.com",
        "phone": "+4915112345678",
        "whatsappPhone": None,
        "profilePic": "https://example.com/z.png",
        "gender": "female",
        "locale": "en_US",
        "timezone": "UTC+02",
        "subscribedAt": "2025-10-01T10:00:00.000Z",
        "optedInInstagram": True,
        "optedInWhatsapp": False,
        "customFields": {"drink": "tea", "born": None, "visits": "5"},
    }
    assert {name: user[name] for name in expected} == expected
    assert {tag["name"] for tag in user["tags"]} == {"vip", "new"}
    told = await events(api.database)
    assert told[0]["data"]["user"]["interactions"]["messagesCount"] == 4
    assert [(body["event"], body["data"].get("field")) for body in told[1:]] == [
        (
            "customfield.updated",
            {"name": "visits", "type": "number", "oldValue": None, "newValue": "5"},
        ),
        (
            "customfield.updated",
            {"name": "born", "type": "text", "oldValue": "2000-01-31", "newValue": None},
        ),
    ]


async def test_counters_are_interactions_and_no_custom_fields(api: Api) -> None:
    counts = {"messagescountinsta": "25", "CommentCountInsta": 3, "storiescountinsta": 1}
    pushed = (await api.http.post(CONTACT, json={"id": 1, "custom_fields": counts})).json()
    more = {**counts, "storiescountinsta": 2}
    await api.http.post(CONTACT, json={"id": 1, "custom_fields": more})
    await api.http.post(CONTACT, json={"id": 1, "custom_fields": more})
    created, updated = await events(api.database, pushed["user"]["id"])
    shown = created["data"]["user"]["interactions"]
    assert (shown["messagesCount"], shown["commentsCount"], shown["totalCount"]) == (25, 3, 29)
    assert created["data"]["user"]["customFields"] == {}
    assert updated["data"]["changes"] == {"interactions.storiesCount": {"old": 1, "new": 2}}
    assert updated["data"]["user"]["interactions"]["totalCount"] == 30
