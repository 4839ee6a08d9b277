"""What is left of a user elsewhere: in recorded events, in logs, in kept answers and in files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, delete, func, select, update

from flowkick.core.encryption import KeyRing
from flowkick.core.errors import Conflict, NotFound, SettingsError
from flowkick.delivery import ordering
from flowkick.delivery.models import (
    NO_BODY,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEvent,
    WebhookSubscription,
)
from flowkick.delivery.queue import end_unfinished
from flowkick.exports import background
from flowkick.exports.files import FileStore
from flowkick.exports.models import DataExport
from flowkick.http.idempotency import answer_context
from flowkick.http.models import IdempotencyKey
from flowkick.jobs.models import UNFINISHED as UNFINISHED_JOBS
from flowkick.jobs.models import Job
from flowkick.privacy.identity import Finder, Identity, as_json
from flowkick.replays import service as replays
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession

_BATCH: Final = 1000
_LOOSE: Final = {"synchronize_session": False}
_END: Final = "user.deleted"
_ERASED: Final = "The user was erased before it was delivered."
_REWRITE: Final = BulkStatement(
    {"id": "text", "admin_id": "text", "body": "bytea"},
    """
UPDATE "WebhookEvent" SET body = given.body FROM {given}
WHERE "WebhookEvent".id = given.id AND "WebhookEvent"."adminId" = given.admin_id
""",
)


def redacted(event: str, body: bytes, user_id: str) -> bytes:
    """What may stay of the body of an event about a user who was erased.

    Of the end, all but who it was of; of what came before, nothing: it is sent to nobody any more.
    """
    if event != _END:
        return NO_BODY
    known = msgspec.json.decode(body)
    kept = {
        "event": known["event"],
        "timestamp": known["timestamp"],
        "data": {"user": {"id": user_id, "manychatId": None}},
        "metadata": known["metadata"],
    }
    return msgspec.json.encode(kept)


async def end_deliveries(session: TenantSession, user_id: str, *, but: str, now: datetime) -> int:
    """End what is not delivered yet; who sends one just now, records nothing of it any more."""
    of_them = _of(user_id, but)
    # Whoever merges or records waiting deliveries of the user meanwhile is waited for, and what it
    # queues is seen only by the statement after that: hence once more, always.
    ended = await end_unfinished(session, of_them, note=_ERASED, now=now)
    while more := await end_unfinished(session, of_them, note=_ERASED, now=now):
        ended += more
    await ordering.let_pass(session, of_them)  # the last event of all comes through
    return ended


async def in_flight(
    session: TenantSession, user_id: str, *, but: str, now: datetime
) -> dict[str, datetime]:
    """The subscriptions to which something about a user is just being sent, until when at most.

    That is when the lease ends, or when a request that begins now is given up.
    """
    delivery, subscription = WebhookDelivery, WebhookSubscription
    rows: Any = await session.execute(
        select(subscription.id, subscription.timeout_ms, func.max(delivery.due_at))
        .join(delivery, delivery.subscription_id == subscription.id)
        .where(_of(user_id, but), delivery.lease_id.is_not(None))
        .group_by(subscription.id, subscription.timeout_ms)
    )
    return {
        subscription_id: max(until or now, now + timedelta(milliseconds=timeout_ms))
        for subscription_id, timeout_ms, until in rows
    }


async def send_last(session: TenantSession, event_id: str, after: Mapping[str, datetime]) -> None:
    """Let an event be sent only when what is in flight has arrived, or never will."""
    delivery = WebhookDelivery
    for subscription_id, until in sorted(after.items()):
        await session.execute(
            update(delivery)
            .where(
                delivery.event_id == event_id,
                delivery.subscription_id == subscription_id,
                delivery.due_at < until,
            )
            .values(due_at=until),
            execution_options=_LOOSE,
        )


def _of(user_id: str, but: str) -> ColumnElement[bool]:
    event = WebhookEvent
    theirs = select(event.id).where(event.user_id == user_id, event.id != but)
    return WebhookDelivery.event_id.in_(theirs)


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
            select(WebhookEvent.id, WebhookEvent.event, WebhookEvent.body)
            .where(WebhookEvent.user_id == user_id, WebhookEvent.id > after)
            .order_by(WebhookEvent.id)
            .limit(_BATCH)
        )
        rows = (await session.execute(statement)).all()
        if not rows:
            return {"events": events, "answers": answers}
        after = rows[-1].id
        emptied = [
            {
                "id": row.id,
                "admin_id": session.admin_id,
                "body": redacted(row.event, row.body, user_id),
            }
            for row in rows
            if row.body and row.id != but
        ]
        await _REWRITE.run(session, emptied)
        # Afterwards: who logs an answer to one of these holds its row until that is seen.
        answers += await _forget_answers(session, [row.id for row in rows])
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


async def forget_kept_answers(session: TenantSession, keys: KeyRing, person: Identity) -> int:
    """Remove the answers kept under idempotency keys that tell of a person, or whose keys do."""
    texts = {*person.ids, *person.values}
    finder = Finder({*texts, *map(as_json, texts)})
    model = IdempotencyKey
    removed, after = 0, ""
    while True:
        statement = select(model.key, model.answer).where(model.key > after)
        rows = (await session.execute(statement.order_by(model.key).limit(_BATCH))).all()
        if not rows:
            return removed
        after = rows[-1].key
        names = [key for key, answer in rows if _holds(keys, session.admin_id, key, answer, finder)]
        await session.execute(
            delete(model).where(among(session, model.key, names)), execution_options=_LOOSE
        )
        removed += len(names)


def _holds(keys: KeyRing, admin_id: str, key: str, answer: str, finder: Finder) -> bool:
    if finder.finds(key):
        return True
    if not answer:
        return False
    try:
        body = base64.b64decode(keys.open(answer, answer_context(admin_id, key)))
    except SettingsError:  # whoever can't be asked is not kept
        return True
    return finder.finds(body.decode(errors="replace"))


async def exports_that_ask_for(session: TenantSession, person: Identity) -> list[str]:
    """The exports whose filters name a person."""
    rows = await session.execute(
        select(DataExport.id, DataExport.filters).where(DataExport.filters.is_not(None))
    )
    return [row.id for row in rows if person.stands_in(row.filters)]


async def forget_jobs(
    session: TenantSession, person: Identity, *, files: FileStore, now: datetime
) -> int:
    """Remove the jobs whose input names a person; those that are not finished are ended."""
    rows = await session.execute(select(Job.id, Job.kind, Job.status, Job.input))
    found = [row for row in rows if person.stands_in(row.input)]
    for row in found:
        if row.status in UNFINISHED_JOBS:
            with suppress(Conflict, NotFound):  # it has ended meanwhile, or its webhook is gone
                await _end(session, row.kind, row.id, row.input, files=files, now=now)
    gone = [row.id for row in found]
    await session.execute(delete(Job).where(among(session, Job.id, gone)), execution_options=_LOOSE)
    return len(gone)


async def _end(
    session: TenantSession,
    kind: str,
    job_id: str,
    given: dict[str, Any],
    *,
    files: FileStore,
    now: datetime,
) -> None:
    for known in (replays.REPLAY, replays.BACKFILL):
        if kind == known:
            await replays.cancel(session, known, given["webhookId"], job_id, now)
            return
    export_id = await session.scalar(select(DataExport.id).where(DataExport.job_id == job_id))
    if export_id is not None:
        await background.delete(session, files, export_id, now=now)
