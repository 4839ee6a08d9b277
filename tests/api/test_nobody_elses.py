"""Nobody reads, changes or learns of what is another's, on any route that there is.

The routes come from the application's own OpenAPI document, so that a new one can't be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import text

from flowkick import models
from flowkick.auth.service import create_key, revoke_key
from flowkick.core.clock import system_clock
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.support.endpoint import Endpoint
from tests.support.server import Api

OPEN = {"/healthz", "/readyz", "/metrics"}
BODIES: dict[str, dict[str, Any]] = {
    "createWebhook": {"url": "http://127.0.0.1:9/hook", "events": ["*"]},
    "updateWebhook": {"name": "stolen"},
    "rotateWebhookSecret": {},
    "createUser": {"firstName": "intruder"},
    "batchUsers": {"users": [{"manychatId": "1"}]},
    "updateUser": {"firstName": "stolen"},
    "addTag": {"name": "stolen"},
    "setCustomField": {"value": "stolen"},
    "createConnection": {"name": "stolen"},
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
        real = real.replace("{name}", "secret-tag")
        assert "{" not in real, f"no real id is known for {path}"
        for method, operation in item.items():
            needs_body = "requestBody" in operation
            assert not needs_body or operation["operationId"] in BODIES, operation["operationId"]
            found.append(Operation(method.upper(), real, operation["operationId"], "{id}" in path))
    assert len(found) >= 20
    return found


async def _victim(api: Api, endpoint: Endpoint) -> dict[str, str]:
    """An admin with one of everything; the ids, by the paths they stand in."""
    hook = {"url": endpoint.url, "events": ["*"], "name": PRIVATE}
    webhook = (await api.http.post("/api/admin/webhooks", json=hook)).json()["webhook"]
    person = {
        "firstName": PRIVATE,
        "tags": ["secret-tag"],
        "customFields": {"secret-tag": PRIVATE},
        "manychatId": "1",
    }
    user = (await api.http.post("/api/admin/users", json=person)).json()["user"]
    made = (await api.http.post("/api/admin/connections", json={"name": PRIVATE})).json()
    await endpoint.wait_for(1)
    while True:
        shown = (await api.http.get(f"/api/admin/webhooks/{webhook['id']}")).json()["webhook"]
        if shown["deliveries"][0]["status"] == "success":
            break
    return {
        "/webhooks": webhook["id"],
        "/users": user["id"],
        "/deliveries": shown["deliveries"][0]["id"],
        "/connections": made["connection"]["id"],
    }


async def _dump(database: Database, admin_id: str) -> dict[str, list[Any]]:
    """Every row of the admin, in every table."""
    tables = [table for table in models.metadata.sorted_tables if "adminId" in table.columns]
    async with database.reader.connect() as connection:
        return {
            table.name: sorted(
                map(
                    repr,
                    await connection.execute(
                        text(f'SELECT * FROM "{table.name}" WHERE "adminId" = :id'),  # noqa: S608
                        {"id": admin_id},
                    ),
                )
            )
            for table in tables
        }


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


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_without_a_key_that_fits_nothing_is_read_changed_or_revealed(api: Api) -> None:
    async with Endpoint() as endpoint:
        ids = await _victim(api, endpoint)
        keys = await _keys(api.database, api.admin_id)
        before = await _dump(api.database, api.admin_id)
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
                for name in wrong:
                    answer = await operation.call(http, _bearer(keys[name]))
                    assert answer.status_code == 403, (operation, name, answer.text)
                    assert PRIVATE not in answer.text
        assert await _dump(api.database, api.admin_id) == before


async def test_another_admin_sees_and_changes_nothing(api: Api) -> None:
    async with Endpoint() as endpoint:
        ids = await _victim(api, endpoint)
        _, other_key = await new_admin(api.database)
        before = await _dump(api.database, api.admin_id)
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
        assert await _dump(api.database, api.admin_id) == before
        assert len(endpoint.arrivals) == sent
