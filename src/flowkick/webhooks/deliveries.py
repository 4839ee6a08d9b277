"""The log of deliveries and attempts, as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func, select

from flowkick.core.errors import InvalidInput, NotFound
from flowkick.delivery.models import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEvent,
    WebhookSubscription,
)
from flowkick.delivery.states import DeliveryState
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession

LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Filters:
    """Which deliveries of a subscription are wanted."""

    status: DeliveryState | None = None
    event: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def parse_delivery_id(text: str) -> int:
    """The number of a delivery; NotFound where `text` can't be one."""
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= LARGEST_ID:
        return int(text)
    raise NotFound(f"There is no delivery {text[:50]}.")


async def list_deliveries(
    session: TenantSession,
    subscription_id: str,
    *,
    limit: int,
    filters: Filters | None = None,
    cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Deliveries of a subscription, the newest first, and the cursor of the next page."""
    filters = filters or Filters()
    model = WebhookDelivery
    statement = select(model).where(model.subscription_id == subscription_id)
    if filters.status is not None:
        statement = statement.where(model.status == filters.status.value)
    if filters.event is not None:
        statement = statement.where(model.event == filters.event)
    if filters.since is not None:
        statement = statement.where(model.created_at >= filters.since)
    if filters.until is not None:
        statement = statement.where(model.created_at <= filters.until)
    if cursor is not None:
        statement = statement.where(model.id < _parse_cursor(cursor))
    rows = (await session.scalars(statement.order_by(model.id.desc()).limit(limit + 1))).all()
    page = rows[:limit]
    next_cursor = str(page[-1].id) if len(rows) > limit else None
    return await _shown(session, page), next_cursor


def _parse_cursor(cursor: str) -> int:
    try:
        return parse_delivery_id(cursor)
    except NotFound:
        raise InvalidInput("cursor: pass what nextCursor gave, unchanged.") from None


async def find_delivery(session: TenantSession, delivery_id: int) -> WebhookDelivery:
    """One delivery; NotFound where the admin has none with this id."""
    found = await session.scalar(select(WebhookDelivery).where(WebhookDelivery.id == delivery_id))
    if found is None:
        raise NotFound(f"There is no delivery {delivery_id}.")
    return found


async def delivery_with_attempts(session: TenantSession, delivery_id: int) -> dict[str, Any]:
    """One delivery with every attempt, the first one first."""
    delivery = await find_delivery(session, delivery_id)
    (shown,) = await _shown(session, [delivery])
    attempts = await session.scalars(
        select(WebhookAttempt)
        .where(WebhookAttempt.delivery_id == delivery_id)
        .order_by(WebhookAttempt.attempt)
    )
    return {**shown, "attempts": attempts.all()}


async def _shown(
    session: TenantSession, deliveries: Sequence[WebhookDelivery]
) -> list[dict[str, Any]]:
    """Deliveries with what else is shown of them: three more statements for any number."""
    if not deliveries:
        return []
    bodies = await _bodies(session, sorted({row.event_id for row in deliveries}))
    attempts = await _last_attempts(session, [row.id for row in deliveries])
    paused = await _paused(session, {row.subscription_id for row in deliveries})
    return [
        _show(
            row,
            bodies.get(row.event_id),
            attempts.get(row.id),
            paused.get(row.subscription_id),
        )
        for row in deliveries
    ]


async def _paused(session: TenantSession, ids: set[str]) -> Mapping[str, datetime | None]:
    """Until when those of these subscriptions that were paused were so last."""
    model = WebhookSubscription
    rows = await session.execute(
        select(model.id, model.paused_until).where(
            model.id.in_(ids), model.paused_until.is_not(None)
        )
    )
    return {row[0]: row[1] for row in rows}


async def _bodies(session: TenantSession, ids: Sequence[str]) -> Mapping[str, bytes]:
    rows = await session.execute(
        select(WebhookEvent.id, WebhookEvent.body).where(among(session, WebhookEvent.id, ids))
    )
    return {row.id: row.body for row in rows}


async def _last_attempts(
    session: TenantSession, ids: Sequence[int]
) -> Mapping[int, WebhookAttempt]:
    newest = (
        select(func.max(WebhookAttempt.id))
        .where(among(session, WebhookAttempt.delivery_id, ids))
        .group_by(WebhookAttempt.delivery_id)
    )
    rows = await session.scalars(select(WebhookAttempt).where(WebhookAttempt.id.in_(newest)))
    return {row.delivery_id: row for row in rows}


def _show(
    delivery: WebhookDelivery,
    body: bytes | None,
    last: WebhookAttempt | None,
    paused_until: datetime | None,
) -> dict[str, Any]:
    retrying = delivery.status == DeliveryState.RETRYING and delivery.lease_id is None
    due_at = delivery.due_at if retrying else None
    if due_at is not None and paused_until is not None:
        due_at = max(due_at, paused_until)
    return {
        "id": str(delivery.id),
        "webhook_id": delivery.subscription_id,
        "event_id": delivery.event_id,
        "event": delivery.event,
        "status": delivery.status,
        "attempt": delivery.attempt,
        "status_code": last.status_code if last else None,
        "response_body": last.response_body if last else None,
        "error_message": delivery.note or (last.error_message if last else None),
        "duration_ms": last.duration_ms if last else None,
        "payload": msgspec.json.decode(body) if body else None,
        "payload_size_bytes": len(body) if body else None,
        "sent_at": last.sent_at if last else None,
        "job_id": delivery.job_id,
        "next_retry_at": due_at,
        "created_at": delivery.created_at,
    }
