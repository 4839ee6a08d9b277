"""The SQL of the delivery engine where the two databases differ, side by side."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import Float, Text, TextualSelect, text
from sqlalchemy.ext.asyncio import AsyncSession

from flowkick.core.clock import isoformat
from flowkick.delivery import rate
from flowkick.delivery.breaker import BreakerState
from flowkick.delivery.models import WebhookEvent
from flowkick.delivery.requests import Message
from flowkick.delivery.states import UNFINISHED, DeliveryState
from flowkick.storage.base import UtcDateTime
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession

# Both step from one subscription to the next through the index, however long their queues are. On
# PostgreSQL a queue begins in the index with what has just left it, and each look goes past that:
# so there is one look for each queue. SQLite forgets at once, and has no LATERAL.
_FIRST_POSTGRESQL: Final = """
WITH RECURSIVE lane AS (
    SELECT * FROM (
        SELECT "subscriptionId" AS id, "dueAt" AS due_at FROM "WebhookDelivery"
        WHERE "dueAt" IS NOT NULL ORDER BY "subscriptionId", "dueAt" LIMIT 1
    ) AS first
    UNION ALL
    SELECT next.id, next.due_at FROM lane CROSS JOIN LATERAL (
        SELECT "subscriptionId" AS id, "dueAt" AS due_at FROM "WebhookDelivery"
        WHERE "dueAt" IS NOT NULL AND "subscriptionId" > lane.id
        ORDER BY "subscriptionId", "dueAt" LIMIT 1
    ) AS next
)"""
_FIRST_SQLITE: Final = """
WITH RECURSIVE queued(id) AS (
    SELECT min("subscriptionId") FROM "WebhookDelivery" WHERE "dueAt" IS NOT NULL
    UNION ALL
    SELECT (
        SELECT min("subscriptionId") FROM "WebhookDelivery"
        WHERE "dueAt" IS NOT NULL AND "subscriptionId" > queued.id
    )
    FROM queued WHERE queued.id IS NOT NULL
), lane AS (
    SELECT id, (
        SELECT min("dueAt") FROM "WebhookDelivery"
        WHERE "dueAt" IS NOT NULL AND "subscriptionId" = queued.id
    ) AS due_at
    FROM queued WHERE id IS NOT NULL
)"""


def _lanes(first: str) -> TextualSelect:
    return text(f"""{first}
SELECT lane.id AS id, lane.due_at AS due_at, subscription."pausedUntil" AS paused_until,
    subscription.breaker AS breaker, subscription."rateLimit" AS rate_limit,
    subscription."pacedUntil" AS paced_until, subscription.ordering AS ordering
FROM lane LEFT JOIN "WebhookSubscription" AS subscription
    ON subscription.id = lane.id AND subscription.active
""").columns(  # noqa: S608  # both are above
        id=Text(),
        due_at=UtcDateTime(),
        paused_until=UtcDateTime(),
        breaker=Text(),
        rate_limit=Float(),
        paced_until=UtcDateTime(),
        ordering=Text(),
    )


_LANES_POSTGRESQL: Final = _lanes(_FIRST_POSTGRESQL)
_LANES_SQLITE: Final = _lanes(_FIRST_SQLITE)

# The rows are chosen in a CTE, since LIMIT in an IN sub-query may lock more than it returns.
_CLAIM_POSTGRESQL: Final = """
WITH due AS MATERIALIZED (
    SELECT chosen.id FROM unnest($1::text[], $2::bigint[]) AS lane(id, room)
    CROSS JOIN LATERAL (
        SELECT id FROM "WebhookDelivery"
        WHERE "subscriptionId" = lane.id AND "dueAt" <= $3::timestamptz
        ORDER BY "dueAt", id LIMIT lane.room FOR UPDATE SKIP LOCKED
    ) AS chosen
)
UPDATE "WebhookDelivery" AS delivery SET "leaseId" = $4::text, "dueAt" = $5::timestamptz
FROM due WHERE delivery.id = due.id
RETURNING delivery.id, delivery."adminId", delivery."subscriptionId", delivery."eventId",
          delivery.attempt, delivery."lastAttempt", delivery."orderingKey"
"""
_CLAIM_SQLITE: Final = """
UPDATE "WebhookDelivery" SET "leaseId" = ?2, "dueAt" = ?3
WHERE id IN ({chosen})
RETURNING id, "adminId", "subscriptionId", "eventId", attempt, "lastAttempt", "orderingKey"
"""
_CHOSEN_SQLITE: Final = """
SELECT id FROM (
    SELECT id FROM "WebhookDelivery" WHERE "subscriptionId" = ?{lane} AND "dueAt" <= ?1
    ORDER BY "dueAt", id LIMIT ?{room}
)"""
_LANES_A_CLAIM: Final = 100
"""SQLite has no LATERAL: each lane is a SELECT of its own, and there are at most 500 to a union."""

SETTLE: Final = BulkStatement(
    columns={
        "id": "bigint",
        "status": "text",
        "attempt": "integer",
        "last_attempt": "integer",
        "due_at": "timestamptz",
        "finished_at": "timestamptz",
        "note": "text",
        "in_line": "boolean",
    },
    sql="""
UPDATE "WebhookDelivery" SET status = given.status, attempt = given.attempt,
    "lastAttempt" = CASE WHEN given.last_attempt > "lastAttempt" THEN given.last_attempt
                         ELSE "lastAttempt" END,
    "dueAt" = given.due_at, "finishedAt" = given.finished_at, note = given.note, "leaseId" = NULL,
    "orderingKey" = CASE WHEN given.in_line THEN "orderingKey" END
FROM {given} WHERE "WebhookDelivery".id = given.id
""",
    often_alike=("status", "attempt", "last_attempt", "due_at", "finished_at", "note", "in_line"),
)
"""Writes the next state of deliveries, ends their leases, and takes them out of their lines."""


class Settled(NamedTuple):
    """A row of `SETTLE`."""

    id: int
    status: str
    attempt: int
    last_attempt: int
    due_at: datetime | None
    finished_at: datetime | None
    note: str | None
    in_line: bool


def settled(
    delivery_id: int,
    status: DeliveryState,
    attempt: int,
    now: datetime,
    *,
    last_attempt: int = 0,
    due_at: datetime | None = None,
    note: str | None = None,
    in_line: bool = False,
) -> Settled:
    """A row of `SETTLE`: what ends leaves its line, unless it says that it stays `in_line`."""
    ended = status not in UNFINISHED
    return Settled(
        delivery_id,
        status.value,
        attempt,
        last_attempt,
        due_at,
        now if ended else None,
        note,
        in_line or not ended,
    )


EVENT_COLUMNS: Final = (
    "id",
    "admin_id",
    "event",
    "user_id",
    "sequence",
    "body",
    "created_at",
    "traceparent",
)
"""The attributes of an event that whoever records it gives; its position in the feed is apart."""
_BESIDE: Final = BulkStatement.insert(WebhookEvent, *EVENT_COLUMNS, "position")


_MESSAGES_SQLITE: Final = """
SELECT id, event, "createdAt", body, traceparent FROM "WebhookEvent"
WHERE id IN (SELECT value FROM json_each(?1))
"""
_MESSAGES_POSTGRESQL: Final = """
SELECT id, event, "createdAt", body, traceparent FROM "WebhookEvent" WHERE id = ANY($1::text[])
"""
_LEASED_SQLITE: Final = """
SELECT id, "orderingKey" FROM "WebhookDelivery"
WHERE id IN (SELECT value FROM json_each(?1)) AND "leaseId" = ?2
"""
_LEASED_POSTGRESQL: Final = """
SELECT id, "orderingKey" FROM "WebhookDelivery"
WHERE id = ANY($1::bigint[]) AND "leaseId" = $2::text FOR UPDATE
"""


class Lane(NamedTuple):
    """A subscription with deliveries to be looked at."""

    due_at: datetime
    """When the first of them may be claimed."""
    rests_until: datetime | None
    """Nothing of it may be sent before; a probe under way is none of that."""
    gated: bool
    """Whether its row says how much may be claimed (see `gates`)."""
    ordered: bool


class Leased(NamedTuple):
    """A delivery that was leased."""

    id: int
    admin_id: str
    subscription_id: str
    event_id: str
    attempt: int
    last_attempt: int
    ordering_key: str | None


async def record_beside(session: TenantSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write events that are not in the feed: they are meant for one subscription alone."""
    await _BESIDE.run(session, [{**row, "position": None} for row in rows])


async def lanes(session: AsyncSession) -> dict[str, Lane]:
    """Every subscription with deliveries to be looked at."""
    statement = _LANES_SQLITE if is_sqlite(session) else _LANES_POSTGRESQL
    return {row.id: _lane(row) for row in await session.execute(statement)}


def _lane(row: Any) -> Lane:
    due_at = row.due_at
    if row.paused_until is not None:
        due_at = max(due_at, row.paused_until)
    if row.rate_limit is not None and row.paced_until is not None:
        due_at = max(due_at, rate.due_at(row.paced_until))
    gated = row.rate_limit is not None or row.breaker not in {None, BreakerState.CLOSED}
    rests_until = None if row.breaker == BreakerState.HALF_OPEN else row.paused_until
    return Lane(due_at, rests_until, gated, row.ordering == "user")


async def lease_due(
    session: AsyncSession,
    rooms: Mapping[str, int],
    *,
    lease_id: str,
    now: datetime,
    until: datetime,
) -> list[Leased]:
    """Lease what is due, for each subscription as much as it has room for; in no order."""
    connection = await session.connection()
    if not is_sqlite(session):
        parameters = (list(rooms), list(rooms.values()), now, lease_id, until)
        found = await connection.exec_driver_sql(_CLAIM_POSTGRESQL, parameters)
        return list(map(Leased._make, found.all()))
    chosen = list(rooms.items())[:_LANES_A_CLAIM]
    values = (isoformat(now), lease_id, isoformat(until), *chain.from_iterable(chosen))
    found = await connection.exec_driver_sql(_claim_sqlite(len(chosen)), values)
    return list(map(Leased._make, found.all()))


@cache
def _claim_sqlite(count: int) -> str:
    return _CLAIM_SQLITE.format(
        chosen="UNION ALL".join(
            _CHOSEN_SQLITE.format(lane=number, room=number + 1)
            for number in range(4, 4 + 2 * count, 2)
        )
    )


async def messages(session: AsyncSession, event_ids: Collection[str]) -> dict[str, Message]:
    """What these events' requests carry; those whose bodies are no longer kept are left out."""
    connection = await session.connection()
    ids = sorted(event_ids)
    if is_sqlite(session):
        found = await connection.exec_driver_sql(_MESSAGES_SQLITE, (json.dumps(ids),))
    else:
        found = await connection.exec_driver_sql(_MESSAGES_POSTGRESQL, (ids,))
    rows: Sequence[Any] = found.all()
    return {
        id_: Message(event, id_, _shown(created_at), body, traceparent)
        for id_, event, created_at, body, traceparent in rows
        if body
    }


def _shown(moment: datetime | str) -> str:
    """A moment as requests show it, which is how SQLite keeps it."""
    return moment if isinstance(moment, str) else isoformat(moment)


async def lock_leased(
    session: AsyncSession, ids: Sequence[int], lease_id: str
) -> dict[int, str | None]:
    """Which of these deliveries are still leased, and in whose line each stands; locks them."""
    connection = await session.connection()
    if is_sqlite(session):
        given = (json.dumps(ids), lease_id)
        found = await connection.exec_driver_sql(_LEASED_SQLITE, given)
    else:
        found = await connection.exec_driver_sql(_LEASED_POSTGRESQL, (ids, lease_id))
    rows: Sequence[Any] = found.all()
    return {row[0]: row[1] for row in rows}
