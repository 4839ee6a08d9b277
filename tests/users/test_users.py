"""Users are added, changed, found and deleted over HTTP, and each change tells of itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import client, new_admin
from tests.support.server import Api
from tests.users.recorded import create, events, names, sequences

USERS = "/api/admin/users"


async def test_a_new_user_is_told_of_once_with_everything_it_has(api: Api) -> None:
    user = await create(
        api.http,
        manychatId="90071992547409931",
        firstName="Zoë",
        email="zoe@example.com",
        tags=["vip", "VIP", "new"],
        customFields={"drink": "tea", "visits": 5, "member": True, "gone": None},
    )
    assert [tag["name"] for tag in user["tags"]] == ["new", "vip"]
    assert user["customFields"] == {"drink": "tea", "member": "true", "visits": "5"}
    (event,) = await events(api.database)
    assert event["event"] == "user.created"
    assert event["metadata"]["source"] == "api"
    assert event["metadata"]["sequence"] == 1
    told = event["data"]["user"]
    assert told["id"] == user["id"]
    assert told["manychatId"] == "90071992547409931"
    assert told["tags"] == user["tags"]
    assert told["customFields"] == user["customFields"]


async def test_each_change_is_an_event_of_its_own_in_a_fixed_order(api: Api) -> None:
    user = await create(api.http, email="old@example.com")
    patch = {"email": "new@example.com", "tags": ["vip"], "customFields": {"drink": "tea"}}
    answer = await api.http.patch(f"{USERS}/{user['id']}", json=patch)
    assert answer.status_code == 200
    told = await events(api.database, user["id"])
    assert [body["event"] for body in told] == [
        "user.created",
        "user.updated",
        "tag.added",
        "customfield.updated",
    ]
    assert sequences(told) == [1, 2, 3, 4]
    assert told[1]["data"]["changes"] == {
        "email": {"old": "old@example.com", "new": "new@example.com"}
    }
    assert told[2]["data"]["tag"]["name"] == "vip"
    assert told[3]["data"]["field"] == {
        "name": "drink",
        "type": "text",
        "oldValue": None,
        "newValue": "tea",
    }
    for body in told[1:]:  # all of them show the user as the transaction left it
        assert body["data"]["user"]["email"] == "new@example.com"
        assert body["data"]["user"]["customFields"] == {"drink": "tea"}


async def test_nothing_is_told_and_nothing_is_touched_where_nothing_changed(api: Api) -> None:
    fields: dict[str, Any] = {
        "firstName": "A",
        "exportConsentGiven": True,
        "subscribedAt": "2025-01-31T10:00:00.000Z",
        "tags": ["vip"],
        "customFields": {"n": 1},
    }
    user = await create(api.http, **fields)
    again = await api.http.patch(f"{USERS}/{user['id']}", json={**fields, "tags": ["VIP"]})
    empty = await api.http.patch(f"{USERS}/{user['id']}", json={})
    assert again.json()["user"] == empty.json()["user"] == user
    assert await names(api.database) == ["user.created"]


async def test_changes_are_keyed_by_their_place_in_the_events_user(api: Api) -> None:
    user = await create(api.http)
    patch = {
        "igUsername": "zoe",
        "optedInInstagram": True,
        "exportConsentGiven": True,
        "exportConsentAt": "2025-11-06T10:00:00+02:00",
        "messagesCount": 3,
        "subscribedAt": "2025-01-31",
    }
    await api.http.patch(f"{USERS}/{user['id']}", json=patch)
    event = (await events(api.database, user["id"]))[1]
    changes = event["data"]["changes"]
    assert set(changes) == {
        "instagramUsername",
        "optIns.instagram",
        "exportConsent.given",
        "exportConsent.at",
        "interactions.messagesCount",
        "timestamps.subscribedAt",
    }
    for path, change in changes.items():
        value = event["data"]["user"]
        for part in path.split("."):
            value = value[part]
        assert value == change["new"] != change["old"], path
    assert changes["exportConsent.at"]["new"] == "2025-11-06T08:00:00.000Z"


async def test_consent_is_dated_when_given_and_undated_when_withdrawn(api: Api) -> None:
    user = await create(api.http, exportConsentGiven=True)
    assert user["exportConsentAt"] is not None
    answer = await api.http.patch(f"{USERS}/{user['id']}", json={"exportConsentGiven": False})
    assert answer.json()["user"]["exportConsentAt"] is None


async def test_a_deleted_user_is_gone_with_all_that_is_theirs(api: Api) -> None:
    user = await create(api.http, manychatId="7", tags=["vip"], customFields={"a": "b"})
    assert (await api.http.delete(f"{USERS}/{user['id']}")).status_code == 200
    for method in ("GET", "PATCH", "DELETE"):
        body: dict[str, str] | None = {} if method == "PATCH" else None
        answer = await api.http.request(method, f"{USERS}/{user['id']}", json=body)
        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"
    told = (await events(api.database, user["id"]))[-1]
    assert told["event"] == "user.deleted"
    assert told["data"]["user"]["id"] == user["id"]
    assert told["metadata"]["sequence"] == 2
    again = await create(api.http, manychatId="7", exportConsentGiven=True)
    assert (again["tags"], again["customFields"]) == ([], {})


async def test_a_manychat_id_that_is_taken_names_the_user_who_has_it(api: Api) -> None:
    first = await create(api.http, manychatId="7")
    second = await create(api.http)
    for answer in (
        await api.http.post(USERS, json={"manychatId": "7"}),
        await api.http.patch(f"{USERS}/{second['id']}", json={"manychatId": "7"}),
    ):
        assert answer.status_code == 409
        assert first["id"] in answer.json()["error"]
        assert answer.json()["details"] == [{"field": "manychatId", "userId": first["id"]}]
    assert await names(api.database) == ["user.created"] * 2


async def test_another_admins_user_is_as_if_it_did_not_exist(api: Api) -> None:
    user = await create(api.http, manychatId="7", tags=["vip"])
    _, key = await new_admin(api.database)
    path = f"{USERS}/{user['id']}"
    async with client(api.url, key) as other:
        answers = [
            await other.get(path),
            await other.patch(path, json={"firstName": "x"}),
            await other.delete(path),
            await other.post(f"{path}/tags", json={"name": "x"}),
            await other.delete(f"{path}/tags/vip"),
            await other.put(f"{path}/custom-fields/x", json={"value": "x"}),
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert (await other.get(USERS)).json()["users"] == []
        await create(other, manychatId="7")  # the id is free for everybody else
    assert (await api.http.get(path)).json()["user"] == user


async def test_a_tag_is_put_on_and_taken_off_whatever_its_letters(api: Api) -> None:
    user = await create(api.http)
    path = f"{USERS}/{user['id']}/tags"
    name = "Größe/50 % ☕"
    for spelling in (name, name.upper()):
        assert (await api.http.post(path, json={"name": spelling})).status_code == 200
    encoded = quote(name.lower(), safe="")
    for _ in range(2):  # to take off what is not there changes nothing
        answer = await api.http.delete(f"{path}/{encoded}")
        assert answer.json()["user"]["tags"] == []
    told = await events(api.database, user["id"])
    assert [body["event"] for body in told] == ["user.created", "tag.added", "tag.removed"]
    assert [body["data"]["tag"]["name"] for body in told[1:]] == [name, name]
    assert told[1]["data"]["tag"] == told[2]["data"]["tag"]


@pytest.mark.parametrize(
    ("value", "kept"),
    [("tea", "tea"), (5, "5"), (1.5, "1.5"), (True, "true"), ("", ""), (2**60, str(2**60))],
)
async def test_a_custom_fields_value_is_kept_as_text(api: Api, value: Any, kept: str) -> None:
    user = await create(api.http)
    path = f"{USERS}/{user['id']}/custom-fields/{quote('a/b c', safe='')}"
    answer = await api.http.put(path, json={"value": value, "type": "number"})
    assert answer.json()["user"]["customFields"] == {"a/b c": kept}
    await api.http.put(path, json={"value": value})
    await api.http.put(path, json={"value": None})
    told = await events(api.database, user["id"])
    assert [body["data"]["field"] for body in told[1:]] == [
        {"name": "a/b c", "type": "number", "oldValue": None, "newValue": kept},
        {"name": "a/b c", "type": "number", "oldValue": kept, "newValue": None},
    ]


async def test_pages_follow_each_other_by_cursor_and_by_offset(api: Api) -> None:
    ids = [(await create(api.http, firstName=str(number)))["id"] for number in range(5)]
    newest_first = ids[::-1]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await api.http.get(USERS, params={"limit": 2, **cursor})
        page = answer.json()
        seen += [user["id"] for user in page["users"]]
        assert page["pagination"]["total"] == 5
        assert page["pagination"]["hasMore"] == (len(seen) < 5)
        if not page["pagination"]["hasMore"]:
            assert page["pagination"]["nextCursor"] is None
            break
        cursor = {"cursor": page["pagination"]["nextCursor"]}
    assert seen == newest_first
    second = await api.http.get(USERS, params={"offset": 3, "limit": 5000})
    assert [user["id"] for user in second.json()["users"]] == newest_first[3:]
    assert second.json()["pagination"]["limit"] == 1000


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "offset=-1", "cursor=usr_nobody", "limt=1", "offset=99999999999"],
)
async def test_a_page_that_cannot_be_is_refused(api: Api, query: str) -> None:
    answer = await api.http.get(f"{USERS}?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]
