"""One run of a job: what its handler is given, and how it makes a step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, select, update

from flowkick.core.clock import Clock
from flowkick.jobs.models import Job, JobStatus
from flowkick.storage.database import Database
from flowkick.storage.tenancy import TenantSession


class JobFailed(Exception):
    """Ends a job for good. Its sentence is shown to the admin: nothing internal, no secret."""


class JobPaused(Exception):
    """Gives its place to others: the job is queued, and taken again after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class JobLost(Exception):
    """Somebody else has the job: the lease ended while its handler was at it."""


class JobCancelled(Exception):
    """The admin cancelled the job."""


@dataclass(slots=True)
class Run:
    """A job in the hands of a handler.

    `progress` is what the last step kept, and is the handler's to change inside a step.
    """

    job_id: str
    admin_id: str
    kind: str
    input: dict[str, Any]
    progress: dict[str, Any]
    database: Database
    clock: Clock
    lease_id: str
    lease_seconds: float

    @property
    def holds_it(self) -> ColumnElement[bool]:
        """The job is still this run's."""
        return and_(
            Job.id == self.job_id,
            Job.lease_id == self.lease_id,
            Job.status == JobStatus.RUNNING,
        )

    @asynccontextmanager
    async def step(self) -> AsyncIterator[TenantSession]:
        """A transaction of the job's admin that is committed together with `progress`.

        Raises JobCancelled or JobLost, and rolls back, where the job is no longer this run's: so
        no step is made twice, and none by a run that was given up for dead.
        """
        async with self.database.transaction(self.admin_id) as session:
            yield session
            await self._keep(session, attempts=0, progress=self.progress)

    async def extend(self) -> None:
        """Keep the lease; raises as `step` does. The runner calls it while a handler is at work."""
        async with self.database.transaction(self.admin_id) as session:
            await self._keep(session)

    async def _keep(self, session: TenantSession, **values: Any) -> None:
        until = self.clock() + timedelta(seconds=self.lease_seconds)
        kept = await session.execute(
            update(Job)
            .where(self.holds_it)
            .values(due_at=until, **values)
            .execution_options(synchronize_session=False)
        )
        if kept.rowcount:  # type: ignore[attr-defined]
            return
        status = await session.scalar(select(Job.status).where(Job.id == self.job_id))
        raise JobCancelled if status == JobStatus.CANCELLED else JobLost


Handler = Callable[[Run], Awaitable[None]]
