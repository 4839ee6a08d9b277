"""The walk that a newcomer takes: real processes, curl, and webhooks that arrive."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from tests.conftest import MASTER_KEY
from tests.support.endpoint import Arrival, Endpoint
from tests.support.ports import free_port

USER_KEYS = [
    "id",
    "manychatId",
    "instagramUsername",
    "instagramId",
    "firstName",
    "lastName",
    "fullName",
    "email",
    "phone",
    "whatsappPhone",
    "gender",
    "locale",
    "timezone",
    "profilePic",
    "optIns",
    "exportConsent",
    "tags",
    "customFields",
    "interactions",
    "stats",
    "timestamps",
]
INNER_KEYS = {
    "optIns": ["messenger", "instagram", "whatsapp", "telegram"],
    "exportConsent": ["given", "at"],
    "interactions": [
        "messagesCount",
        "commentsCount",
        "storiesCount",
        "totalCount",
        "lastUpdated",
    ],
    "stats": ["bookingsCount", "qrScansCount", "conversationsCount", "lastBooking", "lastSynced"],
    "timestamps": ["subscribedAt", "createdAt", "updatedAt"],
}
CONTACT: dict[str, Any] = {
    "id": "1234567890",
    "first_name": "John",
    "last_name": "Doe",
    "email": "john@example.com",
    "ig_username": "johndoe",
    "ig_id": 9876543210987654321,
    "tags": [{"id": 7, "name": "vip"}],
    "custom_fields": {"favorite_drink": "Espresso", "messagescountinsta": "25"},
}


async def _flowkick(environment: dict[str, str], *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "flowkick",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def curl(*arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--show-error", *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    answer: dict[str, Any] = json.loads(out)
    return answer


class Server:
    """A freshly started server that a gateway stands before."""

    def __init__(self, base: str, admin_id: str, token: str) -> None:
        self.base = base
        self.admin_id = admin_id
        self.token = token

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The call as it is printed for newcomers."""
        arguments = ["-X", method, f"{self.base}{path}", "-H", f"X-Admin-ID: {self.admin_id}"]
        if body is not None:
            arguments += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return await curl(*arguments)

    async def push(self, contact: dict[str, Any]) -> Any:
        """The call that ManyChat makes."""
        return await curl(
            f"{self.base}/api/manychat/contact",
            *("-H", f"X-Flowkick-Token: {self.token}"),
            *("-H", "Content-Type: application/json"),
            *("-d", json.dumps(contact)),
        )


@pytest_asyncio.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    port = free_port()
    environment = {
        **os.environ,
        "FLOWKICK_DATABASE_URL": database_url,
        "FLOWKICK_SECRET_KEY": MASTER_KEY,
        "FLOWKICK_ALLOWED_TARGETS": "127.0.0.0/8",
        "FLOWKICK_TRUST_ADMIN_HEADER": "true",
        "FLOWKICK_PORT": str(port),
        "FLOWKICK_LOG_LEVEL": "error",
    }
    await _flowkick(environment, "migrate")
    admin = json.loads(await _flowkick(environment, "admin", "create", "Café", "--json"))
    token = json.loads(
        await _flowkick(environment, "connection", "create", "--admin", "Café", "--json")
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "flowkick", "serve", env=environment, cwd=tmp_path
    )
    base = f"http://localhost:{port}"
    async with httpx.AsyncClient() as http, asyncio.timeout(30):
        while True:
            try:
                await http.get(f"{base}/healthz")
                break
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
    yield Server(base, admin["adminId"], token["token"])
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_the_subscription_calls(server: Server) -> None:
    async with Endpoint() as endpoint:
        created = await server.call(
            "POST",
            "/api/admin/webhooks",
            {
                "name": "My CRM Webhook",
                "url": endpoint.url,
                "events": ["user.created", "user.updated", "booking.created"],
                "description": "Sync users and bookings to our CRM",
                "retryAttempts": 3,
                "retryDelay": 60,
                "timeoutMs": 10000,
            },
        )
        webhook = created["webhook"]
        path = f"/api/admin/webhooks/{webhook['id']}"
        assert created["success"] is True
        assert len(webhook["secret"]) == 64
        listed = await server.call("GET", "/api/admin/webhooks")
        assert [item["id"] for item in listed["webhooks"]] == [webhook["id"]]
        assert "secret" not in listed["webhooks"][0]
        changed = await server.call(
            "PATCH",
            path,
            {"active": True, "events": ["user.created", "booking.created", "qr.scanned"]},
        )
        assert changed["webhook"]["events"] == ["user.created", "booking.created", "qr.scanned"]
        tested = await server.call("POST", f"{path}/test")
        assert tested["test"]["status"] == "delivered"
        assert endpoint.arrivals[0].event == "webhook.test"
        shown = await server.call("GET", path)
        assert [row["event"] for row in shown["webhook"]["deliveries"]] == ["webhook.test"]
        deleted = await server.call("DELETE", path)
        assert deleted["success"] is True
        gone = await server.call("GET", path)
        assert gone["code"] == "not_found"


async def test_a_contact_from_manychat_becomes_events(server: Server) -> None:
    async with Endpoint() as endpoint:
        await server.call("POST", "/api/admin/webhooks", {"url": endpoint.url, "events": ["*"]})
        pushed = await server.push(CONTACT)
        assert pushed["status"] == "created"
        assert (await server.push(CONTACT))["status"] == "unchanged"
        changed = {
            **CONTACT,
            "email": "doe@example.com",
            "tags": [{"id": 8, "name": "regular"}],
            "custom_fields": {"favorite_drink": "Cappuccino", "messagescountinsta": "26"},
        }
        assert (await server.push(changed))["status"] == "updated"
        await server.call("DELETE", f"/api/admin/users/{pushed['user']['id']}")
        arrivals = await endpoint.wait_for(6)
    by_sequence = sorted(arrivals, key=lambda item: item.json()["metadata"]["sequence"])
    assert [(item.event, item.json()["metadata"]["sequence"]) for item in by_sequence] == [
        ("user.created", 1),
        ("user.updated", 2),
        ("tag.added", 3),
        ("tag.removed", 4),
        ("customfield.updated", 5),
        ("user.deleted", 6),
    ]
    created, updated, added, removed, field, deleted = by_sequence
    _check_created(created)
    assert updated.json()["data"]["changes"] == {
        "email": {"old": "john@example.com", "new": "doe@example.com"},
        "interactions.messagesCount": {"old": 25, "new": 26},
    }
    assert added.json()["data"]["tag"]["name"] == "regular"
    assert removed.json()["data"]["tag"]["name"] == "vip"
    assert field.json()["data"]["field"] == {
        "name": "favorite_drink",
        "type": "text",
        "oldValue": "Espresso",
        "newValue": "Cappuccino",
    }
    assert deleted.json()["data"] == {
        "user": {"id": pushed["user"]["id"], "manychatId": "1234567890"}
    }


def _check_created(created: Arrival) -> None:
    body = created.json()
    user = body["data"]["user"]
    assert list(body) == ["event", "timestamp", "data", "metadata"]
    assert list(body["metadata"]) == ["source", "action", "eventId", "sequence"]
    assert (body["metadata"]["source"], body["metadata"]["action"]) == ("manychat_sync", "created")
    assert list(user) == USER_KEYS
    for name, keys in INNER_KEYS.items():
        assert list(user[name]) == keys
    assert list(user["tags"][0]) == ["id", "name", "appliedAt"]
    assert user["fullName"] == "John Doe"
    assert user["instagramId"] == "9876543210987654321"
    assert user["customFields"] == {"favorite_drink": "Espresso"}
    assert user["interactions"]["messagesCount"] == 25
    assert created.headers["x-webhook-id"] == body["metadata"]["eventId"]
    assert created.headers["x-webhook-timestamp"] == body["timestamp"]
    assert created.headers["user-agent"] == "Flowkick-Webhook/1.0"
