"""Conversations over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.history.made import get, post
from tests.support.server import Api
from tests.users.recorded import create, names


async def test_a_conversation_is_begun_gone_on_with_and_read(api: Api) -> None:
    user = await create(api.http)
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    begun = await post(api.http, "/conversations", {"userId": user["id"], "messages": said})
    conversation = begun["conversation"]
    assert conversation["messagesCount"] == 2
    path = f"/conversations/{conversation['id']}"
    added = (await post(api.http, f"{path}/messages", {"role": "user", "content": "Bye"}))[
        "message"
    ]
    read = await get(api.http, path)
    assert [row["content"] for row in read["conversation"]["messages"]] == ["Hello", "Hi", "Bye"]
    assert read["conversation"]["messages"][-1] == added
    assert read["conversation"]["lastMessageAt"] == added["createdAt"]
    first = await get(api.http, path, limit=2)
    rest = await get(api.http, path, limit=2, cursor=first["pagination"]["nextCursor"])
    assert [row["content"] for row in rest["conversation"]["messages"]] == ["Bye"]
    assert rest["pagination"] == {"limit": 2, "hasMore": False, "nextCursor": None}
    empty = {"userId": user["id"], "title": "Later"}
    second = (await post(api.http, "/conversations", empty))["conversation"]
    assert (second["messages"], second["lastMessageAt"]) == ([], None)
    other = (await create(api.http))["id"]
    await post(api.http, "/conversations", {"userId": other})
    listed = await get(api.http, "/conversations", userId=user["id"])
    assert [row["id"] for row in listed["conversations"]] == [second["id"], conversation["id"]]
    assert len((await get(api.http, "/conversations"))["conversations"]) == 3
    assert (await get(api.http, f"/users/{user['id']}"))["user"]["conversationsCount"] == 2
    assert set(await names(api.database)) == {"user.created"}


async def test_messages_that_are_added_at_once_follow_one_another(api: Api) -> None:
    user = await create(api.http)
    begun = await post(api.http, "/conversations", {"userId": user["id"]})
    path = f"/conversations/{begun['conversation']['id']}"
    await asyncio.gather(
        *(
            post(api.http, f"{path}/messages", {"role": "user", "content": str(number)})
            for number in range(20)
        ),
        *(post(api.http, "/conversations", {"userId": user["id"]}) for _ in range(5)),
    )
    read = (await get(api.http, path))["conversation"]
    assert read["messagesCount"] == 20
    assert {row["content"] for row in read["messages"]} == {str(number) for number in range(20)}
    assert (await get(api.http, f"/users/{user['id']}"))["user"]["conversationsCount"] == 6


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_cannot_be_said_is_refused(api: Api) -> None:
    user = await create(api.http)
    begun = await post(api.http, "/conversations", {"userId": user["id"]})
    path = f"/conversations/{begun['conversation']['id']}"
    wrong: list[dict[str, Any]] = [
        {"role": "user"},
        {"role": "user", "content": ""},
        {"role": "user", "content": "\x00"},
        {"role": "user", "content": "x" * 100_001},
        {"role": "robot", "content": "Hi"},
        {"role": "user", "content": "Hi", "extra": 1},
    ]
    for message in wrong:
        await post(api.http, f"{path}/messages", message, 400)
        body = {"userId": user["id"], "messages": [message]}
        await post(api.http, "/conversations", body, 400)
    good = {"role": "user", "content": "Hi"}
    too_many = {"userId": user["id"], "messages": [good] * 101}
    await post(api.http, "/conversations", too_many, 400)
    await post(api.http, "/conversations", {"userId": "usr_nobody"}, 404)
    await post(api.http, "/conversations/cnv_none/messages", good, 404)
    for cursor in ("x", "-1", "9" * 11, "²"):
        answer = await api.http.get(f"/api/admin{path}", params={"cursor": cursor})
        assert answer.status_code == 400
