"""The SQL of the delivery engine where the two databases differ, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from flowkick.delivery.models import WebhookAttempt
from flowkick.storage.base import UtcDateTime
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.dialects import is_sqlite

# The rows are chosen in a CTE, since LIMIT in an IN sub-query may lock more than it returns.
_CLAIM_POSTGRESQL: Final = """
WITH due AS MATERIALIZED (
    SELECT id FROM "WebhookDelivery" WHERE "dueAt" <= :now
    ORDER BY "dueAt", id LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE "WebhookDelivery" AS delivery SET "leaseId" = :lease_id, "dueAt" = :until
FROM due WHERE delivery.id = due.id
RETURNING delivery.id, delivery."adminId", delivery."subscriptionId", delivery."eventId",
          delivery.attempt, delivery."lastAttempt"
"""
_CLAIM_SQLITE: Final = """
UPDATE "WebhookDelivery" SET "leaseId" = :lease_id, "dueAt" = :until
WHERE id IN (
    SELECT id FROM "WebhookDelivery" WHERE "dueAt" <= :now ORDER BY "dueAt", id LIMIT :limit
)
RETURNING id, "adminId", "subscriptionId", "eventId", attempt, "lastAttempt"
"""
_MOMENTS: Final = (bindparam("now", type_=UtcDateTime()), bindparam("until", type_=UtcDateTime()))
_CLAIM: Final = {
    True: text(_CLAIM_SQLITE).bindparams(*_MOMENTS),
    False: text(_CLAIM_POSTGRESQL).bindparams(*_MOMENTS),
}

SETTLE: Final = BulkStatement(
    columns={
        "status": "text",
        "attempt": "integer",
        "last_attempt": "integer",
        "due_at": "timestamptz",
        "finished_at": "timestamptz",
        "note": "text",
        "id": "bigint",
    },
    sql="""
UPDATE "WebhookDelivery" SET status = given.status, attempt = given.attempt,
    "lastAttempt" = CASE WHEN given.last_attempt > "lastAttempt" THEN given.last_attempt
                         ELSE "lastAttempt" END,
    "dueAt" = given.due_at, "finishedAt" = given.finished_at, note = given.note, "leaseId" = NULL
FROM {given} WHERE "WebhookDelivery".id = given.id
""",
)
"""Writes the next state of deliveries and ends their leases."""

LOG_ATTEMPTS: Final = BulkStatement.insert(
    WebhookAttempt,
    "admin_id",
    "delivery_id",
    "subscription_id",
    "attempt",
    "trigger",
    "status",
    "status_code",
    "response_body",
    "error_message",
    "duration_ms",
    "sent_at",
)


async def lease_due(session: AsyncSession, parameters: Mapping[str, Any]) -> Sequence[Any]:
    """Lease what is due; rows of (id, adminId, subscriptionId, eventId, attempt, lastAttempt)."""
    return (await session.execute(_CLAIM[is_sqlite(session)], parameters)).all()
