"""The transactional outbox: events and deliveries are rows of the change's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowkick.core import tracing
from flowkick.core.clock import isoformat
from flowkick.core.ids import new_id
from flowkick.delivery import sql
from flowkick.storage.dialects import DELIVERIES_CHANNEL, EVENTS_CHANNEL, notify
from flowkick.storage.tenancy import QUEUED, RECORDED, TenantSession
from flowkick.webhooks.fan_out import NOBODY, queue_deliveries, queue_for_one
from flowkick.webhooks.payloads import encode_event
from flowkick.webhooks.positions import record_events

Frozen = dict[str, Any]
"""An event about to be recorded, by the attributes of `WebhookEvent`; its bytes are made."""


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
    active, held where it is not. Joins the caller's transaction; its commit wakes the engine, and
    who waits for the feed.
    """
    return await emit_frozen(
        session, [freeze(session.admin_id, draft, source, now) for draft in drafts], now=now
    )


async def emit_frozen(
    session: TenantSession,
    rows: Sequence[Frozen],
    *,
    now: datetime,
    about: Mapping[str, str] = NOBODY,
) -> list[str]:
    """As `emit`, of events whose bytes are made already, of any admins.

    `about` gives for events' ids the subscriptions that these are not sent to, whoever they match.
    """
    if not rows:
        return []
    if tracing.is_on():
        for row in rows:
            row["traceparent"] = tracing.mark_recorded(row["event"], row["id"])
    await record_events(session, rows, now)
    session.info.setdefault(RECORDED, Counter()).update(map(_event_name, rows))
    queued = await queue_deliveries(session, rows, about)
    if queued:
        session.info[QUEUED] = True
    await notify(session, DELIVERIES_CHANNEL if queued else EVENTS_CHANNEL)
    return [row["id"] for row in rows]


async def emit_to_one(
    session: TenantSession,
    drafts: Sequence[Draft],
    *,
    subscription_id: str,
    job_id: str,
    source: str,
    now: datetime,
) -> int:
    """Record events that a job tells one subscription alone; how many deliveries were queued."""
    rows = [freeze(session.admin_id, draft, source, now) for draft in drafts]
    await sql.record_beside(session, rows)
    session.info.setdefault(RECORDED, Counter()).update(map(_event_name, rows))
    events = [(row["id"], row["event"]) for row in rows]
    return await queue_for_one(session, subscription_id, events, job_id=job_id, now=now)


def _event_name(row: Frozen) -> str:
    name: str = row["event"]
    return name


def freeze(admin_id: str, draft: Draft, source: str, now: datetime) -> Frozen:
    """The row of an event, with the bytes that every attempt and every subscription gets."""
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
        "traceparent": None,
    }
