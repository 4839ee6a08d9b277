"""Removes the files whose time is over, and ends the entries of exports that died."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import and_, or_, select

from flowkick.core.clock import Clock
from flowkick.core.errors import Conflict
from flowkick.core.logs import get_logger
from flowkick.exports import service
from flowkick.exports.files import FileStore
from flowkick.exports.making import STOPPED
from flowkick.exports.models import DataExport, ExportStatus
from flowkick.jobs.models import UNFINISHED, Job
from flowkick.storage.database import Database

_log = get_logger(__name__)
_LOOK_SECONDS: Final = 60.0
_GRACE: Final = timedelta(seconds=30)
"""A lease that ended only just may still be extended by a process that was held up."""
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Tidying:
    """What is to be tidied, in the database and the files of a process."""

    database: Database
    files: FileStore
    clock: Clock

    async def run(self) -> None:
        """Tidy about once a minute, for ever: a duty of the worker."""
        while True:
            removed, ended = await self.tidy()
            if removed or ended:
                _log.info("exports_tidied", files=removed, ended=ended)
            await asyncio.sleep(_LOOK_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311

    async def tidy(self) -> tuple[int, int]:
        """Remove the files that have expired, and end what died; how many of each."""
        removed, ended = await self.remove_expired(), await self.end_abandoned()
        await self.wipe_left()
        return removed, ended

    async def wipe_left(self) -> None:
        """Remove the bytes of removed files that could not be removed at once."""
        left = (
            select(DataExport.id)
            .where(DataExport.file_removed_at.is_not(None), ~DataExport.file_wiped)
            .limit(_AT_ONCE)
        )
        async with self.database.system_reading() as session:
            ids = (await session.scalars(left)).all()
        await service.wipe(self.database, files=self.files, ids=ids)

    async def remove_expired(self) -> int:
        """Remove the files whose days are over; their entries stay."""
        removed = 0
        while True:
            now = self.clock()
            due = (
                select(DataExport.id)
                .where(DataExport.file_removed_at.is_(None), DataExport.expires_at <= now)
                .limit(_AT_ONCE)
            )
            async with self.database.system_transaction() as session:
                ids = (await session.scalars(due)).all()
                if ids:
                    mine = DataExport.id.in_(ids)
                    await service.remove_files(session, self.files, mine, now=now)
            removed += len(ids)
            if len(ids) < _AT_ONCE:
                return removed

    async def end_abandoned(self) -> int:
        """Log the failure of exports whose process died, or whose job was given up."""
        async with self.database.system_reading() as session:
            found = (await session.execute(self._abandoned())).all()
        for admin_id, export_id, error in found:
            async with self.database.transaction(admin_id) as session:
                try:
                    await service.fail(session, export_id, error or STOPPED, now=self.clock())
                except Conflict:  # it has ended meanwhile
                    continue
            await self.files.remove_all(export_id)
        return len(found)

    def _abandoned(self) -> Any:
        silent = and_(DataExport.job_id.is_(None), DataExport.lease_until < self.clock() - _GRACE)
        given_up = Job.status.not_in(UNFINISHED)
        return (
            select(DataExport.admin_id, DataExport.id, Job.error)
            .join(Job, Job.id == DataExport.job_id, isouter=True)
            .where(DataExport.status == ExportStatus.RUNNING, or_(silent, given_up))
            .limit(_AT_ONCE)
        )
