"""Logs name people in their own ways: none of them is left when somebody was erased."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from flowkick.core.clock import isoformat, system_clock
from flowkick.core.settings import Settings
from flowkick.exports import chain
from flowkick.importing.items import Item, Kind
from flowkick.importing.records import Place, Record
from flowkick.importing.writing import Rejection, write_items
from flowkick.users.writing import Desired
from tests.history.made import get, post
from tests.privacy.test_erasure import PERSON
from tests.privacy.test_receivers import erase
from tests.privacy.whole_database import all_rows, holding
from tests.support.endpoint import Endpoint
from tests.support.factories import create_subscription
from tests.support.server import Api

SEARCHES = {
    "the last name alone": {"search": "VERITYFIELD"},
    "both, the other way round": {"search": "verityfield quillon"},
    "a part of the address": {"search": "quillon.ver"},
    "a former name": {"search": "Oldmaiden"},
    "a former address": {"search": "past.quillon@example.net"},
}


async def exported(api: Api, **filters: Any) -> str:
    answer = await api.http.get("/api/admin/export/users/json", params=filters)
    assert answer.status_code == 200
    return answer.headers["x-export-id"]


async def test_searches_that_found_them_are_forgotten_and_the_chain_stays_whole(api: Api) -> None:
    former = {**PERSON, "lastName": "Oldmaiden", "email": "past.quillon@example.net"}
    user = (await post(api.http, "/users", former))["user"]["id"]
    now = {"lastName": PERSON["lastName"], "email": PERSON["email"]}
    assert (await api.http.patch(f"/api/admin/users/{user}", json=now)).status_code == 200
    theirs = [await exported(api, **filters) for filters in SEARCHES.values()]
    others = [await exported(api, search=words) for words in ("Ada", "example.net", "qu")]
    await erase(api, user)
    log = {one["id"]: one["filters"] for one in (await get(api.http, "/exports"))["exports"]}
    assert [log[id_] for id_ in theirs] == [None] * len(theirs)
    assert all(log[id_] for id_ in others)
    rows = await all_rows(api.database)
    assert holding(rows, ["verityfield", "oldmaiden", "past.quillon", "quillon.ver"]) == []
    async with api.database.reading(api.admin_id) as session:
        assert (await chain.verify(session)).broken is None


async def test_kept_answers_go_however_they_name_the_person(api: Api) -> None:
    user = (await post(api.http, "/users", {"firstName": 'Qu"illon', "email": "q@example.net"}))[
        "user"
    ]["id"]
    talk = await post(api.http, "/conversations", {"userId": user})
    conversation = talk["conversation"]["id"]
    other = (await post(api.http, "/users", {"firstName": "Ada"}))["user"]["id"]
    message = {"role": "user", "content": "my shoes are size 43"}
    asked = {
        "for q@example.net": (f"/users/{other}/tags", {"name": "vip"}),
        "a message": (f"/conversations/{conversation}/messages", message),
        "somebody else": (f"/users/{other}/tags", {"name": "shoes"}),
    }
    for key, (path, body) in asked.items():
        headers = {"Idempotency-Key": key}
        answer = await api.http.post(f"/api/admin{path}", json=body, headers=headers)
        assert answer.status_code < 300, answer.text
    erasure = await erase(api, user)
    assert erasure["removed"]["keptAnswers"] == 2
    kept = (await all_rows(api.database))["IdempotencyKey"]
    assert len(kept) == 1
    assert "somebody else" in kept[0]


async def test_jobs_that_look_for_the_person_end_and_are_forgotten(
    api: Api, settings: Settings
) -> None:
    async with Endpoint() as endpoint:
        webhook = await create_subscription(
            api.database, settings.key_ring, api.admin_id, endpoint.url, active=False
        )
        user = (await post(api.http, "/users", PERSON))["user"]["id"]
        await post(
            api.http, f"/webhooks/{webhook}/backfill", {"filters": {"search": "quillon"}}, 202
        )
        order = {"format": "csv", "filters": {"search": "verityfield"}}
        export = (await post(api.http, "/exports", order, 202))["export"]["id"]
        erasure = await erase(api, user)
        assert erasure["removed"]["jobs"] == 2
        rows = await all_rows(api.database)
        assert holding(rows, ["quillon", "verityfield"]) == []
        assert rows["Job"] == []
        async with asyncio.timeout(30):
            while (await get(api.http, f"/exports/{export}"))["export"]["status"] == "running":
                await asyncio.sleep(0.05)
        async with api.database.reading(api.admin_id) as session:
            assert (await chain.verify(session)).broken is None


async def test_jobs_and_answers_stay_that_only_happen_to_hold_the_same_digits(
    api: Api, settings: Settings
) -> None:
    async with Endpoint() as endpoint:
        webhook = await create_subscription(
            api.database, settings.key_ring, api.admin_id, endpoint.url, active=False
        )
        other = (await post(api.http, "/users", {"firstName": "Ada"}))["user"]["id"]
        path, headers = f"/api/admin/users/{other}/tags", {"Idempotency-Key": "one"}
        await api.http.post(path, json={"name": "vip"}, headers=headers)
        job = (await post(api.http, f"/webhooks/{webhook}/backfill", {}, 202))["backfill"]
        for digits in (webhook[10:15], job["createdAt"][:4], other[12:18]):
            user = (await post(api.http, "/users", {"manychatId": digits}))["user"]["id"]
            erasure = await erase(api, user)
            assert (erasure["removed"]["jobs"], erasure["removed"]["keptAnswers"]) == (0, 0)


def _row(manychat_id: str, **values: Any) -> Item:
    desired = Desired(values={"manychat_id": manychat_id, **values})
    return Item(Record(2, Place(0, 3)), Kind.MANYCHAT_ID, manychat_id, desired)


async def test_an_old_file_that_tells_of_consent_does_not_bring_them_back(api: Api) -> None:
    """An export made before the erasure says that they have consented: long ago."""
    user = (await post(api.http, "/users", {**PERSON, "exportConsentGiven": True}))["user"]["id"]
    before = system_clock()
    await erase(api, user)
    id_ = PERSON["manychatId"]
    stale = {"export_consent_given": True, "export_consent_at": before}
    for values in ({}, {"export_consent_given": True}, stale):
        async with api.database.transaction(api.admin_id) as session:
            (outcome,) = await write_items(
                session, [_row(id_, **values)], now=system_clock(), told=True
            )
        assert isinstance(outcome, Rejection)
        assert "erased" in outcome.reason
    old = {"manychatId": id_, "exportConsentGiven": True, "exportConsentAt": isoformat(before)}
    assert (await post(api.http, "/users", old, 409))["code"] == "suppressed"
    anew = {"export_consent_given": True, "export_consent_at": before + timedelta(days=1)}
    async with api.database.transaction(api.admin_id) as session:
        (outcome,) = await write_items(session, [_row(id_, **anew)], now=system_clock(), told=True)
    assert outcome == "created"
