"""What users did, made over HTTP."""

from __future__ import annotations

from typing import Any

import httpx

Body = dict[str, Any]
START, END = "2026-03-01T18:00:00.000Z", "2026-03-01T20:00:00.000Z"


async def post(http: httpx.AsyncClient, path: str, body: Body, status: int = 201) -> Body:
    """POST under /api/admin; the answer, which must have this status."""
    answer = await http.post(f"/api/admin{path}", json=body)
    assert answer.status_code == status, answer.text
    decoded: Body = answer.json()
    assert decoded["success"] is (status < 400)
    return decoded


async def patch(http: httpx.AsyncClient, path: str, body: Body, status: int = 200) -> Body:
    """PATCH under /api/admin; the answer, which must have this status."""
    answer = await http.patch(f"/api/admin{path}", json=body)
    assert answer.status_code == status, answer.text
    decoded: Body = answer.json()
    return decoded


async def get(http: httpx.AsyncClient, path: str, **params: Any) -> Body:
    """GET under /api/admin."""
    answer = await http.get(f"/api/admin{path}", params=params)
    assert answer.status_code == 200, answer.text
    decoded: Body = answer.json()
    return decoded


async def tool(http: httpx.AsyncClient, **fields: Any) -> Body:
    """A tool, a table unless said otherwise."""
    made: Body = (await post(http, "/tools", {"name": "Table", "type": "table", **fields}))["tool"]
    return made


async def booking(http: httpx.AsyncClient, user_id: str, tool_id: str, **fields: Any) -> Body:
    """A booking of two hours one evening."""
    body = {"userId": user_id, "toolId": tool_id, "startTime": START, "endTime": END, **fields}
    made: Body = (await post(http, "/bookings", body))["booking"]
    return made


async def qr_code(http: httpx.AsyncClient, **fields: Any) -> Body:
    """A QR code."""
    made: Body = (await post(http, "/qr-codes", fields))["qrCode"]
    return made
