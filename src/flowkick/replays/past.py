"""Past deliveries of a subscription: which of them are to be sent again.

Each event counts once, by its newest delivery: what failed and was sent again since with success
has not failed. Events are walked through by when they were recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, func, literal, select, tuple_

from flowkick.delivery.models import WebhookDelivery, WebhookEvent
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession

STRETCH: Final = 5000
"""So many events are looked through in one statement."""
_BY_HAND: Final = {"scoped_by_hand": True}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which past deliveries of a subscription are to be sent again."""

    subscription_id: str
    since: datetime | None
    until: datetime
    statuses: Sequence[str]
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Place:
    """An event up to which everything was looked through."""

    recorded_at: datetime
    event_id: str


@dataclass(frozen=True, slots=True)
class Found:
    """Some events to send, and how far was looked; `place` is None where that is everywhere."""

    events: Sequence[tuple[str, str]]
    """Each an id and a name."""
    removed: int
    """Those among them that can't be sent, since their bodies are no longer kept."""
    place: Place | None


async def count(session: TenantSession, wanted: Wanted) -> tuple[int, int]:
    """How many deliveries are wanted that can be sent, and how many can't be any longer."""
    event = WebhookEvent
    kept = func.coalesce(func.sum(func.sign(func.length(event.body))), 0)
    statement = select(func.count(), kept).where(
        _of(session, wanted), among(session, event.event, wanted.names), _is(session, wanted)
    )
    total, sendable = (await session.execute(statement, execution_options=_BY_HAND)).one()
    return int(sendable), int(total) - int(sendable)


async def find(
    session: TenantSession,
    wanted: Wanted,
    after: Place | None,
    *,
    limit: int,
    stretch: int = STRETCH,
) -> Found:
    """The next of them behind a place, up to `limit`, looking through one stretch of events."""
    walked = _walk(session, wanted, after).limit(stretch).subquery()
    statement: Select[Any] = (
        select(walked.c.id, walked.c.event, walked.c.createdAt, walked.c.size)
        .where(among(session, walked.c.event, wanted.names), _is(session, wanted, walked.c.id))
        .order_by(walked.c.createdAt, walked.c.id)
        .limit(limit)
    )
    rows = (await session.execute(statement, execution_options=_BY_HAND)).all()
    events = [(row.id, row.event) for row in rows if row.size]
    if len(rows) == limit:
        place: Place | None = Place(rows[-1].createdAt, rows[-1].id)
    else:
        place = await _end_of_stretch(session, wanted, after, stretch)
    return Found(events, len(rows) - len(events), place)


async def _end_of_stretch(
    session: TenantSession, wanted: Wanted, after: Place | None, stretch: int
) -> Place | None:
    statement = _walk(session, wanted, after).offset(stretch - 1).limit(1)
    last = (await session.execute(statement, execution_options=_BY_HAND)).one_or_none()
    return None if last is None else Place(last.createdAt, last.id)


def _walk(session: TenantSession, wanted: Wanted, after: Place | None) -> Select[Any]:
    event = WebhookEvent
    statement = (
        select(
            event.id,
            event.event,
            event.created_at.label("createdAt"),
            func.length(event.body).label("size"),
        )
        .where(_of(session, wanted))
        .order_by(event.created_at, event.id)
    )
    if after is None:
        return statement
    place = tuple_(literal(after.recorded_at, event.created_at.type), literal(after.event_id))
    return statement.where(tuple_(event.created_at, event.id) > place)


def _of(session: TenantSession, wanted: Wanted) -> ColumnElement[bool]:
    event = WebhookEvent
    bounds = [event.admin_id == session.admin_id, event.created_at <= wanted.until]
    if wanted.since is not None:
        bounds.append(event.created_at >= wanted.since)
    return and_(*bounds)


def _is(
    session: TenantSession, wanted: Wanted, event_id: Any = WebhookEvent.id
) -> ColumnElement[bool]:
    """Whether the newest delivery of an event has one of the states that are wanted."""
    delivery = WebhookDelivery
    newest = (
        select(delivery.status)
        .where(
            delivery.admin_id == session.admin_id,
            delivery.event_id == event_id,
            # Expressions, so that no database looks for them anywhere but among the event's: by
            # the indexes of these, it would walk all deliveries of the subscription each time.
            delivery.subscription_id.concat("") == wanted.subscription_id,
        )
        .order_by((delivery.id + 0).desc())
        .limit(1)
        .scalar_subquery()
    )
    return newest.in_(wanted.statuses)
