"""The transactional outbox: events and deliveries are rows of the change's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import case, insert, literal, null, select

from flowkick.core.clock import isoformat
from flowkick.core.ids import new_id
from flowkick.delivery.models import WebhookDelivery, WebhookEvent, WebhookSubscription
from flowkick.delivery.states import DeliveryState
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.dialects import among, json_list_holds_any, notify_deliveries
from flowkick.storage.tenancy import QUEUED, RECORDED, TenantSession
from flowkick.webhooks.catalogue import matching_patterns
from flowkick.webhooks.payloads import encode_event

_RECORD: Final = BulkStatement.insert(
    WebhookEvent, "id", "admin_id", "event", "user_id", "sequence", "body", "created_at"
)
_SCOPED_BY_HAND: Final = {"scoped_by_hand": True}


@dataclass(frozen=True, slots=True)
class Draft:
    """An event about to be recorded: its name, its data, and its number among its user's events."""

    event: str
    data: Any
    user_id: str | None
    sequence: int


async def emit(
    session: TenantSession, drafts: Sequence[Draft], *, source: str, now: datetime
) -> list[str]:
    """Record events, in order, and queue their deliveries; returns the events' ids.

    Every subscription of the session's admin that matches gets a delivery: due now where it is
    active, held where it is not. Joins the caller's transaction; its commit wakes the engine.
    """
    if not drafts:
        return []
    rows = [_row(session.admin_id, draft, source, now) for draft in drafts]
    await _RECORD.run(session, rows)
    session.info.setdefault(RECORDED, Counter()).update(map(_event_name, rows))
    by_event = groupby(sorted(rows, key=_event_name), key=_event_name)
    queued = 0
    for event, group in by_event:
        queued += await _fan_out(session, event, [row["id"] for row in group], now)
    if queued:
        session.info[QUEUED] = True
        await notify_deliveries(session)
    return [row["id"] for row in rows]


def _event_name(row: dict[str, Any]) -> str:
    name: str = row["event"]
    return name


def _row(admin_id: str, draft: Draft, source: str, now: datetime) -> dict[str, Any]:
    event_id = new_id("evt")
    return {
        "id": event_id,
        "admin_id": admin_id,
        "event": draft.event,
        "user_id": draft.user_id,
        "sequence": draft.sequence,
        "body": encode_event(
            draft.event,
            isoformat(now),
            draft.data,
            source=source,
            event_id=event_id,
            sequence=draft.sequence,
        ),
        "created_at": now,
    }


async def _fan_out(session: TenantSession, event: str, ids: list[str], now: datetime) -> int:
    """One delivery for each of these events and each matching subscription: one INSERT … SELECT."""
    subscription, recorded = WebhookSubscription, WebhookEvent
    chosen = (
        select(
            literal(session.admin_id),
            subscription.id,
            recorded.id,
            recorded.event,
            case(
                (subscription.active, literal(DeliveryState.PENDING.value)),
                else_=literal(DeliveryState.HELD.value),
            ),
            literal(0),
            literal(0),
            case((subscription.active, literal(now, recorded.created_at.type)), else_=null()),
            recorded.created_at,
        )
        .join_from(recorded, subscription, subscription.admin_id == recorded.admin_id)
        .where(
            subscription.admin_id == session.admin_id,
            among(session, recorded.id, ids),
            json_list_holds_any(session, subscription.events, matching_patterns(event)),
        )
        .order_by(recorded.id)
    )
    columns = [
        "adminId",
        "subscriptionId",
        "eventId",
        "event",
        "status",
        "attempt",
        "lastAttempt",
        "dueAt",
    ]
    statement = insert(WebhookDelivery).from_select([*columns, "createdAt"], chosen)
    result: Any = await session.execute(statement, execution_options=_SCOPED_BY_HAND)
    return int(result.rowcount)
