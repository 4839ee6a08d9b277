"""The list of users over HTTP: what it takes and refuses, and pages while others write."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from flowkick.auth.models import Admin
from flowkick.core.clock import system_clock
from flowkick.core.ids import new_id
from flowkick.users.models import User
from tests.conftest import client, new_admin
from tests.history.test_recent import fill
from tests.support.server import Api
from tests.users.recorded import create

USERS = "/api/admin/users"


async def listed(http: httpx.AsyncClient, query: str = "", **params: Any) -> dict[str, Any]:
    answer = await http.get(USERS, params=httpx.QueryParams(query).merge(params))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def found(http: httpx.AsyncClient, query: str = "", **params: Any) -> list[str]:
    return [user["id"] for user in (await listed(http, query, **params))["users"]]


REFUSED = {
    "nope=1": "nope",
    "hastag=vip": "hastag",
    "customField=x": "customField",
    "customField[]=x": "customField[]",
    "customfield[a]=x": "customfield[a]",
    "hasTag[a]=x": "hasTag[a]",
    "customField[a]=x&customField[a]=y": "customField[a]",
    "limit=1&limit=2": "limit",
    "limit=": "limit",
    "offset=x": "offset",
    "createdAfter=yesterday": "createdAfter",
    "createdBefore=2025-13-01": "createdBefore",
    "updatedAfter=0001-01-01T00:00:00%2B14:00": "updatedAfter",
    "hasTag=": "hasTag",
    "hasTag=" + "x" * 300: "hasTag",
    "&".join(f"hasTag={n}" for n in range(21)): "hasTag",
    "optedIn=fax": "optedIn",
    "exportConsentOnly=perhaps": "exportConsentOnly",
    "sortBy=email": "sortBy",
    "sortOrder=up": "sortOrder",
    "fields=id,nope": "nope",
    "fields=": "fields",
    "count=all": "count",
    "search=" + "x" * 10_001: "search",
    "search=" + "+".join(f"w{n}x" for n in range(21)): "search",
    "cursor=c1.AAAA": "cursor",
    "cursor=c1.%00": "%00",
    "cursor=c1.WyJjcmVhdGVkQXQiLCJkZXNjIiwiMSIsIngiXQ": "cursor",
    "cursor=" + "x" * 2001: "cursor",
}


async def test_a_query_that_cannot_be_is_refused_by_name(api: Api) -> None:
    for query, named in REFUSED.items():
        answer = await api.http.get(f"{USERS}?{query}")
        assert answer.status_code == 400, query
        body = answer.json()
        assert named in body["error"] or "U+0000" in body["error"], (query, body)


async def test_fields_selects_and_the_rest_is_left_out(api: Api) -> None:
    user = await create(api.http, email="a@example.com", tags=["vip"], customFields={"a": "b"})
    (whole,) = (await listed(api.http))["users"]
    assert whole == user
    (some,) = (await listed(api.http, fields="tags, email,email"))["users"]
    assert some == {"email": "a@example.com", "tags": user["tags"]}
    (one,) = (await listed(api.http, fields="createdAt"))["users"]
    assert one == {"createdAt": user["createdAt"]}


async def test_counts_are_exact_estimated_or_none(api: Api) -> None:
    for number in range(3):
        await create(api.http, tags=["vip"] if number else [])
    for query, total in (("", 3), ("count=estimated", 3), ("count=none", None)):
        page = await listed(api.http, f"limit=2&{query}")
        assert page["pagination"]["total"] == total
    assert (await listed(api.http, "hasTag=VIP"))["pagination"]["total"] == 2
    assert (await listed(api.http, "hasTag=VIP&count=estimated"))["pagination"]["total"] == 2


async def test_the_count_follows_whoever_adds_and_deletes(api: Api) -> None:
    ids = [(await create(api.http))["id"] for _ in range(4)]
    people = [{"manychatId": str(n)} for n in (1, 2, 2)]
    await api.http.post(f"{USERS}/batch", json={"users": people})
    await api.http.post(f"{USERS}/batch", json={"users": people})
    await api.http.delete(f"{USERS}/{ids[0]}")
    assert (await listed(api.http))["pagination"]["total"] == 5
    _, key = await new_admin(api.database)
    async with client(api.url, key) as other:
        assert (await listed(other))["pagination"]["total"] == 0
    async with api.database.system_transaction() as session:
        admin = await session.get_one(Admin, api.admin_id)
        await session.delete(admin)  # which deletes its users with it


async def test_what_is_searched_follows_every_change(api: Api) -> None:
    user = await create(api.http, firstName="Zoë", manychatId="1")
    path = f"{USERS}/{user['id']}"
    assert await found(api.http, search="zoe") == [user["id"]]
    await api.http.patch(path, json={"firstName": "Anna", "email": "x@pear.example"})
    assert await found(api.http, search="zoe") == []
    assert await found(api.http, search="ANNA PEAR") == [user["id"]]
    people = [{"manychatId": "1", "firstName": "Ёлка"}]
    await api.http.post(f"{USERS}/batch", json={"users": people})
    assert await found(api.http, search="елка pear") == [user["id"]]
    await api.http.delete(path)
    assert await found(api.http, search="елка") == []


async def test_users_of_somebody_elses_code_are_found_and_sorted(api: Api) -> None:
    now = system_clock()
    async with api.database.transaction(api.admin_id) as session:
        for name in ("Émile", "eva", "Dora"):
            session.add(User(id=new_id("usr"), first_name=name, created_at=now, updated_at=now))
    names = [u["firstName"] for u in (await listed(api.http, "sortBy=firstName"))["users"]]
    assert names == ["eva", "Émile", "Dora"]
    async with api.database.transaction(api.admin_id) as session:
        user = await session.scalar(select(User).where(User.first_name == "Dora"))
        assert user is not None
        session.expire(user)
        user.last_name = "Świt"
    assert len(await found(api.http, search="dora swit")) == 1


ODD = [
    "%",
    "_",
    "%%%",
    "___",
    "'",
    '"',
    '""',
    "\\",
    "*",
    "(",
    "a OR b",
    "NEAR(a b)",
    "{a}",
    "-x",
    "^",
]
LONG = ["%" * 10_000, "x" * 10_000, '"' * 10_000, "ab " * 3_000, "ё" * 2_000, "\u0301" * 500]


async def test_nothing_in_a_search_means_anything_but_itself(api: Api) -> None:
    user = await create(api.http, firstName="50%_'\"\\*(a){b}^-x", lastName="NEAR OR AND")
    await create(api.http, firstName="50 percent")
    for odd in ODD:
        holds = odd not in {"%%%", "___", '""', "NEAR(a b)", "{a}"}
        assert (user["id"] in await found(api.http, search=odd)) == holds, odd
    for long in LONG:
        answer = await api.http.get(USERS, params={"search": long})
        assert answer.status_code == 200, long[:20]
        nothing = long.startswith("\u0301")  # accents alone ask for nothing
        assert len(answer.json()["users"]) == (2 if nothing else 0), long[:20]


async def test_a_cursor_goes_on_with_its_own_order_alone(api: Api) -> None:
    for name in ("a", "b", "c"):
        await create(api.http, firstName=name)
    page = await listed(api.http, "limit=1&sortBy=firstName&sortOrder=asc")
    cursor = page["pagination"]["nextCursor"]
    rest = await listed(api.http, "sortBy=firstName&sortOrder=asc", cursor=cursor)
    assert [user["firstName"] for user in rest["users"]] == ["b", "c"]
    for order in ("sortBy=firstName", "sortBy=lastName&sortOrder=asc", "sortOrder=asc"):
        answer = await api.http.get(f"{USERS}?{order}&cursor={cursor}")
        assert answer.status_code == 400
        assert "order" in answer.json()["error"]


@pytest.mark.parametrize("sort", ["createdAt", "updatedAt", "firstName", "lastName"])
async def test_pages_neither_skip_nor_repeat_while_others_write(api: Api, sort: str) -> None:
    people = [
        {"manychatId": str(n), "firstName": f"N{n % 7}", "lastName": "same", "tags": ["all"]}
        for n in range(90)
    ]
    added = await api.http.post(f"{USERS}/batch", json={"users": people})
    ids = [result["id"] for result in added.json()["results"]]
    deleted, changed, kept = ids[0::3], ids[1::3], ids[2::3]
    seen: list[str] = []

    async def disturb() -> None:
        for number, (gone, other) in enumerate(zip(deleted, changed, strict=True)):
            await create(api.http, firstName=f"N{number % 7}", lastName="same", tags=["all"])
            await api.http.delete(f"{USERS}/{gone}")
            renamed = {"firstName": f"N{number % 5}", "lastName": f"{number}"}
            await api.http.patch(f"{USERS}/{other}", json=renamed)

    for order in ("asc", "desc"):
        seen.clear()
        writing = asyncio.create_task(disturb()) if order == "asc" else None
        query: dict[str, Any] = {"sortBy": sort, "sortOrder": order, "limit": 4, "count": "none"}
        query["hasTag"] = "all"
        while True:
            page = await listed(api.http, **query)
            seen += [user["id"] for user in page["users"]]
            if not page["pagination"]["hasMore"]:
                break
            query["cursor"] = page["pagination"]["nextCursor"]
        assert sorted(set(kept) & set(seen)) == sorted(kept)
        assert len([one for one in seen if one in kept]) == len(kept)
        if writing is not None:
            await writing


async def test_what_users_did_is_shown_where_asked_for(api: Api) -> None:
    busy, idle = [(await create(api.http))["id"] for _ in range(2)]
    await fill(api.database, api.admin_id, busy, 12)
    asked = "includeBookings=true&includeQRCodes=true&includeInteractions=true&fields=id"
    shown = {user["id"]: user for user in (await listed(api.http, asked))["users"]}
    assert shown[idle] == {"id": idle, "bookings": [], "qrCodes": [], "interactionHistory": []}
    assert [len(shown[busy][name]) for name in list(shown[busy])[1:]] == [10, 10, 12]
    assert shown[busy]["bookings"][0]["tool"]["name"] == "Table"
    assert shown[busy]["bookings"][0]["startTime"].endswith("Z")
    assert set((await listed(api.http, "includeQRCodes=false"))["users"][0]) == set(
        (await api.http.get(f"{USERS}/{busy}")).json()["user"]
    )
