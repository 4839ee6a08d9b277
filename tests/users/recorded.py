"""What tests of users read back: the events as they were recorded, body and all."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
from sqlalchemy import select

from flowkick.delivery.models import WebhookEvent
from flowkick.storage.database import Database

Body = dict[str, Any]


async def events(database: Database, user_id: str | None = None) -> list[Body]:
    """The bodies of all recorded events, or of one user's, in their order."""
    statement = select(WebhookEvent).order_by(WebhookEvent.sequence, WebhookEvent.id)
    if user_id is not None:
        statement = statement.where(WebhookEvent.user_id == user_id)
    async with database.system_reading() as session:
        rows = (await session.scalars(statement)).all()
    return [_body(row) for row in rows]


def _body(row: WebhookEvent) -> Body:
    """What it says; of an erased user, nothing is left but what it was."""
    if row.body:
        body: Body = msgspec.json.decode(row.body)
        return body
    data = {"user": {"id": row.user_id}}
    return {"event": row.event, "data": data, "metadata": {"sequence": row.sequence}}


async def names(database: Database, user_id: str | None = None) -> list[str]:
    """The names of the recorded events, in their order."""
    return [body["event"] for body in await events(database, user_id)]


def sequences(bodies: list[Body]) -> list[int]:
    """The numbers that events carry."""
    return [body["metadata"]["sequence"] for body in bodies]


async def create(http: httpx.AsyncClient, **fields: Any) -> Body:
    """Add a user over HTTP."""
    answer = await http.post("/api/admin/users", json=fields)
    assert answer.status_code == 201, answer.text
    user: Body = answer.json()["user"]
    return user
