"""Exports that run as jobs: started by a request, made by a worker, fetched when they are there.

A job makes its file from the start each time it is taken, under a name of that run alone: what a
killed worker has left is never seen, and the run after it removes it. The same users give the same
bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from flowkick.auth.service import lock_admin
from flowkick.core.errors import (
    Conflict,
    FlowkickError,
    InternalError,
    NotFound,
    TooManyRequests,
)
from flowkick.exports import service
from flowkick.exports.columns import INCLUDES, Column, find_columns
from flowkick.exports.files import FileStore, Stored
from flowkick.exports.models import DataExport, ExportStatus
from flowkick.exports.packing import Gzip
from flowkick.exports.rows import Selection, count
from flowkick.exports.threads import in_thread
from flowkick.exports.writers import FORMATS, About, Format, Sink
from flowkick.exports.writing import write_users
from flowkick.jobs import service as jobs
from flowkick.jobs.models import Job
from flowkick.jobs.run import JobFailed, Run
from flowkick.storage.tenancy import TenantSession
from flowkick.users.filters import UserFilters

EXPORT: Final = "export"
MOST_ACTIVE: Final = 3
"""Exports that an admin has queued or running at once."""
_RETRY_AFTER: Final = 30
_STEP_SECONDS: Final = 1.0
_ERASED: Final = "Somebody was erased while it was made: export anew."
NOTHING_YET: Final = {"written": 0, "total": None}


@dataclass(frozen=True, slots=True)
class Order:
    """A file that a job is to make."""

    format: Format
    selection: Selection
    gzip: bool = False
    bom: bool = False

    def as_input(self) -> dict[str, Any]:
        """As a job keeps it; which columns there are, the log keeps."""
        filters = self.selection.filters.model_dump(
            mode="json", by_alias=True, exclude_defaults=True
        )
        return {
            "format": self.format.name,
            "filters": filters,
            "limit": self.selection.limit,
            "includes": list(self.selection.includes),
            "gzip": self.gzip,
            "bom": self.bom,
        }

    @classmethod
    def of(cls, given: Mapping[str, Any], export: DataExport) -> Order:
        """Of a job and its entry in the log."""
        fields = [name for name in export.fields if name not in INCLUDES]
        filters = UserFilters.model_validate(given["filters"])
        selection = Selection(filters, fields, given["limit"], given["includes"])
        return cls(FORMATS[given["format"]], selection, given["gzip"], given["bom"])

    @property
    def ending(self) -> str:
        """Of the file's name."""
        return f"{self.format.name}.gz" if self.gzip else self.format.name


async def start(
    session: TenantSession, order: Order, by: service.By, *, now: datetime
) -> tuple[DataExport, Job]:
    """Queue an export, and log that it begins.

    InvalidInput where a field is unknown; TooManyRequests where the admin has enough at once.
    """
    columns = await _columns(session, order)
    await lock_admin(session)  # of two at once, one sees the other
    if await jobs.active(session, EXPORT) >= MOST_ACTIVE:
        raise TooManyRequests(
            f"{MOST_ACTIVE} exports are queued or running already: wait for one, or delete it.",
            headers={"Retry-After": str(_RETRY_AFTER)},
        )
    job = await jobs.start(session, EXPORT, order.as_input(), now=now, progress=NOTHING_YET)
    asked = service.Asked(
        order.format.name, order.selection, columns, by, metadata={"gzip": order.gzip}
    )
    return await service.begin(session, asked, now=now, job_id=job.id), job


async def job_of(session: TenantSession, export: DataExport) -> Job | None:
    """The job that makes an export, or made it; None where there was none, or is none any more."""
    return await session.scalar(select(Job).where(Job.id == export.job_id))


async def _columns(session: TenantSession, order: Order) -> list[Column]:
    return await find_columns(
        session,
        order.selection.fields,
        includes=order.selection.includes,
        nested=order.format.nested,
    )


@dataclass(frozen=True, slots=True)
class ExportJobs:
    """Makes the files that were ordered, in a worker."""

    files: FileStore

    async def run(self, run: Run) -> None:
        """The handler of the jobs of kind `EXPORT`."""
        async with run.step() as session:
            export = await session.scalar(select(DataExport).where(DataExport.job_id == run.job_id))
        if export is None:
            raise JobFailed("Its entry in the log is gone.")
        if export.status != ExportStatus.RUNNING:  # the file was made, and the process died then
            return
        order = Order.of(run.input, export)
        name = f"{export.id}-{run.lease_id}.{order.ending}"
        try:
            await self.files.remove_all(export.id)  # what a killed run has left
            await self._make(run, export, order, name)
        except FlowkickError as error:
            async with run.step() as session:
                await service.fail(session, export.id, error.sentence, now=run.clock())
            raise JobFailed(error.sentence) from error

    async def _make(self, run: Run, export: DataExport, order: Order, name: str) -> None:
        file = await in_thread(lambda: self.files.begin(name))
        try:
            sink = Gzip(file) if order.gzip else file
            written = await self._fill(run, export, order, sink, name)
            if isinstance(sink, Gzip):
                await in_thread(sink.finish)
            stored = await in_thread(file.finish)
            await self.files.keep(stored)
            await self._finish(run, export, stored, written)
        except BaseException:
            file.discard()
            await asyncio.shield(self.files.give_up(name))
            raise

    async def _fill(self, run: Run, export: DataExport, order: Order, sink: Sink, name: str) -> int:
        async with run.database.snapshot(run.admin_id) as session:
            columns = await _columns(session, order)
            total = await count(session, order.selection)
            about = About(
                exported_at=export.created_at,
                record_count=total,
                filters=order.selection.described(),
                includes=order.selection.includes,
                bom=order.bom,
                scratch=self.files.scratch(name),
            )
            written = await write_users(
                session,
                order.format,
                columns,
                order.selection,
                sink=sink,
                about=about,
                progress=_Progress(run, total),
            )
        if written != total:
            raise InternalError(f"{total} users were counted, and {written} written.")
        return written

    async def _finish(self, run: Run, export: DataExport, stored: Stored, written: int) -> None:
        async with run.step() as session:
            run.progress = {"written": written, "total": written}
            await service.finish(session, export.id, stored, records=written, now=run.clock())


class _Progress:
    """Keeps how far a job is, about once a second."""

    def __init__(self, run: Run, total: int) -> None:
        self._run = run
        self._total = total
        self._kept = float("-inf")

    async def __call__(self, written: int) -> None:
        if time.monotonic() - self._kept < _STEP_SECONDS:
            return
        async with self._run.step():
            self._run.progress = {"written": written, "total": self._total}
        self._kept = time.monotonic()


async def delete(
    session: TenantSession, files: FileStore, export_id: str, *, now: datetime
) -> DataExport:
    """End an export that runs as a job, or remove its file; its entry stays.

    Conflict where somebody waits for the file just now.
    """
    export = await service.find(session, export_id, lock=True)
    if export.status == ExportStatus.RUNNING:
        if export.job_id is None:
            raise Conflict(f"The export {export_id} is being made and sent: wait for it.")
        await _cancel(session, export, now)
    await service.remove_files(session, files, DataExport.id == export_id, now=now)
    return export


async def _cancel(session: TenantSession, export: DataExport, now: datetime) -> None:
    with suppress(Conflict, NotFound):  # the job may have ended, and its entry not yet
        await jobs.cancel(session, EXPORT, str(export.job_id), now=now)
    await service.fail(session, export.id, "It was deleted before it was complete.", now=now)


async def start_over(session: TenantSession, *, now: datetime) -> None:
    """Let no file be completed of which the reading began before now: somebody was erased.

    Those that jobs make are made anew; who waits for one is told to ask again.
    """
    await jobs.take_back(session, EXPORT, now=now)
    waited_for = await session.scalars(
        select(DataExport.id).where(
            DataExport.status == ExportStatus.RUNNING, DataExport.job_id.is_(None)
        )
    )
    for export_id in waited_for.all():
        with suppress(Conflict):  # it has ended meanwhile
            await service.fail(session, export_id, _ERASED, now=now)
