"""Consent that is given or withdrawn, and users who are erased.

Erasing is one transaction: with it the user and all traces of them are gone, but for the
`user.deleted` that tells receivers whom to forget. When every receiver was told or given up, the
erasure is settled, and that event is emptied too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select

from flowkick.core.clock import isoformat
from flowkick.core.encryption import KeyRing
from flowkick.core.errors import NotFound
from flowkick.core.ids import new_id
from flowkick.delivery.models import WebhookDelivery, WebhookEvent, WebhookSubscription
from flowkick.delivery.states import UNFINISHED, DeliveryState
from flowkick.exports import service as exports
from flowkick.exports.background import start_over
from flowkick.exports.files import FileStore
from flowkick.exports.models import DataExport
from flowkick.http.idempotency import LIFETIME
from flowkick.privacy import traces
from flowkick.privacy.identity import Identity, belongings
from flowkick.privacy.models import Erasure
from flowkick.storage.keyset import Page, newest_first
from flowkick.storage.tenancy import TenantSession
from flowkick.storage.wiping import overwrite_removed
from flowkick.users import service as users
from flowkick.users.ledger import Consent
from flowkick.users.models import ConsentEntry, User
from flowkick.users.suppression import suppress
from flowkick.users.writing import Desired, Target
from flowkick.webhooks.fan_out import queue_for_one


async def record_consent(
    session: TenantSession, user_id: str, consent: Consent, *, given: bool, now: datetime
) -> tuple[Target, ConsentEntry]:
    """Add a consent, or its withdrawal, to the ledger, and set the user's two fields."""
    values = {"export_consent_given": given, "export_consent_at": now if given else None}
    desired = Desired(values=values, consent=consent)
    target = await users.change_user(session, user_id, desired, source="api", now=now)
    newest = select(ConsentEntry).where(ConsentEntry.user_id == user_id)
    newest = newest.order_by(ConsentEntry.created_at.desc(), ConsentEntry.id.desc()).limit(1)
    return target, (await session.scalars(newest)).one()


async def consents(
    session: TenantSession, user_id: str, *, limit: int, cursor: str | None
) -> Page[ConsentEntry]:
    """A page of what a user consented to, the newest first."""
    await users.find_user(session, user_id)
    model = ConsentEntry
    statement = select(model).where(model.user_id == user_id)
    return await newest_first(
        session, statement, model.created_at, model.id, limit=limit, cursor=cursor
    )


async def erase(
    session: TenantSession,
    user_id: str,
    *,
    source: str,
    now: datetime,
    keys: KeyRing,
    files: FileStore,
) -> tuple[User, Erasure]:
    """Erase a user and every trace of them; NotFound where the admin has none with this id."""
    await overwrite_removed(session)
    erasure_id = new_id("era")
    theirs = await belongings(session, user_id, now - LIFETIME)
    user, event_id = await users.delete_user(session, user_id, source=source, now=now)
    receivers = await _receivers(session, user, event_id, now)
    in_flight = await traces.in_flight(session, user_id, but=event_id, now=now)
    ended = await traces.end_deliveries(session, user_id, but=event_id, now=now)
    await _tell_others(session, receivers, event_id, erasure_id, now)
    await traces.send_last(session, event_id, in_flight)
    if user.manychat_id is not None:
        await suppress(session, user.manychat_id, now=now)
    person = await Identity.of(session, user, theirs)
    jobs = await traces.forget_jobs(session, person, files=files, now=now)
    await start_over(session, now=now)
    since = DataExport.finished_at >= user.created_at
    removed = {
        "deliveries": ended,
        **await traces.redact_events(session, user_id, but=event_id),
        "keptAnswers": await traces.forget_kept_answers(session, keys, person),
        "exportFiles": len(await exports.remove_files(session, files, since, now=now)),
        "jobs": jobs,
    }
    if asking := await traces.exports_that_ask_for(session, person):
        await exports.forget_filters(session, DataExport.id.in_(asking))
    erasure = Erasure(
        id=erasure_id,
        admin_id=session.admin_id,
        user_id=user_id,
        event_id=event_id,
        removed=removed,
        receivers=await _gone(session, user_id),
        created_at=now,
    )
    session.add(erasure)
    await session.flush()
    return user, erasure


async def _receivers(session: TenantSession, user: User, event_id: str, now: datetime) -> list[str]:
    """The subscriptions that may have a copy of the user.

    Those to which anything of them was queued; and where the log does not reach back to the time
    when the user came, those that were there before it begins.
    """
    delivery, event = WebhookDelivery, WebhookEvent
    theirs = select(event.id).where(event.user_id == user.id)
    known = select(delivery.subscription_id).where(delivery.event_id.in_(theirs))
    earlier = select(func.min(event.created_at)).where(event.id != event_id)
    oldest = await session.scalar(earlier) or now
    was_told: ColumnElement[bool] = WebhookSubscription.id.in_(known)
    if user.created_at < oldest:
        was_told = or_(was_told, WebhookSubscription.created_at < oldest)
    return list(await session.scalars(select(WebhookSubscription.id).where(was_told)))


async def _gone(session: TenantSession, user_id: str) -> list[dict[str, Any]]:
    """The webhooks that may have a copy of the user and were deleted since then."""
    delivery, subscription = WebhookDelivery, WebhookSubscription
    theirs = select(WebhookEvent.id).where(WebhookEvent.user_id == user_id)
    deleted = await session.scalars(
        select(delivery.subscription_id)
        .where(
            delivery.event_id.in_(theirs),
            delivery.subscription_id.not_in(select(subscription.id)),
        )
        .distinct()
        .order_by(delivery.subscription_id)
    )
    return [_receiver(webhook_id, None, "unreachable", None, None) for webhook_id in deleted]


async def _tell_others(
    session: TenantSession, receivers: Sequence[str], event_id: str, job_id: str, now: datetime
) -> None:
    """Tell those, too, who did not ask for `user.deleted`: they have a copy to delete."""
    told = await session.scalars(
        select(WebhookDelivery.subscription_id).where(WebhookDelivery.event_id == event_id)
    )
    for subscription_id in sorted(set(receivers) - set(told)):
        await queue_for_one(
            session, subscription_id, [(event_id, "user.deleted")], job_id=job_id, now=now
        )


# What became of it


async def find_erasure(session: TenantSession, erasure_id: str) -> Erasure:
    """One erasure; NotFound where the admin has none with this id."""
    erasure = await session.scalar(select(Erasure).where(Erasure.id == erasure_id))
    if erasure is None:
        raise NotFound(f"There is no erasure {erasure_id}.")
    return erasure


async def list_erasures(session: TenantSession, *, limit: int, cursor: str | None) -> Page[Erasure]:
    """A page of the admin's erasures, the newest first."""
    return await newest_first(
        session, select(Erasure), Erasure.created_at, Erasure.id, limit=limit, cursor=cursor
    )


async def report(session: TenantSession, erasure: Erasure) -> list[dict[str, Any]]:
    """Who was told, and what came of it: as the log tells, or as it told when it was settled.

    One entry for each webhook, however often it was sent.
    """
    delivery, subscription = WebhookDelivery, WebhookSubscription
    rows = await session.execute(
        select(
            delivery.subscription_id,
            subscription.id.is_(None).label("deleted"),
            subscription.name,
            delivery.status,
            delivery.id,
            delivery.finished_at,
        )
        .outerjoin(subscription, subscription.id == delivery.subscription_id)
        .where(delivery.event_id == erasure.event_id)
        .order_by(delivery.id)
    )
    found: dict[str, dict[str, Any]] = {}
    for webhook_id, deleted, name, status, delivery_id, finished in rows:
        known = found.get(webhook_id)
        if known is None or known["status"] != "acknowledged":
            shown = _status(status, deleted=deleted)
            acknowledged = finished if shown == "acknowledged" else None
            found[webhook_id] = _receiver(webhook_id, name, shown, delivery_id, acknowledged)
    earlier = {receiver["webhookId"]: receiver for receiver in erasure.receivers or ()}
    return list({**earlier, **found}.values())


def _status(status: str, *, deleted: bool) -> str:
    if status == DeliveryState.SUCCESS:
        return "acknowledged"
    if deleted or status == DeliveryState.HELD:
        return "unreachable"
    return "failed" if status == DeliveryState.FAILED else "waiting"


def _receiver(
    webhook_id: str,
    name: str | None,
    status: str,
    delivery_id: int | None,
    acknowledged: datetime | None,
) -> dict[str, Any]:
    return {
        "webhookId": webhook_id,
        "webhookName": name,
        "status": status,
        "deliveryId": None if delivery_id is None else str(delivery_id),
        "acknowledgedAt": isoformat(acknowledged) if acknowledged else None,
    }


async def settle(session: TenantSession, erasure: Erasure, *, now: datetime) -> bool:
    """Complete an erasure of which every receiver was told or given up; whether it was."""
    waiting = await session.scalar(
        select(func.count(WebhookDelivery.id)).where(
            WebhookDelivery.event_id == erasure.event_id, WebhookDelivery.status.in_(UNFINISHED)
        )
    )
    if waiting:
        return False
    await overwrite_removed(session)
    erasure.receivers = await report(session, erasure)
    await traces.redact_events(session, erasure.user_id)
    erasure.completed_at = now
    await session.flush()
    return True
