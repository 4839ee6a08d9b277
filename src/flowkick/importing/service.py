"""Imports users from a file: batches, each with how far it came in the same transaction.

A process that is killed has written whole batches. The next one finds the last byte that was taken,
drops what the killed one wrote to the file of rejected rows behind it, and goes on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from flowkick.core.clock import Clock, system_clock
from flowkick.core.errors import Conflict
from flowkick.core.ids import new_id
from flowkick.importing.batches import one_after_the_other, prefetched
from flowkick.importing.columns import Columns
from flowkick.importing.items import Item, Match, items
from flowkick.importing.models import UserImport
from flowkick.importing.records import CsvRecords, NdjsonRecords, Place, Records
from flowkick.importing.rejects import Rejects
from flowkick.importing.writing import Rejection, write_items
from flowkick.storage.database import Database
from flowkick.storage.dialects import is_deadlock
from flowkick.storage.tenancy import TenantSession

BATCH: Final = 2500
_DEADLOCKS: Final = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What to import, and how."""

    path: Path | None
    """None is standard input, which can't be continued."""
    rejects: Path
    format: str
    """csv or ndjson."""
    delimiter: str | None = None
    columns: Columns = field(default_factory=lambda: Columns({}))
    match: Match | None = None
    silent: bool = False
    """No event tells of it."""
    dry_run: bool = False
    """Everything is done, and nothing kept."""
    restart: bool = False
    batch: int = BATCH


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import has come; the names are those of `UserImport`."""

    position: int = 0
    line: int = 0
    rejects_size: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0

    @property
    def read(self) -> int:
        """Rows that were taken."""
        return self.created + self.updated + self.unchanged + self.rejected

    def after(self, batch: Sequence[Item], outcomes: Sequence[str | Rejection]) -> Progress:
        """Progress with one more batch."""
        counts = Counter(
            "rejected" if isinstance(outcome, Rejection) else outcome for outcome in outcomes
        )
        position, line = batch[-1].record.end
        counted = {name: getattr(self, name) + counts[name] for name in _COUNTS}
        return replace(self, position=position, line=line, **counted)


_COUNTS: Final = ("created", "updated", "unchanged", "rejected")


def open_records(plan: Plan, stream: BinaryIO) -> Records:
    """The records of a file; UnreadableFile where it has none."""
    if plan.format == "ndjson":
        return NdjsonRecords(stream)
    return CsvRecords(stream, plan.delimiter)


def import_key(plan: Plan, stream: BinaryIO) -> str:
    """What tells one import from another: the file's bytes, and how they are read."""
    digest = hashlib.file_digest(cast("BufferedReader", stream), "sha256")
    stream.seek(0)
    fields = sorted(
        (name, None if field is None else (field.key, field.custom))
        for name, field in plan.columns.mapping.items()
    )
    how = (plan.format, plan.delimiter, fields, plan.columns.clear, plan.match, plan.silent)
    digest.update(repr(how).encode())
    return digest.hexdigest()


async def import_users(
    database: Database,
    admin_id: str,
    plan: Plan,
    stream: BinaryIO,
    *,
    show: Callable[[Progress], AbstractContextManager[Callable[[Progress], None]]],
    clock: Clock = system_clock,
) -> Progress:
    """Import a file, or what is left of it; `show` is told how far it came at first, and then.

    Raises UnreadableFile and ColumnError before anything is written, and Conflict where another
    process imports the same file.
    """
    checkpoint, progress = None, Progress()
    key = "" if plan.path is None or plan.dry_run else import_key(plan, stream)
    records = open_records(plan, stream)
    rows = items(records, plan.columns, plan.match)
    if key:
        checkpoint = _Checkpoint(admin_id, key, clock)
        progress = await checkpoint.begin(database, anew=plan.restart)
    if progress.line:
        records.go_to(Place(progress.position, progress.line))
    rejects = Rejects(plan.rejects, records.header or (), progress.rejects_size)
    progress = replace(progress, rejects_size=rejects.size)
    importer = _Importer(database, admin_id, plan, rejects, checkpoint, clock)
    with show(progress) as advance:
        batches = prefetched if plan.path is not None else one_after_the_other
        async for batch in batches(rows, plan.batch):
            progress = await importer.write(batch, progress)
            advance(progress)
    if checkpoint is not None:
        await checkpoint.finish(database)
    return progress


@dataclass
class _Checkpoint:
    """How far the import of one file has come, in the database."""

    admin_id: str
    key: str
    clock: Clock
    id: str = ""

    async def begin(self, database: Database, *, anew: bool) -> Progress:
        """How far an import that did not end came, or the beginning.

        Whoever else runs it finds its row gone with its next batch, and ends.
        """
        now = self.clock()
        self.id = new_id("imp")
        async with database.transaction(self.admin_id) as session:
            row = await session.scalar(
                select(UserImport).where(UserImport.key == self.key).with_for_update()
            )
            progress = Progress()
            if row is None:
                row = UserImport(key=self.key, created_at=now)
                session.add(row)
            elif row.finished_at is None and not anew:
                progress = Progress(**{name: getattr(row, name) for name in asdict(progress)})
            row.id, row.updated_at, row.finished_at = self.id, now, None
            for name, value in asdict(progress).items():
                setattr(row, name, value)
        return progress

    async def move(self, session: TenantSession, progress: Progress) -> None:
        """Write how far the batch of this transaction comes."""
        await self._update(session, {**asdict(progress), "updated_at": self.clock()})

    async def finish(self, database: Database) -> None:
        """The file was read to its end; the next import of it begins anew."""
        async with database.transaction(self.admin_id) as session:
            await self._update(session, {"finished_at": self.clock()})

    async def _update(self, session: TenantSession, values: dict[str, Any]) -> None:
        result: Any = await session.execute(
            update(UserImport).where(UserImport.id == self.id).values(values),
            execution_options={"synchronize_session": False},
        )
        if result.rowcount != 1:
            raise Conflict("Another process has begun to import this file: this one ends.")


@dataclass
class _Importer:
    database: Database
    admin_id: str
    plan: Plan
    rejects: Rejects
    checkpoint: _Checkpoint | None
    clock: Clock

    async def write(self, batch: Sequence[Item], before: Progress) -> Progress:
        """Write a batch; again where it was given up to end a deadlock."""
        for _ in range(_DEADLOCKS):
            try:
                return await self._write_once(batch, before)
            except DBAPIError as error:
                if not is_deadlock(error):
                    raise
        return await self._write_once(batch, before)

    async def _write_once(self, batch: Sequence[Item], before: Progress) -> Progress:
        async with self.database.session(self.admin_id) as session:
            told = not (self.plan.silent or self.plan.dry_run)
            outcomes = await write_items(session, batch, now=self.clock(), told=told)
            rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejection)]
            # Before the commit: what is lost with the process is written again.
            size = self.rejects.write(rejected, before.rejects_size)
            progress = replace(before.after(batch, outcomes), rejects_size=size)
            if self.plan.dry_run:
                return progress  # without a commit, all of it is undone
            if self.checkpoint is not None:
                await self.checkpoint.move(session, progress)
            await self.database.commit(session)
            return progress
