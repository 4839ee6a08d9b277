"""A batch takes or refuses each of its users by itself, and tells what became of each."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select

from flowkick.users.models import User
from flowkick.users.payload import load_belongings, payload
from tests.support.server import Api
from tests.users.recorded import create, events, names, sequences

BATCH = "/api/admin/users/batch"


async def send(api: Api, *users: Any) -> list[dict[str, Any]]:
    answer = await api.http.post(BATCH, json={"users": users})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    assert [result["index"] for result in results] == list(range(len(users)))
    return results


async def test_users_are_added_changed_and_left_alone_by_their_manychat_id(api: Api) -> None:
    known = await create(api.http, manychatId="1", firstName="A", tags=["vip"])
    same = await create(api.http, manychatId="2", firstName="B")
    results = await send(
        api,
        {"manychatId": "3", "tags": ["new"], "customFields": {"n": 1}},
        {"manychatId": "1", "firstName": "Z", "tags": ["VIP", "x"], "customFields": {"n": 2}},
        {"manychatId": "2", "firstName": "B"},
    )
    assert [result["status"] for result in results] == ["created", "updated", "unchanged"]
    assert [result["id"] for result in results[1:]] == [known["id"], same["id"]]
    assert await names(api.database, results[0]["id"]) == ["user.created"]
    told = await events(api.database, known["id"])
    assert [body["event"] for body in told] == [
        "user.created",
        "user.updated",
        "tag.added",
        "customfield.updated",
    ]
    assert sequences(told) == [1, 2, 3, 4]
    assert await names(api.database, same["id"]) == ["user.created"]


async def test_a_bad_user_fails_alone(api: Api) -> None:
    results = await send(
        api, {"manychatId": "1"}, {"firstName": "x"}, 3, {"manychatId": "2", "email": "x"}, None
    )
    assert [result["status"] for result in results] == ["created"] + ["failed"] * 4
    assert "manychatId" in results[1]["error"]
    assert "email" in results[3]["error"]
    assert await names(api.database) == ["user.created"]


async def test_a_user_who_occurs_more_than_once_is_changed_in_order(api: Api) -> None:
    results = await send(api, *({"manychatId": "1", "firstName": name} for name in "ABBC"))
    assert [r["status"] for r in results] == ["created", "updated", "unchanged", "updated"]
    told = await events(api.database, results[0]["id"])
    assert sequences(told) == [1, 2, 3]
    assert [body["data"]["changes"]["firstName"] for body in told[1:]] == [
        {"old": "A", "new": "B"},
        {"old": "B", "new": "C"},
    ]


async def test_a_batch_has_1_to_1000_users(api: Api) -> None:
    assert (await api.http.post(BATCH, json={"users": []})).status_code == 400
    too_many = [{"manychatId": str(number)} for number in range(1001)]
    assert (await api.http.post(BATCH, json={"users": too_many})).status_code == 400
    results = await send(api, *too_many[:1000])
    assert {result["status"] for result in results} == {"created"}
    assert len(await names(api.database)) == 1000


async def test_the_event_of_each_new_user_shows_what_the_database_holds(api: Api) -> None:
    await create(api.http, manychatId="7", tags=["VIP"], customFields={"Straße": "x"})
    users = [
        {
            "manychatId": str(number),
            "firstName": "Zoë\n\t\\ 😀",
            "subscribedAt": "2025-11-06T10:30:00.123Z",
            "exportConsentGiven": bool(number % 2),
            "messagesCount": number,
            "tags": ["z", "vip", f"t{number % 3}", "A"][: number % 5],
            "customFields": {"b": number, "Straße": "ß", "a": None} if number % 3 else {},
        }
        for number in range(50)
    ]
    results = await send(api, *users)
    assert [r["status"] for r in results] == ["created"] * 7 + ["updated"] + ["created"] * 42
    told = {body["data"]["user"]["id"]: body for body in await events(api.database)}
    async with api.database.reading(api.admin_id) as session:
        held = (await session.scalars(select(User))).all()
        belongings = await load_belongings(session, [user.id for user in held])
    for user in held:
        shown = msgspec.to_builtins(payload(user, belongings[user.id]))
        assert told[user.id]["data"]["user"] == shown
        assert told[user.id]["metadata"]["sequence"] == user.sequence
