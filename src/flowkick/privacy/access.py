"""Everything that is held on one person, and who received it: the rights of access, portability."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import select

from flowkick.core.clock import isoformat
from flowkick.delivery.models import WebhookDelivery, WebhookEvent, WebhookSubscription
from flowkick.exports import service as exports
from flowkick.exports.models import DataExport
from flowkick.exports.rows import Selection
from flowkick.exports.service import Asked, By
from flowkick.history.models import AIMessage, Booking, Conversation, InteractionHistory, QRCode
from flowkick.storage.base import Base
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession
from flowkick.users import service as users
from flowkick.users.filters import UserFilters
from flowkick.users.models import ConsentEntry
from flowkick.users.payload import load_payload

EXPORT_TYPE: Final = "access"
_NOT_SHOWN: Final = frozenset({"adminId", "userId", "conversationId"})


async def everything(session: TenantSession, user_id: str) -> dict[str, Any]:
    """All that is held on a user, as JSON; NotFound where the admin has none with this id."""
    user = await users.find_user(session, user_id)
    conversations = await _theirs(session, Conversation, user_id)
    messages = await _messages(session, [one["id"] for one in conversations])
    return {
        "user": msgspec.to_builtins(await load_payload(session, user)),
        "consents": await _theirs(session, ConsentEntry, user_id),
        "bookings": await _theirs(session, Booking, user_id),
        "qrCodes": await _theirs(session, QRCode, user_id),
        "interactionHistory": await _theirs(session, InteractionHistory, user_id),
        "conversations": [
            {**one, "messages": messages.get(one["id"], [])} for one in conversations
        ],
        "events": await _events(session, user_id),
        "receivedBy": await _received(session, user_id),
    }


async def log(
    session: TenantSession, user_id: str, body: bytes, *, by: By, now: datetime
) -> DataExport:
    """Log that all that is held on a user leaves, as any other export; a row of the chain."""
    asked = Asked(EXPORT_TYPE, Selection(UserFilters()), (), by, {"userId": user_id})
    export = await exports.begin(session, asked, now=now)
    await exports.finish_unkept(session, export.id, body, records=1, now=now)
    await exports.count_download(session, export.id, by=by, now=now)
    return export


async def _theirs(session: TenantSession, model: Any, user_id: str) -> list[dict[str, Any]]:
    rows = await session.scalars(
        select(model).where(model.user_id == user_id).order_by(model.created_at, model.id)
    )
    return [_shown(row) for row in rows]


async def _messages(session: TenantSession, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    rows = await session.scalars(
        select(AIMessage)
        .where(among(session, AIMessage.conversation_id, ids))
        .order_by(AIMessage.conversation_id, AIMessage.number)
    )
    for row in rows:
        found.setdefault(row.conversation_id, []).append(_shown(row))
    return found


def _shown(row: Base) -> dict[str, Any]:
    """A row by the names of its columns."""
    attributes = row.__mapper__.column_attrs
    named = {attribute.columns[0].name: getattr(row, attribute.key) for attribute in attributes}
    return {name: _plain(value) for name, value in named.items() if name not in _NOT_SHOWN}


def _plain(value: Any) -> Any:
    return isoformat(value) if isinstance(value, datetime) else value


async def _events(session: TenantSession, user_id: str) -> list[dict[str, Any]]:
    """What was recorded about them; the body is null where it is no longer kept."""
    event = WebhookEvent
    rows = await session.execute(
        select(event.id, event.event, event.sequence, event.created_at, event.body)
        .where(event.user_id == user_id)
        .order_by(event.sequence, event.id)
    )
    return [
        {
            "id": id_,
            "event": name,
            "sequence": sequence,
            "createdAt": isoformat(at),
            "body": msgspec.json.decode(body) if body else None,
        }
        for id_, name, sequence, at, body in rows
    ]


async def _received(session: TenantSession, user_id: str) -> list[dict[str, Any]]:
    """Which webhooks got what of it, and when."""
    delivery, event, subscription = WebhookDelivery, WebhookEvent, WebhookSubscription
    rows = await session.execute(
        select(
            delivery.subscription_id,
            subscription.name,
            subscription.url,
            event.id,
            event.event,
            delivery.status,
            delivery.finished_at,
        )
        .join(event, event.id == delivery.event_id)
        .outerjoin(subscription, subscription.id == delivery.subscription_id)
        .where(event.user_id == user_id)
        .order_by(delivery.id)
    )
    return [
        {
            "webhookId": webhook_id,
            "webhookName": name,
            "url": url,
            "eventId": event_id,
            "event": told,
            "status": status,
            "finishedAt": isoformat(finished) if finished else None,
        }
        for webhook_id, name, url, event_id, told, status, finished in rows
    ]
