"""Starting, finding and cancelling jobs, in the transaction of whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update

from flowkick.core.errors import Conflict, NotFound
from flowkick.core.ids import new_id
from flowkick.jobs.models import UNFINISHED, Job, JobStatus
from flowkick.storage.tenancy import TenantSession


async def start(
    session: TenantSession,
    kind: str,
    given: Mapping[str, Any],
    *,
    now: datetime,
    progress: Mapping[str, Any] | None = None,
) -> Job:
    """Queue a job of the session's admin; a worker takes it once this transaction is committed."""
    job = Job(
        id=new_id("job"),
        admin_id=session.admin_id,
        kind=kind,
        status=JobStatus.QUEUED,
        input=dict(given),
        progress=dict(progress or {}),
        error=None,
        attempts=0,
        lease_id=None,
        due_at=now,
        created_at=now,
        started_at=None,
        finished_at=None,
    )
    session.add(job)
    await session.flush()
    return job


async def get(session: TenantSession, kind: str, job_id: str) -> Job:
    """The admin's job of that kind and id; NotFound where there is none."""
    job = await session.scalar(select(Job).where(Job.id == job_id, Job.kind == kind))
    if job is None:
        raise NotFound(f"There is no {kind} {job_id}.")
    return job


async def active(session: TenantSession, kind: str) -> int:
    """How many jobs of a kind the admin has queued or running."""
    query = select(func.count()).where(Job.kind == kind, Job.status.in_(UNFINISHED))
    return await session.scalar(query) or 0


async def take_back(session: TenantSession, kind: str, *, now: datetime) -> None:
    """Queue the admin's running jobs of a kind again; who is at one of them has lost it."""
    await session.execute(
        update(Job)
        .where(Job.kind == kind, Job.status == JobStatus.RUNNING)
        .values(status=JobStatus.QUEUED, lease_id=None, due_at=now),
        execution_options={"synchronize_session": False},
    )


async def cancel(session: TenantSession, kind: str, job_id: str, *, now: datetime) -> Job:
    """End a job that is not finished; what its steps did stays done.

    A worker that is at it notices with its next step, or within some seconds. Conflict where it
    is finished already.
    """
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.kind == kind, Job.status.in_(UNFINISHED))
        .values(status=JobStatus.CANCELLED, due_at=None, finished_at=now)
    )
    ended = await session.execute(statement, execution_options={"synchronize_session": False})
    job = await get(session, kind, job_id)
    if not ended.rowcount:  # type: ignore[attr-defined]
        raise Conflict(f"The {kind} {job_id} is {job.status} already.")
    await session.refresh(job)
    return job
