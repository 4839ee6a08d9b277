"""What is left of a user elsewhere: in recorded events, in logs, in kept answers and in files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import delete, select, update

from flowkick.core.encryption import KeyRing
from flowkick.core.errors import SettingsError
from flowkick.delivery import ordering
from flowkick.delivery.models import WebhookAttempt, WebhookDelivery, WebhookEvent
from flowkick.delivery.queue import end_unfinished
from flowkick.exports.models import DataExport
from flowkick.http.idempotency import answer_context
from flowkick.http.models import IdempotencyKey
from flowkick.jobs.models import UNFINISHED as UNFINISHED_JOBS
from flowkick.jobs.models import Job
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession

_BATCH: Final = 1000
_LOOSE: Final = {"synchronize_session": False}
_ERASED: Final = "The user was erased before it was delivered."
_REWRITE: Final = BulkStatement(
    {"id": "text", "admin_id": "text", "body": "bytea"},
    """
UPDATE "WebhookEvent" SET body = given.body FROM {given}
WHERE "WebhookEvent".id = given.id AND "WebhookEvent"."adminId" = given.admin_id
""",
)


def redacted(body: bytes, user_id: str) -> bytes:
    """The body of an event of which nothing is left but what it was and whom it was about."""
    known = msgspec.json.decode(body)
    kept = {
        "event": known["event"],
        "timestamp": known["timestamp"],
        "data": {"user": {"id": user_id}, "erased": True},
        "metadata": known["metadata"],
    }
    return msgspec.json.encode(kept)


async def end_deliveries(session: TenantSession, user_id: str, *, but: str, now: datetime) -> int:
    """End what is not delivered yet; who sends one just now, records nothing of it any more."""
    event = WebhookEvent
    theirs = select(event.id).where(event.user_id == user_id, event.id != but)
    of_them = WebhookDelivery.event_id.in_(theirs)
    await ordering.let_pass(session, of_them)  # the last event of all comes through
    return await end_unfinished(session, of_them, note=_ERASED, now=now)


async def redact_events(
    session: TenantSession, user_id: str, *, but: str | None = None
) -> dict[str, int]:
    """Empty the events about a user, and what receivers answered to them; how many of each.

    `but` is the event that is still to tell receivers.
    """
    events = answers = 0
    after = ""
    while True:
        statement = (
            select(WebhookEvent.id, WebhookEvent.body)
            .where(WebhookEvent.user_id == user_id, WebhookEvent.id > after)
            .order_by(WebhookEvent.id)
            .limit(_BATCH)
        )
        rows = (await session.execute(statement)).all()
        if not rows:
            return {"events": events, "answers": answers}
        after = rows[-1].id
        answers += await _forget_answers(session, [row.id for row in rows])
        emptied = [
            {
                "id": row.id,
                "admin_id": session.admin_id,
                "body": redacted(row.body, user_id),
            }
            for row in rows
            if row.body and row.id != but
        ]
        await _REWRITE.run(session, emptied)
        events += len(emptied)


async def _forget_answers(session: TenantSession, event_ids: Sequence[str]) -> int:
    attempt = WebhookAttempt
    theirs = select(WebhookDelivery.id).where(among(session, WebhookDelivery.event_id, event_ids))
    result: Any = await session.execute(
        update(attempt)
        .where(attempt.delivery_id.in_(theirs), attempt.response_body.is_not(None))
        .values(response_body=None),
        execution_options=_LOOSE,
    )
    return int(result.rowcount)


async def forget_kept_answers(session: TenantSession, keys: KeyRing, values: Sequence[str]) -> int:
    """Remove the answers kept under idempotency keys in which one of `values` stands."""
    found = await session.execute(select(IdempotencyKey.key, IdempotencyKey.answer))
    needles = [value.encode() for value in values]
    names = [key for key, answer in found if _holds(keys, session.admin_id, key, answer, needles)]
    for start in range(0, len(names), _BATCH):
        await session.execute(
            delete(IdempotencyKey).where(
                among(session, IdempotencyKey.key, names[start : start + _BATCH])
            ),
            execution_options=_LOOSE,
        )
    return len(names)


def _holds(keys: KeyRing, admin_id: str, key: str, answer: str, needles: Sequence[bytes]) -> bool:
    if not answer:
        return False
    try:
        body = base64.b64decode(keys.open(answer, answer_context(admin_id, key)))
    except SettingsError:  # whoever can't be asked is not kept
        return True
    return any(needle in body for needle in needles)


async def exports_that_ask_for(session: TenantSession, values: Sequence[str]) -> list[str]:
    """The exports in whose filters one of `values` stands."""
    rows = await session.execute(
        select(DataExport.id, DataExport.filters).where(DataExport.filters.is_not(None))
    )
    return [row.id for row in rows if _mentions(row.filters, values)]


async def forget_jobs(session: TenantSession, values: Sequence[str]) -> int:
    """Remove finished jobs in whose input one of `values` stands."""
    rows = await session.execute(
        select(Job.id, Job.input).where(Job.status.not_in(UNFINISHED_JOBS))
    )
    ids = [row.id for row in rows if _mentions(row.input, values)]
    await session.execute(delete(Job).where(among(session, Job.id, ids)), execution_options=_LOOSE)
    return len(ids)


def _mentions(document: Any, values: Sequence[str]) -> bool:
    text = msgspec.json.encode(document).decode().casefold()
    return any(msgspec.json.encode(value).decode()[1:-1].casefold() in text for value in values)
