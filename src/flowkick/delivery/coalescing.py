"""Coalescing: updates of one user that wait in line become one, at the moment they would be sent.

The one that stands for them is an event of its own, with a delivery of its own at the head of the
line: whatever sends, logs, retries, removes or erases events does the same with it. Those that it
stands for are superseded. What events mean is not known here: a `Merger` joins their bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Row, Select, func, insert, literal, select, union_all

from flowkick.core.ids import new_id
from flowkick.core.logs import get_logger
from flowkick.delivery import sql
from flowkick.delivery.leases import Lease
from flowkick.delivery.models import WebhookDelivery, WebhookEvent
from flowkick.delivery.states import WAITING, DeliveryState
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession

_log = get_logger(__name__)

MOST: Final = 100
"""So many updates become one at a time."""
MOST_BYTES: Final = 1 << 20
"""So large their bodies may be together; what is behind them becomes one after them."""
_LINES_AT_ONCE: Final = 10


class Unmergeable(Exception):
    """A body is not what those who know what events mean expect of it."""


@dataclass(frozen=True, slots=True)
class Merger:
    """Knows which events can become one, and how."""

    event: str
    """Their name."""
    merge: Callable[[Sequence[bytes], str], bytes]
    """From bodies, in order, and the id of the new event, its body; or raises Unmergeable."""


async def coalesce(
    session: TenantSession,
    heads: Sequence[sql.Leased],
    merger: Merger,
    lease: Lease,
    *,
    now: datetime,
) -> tuple[dict[int, sql.Leased], int]:
    """Let what waits behind leased deliveries, at the heads of their lines, become one with them.

    Gives the delivery that was leased in the stead of each, where there is one, and how many were
    superseded. Their subscriptions are locked.
    """
    stead: dict[int, sql.Leased] = {}
    superseded = 0
    for start in range(0, len(heads), _LINES_AT_ONCE):
        some = heads[start : start + _LINES_AT_ONCE]
        runs = [run for run in await _runs(session, some, merger.event) if len(run) > 1]
        if not (runs and (merged := await _record(session, runs, merger))):
            continue
        leased = await _queue(session, merged, lease, now)
        ended = [
            _superseded(row, new.id, now)
            for (run, _), new in zip(merged, leased, strict=True)
            for row in run
        ]
        await sql.SETTLE.run_tuples(session, ended)
        stead |= {run[0].head: new for (run, _), new in zip(merged, leased, strict=True)}
        superseded += len(ended)
    return stead, superseded


async def _runs(session: TenantSession, heads: Sequence[sql.Leased], event: str) -> list[_Run]:
    """The deliveries from each head on that can become one."""
    lines = union_all(*(select(_line(head).subquery()) for head in heads)).subquery()
    delivery, recorded = WebhookDelivery, WebhookEvent
    statement = (
        select(
            lines.c.head,
            delivery.id,
            delivery.admin_id,
            delivery.subscription_id,
            delivery.event_id,
            delivery.event,
            delivery.status,
            delivery.attempt,
            delivery.lease_id,
            delivery.job_id,
            delivery.ordering_key,
            delivery.sequence,
            recorded.user_id,
            recorded.created_at,
            recorded.traceparent,
            func.length(recorded.body).label("size"),
        )
        .join(delivery, delivery.id == lines.c.id)
        .join(recorded, recorded.id == delivery.event_id)
        .order_by(lines.c.head, delivery.sequence, delivery.id)
    )
    rows = (await session.execute(statement)).all()
    return [_run(line, event) for _head, line in groupby(rows, lambda row: row.head)]


def _line(head: sql.Leased) -> Select[Any, Any]:
    """The deliveries from a head on, no more than can become one: read by the index of lines."""
    delivery = WebhookDelivery
    return (
        select(literal(head.id).label("head"), delivery.id)
        .where(delivery.subscription_id == head.subscription_id)
        .where(delivery.ordering_key == head.ordering_key)
        .order_by(delivery.sequence, delivery.id)
        .limit(MOST)
    )


_Run = Sequence[Row[Any]]


def _run(line: Iterable[Row[Any]], event: str) -> _Run:
    run, size = [], 0
    for row in line:
        size += row.size
        free = row.lease_id is None or row.id == row.head
        alike = row.event == event and row.job_id is None and row.status in WAITING
        if not (free and alike and row.size) or size > MOST_BYTES:
            break
        run.append(row)
    return run


async def _record(
    session: TenantSession, runs: Sequence[_Run], merger: Merger
) -> Sequence[tuple[_Run, Mapping[str, Any]]]:
    """Record the event that stands for each run, as of the last of it; what can't merge is left."""
    bodies = await _bodies(session, [row.event_id for run in runs for row in run])
    merged = []
    for run in runs:
        event_id, last = new_id("evt"), run[-1]
        try:
            body = merger.merge([bodies[row.event_id] for row in run], event_id)
        except Unmergeable:  # each goes as it is
            _log.error("updates_unmergeable", events=[row.event_id for row in run])
            continue
        event = {
            "id": event_id,
            "admin_id": last.admin_id,
            "event": last.event,
            "user_id": last.user_id,
            "sequence": last.sequence,
            "body": body,
            "created_at": last.created_at,
            "traceparent": last.traceparent,
        }
        merged.append((run, event))
    await sql.record_beside(session, [event for _, event in merged])
    return merged


async def _bodies(session: TenantSession, ids: Sequence[str]) -> dict[str, bytes]:
    event = WebhookEvent
    rows = await session.execute(select(event.id, event.body).where(among(session, event.id, ids)))
    return {row.id: row.body for row in rows}


async def _queue(
    session: TenantSession,
    merged: Sequence[tuple[_Run, Mapping[str, Any]]],
    lease: Lease,
    now: datetime,
) -> list[sql.Leased]:
    """Queue a delivery of each event, leased already, at the place of the last of its run."""
    delivery = WebhookDelivery
    rows = [
        {
            "admin_id": event["admin_id"],
            "subscription_id": run[-1].subscription_id,
            "event_id": event["id"],
            "event": event["event"],
            "status": DeliveryState.PENDING.value,
            "attempt": run[0].attempt,
            "last_attempt": 0,
            "due_at": lease.until,
            "lease_id": lease.id,
            "ordering_key": run[-1].ordering_key,
            "sequence": run[-1].sequence,
            "created_at": now,
        }
        for run, event in merged
    ]
    queued = await session.execute(insert(delivery).returning(delivery.event_id, delivery.id), rows)
    ids: dict[str, int] = {row.event_id: row.id for row in queued}
    return [
        sql.Leased(
            ids[row["event_id"]],
            row["admin_id"],
            row["subscription_id"],
            row["event_id"],
            row["attempt"],
            0,
            row["ordering_key"],
        )
        for row in rows
    ]


def _superseded(row: Row[Any], by: int, now: datetime) -> sql.Settled:
    note = f"A later update of the same user was sent in its stead: delivery {by}."
    return sql.settled(row.id, DeliveryState.SUPERSEDED, row.attempt, now, note=note)
