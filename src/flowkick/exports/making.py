"""An export while somebody waits for it: the file is complete and logged before anyone gets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from flowkick.core import metrics
from flowkick.core.clock import Clock
from flowkick.core.errors import Conflict, FlowkickError, InternalError
from flowkick.core.logs import get_logger
from flowkick.exports import service
from flowkick.exports.columns import Column, find_columns
from flowkick.exports.files import FileStore
from flowkick.exports.models import DataExport
from flowkick.exports.packing import Gzip
from flowkick.exports.rows import Selection, count
from flowkick.exports.service import By
from flowkick.exports.threads import in_thread
from flowkick.exports.writers import About, Format, Sink
from flowkick.exports.writing import Progress, write_users
from flowkick.storage.database import Database
from flowkick.storage.tenancy import TenantSession

_log = get_logger(__name__)
KEPT: Final = timedelta(hours=1)
"""A file that was fetched at once stays for so long, for a download that has to be resumed."""
STOPPED: Final = "It was stopped: the client went away, or the process ended."
_FAILED: Final = "It failed; the log of the server tells why."


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that somebody waits for."""

    format: Format
    selection: Selection
    by: By
    bom: bool = False
    gzip: bool = False
    destination: str | None = None
    """Where the file goes, as a URL; None where the installation keeps it for a while."""

    @property
    def is_counted(self) -> bool:
        """Whether it is known beforehand how many users there will be."""
        return self.format.nested or self.destination is not None


Tell = Callable[[int, int], None]


def _told(tell: Tell | None, total: int) -> Progress:
    async def progress(written: int) -> None:
        if tell is not None:
            tell(written, total)

    return progress


@dataclass(frozen=True, slots=True)
class _Task:
    """An export under way."""

    wanted: Wanted
    export: DataExport
    columns: Sequence[Column]
    tell: Tell | None


class Exporter:
    """Makes the files of a process."""

    def __init__(
        self, database: Database, files: FileStore, clock: Clock, *, lease_seconds: float
    ) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease_seconds
        self.files = files

    async def export(self, admin_id: str, wanted: Wanted, tell: Tell | None = None) -> DataExport:
        """Make a file, and log it. Cancelled, or failed, it leaves no file and a `failed` entry.

        `tell` is told how many users are written, of how many.
        """
        async with self._database.snapshot(admin_id) as session:
            columns = await find_columns(
                session,
                wanted.selection.fields,
                includes=wanted.selection.includes,
                nested=wanted.format.nested,
            )
            export = await self._begin(admin_id, wanted, columns)
            try:
                async with self._leased(admin_id, export.id):
                    made = await self._write(session, _Task(wanted, export, columns, tell))
            except BaseException as error:
                metrics.EXPORTS.labels(wanted.format.name, "failed").inc()
                await asyncio.shield(self._fail(admin_id, export.id, error))
                raise
        metrics.EXPORTS.labels(wanted.format.name, "completed").inc()
        return made

    async def _begin(self, admin_id: str, wanted: Wanted, columns: list[Column]) -> DataExport:
        now = self._clock()
        async with self._database.transaction(admin_id) as session:
            return await service.begin(
                session,
                service.Asked(
                    wanted.format.name,
                    wanted.selection,
                    columns,
                    wanted.by,
                    metadata={"gzip": True} if wanted.gzip else {},
                ),
                now=now,
                lease_until=now + timedelta(seconds=self._lease),
            )

    async def _write(self, session: TenantSession, task: _Task) -> DataExport:
        wanted, export = task.wanted, task.export
        name = f"{export.id}.{wanted.format.name}{'.gz' if wanted.gzip else ''}"
        file = await in_thread(lambda: self.files.begin(name))
        try:
            sink = Gzip(file) if wanted.gzip else file
            written = await self._fill(session, sink, task)
            if isinstance(sink, Gzip):
                await in_thread(sink.finish)
            stored = await in_thread(file.finish)
            if wanted.destination is None:
                await self.files.keep(stored)
        except BaseException:
            file.discard()
            raise
        try:
            async with self._database.transaction(export.admin_id) as own:
                made = await service.finish(
                    own,
                    export.id,
                    stored,
                    records=written,
                    now=self._clock(),
                    kept=KEPT if wanted.destination is None else None,
                    destination_url=wanted.destination,
                )
            if wanted.destination is not None:  # logged before anybody can have it
                await self.files.keep(stored)
        except BaseException:
            await asyncio.shield(self.files.give_up(name))
            raise
        return made

    async def _fill(self, session: TenantSession, sink: Sink, task: _Task) -> int:
        wanted = task.wanted
        about = About(
            exported_at=task.export.created_at,
            record_count=await count(session, wanted.selection) if wanted.is_counted else 0,
            filters=wanted.selection.described(),
            includes=wanted.selection.includes,
            bom=wanted.bom,
        )
        written = await write_users(
            session,
            wanted.format,
            task.columns,
            wanted.selection,
            sink=sink,
            about=about,
            progress=_told(task.tell, about.record_count),
        )
        if wanted.is_counted and written != about.record_count:
            raise InternalError(f"{about.record_count} users were counted, {written} written.")
        return written

    async def _fail(self, admin_id: str, export_id: str, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            reason = STOPPED
        else:
            reason = error.sentence if isinstance(error, FlowkickError) else _FAILED
            _log.error("export_failed", export_id=export_id, exc_info=error)
        try:
            async with self._database.transaction(admin_id) as session:
                await service.fail(session, export_id, reason, now=self._clock())
        except Conflict:  # it had ended already
            return

    @asynccontextmanager
    async def _leased(self, admin_id: str, export_id: str) -> AsyncIterator[None]:
        """Keep the lease, by which others see that this process is alive."""
        keeper = asyncio.create_task(self._keep(admin_id, export_id))
        try:
            yield
        finally:
            keeper.cancel()

    async def _keep(self, admin_id: str, export_id: str) -> None:
        while True:
            await asyncio.sleep(self._lease / 4)
            until = self._clock() + timedelta(seconds=self._lease)
            async with self._database.transaction(admin_id) as session:
                if not await service.extend(session, export_id, until):
                    return
