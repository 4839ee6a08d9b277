"""Calls of every operation, feature by feature, in an order that makes sense.

A new route needs its call here: ``await call("operationId", 201, id=…, body={…})``, where
parameters carry their snake_case names. Each function is given what the ones before it made.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.clients.generated import Caller


@dataclass
class Made:
    """What the walk has made so far: ids, and the address of a receiver that answers 200."""

    receiver: str
    ids: dict[str, str] = field(default_factory=dict)


async def watch(call: Caller, made: Made) -> None:
    """Health, readiness, metrics."""
    await call("getHealth")
    await call("getReadiness")
    assert b"flowkick_" in await call("getMetrics")


async def subscribe(call: Caller, made: Made) -> None:
    """Subscriptions, before anything is told of."""
    body: dict[str, Any] = {"url": made.receiver, "events": ["*"], "headers": {"X-Shop": "7"}}
    webhook = (await call("createWebhook", 201, body=body))["webhook"]
    made.ids["webhook"] = webhook["id"]
    await call("listWebhooks")
    await call("listEvents")
    await call("updateWebhook", id=webhook["id"], body={"description": "All of it"})
    rotated = await call("rotateWebhookSecret", id=webhook["id"], body={"overlapHours": 1})
    assert rotated["webhook"]["secret"] != webhook["secret"]
    assert (await call("testWebhook", id=webhook["id"]))["test"]["status"] == "delivered"


async def users(call: Caller, made: Made) -> None:
    """Users, their tags, fields and interactions."""
    body = {
        "manychatId": "81",
        "firstName": "Zoë",
        "email": "zoe@example.com",
        "optedInWhatsapp": True,
        "tags": ["vip"],
        "customFields": {"favorite_drink": "Chai"},
    }
    user_id = made.ids["user"] = (await call("createUser", 201, body=body))["user"]["id"]
    await call("createUser", 409, body=body)
    await call("getUser", id=user_id)
    await call("getUser", 404, id="usr_nobody")
    await call("updateUser", id=user_id, body={"lastName": "Brontë"})
    await call("addTag", id=user_id, body={"name": "New here"})
    await call("removeTag", id=user_id, name="New here")
    await call("setCustomField", id=user_id, name="visits", body={"value": "3", "type": "number"})
    await call("addInteractions", 201, id=user_id, body={"messagesCount": 3})
    batch = {"users": [{"manychatId": "82"}, {"manychatId": "83", "email": "no address"}]}
    results = (await call("batchUsers", body=batch))["results"]
    assert [result["status"] for result in results] == ["created", "failed"]
    listed = await call(
        "listUsers",
        has_tag=["VIP"],
        search="zoe",
        include_bookings=True,
        include_qr_codes=True,
        include_interactions=True,
    )
    assert [user["id"] for user in listed["users"]] == [user_id]
    assert (await call("listUsers", limit=1, count="none"))["pagination"]["hasMore"]
    await call("reconcileUsers")


async def privacy(call: Caller, made: Made) -> None:
    """Consents."""
    consent = {"given": True, "source": "form", "wording": "You may."}
    await call("recordConsent", 201, id=made.ids["user"], body=consent)
    await call("listConsents", id=made.ids["user"])
    held = await call("exportUser", id=made.ids["user"])
    assert held["user"]["firstName"] == "Zoë"


async def tools_and_bookings(call: Caller, made: Made) -> None:
    """Tools, and bookings of them."""
    tool = {"name": "Table by the window", "type": "table", "exclusive": True}
    tool_id = made.ids["tool"] = (await call("createTool", 201, body=tool))["tool"]["id"]
    await call("getTool", id=tool_id)
    await call("listTools")
    await call("updateTool", id=tool_id, body={"description": "For two"})
    booking = {"userId": made.ids["user"], "toolId": tool_id}
    evening = {"startTime": "2025-11-08T18:00:00.000Z", "endTime": "2025-11-08T20:00:00.000Z"}
    later = {"startTime": "2025-11-08T20:00:00.000Z", "endTime": "2025-11-08T22:00:00.000Z"}
    made_first = await call("createBooking", 201, body={**booking, **evening})
    made_second = await call("createBooking", 201, body={**booking, **later})
    first, second = made_first["booking"]["id"], made_second["booking"]["id"]
    await call("createBooking", 409, body={**booking, **evening})
    await call("getBooking", id=first)
    await call("listBookings", user_id=made.ids["user"])
    await call("updateBooking", id=first, body={"status": "confirmed"})
    await call("completeBooking", id=first)
    await call("cancelBooking", id=second)


async def qr_codes(call: Caller, made: Made) -> None:
    """QR codes, and their images."""
    body = {"userId": made.ids["user"], "code": "WELCOME-7F3K", "metadata": {"discount": 10}}
    await call("createQRCode", 201, body=body)
    assert (await call("getQRCodeImage", code="WELCOME-7F3K")).startswith(b"\x89PNG")
    await call("getQRCode", code="WELCOME-7F3K")
    await call("updateQRCode", code="WELCOME-7F3K", body={"expiresAt": "2099-01-01T00:00:00Z"})
    await call("validateQRCode", code="WELCOME-7F3K")
    await call("scanQRCode", code="WELCOME-7F3K", body={"scannedBy": "front-desk"})
    await call("scanQRCode", 409, code="WELCOME-7F3K", body={"scannedBy": "bar"})
    await call("listQRCodes", scanned=True)


async def conversations(call: Caller, made: Made) -> None:
    """Conversations and their messages."""
    message = {"role": "user", "content": "Is there a table for two tonight?"}
    body = {"userId": made.ids["user"], "messages": [message]}
    conversation = (await call("createConversation", 201, body=body))["conversation"]["id"]
    await call("addMessage", 201, id=conversation, body={"role": "assistant", "content": "Yes."})
    await call("getConversation", id=conversation)
    await call("listConversations")


async def connections(call: Caller, made: Made) -> None:
    """What ManyChat pushes, with a key instead of a connection's token."""
    created = await call("createConnection", 201, body={"name": "Our page"})
    await call("listConnections")
    await call("pushManychatContact", body={"id": "84", "first_name": "Ana"})
    await call("revokeConnection", id=created["connection"]["id"])


async def deliveries(call: Caller, made: Made) -> None:
    """What was sent of all this, and the feed of it."""
    webhook_id = made.ids["webhook"]
    await call("getWebhook", id=webhook_id)
    log = (await call("listDeliveries", id=webhook_id))["deliveries"]
    delivery_id = log[0]["id"]
    await call("getDelivery", id=delivery_id)
    await call("resendDelivery", id=delivery_id)
    assert (await call("readFeed", types=["booking.*"]))["events"]


async def send_again(call: Caller, made: Made) -> None:
    """Replays and backfills: counted, begun, looked at, cancelled."""
    webhook_id = made.ids["webhook"]
    await call("replayWebhook", id=webhook_id, body={"dryRun": True})
    replay = await call("replayWebhook", 202, id=webhook_id, body={"rate": 1})
    replay_id = replay["replay"]["id"]
    await call("getReplay", id=webhook_id, job_id=replay_id)
    await call("listReplays", id=webhook_id)
    await call("cancelReplay", id=webhook_id, job_id=replay_id)
    backfill = await call("backfillWebhook", 202, id=webhook_id, body={"rate": 1})
    backfill_id = backfill["backfill"]["id"]
    await call("getBackfill", id=webhook_id, job_id=backfill_id)
    await call("listBackfills", id=webhook_id)
    await call("cancelBackfill", id=webhook_id, job_id=backfill_id)


async def exports(call: Caller, made: Made) -> None:
    """Files of users, and the log of them."""
    assert b"Zo\xc3\xab" in await call("exportUsersCsv", has_tag=["vip"])
    await call("exportUsersJson", include_bookings=True, include_conversations=True)
    await call("listExports")
    begun = await call("startExport", 202, body={"format": "ndjson", "includes": ["bookings"]})
    export_id = begun["export"]["id"]
    async with asyncio.timeout(60):
        while (await call("getExport", id=export_id))["export"]["status"] == "running":
            await asyncio.sleep(0.05)
    assert b"Zo\xc3\xab" in await call("downloadExport", id=export_id)
    await call("deleteExport", id=export_id)


async def leave(call: Caller, made: Made) -> None:
    """Deletions."""
    erasure = (await call("deleteUser", id=made.ids["user"]))["erasure"]
    await call("getErasure", id=erasure["id"])
    await call("listErasures")
    await call("deleteWebhook", id=made.ids["webhook"])


WALK = (
    watch,
    subscribe,
    users,
    privacy,
    tools_and_bookings,
    qr_codes,
    conversations,
    connections,
    deliveries,
    send_again,
    exports,
    leave,
)
