"""Writers of different kinds that meet at the same users."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from itertools import chain
from typing import Any

import httpx
from sqlalchemy import select

from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import User
from tests.support.server import Api
from tests.users.recorded import Body, create, events, sequences

USERS = "/api/admin/users"
CONTACT = "/api/manychat/contact"


async def gather(*requests: Coroutine[Any, Any, httpx.Response]) -> list[int]:
    """The statuses of requests that are made at once."""
    return [answer.status_code for answer in await asyncio.gather(*requests)]


async def test_pushes_and_deletions_of_one_contact_never_fail(api: Api) -> None:
    async def push(number: int) -> httpx.Response:
        contact = {"id": "1", "first_name": f"A{number}", "tags": [f"t{number % 3}"]}
        return await api.http.post(CONTACT, json=contact)

    async def delete() -> httpx.Response:
        user = (await api.http.post(f"{USERS}/batch", json={"users": [{"manychatId": "1"}]})).json()
        return await api.http.delete(f"{USERS}/{user['results'][0]['id']}")

    for _ in range(4):
        statuses = await gather(*chain.from_iterable((push(n), delete()) for n in range(12)))
        assert set(statuses) <= {200, 404}
    by_user: dict[str, list[Body]] = defaultdict(list)
    for body in await events(api.database):
        by_user[body["data"]["user"]["id"]].append(body)
    for told in by_user.values():
        assert sequences(told) == list(range(1, len(told) + 1))
        assert told[0]["event"] == "user.created"
        assert "user.deleted" not in [body["event"] for body in told[:-1]]


async def test_new_tags_and_fields_in_opposite_orders_never_meet(api: Api) -> None:
    """The same user twice in a batch is written twice: the second time locks labels anew."""

    async def batch(user: str, *labels: str) -> httpx.Response:
        users = [
            {"manychatId": user, "tags": [label], "customFields": {label: label}}
            for label in labels
        ]
        return await api.http.post(f"{USERS}/batch", json={"users": users})

    for number in range(6):
        labels = [f"{letter}{number}" for letter in "abcdefgh"]
        statuses = await gather(
            batch(f"1-{number}", *labels),
            batch(f"2-{number}", *labels[::-1]),
            batch(f"3-{number}", *labels[4:], *labels[:4]),
        )
        assert statuses == [200] * 3


async def test_patches_tags_fields_pushes_and_batches_of_one_user_chain(api: Api) -> None:
    user = await create(api.http, manychatId="1", firstName="start")
    path = f"{USERS}/{user['id']}"
    statuses = await gather(
        *chain.from_iterable(
            (
                api.http.patch(path, json={"firstName": f"patch {n}"}),
                api.http.post(f"{path}/tags", json={"name": f"t{n % 3}"}),
                api.http.delete(f"{path}/tags/t{n % 3}"),
                api.http.put(f"{path}/custom-fields/drink", json={"value": n}),
                api.http.post(CONTACT, json={"id": 1, "first_name": f"push {n}"}),
                api.http.post(
                    f"{USERS}/batch", json={"users": [{"manychatId": "1", "firstName": f"b{n}"}]}
                ),
            )
            for n in range(8)
        )
    )
    assert set(statuses) == {200}
    told = await events(api.database, user["id"])
    assert sequences(told) == list(range(1, len(told) + 1))
    name, drink, tags = "start", None, set()
    for body in told[1:]:
        data = body["data"]
        match body["event"]:
            case "user.updated":
                change = data["changes"]["firstName"]
                assert change["old"] == name
                name = change["new"]
            case "customfield.updated":
                assert data["field"]["oldValue"] == drink
                drink = data["field"]["newValue"]
            case "tag.added":
                assert data["tag"]["name"] not in tags
                tags.add(data["tag"]["name"])
            case "tag.removed":
                tags.remove(data["tag"]["name"])
        assert data["user"]["firstName"] == name
        assert data["user"]["customFields"].get("drink") == drink
        assert {tag["name"] for tag in data["user"]["tags"]} == tags
    now = (await api.http.get(path)).json()["user"]
    assert (now["firstName"], now["customFields"]) == (name, {"drink": drink})


async def test_who_is_refused_to_end_a_deadlock_is_written_after_all(api: Api) -> None:
    users = [await create(api.http, manychatId=id_) for id_ in "12"]
    batch = [{"manychatId": id_, "firstName": "Z"} for id_ in "12"]
    headers = {"Idempotency-Key": "once"}
    async with api.database.transaction(api.admin_id) as session:
        await lock(session, users[1])
        request = asyncio.create_task(
            api.http.post(f"{USERS}/batch", json={"users": batch}, headers=headers)
        )
        await asyncio.sleep(0.3)  # by now it has the first user, and waits for the second
        await lock(session, users[0])
    answer = await request
    assert answer.status_code == 200, answer.text
    assert [result["status"] for result in answer.json()["results"]] == ["updated"] * 2
    for user in users:
        assert sequences(await events(api.database, user["id"])) == [1, 2]


async def lock(session: TenantSession, user: Body) -> None:
    statement = select(User.id).where(User.id == user["id"]).with_for_update()
    assert await session.scalar(statement) == user["id"]
