"""The SQL of the delivery engine, where the two databases differ: side by side, each run per batch.

Lists travel as arrays on PostgreSQL and as rows of an executemany on SQLite: either way one prepared
statement serves every size of batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ARRAY, TextClause, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import BigInteger, DateTime, Integer, Text, TypeEngine

from flowkick.storage.base import UtcDateTime
from flowkick.storage.dialects import is_sqlite

Row = Mapping[str, Any]

# The rows are chosen in a CTE, since LIMIT in an IN sub-query may lock more than it returns.
_CLAIM_POSTGRESQL: Final = """
WITH due AS MATERIALIZED (
    SELECT id FROM "WebhookDelivery" WHERE "dueAt" <= :now
    ORDER BY "dueAt", id LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE "WebhookDelivery" AS delivery SET "leaseId" = :lease_id, "dueAt" = :until
FROM due WHERE delivery.id = due.id
RETURNING delivery.id, delivery."adminId", delivery."subscriptionId", delivery."eventId",
          delivery.event, delivery.attempt
"""
_CLAIM_SQLITE: Final = """
UPDATE "WebhookDelivery" SET "leaseId" = :lease_id, "dueAt" = :until
WHERE id IN (
    SELECT id FROM "WebhookDelivery" WHERE "dueAt" <= :now ORDER BY "dueAt", id LIMIT :limit
)
RETURNING id, "adminId", "subscriptionId", "eventId", event, attempt
"""

_SETTLE_SQLITE: Final = """
UPDATE "WebhookDelivery" SET status = :status, attempt = :attempt, "dueAt" = :due_at,
    "finishedAt" = :finished_at, "leaseId" = NULL, note = :note
WHERE id = :id
"""
_SETTLE_POSTGRESQL: Final = """
UPDATE "WebhookDelivery" AS delivery SET status = settled.status, attempt = settled.attempt,
    "dueAt" = settled.due_at, "finishedAt" = settled.finished_at, "leaseId" = NULL,
    note = settled.note
FROM unnest(:id, :status, :attempt, :due_at, :finished_at, :note)
    AS settled(id, status, attempt, due_at, finished_at, note)
WHERE delivery.id = settled.id
"""
_SETTLED: Final[Mapping[str, TypeEngine[Any]]] = {
    "id": BigInteger(),
    "status": Text(),
    "attempt": Integer(),
    "due_at": DateTime(timezone=True),
    "finished_at": DateTime(timezone=True),
    "note": Text(),
}

_LOG_SQLITE: Final = """
INSERT INTO "WebhookAttempt" ("adminId", "deliveryId", "subscriptionId", attempt, trigger, status,
    "statusCode", "responseBody", "errorMessage", "durationMs", "sentAt")
VALUES (:admin_id, :delivery_id, :subscription_id, :attempt, :trigger, :status,
    :status_code, :response_body, :error_message, :duration_ms, :sent_at)
"""
_LOG_POSTGRESQL: Final = """
INSERT INTO "WebhookAttempt" ("adminId", "deliveryId", "subscriptionId", attempt, trigger, status,
    "statusCode", "responseBody", "errorMessage", "durationMs", "sentAt")
SELECT * FROM unnest(:admin_id, :delivery_id, :subscription_id, :attempt, :trigger, :status,
    :status_code, :response_body, :error_message, :duration_ms, :sent_at)
"""
_LOGGED: Final[Mapping[str, TypeEngine[Any]]] = {
    "admin_id": Text(),
    "delivery_id": BigInteger(),
    "subscription_id": Text(),
    "attempt": Integer(),
    "trigger": Text(),
    "status": Text(),
    "status_code": Integer(),
    "response_body": Text(),
    "error_message": Text(),
    "duration_ms": Integer(),
    "sent_at": DateTime(timezone=True),
}


def _rows(sql: str, columns: Mapping[str, TypeEngine[Any]]) -> TextClause:
    """A statement run once for each row; moments are written as this database keeps them."""
    moments = [name for name, type_ in columns.items() if isinstance(type_, DateTime)]
    return text(sql).bindparams(*(bindparam(name, type_=UtcDateTime()) for name in moments))


def _arrays(sql: str, columns: Mapping[str, TypeEngine[Any]]) -> TextClause:
    """A statement run once for all rows, with one array a column."""
    return text(sql).bindparams(
        *(bindparam(name, type_=ARRAY(type_)) for name, type_ in columns.items())
    )


_MOMENTS: Final = (bindparam("now", type_=UtcDateTime()), bindparam("until", type_=UtcDateTime()))
_CLAIM: Final = {
    True: text(_CLAIM_SQLITE).bindparams(*_MOMENTS),
    False: text(_CLAIM_POSTGRESQL).bindparams(*_MOMENTS),
}
_SETTLE: Final = {
    True: _rows(_SETTLE_SQLITE, _SETTLED),
    False: _arrays(_SETTLE_POSTGRESQL, _SETTLED),
}
_LOG: Final = {True: _rows(_LOG_SQLITE, _LOGGED), False: _arrays(_LOG_POSTGRESQL, _LOGGED)}


async def lease_due(session: AsyncSession, parameters: Row) -> Sequence[Any]:
    """Lease what is due; rows of (id, adminId, subscriptionId, eventId, event, attempt)."""
    return (await session.execute(_CLAIM[is_sqlite(session)], parameters)).all()


async def settle(session: AsyncSession, rows: Sequence[Row]) -> None:
    """Write the next state of deliveries and end their leases."""
    await _execute(session, _SETTLE, rows)


async def log_attempts(session: AsyncSession, rows: Sequence[Row]) -> None:
    """Write one row for each attempt."""
    await _execute(session, _LOG, rows)


async def _execute(
    session: AsyncSession, statements: Mapping[bool, TextClause], rows: Sequence[Row]
) -> None:
    if not rows:
        return
    if is_sqlite(session):
        await session.execute(statements[True], list(rows))
        return
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    await session.execute(statements[False], columns)
