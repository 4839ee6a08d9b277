"""Deliveries that a job queues for one subscription: counted, and ended with the job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select

from flowkick.delivery import ordering
from flowkick.delivery.models import WebhookDelivery, WebhookSubscription
from flowkick.delivery.queue import end_unfinished
from flowkick.delivery.states import UNFINISHED
from flowkick.jobs.run import JobFailed, Run
from flowkick.storage.tenancy import TenantSession
from flowkick.webhooks.catalogue import BACKFILL_COMPLETED, BACKFILL_STARTED
from flowkick.webhooks.service import wake_engine

_MARKS: Final = (BACKFILL_STARTED, BACKFILL_COMPLETED)
_CANCELLED: Final = "The job that queued it was cancelled."
_DELETED: Final = "The subscription was deleted."


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands with its subscription."""

    active: bool
    waiting: int
    """Its deliveries that are not finished, without those that a failure before them holds up."""


async def standing(run: Run, subscription_id: str) -> Standing:
    """How it stands; JobFailed where the subscription was deleted."""
    delivery = WebhookDelivery
    waiting = (
        select(func.count(delivery.id))
        .where(
            delivery.job_id == run.job_id,
            delivery.status.in_(UNFINISHED),
            ~ordering.is_held_up(),
        )
        .scalar_subquery()
    )
    subscription = WebhookSubscription
    statement = select(subscription.active, waiting).where(subscription.id == subscription_id)
    async with run.database.reading(run.admin_id) as session:
        row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise JobFailed(_DELETED)
    return Standing(row[0], row[1])


async def outcomes(session: TenantSession, job_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many deliveries of each of these jobs are in which state, marks not counted."""
    delivery = WebhookDelivery
    statement = (
        select(delivery.job_id, delivery.status, func.count(delivery.id))
        .where(delivery.job_id.in_(job_ids), delivery.event.not_in(_MARKS))
        .group_by(delivery.job_id, delivery.status)
    )
    found: dict[str, dict[str, int]] = {job_id: {} for job_id in job_ids}
    rows: Any = await session.execute(statement)
    for job_id, status, count in rows:
        found[job_id][status] = count
    return found


async def end_waiting(
    session: TenantSession, job_id: str, subscription_id: str, now: datetime
) -> int:
    """End what a job queued and nobody sends just now; how many deliveries that are."""
    mine = (WebhookDelivery.job_id == job_id, WebhookDelivery.lease_id.is_(None))
    theirs = WebhookDelivery.subscription_id == subscription_id
    await ordering.lock(session, [subscription_id])
    ended = await end_unfinished(session, *mine, note=_CANCELLED, now=now)
    if await ordering.promote_all(session, theirs, now=now):
        await wake_engine(session)
    return ended
