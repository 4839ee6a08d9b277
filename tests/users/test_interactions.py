"""Interactions: counted by day and in all, and told of."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from flowkick.core.clock import system_clock
from flowkick.history.recent import load_recent_interactions
from tests.history.made import post
from tests.support.server import Api
from tests.users.recorded import create, events, names, sequences


async def test_interactions_add_up_by_day_and_in_all(api: Api) -> None:
    user = await create(api.http, messagesCount=10)
    path = f"/users/{user['id']}/interactions"
    today = system_clock().date().isoformat()
    first = await post(api.http, path, {"messagesCount": 3, "storiesCount": 1})
    assert first["interactions"]["date"] in {today, system_clock().date().isoformat()}
    assert first["interactions"]["totalCount"] == 4
    assert first["totals"]["messagesCount"] == 13
    old = {"date": "2026-01-02", "commentsCount": 5}
    await post(api.http, path, old)
    second = await post(api.http, path, {**old, "messagesCount": 1})
    assert second["interactions"] == {
        "date": "2026-01-02",
        "messagesCount": 1,
        "commentsCount": 10,
        "storiesCount": 0,
        "totalCount": 11,
    }
    told = await events(api.database, user["id"])
    assert [body["event"] for body in told] == ["user.created"] + ["user.updated"] * 3
    assert told[1]["data"]["changes"] == {
        "interactions.messagesCount": {"old": 10, "new": 13},
        "interactions.storiesCount": {"old": 0, "new": 1},
    }
    assert told[3]["data"]["user"]["interactions"]["totalCount"] == 25
    async with api.database.reading(api.admin_id) as session:
        days = (await load_recent_interactions(session, [user["id"]]))[user["id"]]
    assert [day["total_count"] for day in days] == [4, 11]


async def test_what_pushed_counters_grow_by_counts_for_the_day(api: Api) -> None:
    made = (await post(api.http, "/connections", {}))["token"]
    headers = {"X-Flowkick-Token": made}
    user_id = ""
    for messages, stories in ((10, 2), (13, 2), (13, 2), (11, 2), (12, 5)):
        contact = {
            "subscriber_id": "1",
            "custom_fields": {"messagescountinsta": messages, "storiescountinsta": stories},
        }
        answer = await api.http.post("/api/manychat/contact", json=contact, headers=headers)
        assert answer.status_code in {200, 201}, answer.text
        user_id = answer.json()["user"]["id"]
    async with api.database.reading(api.admin_id) as session:
        days = (await load_recent_interactions(session, [user_id]))[user_id]
    assert sum(day["messages_count"] for day in days) == 4
    assert sum(day["stories_count"] for day in days) == 3
    await post(api.http, f"/users/{user_id}/interactions", {"messagesCount": 1})
    told = await events(api.database, user_id)
    assert told[-1]["data"]["changes"] == {"interactions.messagesCount": {"old": 12, "new": 13}}


async def test_nothing_added_tells_nothing(api: Api) -> None:
    user = await create(api.http)
    path = f"/users/{user['id']}/interactions"
    for body in ({}, {"messagesCount": 0, "date": "2026-01-02"}):
        answer = await post(api.http, path, body)
        assert answer["interactions"]["totalCount"] == 0
        assert answer["user"] == user
    assert await names(api.database) == ["user.created"]
    async with api.database.reading(api.admin_id) as session:
        assert not await load_recent_interactions(session, [user["id"]])


async def test_those_that_are_added_at_once_all_count(api: Api) -> None:
    user = await create(api.http)
    path = f"/users/{user['id']}/interactions"
    body = {"date": "2026-01-02", "messagesCount": 2}
    await asyncio.gather(*(post(api.http, path, body) for _ in range(20)))
    last = await post(api.http, path, body)
    assert last["interactions"]["messagesCount"] == last["totals"]["totalCount"] == 42
    assert sequences(await events(api.database, user["id"])) == list(range(1, 23))


async def test_what_cannot_be_counted_is_refused(api: Api) -> None:
    user = await create(api.http, messagesCount=2**31 - 10)
    path = f"/users/{user['id']}/interactions"
    later = (system_clock() + timedelta(days=3)).date().isoformat()
    for body in (
        {"messagesCount": -1},
        {"messagesCount": 1_000_001},
        {"messagesCount": "1"},
        {"messagesCount": None},
        {"date": "yesterday"},
        {"date": 5},
        {"date": later},
        {"totalCount": 1},
    ):
        await post(api.http, path, body, 400)
    await post(api.http, path, {"messagesCount": 10}, 409)
    await post(api.http, "/users/usr_nobody/interactions", {}, 404)
    assert await names(api.database) == ["user.created"]


@pytest.mark.parametrize("day", ["0001-01-01", "2026-02-28"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_days_of_long_ago_can_be_added(api: Api, day: str) -> None:
    user = await create(api.http)
    answer = await post(api.http, f"/users/{user['id']}/interactions", {"date": day})
    assert answer["interactions"]["date"] == day
