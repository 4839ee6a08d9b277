"""What goes by age, a step at a time: each step is one short transaction over a range of ids.

Ids grow with time, so that what is old lies at the beginning of a table, side by side: a step reads
it by the primary key and scans nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, tuple_, update

from flowkick.delivery.models import NO_BODY, WebhookAttempt, WebhookDelivery, WebhookEvent
from flowkick.delivery.states import UNFINISHED
from flowkick.http.idempotency import LIFETIME
from flowkick.http.models import IdempotencyKey
from flowkick.jobs.models import Job
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession

_LOOSE: Final = {"synchronize_session": False}
_BUSY: Final = or_(
    WebhookDelivery.status.in_(UNFINISHED), WebhookDelivery.ordering_key.is_not(None)
)
"""Not finished, or given up and holding up its line until it is sent with success."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a step did: how many rows it looked at, how many went, and where the next begins.

    `settled` is the place before which nothing will ever be left to do; None where the sweep
    keeps none.
    """

    seen: int
    removed: int
    after: str
    settled: str | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """One kind of thing that goes by age."""

    name: str
    """What it removes, in the plural."""
    step: Callable[[TenantSession, str, datetime, int], Awaitable[Step]]
    """Goes on behind a place, with what is older than a moment, over so many rows."""
    before: datetime
    keeps_place: bool = False
    """It begins where it ended the last time, rather than at the beginning."""
    due: Select[int] | None = None
    """About how many rows are old enough; None for what is no data of anybody."""


def sweeps(now: datetime, retention: timedelta, body_retention: timedelta) -> list[Sweep]:
    """All there is to do at a moment, in order."""
    event, attempt = WebhookEvent, WebhookAttempt
    before = now - retention
    found = [Sweep("events", _events, before, due=_count(event, event.created_at < before))]
    if body_retention < retention:
        since = now - body_retention
        bodies = _count(event, event.created_at < since, func.length(event.body) > 0)
        answers = _count(attempt, attempt.sent_at < since, attempt.response_body.is_not(None))
        found += [
            Sweep("bodies", _bodies, since, keeps_place=True, due=bodies),
            Sweep("answers", _answers, since, keeps_place=True, due=answers),
        ]
    return [
        *found,
        Sweep("idempotency keys", _idempotency_keys, now - LIFETIME),
        Sweep("jobs", _jobs, before),
    ]


def _count(model: Any, *where: ColumnElement[bool]) -> Select[int]:
    return select(func.count()).select_from(model).where(*where)


async def _events(session: TenantSession, after: str, before: datetime, size: int) -> Step:
    """Events with their deliveries and attempts, unless one is not finished, or not that old."""
    ids, old = await _next_events(session, after, before, size)
    recent = or_(_BUSY, WebhookDelivery.created_at >= before)
    gone = await _without(session, old, recent)
    chosen = select(WebhookDelivery.id).where(among(session, WebhookDelivery.event_id, gone))
    deliveries = list(await session.scalars(chosen.order_by(WebhookDelivery.id)))
    for model, column, values in (
        (WebhookAttempt, WebhookAttempt.delivery_id, deliveries),
        (WebhookDelivery, WebhookDelivery.id, deliveries),
        (WebhookEvent, WebhookEvent.id, gone),
    ):
        if values:
            await session.execute(
                delete(model).where(among(session, column, values)), execution_options=_LOOSE
            )
    return Step(len(ids), len(gone), ids[-1] if ids else after)


async def _bodies(session: TenantSession, after: str, before: datetime, size: int) -> Step:
    """The bytes of events that nothing has to send any more."""
    ids, old = await _next_events(session, after, before, size)
    gone = await _without(session, old, _BUSY)
    result: Any = await session.execute(
        update(WebhookEvent)
        .where(among(session, WebhookEvent.id, gone), func.length(WebhookEvent.body) > 0)
        .values(body=NO_BODY),
        execution_options=_LOOSE,
    )
    last = ids[-1] if ids else after
    # The next sweep begins again at the first that had to be kept.
    emptied, settled = set(gone), after
    for id_ in takewhile(emptied.__contains__, ids):
        settled = id_
    return Step(len(ids), result.rowcount, last, settled)


async def _next_events(
    session: TenantSession, after: str, before: datetime, size: int
) -> tuple[list[str], list[str]]:
    """The ids that follow, until one is younger: all of them, and those that are old."""
    statement = select(WebhookEvent.id, WebhookEvent.created_at).where(WebhookEvent.id > after)
    rows = (await session.execute(statement.order_by(WebhookEvent.id).limit(size))).all()
    # Ids of different machines may be out of order by what their clocks differ.
    while rows and rows[-1].created_at >= before:
        rows = rows[:-1]
    ids = [row.id for row in rows]
    return ids, [row.id for row in rows if row.created_at < before]


async def _without(session: TenantSession, ids: Sequence[str], condition: Any) -> list[str]:
    """Those events that have no delivery like that."""
    busy = await session.scalars(
        select(WebhookDelivery.event_id)
        .where(among(session, WebhookDelivery.event_id, ids), condition)
        .distinct()
    )
    kept = set(busy)
    return [id_ for id_ in ids if id_ not in kept]


async def _answers(session: TenantSession, after: str, before: datetime, size: int) -> Step:
    """What receivers answered, which may quote what they were sent."""
    attempt = WebhookAttempt
    statement = select(attempt.id, attempt.sent_at).where(attempt.id > int(after or 0))
    rows = (await session.execute(statement.order_by(attempt.id).limit(size))).all()
    while rows and rows[-1].sent_at >= before:
        rows = rows[:-1]
    if not rows:
        return Step(0, 0, after, after)
    last = rows[-1].id
    result: Any = await session.execute(
        update(attempt)
        .where(
            attempt.id.between(rows[0].id, last),
            attempt.sent_at < before,
            attempt.response_body.is_not(None),
        )
        .values(response_body=None),
        execution_options=_LOOSE,
    )
    return Step(len(rows), result.rowcount, str(last), str(last))


async def _idempotency_keys(
    session: TenantSession, after: str, before: datetime, size: int
) -> Step:
    key = tuple_(IdempotencyKey.admin_id, IdempotencyKey.key)
    chosen = (
        select(IdempotencyKey.admin_id, IdempotencyKey.key)
        .where(IdempotencyKey.created_at < before)
        .order_by(IdempotencyKey.created_at)
        .limit(size)
    )
    result: Any = await session.execute(
        delete(IdempotencyKey).where(key.in_(chosen)), execution_options=_LOOSE
    )
    return Step(result.rowcount, result.rowcount, after)


async def _jobs(session: TenantSession, after: str, before: datetime, size: int) -> Step:
    chosen = select(Job.id).where(Job.finished_at < before).limit(size)
    result: Any = await session.execute(
        delete(Job).where(Job.id.in_(chosen)), execution_options=_LOOSE
    )
    return Step(result.rowcount, result.rowcount, after)
