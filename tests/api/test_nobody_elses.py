"""Nobody reads, changes or learns of what is another's, on any route that there is.

The routes come from the application's own OpenAPI document, so that a new one can't be forgotten.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select
from starlette.routing import Route

from flowkick import models
from flowkick.api import health, metrics
from flowkick.app import ROUTERS, Process
from flowkick.auth.service import create_key, revoke_key
from flowkick.core.clock import system_clock
from flowkick.http.route import ApiRoute
from flowkick.privacy.settling import Settling
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.exports.orders import ended, order
from tests.history import made as history
from tests.support.endpoint import Endpoint
from tests.support.server import Api

OPEN = {"/healthz", "/readyz", "/metrics"}
BODIES: dict[str, dict[str, Any]] = {
    "createWebhook": {"url": "http://127.0.0.1:9/hook", "events": ["*"]},
    "updateWebhook": {"name": "stolen"},
    "rotateWebhookSecret": {},
    "replayWebhook": {},
    "backfillWebhook": {},
    "createUser": {"firstName": "intruder"},
    "batchUsers": {"users": [{"manychatId": "1"}]},
    "updateUser": {"firstName": "stolen"},
    "recordConsent": {"given": True},
    "addTag": {"name": "stolen"},
    "setCustomField": {"value": "stolen"},
    "addInteractions": {"messagesCount": 1},
    "createTool": {"name": "stolen"},
    "updateTool": {"name": "stolen"},
    "createBooking": {
        "userId": "usr_none",
        "toolId": "tol_none",
        "startTime": "2026-03-01T18:00:00Z",
        "endTime": "2026-03-01T20:00:00Z",
    },
    "updateBooking": {"notes": "stolen"},
    "createQRCode": {"metadata": {"a": 1}},
    "updateQRCode": {"active": False},
    "scanQRCode": {"scannedBy": "thief"},
    "createConversation": {"userId": "usr_none"},
    "addMessage": {"role": "user", "content": "stolen"},
    "createConnection": {"name": "stolen"},
    "startExport": {"format": "csv"},
    "pushManychatContact": {"subscriber_id": "77"},
}
PRIVATE = "Zaphod"


@dataclass(frozen=True)
class Operation:
    """One operation of the API, with real ids of the victim in its path."""

    method: str
    path: str
    name: str
    has_id: bool

    async def call(self, http: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
        body = BODIES.get(self.name)
        return await http.request(self.method, self.path, json=body, headers=headers)


async def _operations(api: Api, ids: dict[str, str]) -> list[Operation]:
    document = (await api.http.get("/openapi.json")).json()
    found = []
    for path, item in document["paths"].items():
        if path in OPEN:
            continue
        real = path
        for prefix, value in ids.items():
            real = real.replace(f"{prefix}/{{id}}", f"{prefix}/{value}")
        for prefix in ("/replays", "/backfills"):
            real = real.replace(f"{prefix}/{{jobId}}", f"{prefix}/{ids[prefix]}")
        real = real.replace("{code}", ids["/qr-codes"]).replace("{name}", "secret-tag")
        assert "{" not in real, f"no real id is known for {path}"
        for method, operation in item.items():
            needs_body = "requestBody" in operation
            assert not needs_body or operation["operationId"] in BODIES, operation["operationId"]
            has_id = "{id}" in path or "{code}" in path
            found.append(Operation(method.upper(), real, operation["operationId"], has_id))
    assert len(found) >= 20
    return found


async def _victim(api: Api, endpoint: Endpoint) -> dict[str, str]:
    """An admin with one of everything; the ids, by the paths they stand in."""
    gone = (await api.http.post("/api/admin/users", json={})).json()["user"]["id"]
    erasure = (await api.http.delete(f"/api/admin/users/{gone}")).json()["erasure"]["id"]
    assert await Settling(api.database, system_clock).settle() == 1
    hook = {"url": endpoint.url, "events": ["*"], "name": PRIVATE}
    webhook = (await api.http.post("/api/admin/webhooks", json=hook)).json()["webhook"]
    person = {
        "firstName": PRIVATE,
        "tags": ["secret-tag"],
        "customFields": {"secret-tag": PRIVATE},
        "manychatId": "1",
    }
    user = (await api.http.post("/api/admin/users", json=person)).json()["user"]
    did = await _what_the_victim_did(api.http, user["id"])
    made = (await api.http.post("/api/admin/connections", json={"name": PRIVATE})).json()
    await endpoint.wait_for(1)
    while True:
        shown = (await api.http.get(f"/api/admin/webhooks/{webhook['id']}")).json()["webhook"]
        if shown["deliveries"][0]["status"] == "success":
            break
    path = f"/api/admin/webhooks/{webhook['id']}"
    return {
        "/webhooks": webhook["id"],
        "/replays": await _sent(api.http, path, "replay", {"events": ["qr.scanned"]}),
        "/backfills": await _sent(api.http, path, "backfill", {"filters": {"hasTag": ["none"]}}),
        "/users": user["id"],
        "/exports": await _exported(api.http),
        "/deliveries": shown["deliveries"][0]["id"],
        "/connections": made["connection"]["id"],
        "/erasures": erasure,
        **did,
    }


async def _sent(http: httpx.AsyncClient, path: str, kind: str, body: dict[str, Any]) -> str:
    """The id of a replay or backfill that has ended, with all that it sent."""
    job_id = (await http.post(f"{path}/{kind}", json=body)).json()[kind]["id"]
    while (await http.get(f"{path}/{kind}s/{job_id}")).json()[kind]["status"] != "completed":
        await asyncio.sleep(0.05)
    while any(
        one["status"] == "pending"
        for one in (await http.get(f"{path}/deliveries")).json()["deliveries"]
    ):
        await asyncio.sleep(0.05)
    return str(job_id)


async def _exported(http: httpx.AsyncClient) -> str:
    export_id = await order(http, "csv")
    await ended(http, export_id)
    return export_id


async def _what_the_victim_did(http: httpx.AsyncClient, user_id: str) -> dict[str, str]:
    tool = await history.tool(http, name=PRIVATE)
    booking = await history.booking(http, user_id, tool["id"], notes=PRIVATE)
    code = await history.qr_code(http, userId=user_id, toolId=tool["id"], type=PRIVATE)
    said = [{"role": "user", "content": PRIVATE}]
    begun = {"userId": user_id, "title": PRIVATE, "messages": said}
    talk = await history.post(http, "/conversations", begun)
    return {
        "/tools": tool["id"],
        "/bookings": booking["id"],
        "/qr-codes": code["code"],
        "/conversations": talk["conversation"]["id"],
    }


async def _dump(database: Database, but_of: str = "") -> dict[str, list[str]]:
    """Every row of every table, but those of one admin."""
    found = {}
    async with database.reader.connect() as connection:
        for table in models.metadata.sorted_tables:
            statement = select(table)
            if "adminId" in table.columns:
                statement = statement.where(table.columns["adminId"] != but_of)
            found[table.name] = sorted(map(repr, await connection.execute(statement)))
    return found


async def _keys(database: Database, admin_id: str) -> dict[str, str]:
    """Keys of the victim itself that must not work any more, or not for everything."""
    now = system_clock()
    async with database.transaction(admin_id) as session:
        revoked, revoked_token = await create_key(session, now)
        await revoke_key(session, revoked.id, now)
        _, expired = await create_key(session, now, expires_at=now - timedelta(seconds=1))
        _, reader = await create_key(session, now, scopes=["read"])
        _, exporter = await create_key(session, now, scopes=["export"])
        _, writer = await create_key(session, now, scopes=["write"])
    return {
        "revoked": revoked_token,
        "expired": expired,
        "reader": reader,
        "exporter": exporter,
        "writer": writer,
    }


def _another(id_: str) -> str:
    """An id of the same form that nobody has."""
    return str(int(id_) + 1_000_000) if id_.isdecimal() else id_[:-12] + "0" * 12


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_without_a_key_that_fits_nothing_is_read_changed_or_revealed(api: Api) -> None:
    async with Endpoint() as endpoint:
        ids = await _victim(api, endpoint)
        keys = await _keys(api.database, api.admin_id)
        before = await _dump(api.database)
        sent = len(endpoint.arrivals)
        refused = {
            "no key": {},
            "only the id": {"X-Admin-ID": api.admin_id},
            "garbage": _bearer("fk_garbage"),
            "basic": {"Authorization": "Basic eDp5"},
            "a wrong token": {"X-Flowkick-Token": "fkc_garbage"},
            "revoked": _bearer(keys["revoked"]),
            "expired": _bearer(keys["expired"]),
        }
        async with httpx.AsyncClient(base_url=api.url) as http:
            for operation in await _operations(api, ids):
                for why, headers in refused.items():
                    answer = await operation.call(http, headers)
                    assert answer.status_code == 401, (operation, why, answer.text)
                    assert PRIVATE not in answer.text
                wrong = ["exporter", "writer" if operation.method == "GET" else "reader"]
                if "/export" in operation.path:
                    wrong = ["reader", "writer"]
                for name in wrong:
                    answer = await operation.call(http, _bearer(keys[name]))
                    assert answer.status_code == 403, (operation, name, answer.text)
                    assert PRIVATE not in answer.text
        assert await _dump(api.database) == before
        assert len(endpoint.arrivals) == sent


async def test_another_admin_sees_and_changes_nothing(api: Api) -> None:
    async with Endpoint() as endpoint:
        ids = await _victim(api, endpoint)
        other_id, other_key = await new_admin(api.database)
        before = await _dump(api.database, but_of=other_id)
        sent = len(endpoint.arrivals)
        async with httpx.AsyncClient(base_url=api.url, headers=_bearer(other_key)) as http:
            for operation in await _operations(api, ids):
                answer = await operation.call(http, {})
                assert PRIVATE not in answer.text, operation
                if operation.has_id:
                    assert answer.status_code == 404, (operation, answer.text)
                    assert answer.json()["code"] == "not_found"
                mixed = await operation.call(http, {"X-Admin-ID": api.admin_id})
                assert mixed.status_code == 403, (operation, mixed.text)
        assert await _dump(api.database, but_of=other_id) == before
        assert len(endpoint.arrivals) == sent


async def test_what_is_anothers_is_answered_as_what_does_not_exist(api: Api) -> None:
    async with Endpoint() as endpoint:
        ids = await _victim(api, endpoint)
        nobodys = {path: _another(value) for path, value in ids.items()}
        pairs = zip(await _operations(api, ids), await _operations(api, nobodys), strict=True)
        _, other_key = await new_admin(api.database)
        async with httpx.AsyncClient(base_url=api.url, headers=_bearer(other_key)) as http:
            for theirs, made_up in pairs:
                if theirs.has_id:
                    got = [await one.call(http, {}) for one in (theirs, made_up)]
                    assert {answer.status_code for answer in got} == {404}, theirs
                    real, invented = (answer.text for answer in got)
                    for path, value in ids.items():
                        invented = invented.replace(nobodys[path], value)
                    assert real == invented, theirs


async def test_anothers_ids_open_no_page_of_a_list(api: Api) -> None:
    async with Endpoint() as endpoint:
        ids = await _victim(api, endpoint)
        _, other_key = await new_admin(api.database)
        async with httpx.AsyncClient(base_url=api.url, headers=_bearer(other_key)) as http:
            hook = {"url": endpoint.url, "events": ["user.deleted"]}
            made = (await http.post("/api/admin/webhooks", json=hook)).json()["webhook"]["id"]
            for path, cursor in (
                ("/api/admin/users", ids["/users"]),
                (f"/api/admin/webhooks/{made}/deliveries", ids["/deliveries"]),
            ):
                answer = await http.get(path, params={"cursor": cursor})
                assert PRIVATE not in answer.text
                assert ids["/users"] not in answer.text.replace(cursor, "")


async def test_anothers_ids_find_and_make_nothing(api: Api) -> None:
    async with Endpoint() as endpoint:
        ids = await _victim(api, endpoint)
        other_id, other_key = await new_admin(api.database)
        before = await _dump(api.database, but_of=other_id)
        async with httpx.AsyncClient(base_url=api.url, headers=_bearer(other_key)) as http:
            mine = await history.tool(http)
            me = (await http.post("/api/admin/users", json={})).json()["user"]
            when = {"startTime": "2026-03-01T18:00:00Z", "endTime": "2026-03-01T20:00:00Z"}
            for path, body in (
                ("/bookings", {**when, "userId": ids["/users"], "toolId": mine["id"]}),
                ("/bookings", {**when, "userId": me["id"], "toolId": ids["/tools"]}),
                ("/qr-codes", {"userId": ids["/users"]}),
                ("/qr-codes", {"toolId": ids["/tools"]}),
                ("/conversations", {"userId": ids["/users"]}),
            ):
                await history.post(http, path, body, 404)
            booking = await history.booking(http, me["id"], mine["id"])
            into = {"toolId": ids["/tools"]}
            await history.patch(http, f"/bookings/{booking['id']}", into, 404)
            for path, kind in (("bookings", "bookings"), ("qr-codes", "qrCodes")):
                for name, value in (("userId", ids["/users"]), ("toolId", ids["/tools"])):
                    assert (await history.get(http, f"/{path}", **{name: value}))[kind] == []
            owner = {"userId": ids["/users"]}
            assert (await history.get(http, "/conversations", **owner))["conversations"] == []
            # The same code may be another admin's, too, and is another code.
            await history.qr_code(http, code=ids["/qr-codes"])
            await history.post(http, f"/qr-codes/{ids['/qr-codes']}/scan", {"scannedBy": "x"}, 200)
        assert await _dump(api.database, but_of=other_id) == before


async def test_the_token_of_a_connection_opens_nothing_else(api: Api) -> None:
    async with Endpoint() as endpoint:
        ids = await _victim(api, endpoint)
        token = (await api.http.post("/api/admin/connections", json={})).json()["token"]
        before = await _dump(api.database)
        async with httpx.AsyncClient(base_url=api.url) as http:
            for operation in await _operations(api, ids):
                if operation.name == "pushManychatContact":
                    continue
                for headers in ({"X-Flowkick-Token": token}, _bearer(token)):
                    answer = await operation.call(http, headers)
                    assert answer.status_code == 401, (operation, answer.text)
        assert await _dump(api.database) == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_document_leaves_no_route_out(api: Api, process: Process) -> None:
    document = (await api.http.get("/openapi.json")).json()
    listed = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    served = {
        (route.path_format, method)
        for router in (*ROUTERS, health.router, metrics.router)
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert listed == served
    assert all(isinstance(route, ApiRoute) for router in ROUTERS for route in router.routes)
    beside = {route.path for route in process.application().routes if isinstance(route, Route)}
    assert beside == {"/openapi.json", "/docs", "/docs/oauth2-redirect"}
