"""Whatever is done to one user at once, nothing fails inside and its events are numbered."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx

from tests.history import made
from tests.support.server import Api
from tests.users.recorded import create, events, sequences

TABLES = ("bookings", "qr-codes", "conversations")


async def _busy(http: httpx.AsyncClient, user_id: str, tool_id: str, *, and_delete: bool) -> None:
    bookings = [(await made.booking(http, user_id, tool_id))["id"] for _ in range(4)]
    codes = [(await made.qr_code(http, userId=user_id))["code"] for _ in range(4)]
    begun = await made.post(http, "/conversations", {"userId": user_id})
    talk = begun["conversation"]["id"]
    booking = {"userId": user_id, "toolId": tool_id, "startTime": made.START, "endTime": made.END}
    said = {"role": "user", "content": "Hi"}
    calls = [
        ("PATCH", f"/users/{user_id}", {"lastName": "B", "tags": ["b"]}),
        ("POST", f"/users/{user_id}/interactions", {"messagesCount": 1}),
        ("POST", "/bookings", booking),
        ("POST", "/qr-codes", {"userId": user_id}),
        ("POST", "/conversations", {"userId": user_id}),
        ("POST", f"/conversations/{talk}/messages", said),
        ("PATCH", f"/tools/{tool_id}", {"description": "x"}),
        ("POST", "/users/batch", {"users": [{"manychatId": user_id, "lastName": "C"}]}),
    ]
    for id_ in bookings:
        calls += [
            ("PATCH", f"/bookings/{id_}", {"notes": "x", "status": "confirmed"}),
            ("POST", f"/bookings/{id_}/cancel", {}),
        ]
    for code in codes:
        calls += [
            ("POST", f"/qr-codes/{code}/scan", {"scannedBy": "x"}),
            ("POST", f"/qr-codes/{code}/validate", {}),
            ("PATCH", f"/qr-codes/{code}", {"metadata": {"a": 1}}),
        ]
    if and_delete:
        calls.insert(len(calls) // 2, ("DELETE", f"/users/{user_id}", {}))
    answers = await asyncio.gather(
        *(
            http.request(method, f"/api/admin{path}", json=body if method != "DELETE" else None)
            for method, path, body in calls
        )
    )
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 201, 404, 409}, statuses
    assert and_delete or 404 not in statuses


async def test_what_meets_at_one_user_is_done_in_turn(api: Api) -> None:
    tool = await made.tool(api.http)
    user = await create(api.http, manychatId="1")
    await _busy(api.http, user["id"], tool["id"], and_delete=False)
    told = await events(api.database, user["id"])
    assert sequences(told) == list(range(1, len(told) + 1))
    count = Counter(body["event"] for body in told)
    assert count["booking.cancelled"] == count["qr.scanned"] == 4
    shown = (await made.get(api.http, f"/users/{user['id']}"))["user"]
    counters = [shown[f"{name}Count"] for name in ("bookings", "qrCodes", "conversations")]
    assert counters == [5, 5, 2]
    stats = told[-1]["data"].get("user", {}).get("stats", {"bookingsCount": 5})
    assert stats["bookingsCount"] == 5


async def test_a_user_that_is_deleted_meanwhile_leaves_nothing_behind(api: Api) -> None:
    tool = await made.tool(api.http)
    for number in range(4):
        user = await create(api.http, manychatId=str(number))
        await _busy(api.http, user["id"], tool["id"], and_delete=True)
        told = await events(api.database, user["id"])
        assert sequences(told) == list(range(1, len(told) + 1))
        assert [body["event"] for body in told].index("user.deleted") == len(told) - 1
        for table in TABLES:
            page = await made.get(api.http, f"/{table}", userId=user["id"])
            assert not any(page[key] for key in page if isinstance(page[key], list))
