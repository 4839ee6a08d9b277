"""Replays and backfills of a subscription: started, shown, cancelled. Workers do what they ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import select

from flowkick.core.errors import Conflict, NotFound
from flowkick.jobs import service as jobs
from flowkick.jobs.models import UNFINISHED, Job, JobStatus
from flowkick.replays import queueing
from flowkick.replays.marks import tell_cancelled
from flowkick.storage.keyset import Page, newest_first
from flowkick.storage.tenancy import TenantSession
from flowkick.webhooks.service import find_subscription

Kind = Literal["replay", "backfill"]
REPLAY: Final = "replay"
BACKFILL: Final = "backfill"
_WEBHOOK: Final = "webhookId"


async def start(
    session: TenantSession,
    kind: Kind,
    webhook_id: str,
    given: Mapping[str, Any],
    *,
    now: datetime,
    progress: Mapping[str, Any],
) -> Job:
    """Start a replay or backfill; Conflict where one of either kind is at this subscription."""
    await find_subscription(session, webhook_id, lock=True)  # of two at once, one sees the other
    busy = await session.scalar(
        select(Job).where(
            Job.kind.in_((REPLAY, BACKFILL)),
            Job.status.in_(UNFINISHED),
            Job.input[_WEBHOOK].as_string() == webhook_id,
        )
    )
    if busy is not None:
        raise Conflict(
            f"The {busy.kind} {busy.id} is at this webhook already: let it end, or cancel it."
        )
    return await jobs.start(
        session, kind, {_WEBHOOK: webhook_id, **given}, now=now, progress=progress
    )


async def page(
    session: TenantSession, kind: Kind, webhook_id: str, *, limit: int, cursor: str | None
) -> Page[Job]:
    """Replays or backfills of a subscription, the newest first."""
    await find_subscription(session, webhook_id)
    mine = select(Job).where(Job.kind == kind, Job.input[_WEBHOOK].as_string() == webhook_id)
    return await newest_first(session, mine, Job.created_at, Job.id, limit=limit, cursor=cursor)


async def find(session: TenantSession, kind: Kind, webhook_id: str, job_id: str) -> Job:
    """One replay or backfill of a subscription; NotFound where it has none of this id."""
    await find_subscription(session, webhook_id)
    job = await jobs.get(session, kind, job_id)
    if job.input[_WEBHOOK] != webhook_id:
        raise NotFound(f"There is no {kind} {job_id}.")
    return job


async def cancel(
    session: TenantSession, kind: Kind, webhook_id: str, job_id: str, now: datetime
) -> Job:
    """Cancel it, and end those of its deliveries that nobody sends just now."""
    await find(session, kind, webhook_id, job_id)
    job = await jobs.cancel(session, kind, job_id, now=now)
    await queueing.end_waiting(session, job_id, webhook_id, now)
    if kind == BACKFILL:
        await tell_cancelled(session, job, now)
    return job


async def shown(session: TenantSession, found: Sequence[Job]) -> list[dict[str, Any]]:
    """Jobs as the API shows them, with what became of their deliveries."""
    states = await queueing.outcomes(session, [job.id for job in found])
    return [_show(job, states[job.id]) for job in found]


def _show(job: Job, states: Mapping[str, int]) -> dict[str, Any]:
    given, progress = job.input, job.progress
    has_begun = job.status == JobStatus.QUEUED and job.started_at is not None
    delivered, failed = states.get("success", 0), states.get("failed", 0)
    return {
        "id": job.id,
        "webhook_id": given[_WEBHOOK],
        # Between two turns of a job, nobody needs to know that it waits for the next.
        "status": JobStatus.RUNNING if has_begun else job.status,
        "filters": {name: value for name, value in given["filters"].items() if value is not None},
        "rate": given["rate"],
        "count": progress["count"],
        "removed": progress.get("removed", 0),
        "queued": progress["queued"],
        "waiting": sum(states.values()) - delivered - failed,
        "delivered": delivered,
        "failed": failed,
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }
