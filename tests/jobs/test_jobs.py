"""Long work comes to its end once, through stops, kills, faults and second thoughts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from flowkick.core.clock import system_clock
from flowkick.core.errors import Conflict, NotFound
from flowkick.jobs import runner as runner_module
from flowkick.jobs import service
from flowkick.jobs.models import UNFINISHED, Job, JobStatus
from flowkick.jobs.run import Handler, JobCancelled, JobFailed, JobLost, JobPaused, Run
from flowkick.jobs.runner import JobRunner
from flowkick.storage.database import Database
from tests.conftest import new_admin


class Jobs:
    """Starts jobs of one admin, and looks at them."""

    def __init__(self, database: Database, admin_id: str) -> None:
        self.database = database
        self.admin_id = admin_id

    async def start(self, kind: str = "count", **given: Any) -> str:
        async with self.database.transaction(self.admin_id) as session:
            return (await service.start(session, kind, given, now=system_clock())).id

    async def cancel(self, job_id: str, kind: str = "count") -> Job:
        async with self.database.transaction(self.admin_id) as session:
            return await service.cancel(session, kind, job_id, now=system_clock())

    async def get(self, job_id: str, kind: str = "count") -> Job:
        async with self.database.reading(self.admin_id) as session:
            return await service.get(session, kind, job_id)

    async def ended(self, job_id: str, kind: str = "count") -> Job:
        async with asyncio.timeout(60):
            while (job := await self.get(job_id, kind)).status in UNFINISHED:
                await asyncio.sleep(0.02)
        return job

    @asynccontextmanager
    async def running(
        self, handlers: Mapping[str, Handler], **options: Any
    ) -> AsyncIterator[asyncio.Task[None]]:
        runner = JobRunner(self.database, handlers, options.pop("clock", system_clock), **options)
        task = asyncio.create_task(runner.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest_asyncio.fixture
async def jobs(database: Database) -> Jobs:
    return Jobs(database, (await new_admin(database))[0])


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(runner_module, "_FIRST_PAUSE", 0.001)


async def count_to(run: Run) -> None:
    """Count in steps up to what was asked for."""
    while run.progress.get("counted", 0) < run.input["to"]:
        async with run.step():
            run.progress["counted"] = run.progress.get("counted", 0) + 1


async def test_a_job_is_done_step_by_step_and_then_completed(jobs: Jobs) -> None:
    job_id = await jobs.start(to=5)
    assert (await jobs.get(job_id)).status == "queued"
    async with jobs.running({"count": count_to}):
        job = await jobs.ended(job_id)
    assert (job.status, job.progress, job.error) == ("completed", {"counted": 5}, None)
    assert job.started_at is not None
    assert job.finished_at is not None


async def test_a_job_that_fails_goes_on_from_its_last_step(jobs: Jobs) -> None:
    seen: list[int] = []

    async def stumble(run: Run) -> None:
        seen.append(run.progress.get("counted", 0))
        async with run.step():
            run.progress["counted"] = run.progress.get("counted", 0) + 1
        run.progress["lost"] = True
        if run.progress["counted"] < run.input["to"]:
            raise RuntimeError

    job_id = await jobs.start(to=8)
    async with jobs.running({"count": stumble}):
        job = await jobs.ended(job_id)
    assert job.status == "completed"
    assert seen == list(range(8))


async def test_a_job_that_comes_no_further_fails_after_some_tries(jobs: Jobs) -> None:
    tries = 0

    async def stumble(run: Run) -> None:
        nonlocal tries
        tries += 1
        async with run.step():
            run.progress["counted"] = 1
            raise RuntimeError

    job_id = await jobs.start()
    async with jobs.running({"count": stumble}):
        job = await jobs.ended(job_id)
    assert (job.status, tries, job.progress) == ("failed", 5, {})
    assert job.error is not None


async def test_a_job_that_pauses_gives_its_place_to_others(jobs: Jobs) -> None:
    ended: list[str] = []

    async def take_turns(run: Run) -> None:
        async with run.step():
            run.progress["turns"] = run.progress.get("turns", 0) + 1
        if run.progress["turns"] < run.input["turns"]:
            raise JobPaused(0.01)
        ended.append(run.job_id)

    patient = [await jobs.start(turns=8) for _ in range(3)]
    quick = await jobs.start(turns=1)
    async with jobs.running({"count": take_turns}):
        found = [await jobs.ended(job_id) for job_id in (*patient, quick)]
    assert ended[0] == quick
    assert {(job.status, job.attempts) for job in found} == {("completed", 0)}


async def test_a_handler_says_why_it_fails_for_good(jobs: Jobs) -> None:
    async def refuse(run: Run) -> None:
        raise JobFailed("The subscription was deleted.")

    job_id = await jobs.start()
    async with jobs.running({"count": refuse}):
        job = await jobs.ended(job_id)
    assert (job.status, job.error) == ("failed", "The subscription was deleted.")


async def test_a_stopped_worker_hands_its_jobs_over(jobs: Jobs) -> None:
    begun = asyncio.Event()

    async def hang(run: Run) -> None:
        async with run.step():
            run.progress["counted"] = 3
        begun.set()
        await asyncio.Event().wait()

    job_id = await jobs.start(to=5)
    async with jobs.running({"count": hang}):
        await asyncio.wait_for(begun.wait(), 30)
    job = await jobs.get(job_id)
    assert (job.status, job.progress) == ("queued", {"counted": 3})
    async with jobs.running({"count": count_to}):
        assert (await jobs.ended(job_id)).progress == {"counted": 5}


async def test_a_job_of_a_killed_worker_is_taken_when_its_lease_ends(jobs: Jobs) -> None:
    handed: list[Run] = []
    begun = asyncio.Event()

    async def hang(run: Run) -> None:
        handed.append(run)
        begun.set()
        await asyncio.Event().wait()

    job_id = await jobs.start(to=2)
    async with jobs.running({"count": hang}):
        await asyncio.wait_for(begun.wait(), 30)
        later = system_clock() + timedelta(seconds=120)
        async with jobs.running({"count": count_to}, clock=lambda: later):
            assert (await jobs.ended(job_id)).progress == {"counted": 2}
        # The first, which was given up for dead, comes back to life.
        with pytest.raises(JobLost):
            await count_to(handed[0])
    assert (await jobs.get(job_id)).status == "completed"


async def test_two_workers_never_have_one_job(jobs: Jobs) -> None:
    at_it: list[str] = []

    async def once(run: Run) -> None:
        at_it.append(run.job_id)
        await count_to(run)

    ids = [await jobs.start(to=2) for _ in range(12)]
    async with jobs.running({"count": once}), jobs.running({"count": once}):
        for job_id in ids:
            assert (await jobs.ended(job_id)).status == "completed"
    assert sorted(at_it) == sorted(ids)


async def test_a_lease_is_extended_while_a_handler_is_at_work(jobs: Jobs) -> None:
    taken = 0

    async def work(run: Run) -> None:
        nonlocal taken
        taken += 1
        before = (await jobs.get(run.job_id)).due_at
        while (await jobs.get(run.job_id)).due_at == before:
            await asyncio.sleep(0.02)

    job_id = await jobs.start()
    async with jobs.running({"count": work}, lease_seconds=3):
        assert (await jobs.ended(job_id)).status == "completed"
    assert taken == 1


async def test_a_cancelled_job_makes_no_further_step(jobs: Jobs) -> None:
    begun, refused = asyncio.Event(), asyncio.Event()

    async def work(run: Run) -> None:
        begun.set()
        while (await jobs.get(run.job_id)).status == JobStatus.RUNNING:
            await asyncio.sleep(0.02)
        try:
            async with run.step():
                run.progress["counted"] = 1
        except JobCancelled:
            refused.set()
            raise

    job_id = await jobs.start()
    async with jobs.running({"count": work}):
        await asyncio.wait_for(begun.wait(), 30)
        await jobs.cancel(job_id)
        await asyncio.wait_for(refused.wait(), 30)
    job = await jobs.get(job_id)
    assert (job.status, job.progress) == ("cancelled", {})


async def test_a_cancelled_job_that_makes_no_steps_is_stopped(jobs: Jobs) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def hang(run: Run) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    job_id = await jobs.start()
    async with jobs.running({"count": hang}, lease_seconds=1.2):
        await asyncio.wait_for(begun.wait(), 30)
        await jobs.cancel(job_id)
        await asyncio.wait_for(stopped.wait(), 30)
    with pytest.raises(Conflict):
        await jobs.cancel(job_id)


async def test_jobs_of_one_kind_do_not_hold_up_those_of_another(jobs: Jobs) -> None:
    async def hang(run: Run) -> None:
        await asyncio.Event().wait()

    for _ in range(4):
        await jobs.start("slow")
    job_id = await jobs.start(to=1)
    async with jobs.running({"slow": hang, "count": count_to}):
        await jobs.ended(job_id)
    async with jobs.database.reading(jobs.admin_id) as session:
        assert await service.active(session, "slow") == 4


async def test_a_kind_that_nobody_handles_here_is_left_to_others(jobs: Jobs) -> None:
    unknown, known = await jobs.start("newer"), await jobs.start(to=1)
    async with jobs.running({"count": count_to}):
        await jobs.ended(known)
    assert (await jobs.get(unknown, "newer")).status == "queued"


async def test_a_job_of_another_admin_is_not_there(jobs: Jobs) -> None:
    job_id = await jobs.start(to=1)
    other = Jobs(jobs.database, (await new_admin(jobs.database))[0])
    with pytest.raises(NotFound):
        await other.get(job_id)
    with pytest.raises(NotFound):
        await other.cancel(job_id)
