"""The marks around a backfill: events that tell its receiver when it begins and ends."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from flowkick.jobs.models import Job
from flowkick.replays.queueing import outcomes
from flowkick.storage.tenancy import TenantSession
from flowkick.webhooks import outbox
from flowkick.webhooks.catalogue import BACKFILL_COMPLETED, BACKFILL_STARTED
from flowkick.webhooks.outbox import Draft
from flowkick.webhooks.payloads import BackfillCompleted, BackfillStarted

SOURCE: Final = "backfill"
USER_CREATED: Final = "user.created"


async def tell_started(
    session: TenantSession, job_id: str, webhook_id: str, count: int, now: datetime
) -> None:
    """Queue the mark that the users are about to come."""
    data = BackfillStarted(job_id, webhook_id, USER_CREATED, count)
    await _tell(session, Draft(BACKFILL_STARTED, data, None, 0), job_id, webhook_id, now)


async def tell_ended(
    session: TenantSession,
    job_id: str,
    webhook_id: str,
    now: datetime,
    *,
    queued: int,
    status: Literal["completed", "cancelled"],
) -> None:
    """Queue the mark that no more users come."""
    states = (await outcomes(session, [job_id]))[job_id]
    delivered, failed = states.get("success", 0), states.get("failed", 0)
    data = BackfillCompleted(job_id, webhook_id, USER_CREATED, status, queued, delivered, failed)
    await _tell(session, Draft(BACKFILL_COMPLETED, data, None, 0), job_id, webhook_id, now)


async def tell_cancelled(session: TenantSession, job: Job, now: datetime) -> None:
    """Queue the mark that a backfill was cancelled, if its beginning was told."""
    progress: dict[str, Any] = job.progress
    if progress["phase"] != "start":
        webhook_id = job.input["webhookId"]
        queued = progress["queued"]
        await tell_ended(session, job.id, webhook_id, now, queued=queued, status="cancelled")


async def _tell(
    session: TenantSession, draft: Draft, job_id: str, webhook_id: str, now: datetime
) -> None:
    await outbox.emit_to_one(
        session, [draft], subscription_id=webhook_id, job_id=job_id, source=SOURCE, now=now
    )
