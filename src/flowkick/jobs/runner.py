"""Takes queued jobs and runs their handlers, some of each kind at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import select, update

from flowkick.core.clock import Clock
from flowkick.core.ids import new_id
from flowkick.core.logs import get_logger
from flowkick.jobs.models import Job, JobStatus
from flowkick.jobs.run import Handler, JobCancelled, JobFailed, JobLost, JobPaused, Run
from flowkick.storage.database import DATABASE_ERRORS, Database

_log = get_logger(__name__)
_POLL_SECONDS: Final = 0.5
_EACH_KIND: Final = 2
"""How many jobs of one kind a process runs at once: none waits behind those of other kinds."""
_LEASE_SECONDS: Final = 60.0
_MOST_ATTEMPTS: Final = 5
_FIRST_PAUSE: Final = 2.0
_FAILED: Final = (
    "It failed again and again without coming further; the log of the worker tells why."
)


class JobRunner:
    """Runs the jobs of one database in this process, until it is cancelled."""

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        clock: Clock,
        *,
        lease_seconds: float = _LEASE_SECONDS,
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._clock = clock
        self._lease = lease_seconds
        self._tasks: dict[asyncio.Task[None], Run] = {}

    async def run(self) -> None:
        """Take jobs for ever; when cancelled, hand what is running to the next worker."""
        try:
            if self._database.is_sqlite:  # which one process delivers from: these were its own
                await self._attend(self._end_former_leases)
            while True:
                await self._attend(self._take_all)
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            await self._stop()

    async def _attend(self, duty: Callable[[], Awaitable[None]]) -> None:
        try:
            await duty()
        except DATABASE_ERRORS as error:
            _log.warning("jobs_database_failed", error=type(error).__name__)

    async def _take_all(self) -> None:
        while (run := await self._take()) is not None:
            task = asyncio.create_task(self._perform(run))
            self._tasks[task] = run
            task.add_done_callback(self._tasks.pop)

    async def _take(self) -> Run | None:
        busy = Counter(run.kind for run in self._tasks.values())
        kinds = [kind for kind in self._handlers if busy[kind] < _EACH_KIND]
        now = self._clock()
        due = (
            select(Job).where(Job.due_at <= now, Job.kind.in_(kinds)).order_by(Job.due_at).limit(1)
        )
        async with self._database.system_reading() as session:
            if not kinds or await session.scalar(due) is None:
                return None
        async with self._database.system_transaction() as session:
            job = await session.scalar(due.with_for_update(skip_locked=True))
            if job is None:
                return None
            lease_id = new_id("run")
            job.status, job.lease_id = JobStatus.RUNNING, lease_id
            job.due_at = now + timedelta(seconds=self._lease)
            job.started_at = job.started_at or now
            job.attempts += 1
            if job.attempts > _MOST_ATTEMPTS:  # each time it took its process with it
                job.status, job.error, job.lease_id = JobStatus.FAILED, _FAILED, None
                job.due_at, job.finished_at = None, now
        if job.due_at is None:
            return await self._take()
        return Run(
            job_id=job.id,
            admin_id=job.admin_id,
            kind=job.kind,
            input=job.input,
            progress=dict(job.progress),
            database=self._database,
            clock=self._clock,
            lease_id=lease_id,
            lease_seconds=self._lease,
        )

    # One job

    async def _perform(self, run: Run) -> None:
        work = asyncio.ensure_future(self._handlers[run.kind](run))
        keeper = asyncio.create_task(self._keep(run, work))
        about = {"job_id": run.job_id, "kind": run.kind}
        try:
            await work
        except asyncio.CancelledError:
            if (current := asyncio.current_task()) is not None and current.cancelling():
                raise  # the process stops
            _log.info("job_ended_elsewhere", **about)
        except (JobCancelled, JobLost) as error:
            _log.info("job_ended_elsewhere", reason=type(error).__name__, **about)
        except JobPaused as pause:
            await self._attend(partial(self._hand_over, run, pause.seconds))
        except JobFailed as error:
            _log.warning("job_failed", reason=str(error), **about)
            await self._attend(partial(self._end, run, JobStatus.FAILED, str(error)))
        except Exception as error:  # noqa: BLE001  # the edge: a failed job is tried again
            _log.error("job_attempt_failed", exc_info=error, **about)
            await self._attend(partial(self._again, run))
        else:
            await self._attend(partial(self._end, run, JobStatus.COMPLETED))
        finally:
            keeper.cancel()

    async def _keep(self, run: Run, work: asyncio.Future[None]) -> None:
        """Extend the lease while the handler is at work; stop it where the job is gone."""
        while True:
            await asyncio.sleep(self._lease / 6)
            try:
                await run.extend()
            except (JobCancelled, JobLost):
                work.cancel()
                return
            except DATABASE_ERRORS as error:
                _log.warning("jobs_database_failed", error=type(error).__name__)

    async def _end(self, run: Run, status: JobStatus, error: str | None = None) -> None:
        now = self._clock()
        values = {"status": status, "error": error, "due_at": None, "finished_at": now}
        await self._change(run, progress=run.progress, lease_id=None, **values)

    async def _again(self, run: Run) -> None:
        """Let it be taken again after a pause that grows; fail it when that has been in vain."""
        async with self._database.system_reading() as session:
            kept = await session.get_one(Job, run.job_id)
        run.progress = kept.progress
        if kept.attempts >= _MOST_ATTEMPTS:
            await self._end(run, JobStatus.FAILED, _FAILED)
            return
        pause = timedelta(seconds=_FIRST_PAUSE * 2**kept.attempts)
        due_at = self._clock() + pause
        await self._change(run, status=JobStatus.QUEUED, due_at=due_at, lease_id=None)

    async def _change(self, run: Run, **values: Any) -> None:
        async with self._database.system_transaction() as session:
            await session.execute(
                update(Job)
                .where(run.holds_it)
                .values(**values)
                .execution_options(synchronize_session=False)
            )

    # Start and stop

    async def _end_former_leases(self) -> None:
        async with self._database.system_transaction() as session:
            await session.execute(
                update(Job)
                .where(Job.status == JobStatus.RUNNING)
                .values(due_at=self._clock())
                .execution_options(synchronize_session=False)
            )

    async def _stop(self) -> None:
        running = dict(self._tasks)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for task, run in running.items():
            if task.cancelled():
                await self._attend(partial(self._hand_over, run))

    async def _hand_over(self, run: Run, seconds: float = 0) -> None:
        """Queue it again; neither a stop nor a pause is a failed attempt."""
        due_at = self._clock() + timedelta(seconds=seconds)
        await self._change(run, status=JobStatus.QUEUED, due_at=due_at, lease_id=None, attempts=0)
