"""Who is erased is gone from everywhere, receivers are told, and nothing brings them back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import insert

from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.core.ids import new_id
from flowkick.core.settings import Settings
from flowkick.delivery.models import WebhookEvent
from flowkick.privacy.settling import Settling
from flowkick.storage.wiping import overwrite_removed
from tests.conftest import client, new_admin
from tests.history.made import booking, get, post, qr_code, tool
from tests.privacy.whole_database import all_rows, holding
from tests.support.endpoint import Arrival, Endpoint
from tests.support.factories import create_subscription
from tests.support.server import Api

PERSON: dict[str, Any] = {
    "manychatId": "9175550142",
    "instagramId": "ig-7748213",
    "igUsername": "quillonverity",
    "firstName": "Quillon",
    "lastName": "Verityfield",
    "email": "quillon.verity@example.net",
    "phone": "+4915799887766",
    "whatsappPhone": "+4915755443322",
    "profilePic": "https://pictures.example/quillon.jpg",
    "customFields": {"favorite_drink": "smoked lapsang"},
}
TRACES = [value for value in PERSON.values() if isinstance(value, str)]
TRACES += ["smoked lapsang", "left shoe size 43", "window seat for Q", "Quillon Verityfield"]


def quoting(arrival: Arrival) -> web.Response:
    """A receiver that says what it was told."""
    return web.Response(body=arrival.body[:900])


async def a_person_with_a_past(api: Api) -> str:
    """A user of whom there are traces everywhere; the id."""
    user = (await post(api.http, "/users", PERSON))["user"]["id"]
    await post(api.http, f"/users/{user}/tags", {"name": "vip"}, 200)
    await booking(api.http, user, (await tool(api.http))["id"], notes="window seat for Q")
    await qr_code(api.http, userId=user, metadata={"note": "left shoe size 43"})
    await post(api.http, f"/users/{user}/interactions", {"messagesCount": 3})
    message = {"role": "user", "content": "left shoe size 43, please"}
    await post(api.http, "/conversations", {"userId": user, "messages": [message]})
    consent = {"given": True, "source": "form", "wording": "Quillon Verityfield agrees."}
    await post(api.http, f"/users/{user}/consent", consent)
    key = {"Idempotency-Key": "kept-answer"}
    body = {"name": "newsletter"}
    answer = await api.http.post(f"/api/admin/users/{user}/tags", json=body, headers=key)
    assert answer.status_code == 200
    csv = await api.http.get("/api/admin/export/users/csv", params={"search": "quillonverity"})
    assert b"quillonverity" in csv.content
    return str(user)


async def until_erased(api: Api, erasure_id: str) -> dict[str, Any]:
    """The erasure, once its receivers have answered and it is settled."""
    settling = Settling(api.database, system_clock)
    async with asyncio.timeout(60):
        while True:
            await settling.settle()
            erasure = (await get(api.http, f"/erasures/{erasure_id}"))["erasure"]
            if erasure["status"] == "completed":
                return dict(erasure)
            await asyncio.sleep(0.05)


async def delivered(endpoint: Endpoint, count: int) -> None:
    async with asyncio.timeout(60):
        while len(endpoint.arrivals) < count:
            await asyncio.sleep(0.02)


async def test_no_trace_of_an_erased_person_is_left(
    api: Api, process: Process, settings: Settings
) -> None:
    keys = settings.key_ring
    async with Endpoint(quoting) as asks_for_all, Endpoint(quoting) as asks_for_some:
        await create_subscription(api.database, keys, api.admin_id, asks_for_all.url)
        await create_subscription(
            api.database, keys, api.admin_id, asks_for_some.url, events=["user.created"]
        )
        other = (await post(api.http, "/users", {"manychatId": "2", "firstName": "Ada"}))["user"]
        user = await a_person_with_a_past(api)
        await delivered(asks_for_all, 8)
        await delivered(asks_for_some, 2)
        before = await all_rows(api.database)
        assert len(holding(before, TRACES)) > len(TRACES)

        answer = await api.http.delete(f"/api/admin/users/{user}")
        assert answer.status_code == 200
        assert answer.json()["user"] == {"id": user, "manychatId": PERSON["manychatId"]}
        erasure = await until_erased(api, answer.json()["erasure"]["id"])
        for endpoint in (asks_for_all, asks_for_some):
            told = endpoint.arrivals[-1].json()
            assert told["event"] == "user.deleted"
            assert told["data"] == {"user": {"id": user, "manychatId": PERSON["manychatId"]}}
    receivers = erasure["receivers"]
    assert [receiver["status"] for receiver in receivers] == ["acknowledged"] * 2
    assert all(receiver["acknowledgedAt"] for receiver in receivers)
    assert erasure["removed"]["events"] >= 6
    assert erasure["removed"]["exportFiles"] == 1

    after = await all_rows(api.database)
    assert holding(after, TRACES) == []
    assert [line for line in before["User"] if other["id"] in line] == after["User"]
    assert [line for line in after["WebhookEvent"] if other["id"] in line] == [
        line for line in before["WebhookEvent"] if other["id"] in line
    ]
    if api.database.is_sqlite:
        database = Path(str(api.database.url.database))
        async with asyncio.timeout(30):  # a read of that moment may have kept the log of writes
            while any(map(_holds, (database, database.with_name(f"{database.name}-wal")))):
                async with api.database.transaction(api.admin_id) as session:
                    await overwrite_removed(session)
    files = [path for path in settings.data_folder.rglob("*") if path.is_file()]
    assert not any(_holds(path) for path in files)
    assert (await get(api.http, "/users", search="quillonverity"))["users"] == []


def _holds(path: Path) -> bool:
    content = path.read_bytes()
    return any(value.encode() in content for value in TRACES)


async def test_what_waited_to_be_delivered_is_not_sent_any_more(
    api: Api, settings: Settings
) -> None:
    async with Endpoint() as endpoint:
        keys = settings.key_ring
        webhook = await create_subscription(
            api.database, keys, api.admin_id, endpoint.url, active=False
        )
        user = (await post(api.http, "/users", PERSON))["user"]["id"]
        erasure = (await api.http.delete(f"/api/admin/users/{user}")).json()["erasure"]
        assert erasure["status"] == "pending"
        assert [receiver["status"] for receiver in erasure["receivers"]] == ["unreachable"]
        await api.http.patch(f"/api/admin/webhooks/{webhook}", json={"active": True})
        await until_erased(api, erasure["id"])
        assert [arrival.event for arrival in endpoint.arrivals] == ["user.deleted"]


async def test_a_receiver_that_fails_is_told_of_as_such(api: Api, settings: Settings) -> None:
    async with Endpoint(lambda _: web.Response(status=400)) as endpoint:
        await create_subscription(
            api.database, settings.key_ring, api.admin_id, endpoint.url, retry_attempts=0
        )
        user = (await post(api.http, "/users", {"manychatId": "5"}))["user"]["id"]
        answer = (await api.http.delete(f"/api/admin/users/{user}")).json()
        erasure = await until_erased(api, answer["erasure"]["id"])
        assert [receiver["status"] for receiver in erasure["receivers"]] == ["failed"]


async def test_who_may_have_been_told_before_the_log_begins_is_told_to_forget(
    api: Api, settings: Settings
) -> None:
    """The log goes by age; a receiver of long ago still has its copy."""
    async with Endpoint() as old, Endpoint() as new:
        keys = settings.key_ring
        rare = {"events": ["booking.created"]}
        await create_subscription(api.database, keys, api.admin_id, old.url, **rare)
        user = (await post(api.http, "/users", {"manychatId": "5"}))["user"]["id"]
        async with api.database.system_transaction() as session:
            await session.execute(WebhookEvent.__table__.delete())  # type: ignore[attr-defined]
        later: dict[str, Any] = {
            "id": new_id("evt"),
            "admin_id": api.admin_id,
            "event": "user.updated",
        }
        later |= {"user_id": "usr_other", "sequence": 1, "body": b"{}"}
        at = system_clock() + timedelta(milliseconds=1)
        async with api.database.system_transaction() as session:
            await session.execute(insert(WebhookEvent), [{**later, "created_at": at}])
        await asyncio.sleep(0.01)
        await create_subscription(api.database, keys, api.admin_id, new.url, **rare)
        answer = (await api.http.delete(f"/api/admin/users/{user}")).json()
        await until_erased(api, answer["erasure"]["id"])
        assert ([a.event for a in old.arrivals], new.arrivals) == (["user.deleted"], [])


async def test_nothing_brings_an_erased_person_back_until_they_consent_anew(api: Api) -> None:
    user = (await post(api.http, "/users", PERSON))["user"]["id"]
    other = (await post(api.http, "/users", {"firstName": "Ada"}))["user"]["id"]
    await api.http.delete(f"/api/admin/users/{user}")
    contact = {"id": PERSON["manychatId"], "first_name": "Quillon"}
    pushed = await api.http.post("/api/manychat/contact", json=contact)
    assert pushed.status_code == 200
    assert (pushed.json()["status"], pushed.json()["user"]) == ("suppressed", None)
    again = await post(api.http, "/users", {"manychatId": PERSON["manychatId"]}, 409)
    assert again["code"] == "suppressed"
    moved = await api.http.patch(
        f"/api/admin/users/{other}", json={"manychatId": PERSON["manychatId"]}
    )
    assert moved.status_code == 409
    batch = {"users": [{"manychatId": PERSON["manychatId"]}, {"manychatId": "6"}]}
    results = (await post(api.http, "/users/batch", batch, 200))["results"]
    assert [result["status"] for result in results] == ["failed", "created"]
    assert "consented anew" in results[0]["error"]
    # The id is nobody's secret: another admin has a person of its own.
    _, key = await new_admin(api.database)
    async with client(api.url, key) as elsewhere:
        await post(elsewhere, "/users", {"manychatId": PERSON["manychatId"]})
    anew = {"manychatId": PERSON["manychatId"], "exportConsentGiven": True}
    await post(api.http, "/users", anew)
    pushed = await api.http.post("/api/manychat/contact", json=contact)
    assert pushed.json()["status"] == "updated"


async def test_a_sync_that_races_with_an_erasure_does_not_bring_the_person_back(
    api: Api,
) -> None:
    contact = {"id": PERSON["manychatId"], "first_name": "Quillon"}
    for _ in range(5):
        anew = {"manychatId": PERSON["manychatId"], "exportConsentGiven": True}
        user = (await post(api.http, "/users", anew))["user"]["id"]
        answers = await asyncio.gather(
            api.http.delete(f"/api/admin/users/{user}"),
            *(api.http.post("/api/manychat/contact", json=contact) for _ in range(4)),
            *(api.http.post("/api/admin/users", json={"manychatId": "9175550142"}) for _ in "ab"),
        )
        assert answers[0].status_code == 200
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert (await get(api.http, "/users"))["users"] == []


async def test_an_erasure_is_somebody_elses_business(api: Api) -> None:
    user = (await post(api.http, "/users", PERSON))["user"]["id"]
    erasure = (await api.http.delete(f"/api/admin/users/{user}")).json()["erasure"]["id"]
    assert len((await get(api.http, "/erasures"))["erasures"]) == 1
    _, key = await new_admin(api.database)
    async with client(api.url, key) as other:
        assert (await other.get(f"/api/admin/erasures/{erasure}")).status_code == 404
        assert (await get(other, "/erasures"))["erasures"] == []


@pytest.mark.parametrize("body", [{}, {"given": "yes"}, {"given": True, "purpose": ""}])
async def test_a_consent_that_says_nothing_is_refused(api: Api, body: dict[str, Any]) -> None:
    user = (await post(api.http, "/users", {}))["user"]["id"]
    await post(api.http, f"/users/{user}/consent", body, 400)


async def test_the_ledger_holds_every_consent_whichever_way_it_came(api: Api) -> None:
    user = (await post(api.http, "/users", {"exportConsentGiven": True}))["user"]["id"]
    told = {"given": False, "purpose": "newsletter", "source": "a call", "wording": "No more!"}
    answer = await post(api.http, f"/users/{user}/consent", told)
    assert answer["user"]["exportConsentGiven"] is False
    assert answer["user"]["exportConsentAt"] is None
    await post(api.http, f"/users/{user}/consent", told)  # again: nothing changes, it is noted
    await api.http.patch(f"/api/admin/users/{user}", json={"exportConsentGiven": True})
    await api.http.patch(f"/api/admin/users/{user}", json={"firstName": "Ada"})
    page = await get(api.http, f"/users/{user}/consent")
    assert [(c["given"], c["source"], c["purpose"]) for c in page["consents"]] == [
        (True, "api", "export"),
        (False, "a call", "newsletter"),
        (False, "a call", "newsletter"),
        (True, "api", "export"),
    ]
    assert page["consents"][1]["wording"] == "No more!"
