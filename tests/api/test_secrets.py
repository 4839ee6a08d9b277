"""Secrets are shown once, to whom they belong: never in logs, nor in the clear in a database."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from flowkick import models
from flowkick.core.settings import Settings
from flowkick.storage.database import Database
from tests.conftest import MASTER_KEY
from tests.support.commands import Machine
from tests.support.endpoint import Endpoint
from tests.support.factories import all_in, until
from tests.support.ports import free_port

HEADER = "header-value-that-nobody-sees"
TOKEN_IN_URL = "token-of-the-address"
API_TOKEN = "1234567:key-of-an-api-that-nobody-sees"
GARBAGE = "fk_mistyped-but-nearly-a-key"


@pytest.fixture
def machine(tmp_path: Path, settings: Settings) -> Machine:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLOWKICK_")}
    return Machine(
        tmp_path,
        {
            **environment,
            "FLOWKICK_DATABASE_URL": settings.database_url,
            "FLOWKICK_SECRET_KEY": MASTER_KEY,
            "FLOWKICK_ALLOWED_TARGETS": "127.0.0.0/8",
            "FLOWKICK_MANYCHAT_URL": "http://127.0.0.1:9",
        },
    )


async def _ready(base: str) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=base) as http:
        while True:
            try:
                if (await http.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def _use(base: str, key: str, endpoint: Endpoint) -> list[str]:
    """Do all that makes, shows or mistypes a secret; gives those that were made."""
    headers = {"Authorization": f"Bearer {key}"}
    hook: dict[str, Any] = {
        "url": f"{endpoint.url}?token={TOKEN_IN_URL}",
        "events": ["*"],
        "headers": {"X-Api-Key": HEADER},
    }
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30) as http:
        once = {"Idempotency-Key": "once"}
        made = (await http.post("/api/admin/webhooks", json=hook, headers=once)).json()["webhook"]
        path = f"/api/admin/webhooks/{made['id']}"
        rotated = (await http.post(f"{path}/rotate-secret", json={})).json()["webhook"]
        connection = await http.post("/api/admin/connections", json={"apiToken": API_TOKEN})
        token = connection.json()["token"]
        away = {**hook, "url": "http://127.0.0.1:9/hook", "retryAttempts": 0}
        unreachable = (await http.post("/api/admin/webhooks", json=away)).json()["webhook"]
        await http.post("/api/admin/users", json={"firstName": "Ada"})
        await http.post(f"{path}/test")
        for body in (
            {**hook, "url": f"http://user:{HEADER}@127.0.0.1/"},
            {**hook, "headers": {"Host": HEADER}},
            {**hook, "headers": {"X": f"{HEADER}\n"}},
        ):
            assert (await http.post("/api/admin/webhooks", json=body)).status_code == 400
        for wrong in ({"Authorization": f"Bearer {GARBAGE}"}, {"X-Flowkick-Token": GARBAGE}):
            refused = await http.post("/api/manychat/contact", json={"id": "1"}, headers=wrong)
            assert (refused.status_code, GARBAGE in refused.text) == (401, False)
        pushed = await http.post(
            "/api/manychat/contact", json={"id": "1"}, headers={"X-Flowkick-Token": token}
        )
        assert pushed.status_code == 200
        assert "can't be reached" in pushed.json()["warning"]
        shown = [await http.get(p) for p in ("/api/admin/webhooks", path, f"{path}/deliveries")]
        shown += [await http.get("/api/admin/connections"), await http.get("/metrics")]
        shown += [await http.patch(path, json={"name": "Other"})]
    secrets = [key, token, API_TOKEN]
    for webhook in (made, rotated, unreachable):
        secrets += [webhook["secret"], webhook["signingSecret"]]
    for answer in shown:
        for secret in (*secrets, HEADER):
            assert secret not in answer.text, answer.request.url
    return secrets


async def test_no_log_and_no_database_tells_a_secret(
    machine: Machine, database: Database, settings: Settings
) -> None:
    admin = (await machine.run("admin", "create", "A", "--json")).json()
    base = f"http://127.0.0.1:{(port := free_port())}"
    process = await machine.start("serve", "--port", str(port), FLOWKICK_LOG_LEVEL="debug")
    async with Endpoint() as endpoint:
        await _ready(base)
        secrets = await _use(base, admin["key"], endpoint)
        await until(database, all_in("success", "failed"))
        arrived = endpoint.arrivals[0]
    process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert arrived.headers["x-api-key"] == HEADER  # it was sent, and so it was there to leak
    assert b'"status": 401' in err
    assert b"attempt_failed" in err
    for secret in (*secrets, HEADER, TOKEN_IN_URL, GARBAGE, MASTER_KEY):
        assert secret.encode() not in out + err, secret
    if settings.sqlite_path is not None:
        assert any(b"X-Api-Key" in content for content in _files(settings))
    await _not_stored(database, settings, [*secrets, HEADER, GARBAGE, MASTER_KEY])


async def _not_stored(database: Database, settings: Settings, secrets: list[str]) -> None:
    async with database.reader.connect() as connection:
        rows = [
            repr(row)
            for table in models.metadata.sorted_tables
            for row in await connection.execute(select(table))
        ]
    stored = "\n".join(rows).encode()
    assert b"X-Api-Key" in stored
    stored += b"".join(_files(settings))
    for secret in secrets:
        for form in (secret.encode(), base64.b64encode(secret.encode())[4:-4]):
            assert form not in stored, secret


def _files(settings: Settings) -> list[bytes]:
    """What the files of a SQLite database hold, its log of what is to be written among them."""
    path = settings.sqlite_path
    return [file.read_bytes() for file in path.parent.glob(f"{path.name}*")] if path else []
