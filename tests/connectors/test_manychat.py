"""A contact that ManyChat pushes becomes a user, in every shape it is met in."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.conftest import client, new_admin
from tests.support.server import Api
from tests.users.recorded import create, events, names, sequences

CONTACT = "/api/manychat/contact"
JSON = {"content-type": "application/json"}
ID = "90071992547409931"


async def push(api: Api, contact: Any) -> dict[str, Any]:
    answer = await api.http.post(CONTACT, json=contact)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def user_of(api: Api, pushed: dict[str, Any]) -> dict[str, Any]:
    answer = await api.http.get(f"/api/admin/users/{pushed['user']['id']}")
    user: dict[str, Any] = answer.json()["user"]
    return user


INNER = {"id": ID, "first_name": "Zoë"}


@pytest.mark.parametrize(
    "contact",
    [
        {"subscriber_id": ID},
        {"subscriber_id": int(ID)},
        {"id": ID, "key": f"user:{ID}", "page_id": "5"},
        {"key": f"user:{ID}"},
        {"data": INNER},
        {"data": json.dumps(INNER)},
        {"status": "success", "data": INNER},
    ],
    ids=lambda contact: json.dumps(contact)[:40],
)
async def test_the_id_is_found_wherever_it_stands(api: Api, contact: Any) -> None:
    pushed = await push(api, contact)
    assert pushed["status"] == "created"
    assert (await user_of(api, pushed))["manychatId"] == ID
    assert (await push(api, contact))["status"] == "unchanged"


@pytest.mark.parametrize("as_list", [False, True])
async def test_a_whole_contact_becomes_a_user_and_the_same_again_tells_nothing(
    api: Api, as_list: bool
) -> None:
    values = {"drink": "tea", "visits": 5, "member": True, "none": None, "messagescountinsta": "25"}
    fields: Any = values
    if as_list:
        fields = [{"id": 7, "name": n, "type": "text", "value": v} for n, v in values.items()]
    contact = {
        "id": ID,
        "first_name": "Zoë",
        "last_name": None,
        "ig_id": 2**60,
        "subscribed": "2025-10-01T10:00:00",
        "optin_instagram": "Yes",
        "optin_whatsapp": False,
        "optin_telegram": 1,
        "custom_fields": fields,
        "tags": [{"id": 3, "name": "vip"}, "new"],
        "live_chat_url": "https://example.com",
    }
    pushed = await push(api, contact)
    user = await user_of(api, pushed)
    assert user["firstName"] == "Zoë"
    assert user["instagramId"] == str(2**60)
    assert user["subscribedAt"] == "2025-10-01T10:00:00.000Z"
    flags = [user[f"optedIn{name}"] for name in ("Instagram", "Whatsapp", "Telegram", "Messenger")]
    assert flags == [True, False, True, False]
    assert user["customFields"] == {"drink": "tea", "member": "true", "visits": "5"}
    assert {tag["name"] for tag in user["tags"]} == {"vip", "new"}
    assert (await push(api, contact))["status"] == "unchanged"
    (event,) = await events(api.database)
    assert event["event"] == "user.created"
    assert event["data"]["user"]["interactions"]["messagesCount"] == 25
    assert event["metadata"]["source"] == "manychat_sync"
    again = await user_of(api, pushed)
    assert again["updatedAt"] == user["updatedAt"]
    assert again["lastSyncedAt"] >= user["lastSyncedAt"]


async def test_what_is_absent_stays_and_what_is_null_is_cleared(api: Api) -> None:
    contact = {"id": ID, "first_name": "A", "email": "a@b.c", "custom_fields": {"a": "1", "b": "2"}}
    pushed = await push(api, {**contact, "tags": ["vip"]})
    partial = {"id": ID, "email": None, "custom_fields": {"a": None}}
    assert (await push(api, partial))["status"] == "updated"
    user = await user_of(api, pushed)
    assert (user["firstName"], user["email"]) == ("A", None)
    assert user["customFields"] == {"a": None, "b": "2"}
    assert [tag["name"] for tag in user["tags"]] == ["vip"]
    told = await events(api.database, user["id"])
    assert [b["event"] for b in told] == ["user.created", "user.updated", "customfield.updated"]


async def test_a_sync_takes_off_only_the_tags_that_a_sync_put_on(api: Api) -> None:
    user = await create(api.http, manychatId=ID, tags=["ours"])
    pushed = await push(api, {"id": ID, "tags": ["a", "b"]})
    await push(api, {"id": ID, "tags": [{"id": 1, "name": "B"}]})
    assert [tag["name"] for tag in (await user_of(api, pushed))["tags"]] == ["ours", "b"]
    await push(api, {"id": ID, "tags": []})
    assert [tag["name"] for tag in (await user_of(api, pushed))["tags"]] == ["ours"]
    told = await events(api.database, user["id"])
    assert [b["event"] for b in told[1:]] == ["tag.added"] * 2 + ["tag.removed"] * 2
    assert sequences(told) == [1, 2, 3, 4, 5]


async def test_no_tag_that_was_sent_is_taken_off(api: Api) -> None:
    many = [{"id": number, "name": f"tag {number}"} for number in range(5000)]
    pushed = await push(api, {"id": ID, "tags": many[:1500]})
    await push(api, {"id": ID, "tags": [*many[1:1500], {"id": 0}]})  # one without its name
    kept = {tag["name"] for tag in (await user_of(api, pushed))["tags"]}
    assert kept == {tag["name"] for tag in many[:1500]}
    for field, too_many in (
        ("tags", [*many, "one more"]),
        ("custom_fields", {str(number): 1 for number in range(5001)}),
    ):
        refused = await api.http.post(CONTACT, json={"id": ID, field: too_many})
        assert refused.status_code == 400
        assert refused.json()["details"][0]["field"] == field
        assert "5001" in refused.json()["error"]
    assert len((await user_of(api, pushed))["tags"]) == 1500


async def test_the_same_contact_pushed_at_once_is_one_user(api: Api) -> None:
    contact = {"id": ID, "first_name": "A", "tags": ["a", "b"], "custom_fields": {"x": "1"}}
    answers = await asyncio.gather(*(api.http.post(CONTACT, json=contact) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {200}
    statuses = sorted(answer.json()["status"] for answer in answers)
    assert statuses == ["created"] + ["unchanged"] * 11
    assert await names(api.database) == ["user.created"]


DEEP = "[" * 50_000 + "]" * 50_000
HOSTILE = [
    "[]",
    '"x"',
    "null",
    "{}",
    '{"id": null}',
    '{"id": ""}',
    '{"id": "\\u0000"}',
    '{"id": {"a": 1}}',
    '{"id": true}',
    '{"id": NaN}',
    f'{{"id": {"9" * 4000}}}',
    f'{{"id": {"9" * 5000}}}',
    f'{{"id": "1", "custom_fields": {DEEP}}}',
    '{"data": {"data": {"data": {"data": {"data": {"id": "1"}}}}}}',
    '{"data": "{"}',
    '{"data": [{"id": "1"}]}',
    f'{{"data": {json.dumps(DEEP)}}}',
    '{"id": "1", "first_name": {"a": []}, "email": [1], "tags": {"a": 1}, "custom_fields": 5}',
    '{"id": "1", "first_name": "a\\u0000\\ud800b", "tags": ["\\ud800", "\\u0000", null, 5, {}]}',
    '{"id": "1", "custom_fields": {"\\ud800": "x", "a\\u0000": "\\udfff", "": 1, " ": 1}}',
    '{"id": "1", "custom_fields": [null, 5, {"name": 5}, {"name": "a", "value": {"b": 1}}]}',
    '{"id": "1", "custom_fields": {"messagescountinsta": -5, "storiescountinsta": 1e400}}',
    f'{{"id": "1", "custom_fields": {{"messagescountinsta": {"9" * 4000}}}}}',
    '{"id": "1", "subscribed": "yesterday", "optin_instagram": {}}',
    '{"id": "1", "subscribed": 1e300}',
    '{"id": "1", "subscribed": -1e12}',
    '{"id": "1", "subscribed": "0001-01-01T00:00:00+14:00"}',
    '{"id": "1", "subscribed": NaN, "email": NaN}',
    json.dumps({"id": "1", "first_name": "x" * 10_000, "custom_fields": {"y" * 10_000: "z"}}),
    json.dumps({"id": "1", "tags": ["t" * 10_000] + [f"t{n}" for n in range(2000)]}),
    "{",
    "",
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
async def test_whatever_arrives_is_taken_or_refused(api: Api, body: str) -> None:
    answer = await api.http.post(CONTACT, content=body, headers=JSON)
    assert answer.status_code in {200, 400}, answer.text
    if answer.status_code == 200:
        again = await api.http.post(CONTACT, content=body, headers=JSON)
        assert again.json()["status"] == "unchanged"
        assert (await api.http.get("/api/admin/users")).status_code == 200


async def test_a_contact_without_an_id_is_told_which_keys_are_looked_for(api: Api) -> None:
    answer = await api.http.post(CONTACT, json={"first_name": "A"})
    assert answer.status_code == 400
    for key in ("subscriber_id", "id", "key"):
        assert key in answer.json()["error"]


async def test_a_connections_token_pushes_contacts_and_nothing_else(api: Api) -> None:
    made = await api.http.post("/api/admin/connections", json={"name": "Our page"})
    assert made.status_code == 201
    connection, token = made.json()["connection"], made.json()["token"]
    assert token.startswith("fkc_")
    assert token.endswith(connection["hint"])
    listed = await api.http.get("/api/admin/connections")
    assert [item["id"] for item in listed.json()["connections"]] == [connection["id"]]
    assert token not in listed.text
    async with client(api.url, None) as http:
        http.headers["X-Flowkick-Token"] = token
        assert (await http.post(CONTACT, json={"id": ID})).json()["status"] == "created"
        assert (await http.get("/api/admin/users")).status_code == 401
        await api.http.delete(f"/api/admin/connections/{connection['id']}")
        assert (await http.post(CONTACT, json={"id": ID})).status_code == 401
        for wrong in ("", "fkc_wrong", token[:-1]):
            http.headers["X-Flowkick-Token"] = wrong
            assert (await http.post(CONTACT, json={"id": ID})).status_code == 401


async def test_another_admins_connection_cannot_be_revoked(api: Api) -> None:
    made = await api.http.post("/api/admin/connections", json={})
    path = f"/api/admin/connections/{made.json()['connection']['id']}"
    _, key = await new_admin(api.database)
    async with client(api.url, key) as other:
        assert (await other.delete(path)).status_code == 404
        assert (await other.get("/api/admin/connections")).json()["connections"] == []


async def test_without_a_token_an_api_key_that_may_write_is_needed(api: Api) -> None:
    _, reader = await new_admin(api.database, scopes=["read"])
    for key, status in ((None, 401), (reader, 403)):
        async with client(api.url, key) as http:
            assert (await http.post(CONTACT, json={"id": ID})).status_code == status
