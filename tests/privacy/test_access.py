"""A person is told everything that is held on them, and who received it."""

from __future__ import annotations

import hashlib

from flowkick.auth.service import create_key
from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.exports import chain
from tests.conftest import client
from tests.history.made import get
from tests.privacy.test_erasure import PERSON, TRACES, a_person_with_a_past, delivered
from tests.support.endpoint import Endpoint
from tests.support.factories import create_subscription
from tests.support.server import Api


async def test_all_that_is_held_is_told_with_who_received_it(api: Api, settings: Settings) -> None:
    async with Endpoint() as endpoint:
        keys = settings.key_ring
        webhook = await create_subscription(api.database, keys, api.admin_id, endpoint.url)
        user = await a_person_with_a_past(api)
        await delivered(endpoint, 7)
        await api.http.post("/api/admin/users", json={"firstName": "Somebody else"})
        answer = await api.http.get(f"/api/admin/users/{user}/export")
    assert answer.status_code == 200
    held = answer.json()
    assert [value for value in TRACES if value not in answer.text] == []
    assert "Somebody else" not in answer.text
    assert held["user"]["customFields"] == PERSON["customFields"]
    assert held["conversations"][0]["messages"][0]["content"].startswith("left shoe")
    assert held["consents"][0]["wording"] == "Quillon Verityfield agrees."
    assert [len(held[kind]) for kind in ("bookings", "qrCodes", "interactionHistory")] == [1] * 3
    events = {event["id"]: event["event"] for event in held["events"]}
    assert {received["webhookId"] for received in held["receivedBy"]} == {webhook}
    assert {received["eventId"] for received in held["receivedBy"]} == set(events)
    logged = (await get(api.http, "/exports"))["exports"]
    entry = next(one for one in logged if one["id"] == answer.headers["X-Export-ID"])
    assert (entry["exportType"], entry["recordCount"]) == ("access", 1)
    assert entry["fileHash"] == hashlib.sha256(answer.content).hexdigest()
    async with api.database.reading(api.admin_id) as session:
        assert (await chain.verify(session)).broken is None


async def test_it_takes_the_scope_for_exports(api: Api) -> None:
    async with api.database.transaction(api.admin_id) as session:
        _, key = await create_key(session, system_clock(), scopes=["read", "write"])
    user = (await api.http.post("/api/admin/users", json={})).json()["user"]["id"]
    async with client(api.url, key) as reader:
        assert (await reader.get(f"/api/admin/users/{user}/export")).status_code == 403
    assert (await api.http.get("/api/admin/users/usr_no/export")).status_code == 404
