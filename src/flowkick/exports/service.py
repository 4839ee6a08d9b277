"""The log of exports: begun, finished or failed, downloaded, read, and what becomes of files."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, select, update

from flowkick.core.errors import Conflict, FlowkickError, NotFound
from flowkick.core.ids import new_id
from flowkick.core.logs import get_logger
from flowkick.exports import chain
from flowkick.exports.columns import Column
from flowkick.exports.files import FileStore, Stored
from flowkick.exports.models import DataExport, DataExportDownload, ExportStatus
from flowkick.exports.rows import Selection
from flowkick.storage.database import Database, after_commit
from flowkick.storage.keyset import Page, newest_first
from flowkick.storage.tenancy import TenantSession

KEPT_DAYS: Final = 7
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class By:
    """Who asks for a file: an API key's id, ``gateway`` or ``cli``; and from where."""

    who: str
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A file that is asked for, as the log tells it."""

    format_name: str
    selection: Selection
    columns: Sequence[Column]
    by: By
    metadata: Mapping[str, Any] = field(default_factory=dict)


async def begin(
    session: TenantSession,
    asked: Asked,
    *,
    now: datetime,
    lease_until: datetime | None = None,
    job_id: str | None = None,
) -> DataExport:
    """Log an export that begins. Either somebody holds its lease, or it runs as a job."""
    selection, salt = asked.selection, secrets.token_hex(16)
    filters = selection.described()
    export = DataExport(
        id=new_id("exp"),
        admin_id=session.admin_id,
        status=ExportStatus.RUNNING,
        job_id=job_id,
        lease_until=lease_until,
        export_type=asked.format_name,
        fields=[column.name for column in asked.columns],
        filters=filters,
        filters_salt=salt,
        filters_hash=chain.filters_hash(filters, salt),
        date_range_start=selection.filters.created_after,
        date_range_end=selection.filters.created_before,
        includes_without_consent=not selection.filters.export_consent_only,
        initiated_by=asked.by.who,
        ip_address=asked.by.address,
        details={"includes": list(selection.includes), **asked.metadata},
        created_at=now,
    )
    session.add(export)
    await session.flush()
    return export


async def finish(
    session: TenantSession,
    export_id: str,
    stored: Stored,
    *,
    records: int,
    now: datetime,
    kept: timedelta | None = timedelta(days=KEPT_DAYS),
    destination_url: str | None = None,
) -> DataExport:
    """Log that the file is complete, and give the row its place in the chain.

    It is kept for so long; with None, it goes to `destination_url`, and is nobody's here any more.
    Conflict where the export is not running any more.
    """
    export = await _running(session, export_id)
    export.destination_url = destination_url
    if kept is not None:
        export.file_name, export.expires_at = stored.name, now + kept
    await _complete(session, export, stored.sha256, stored.size, records=records, now=now)
    return export


async def finish_unkept(
    session: TenantSession, export_id: str, content: bytes, *, records: int, now: datetime
) -> DataExport:
    """As `finish`, of what is sent at once and kept nowhere."""
    export = await _running(session, export_id)
    sha256 = hashlib.sha256(content).hexdigest()
    await _complete(session, export, sha256, len(content), records=records, now=now)
    return export


async def _complete(
    session: TenantSession,
    export: DataExport,
    sha256: str,
    size: int,
    *,
    records: int,
    now: datetime,
) -> None:
    export.status, export.record_count = ExportStatus.COMPLETED, records
    export.file_hash, export.file_size_bytes = sha256, size
    await _end(session, export, now)


async def fail(session: TenantSession, export_id: str, error: str, *, now: datetime) -> DataExport:
    """Log that there will be no file; Conflict where the export is not running any more."""
    export = await _running(session, export_id)
    export.status, export.error = ExportStatus.FAILED, error
    export.file_removed_at = now  # so that tidying removes whatever is left of it
    await _end(session, export, now)
    return export


async def _running(session: TenantSession, export_id: str) -> DataExport:
    export = await find(session, export_id, lock=True)
    if export.status != ExportStatus.RUNNING:
        raise Conflict(f"The export {export_id} is {export.status} already.")
    return export


async def _end(session: TenantSession, export: DataExport, now: datetime) -> None:
    export.finished_at, export.lease_until = now, None
    await chain.append(session, export)


async def extend(session: TenantSession, export_id: str, lease_until: datetime) -> bool:
    """Keep the lease of an export that runs; False where it is not running any more."""
    kept = await session.execute(
        update(DataExport)
        .where(DataExport.id == export_id, DataExport.status == ExportStatus.RUNNING)
        .values(lease_until=lease_until),
        execution_options={"synchronize_session": False},
    )
    return bool(kept.rowcount)  # type: ignore[attr-defined]


async def find(session: TenantSession, export_id: str, *, lock: bool = False) -> DataExport:
    """One export; NotFound where the admin has none with this id."""
    statement = select(DataExport).where(DataExport.id == export_id)
    export = await session.scalar(statement.with_for_update() if lock else statement)
    if export is None:
        raise NotFound(f"There is no export {export_id}.")
    return export


async def count_download(
    session: TenantSession, export_id: str, *, by: By, now: datetime, byte_range: str | None = None
) -> None:
    """Log that bytes of an export leave."""
    session.add(
        DataExportDownload(
            id=new_id("dwn"),
            admin_id=session.admin_id,
            export_id=export_id,
            downloaded_by=by.who,
            ip_address=by.address,
            byte_range=byte_range,
            created_at=now,
        )
    )
    await session.execute(
        update(DataExport)
        .where(DataExport.id == export_id)
        .values(download_count=DataExport.download_count + 1),
        execution_options={"synchronize_session": False},
    )
    await session.flush()


async def remove_files(
    session: TenantSession, files: FileStore, *where: ColumnElement[bool], now: datetime
) -> list[str]:
    """Remove the files of the admin's exports that meet `where`, and keep their entries.

    The ids of the exports whose files nobody gets from the commit on. Their bytes go right after
    it, or when the worker tidies, if that fails.
    """
    there = select(DataExport).where(
        DataExport.file_name.is_not(None), DataExport.file_removed_at.is_(None), *where
    )
    exports = (await session.scalars(there)).all()
    for export in exports:
        export.file_removed_at = now
    await session.flush()
    ids = [export.id for export in exports]
    if ids:
        after_commit(session, partial(wipe, files=files, ids=ids))
    return ids


async def wipe(database: Database, *, files: FileStore, ids: Sequence[str]) -> None:
    """Remove the bytes of exports whose files were removed.

    From the first one on that can't be, they are left for later: whoever waits for the commit does
    not wait for a store that is away more than once.
    """
    for export_id in ids:
        try:
            await files.remove_all(export_id)
        except (FlowkickError, OSError) as error:
            _log.warning("files_left", export_id=export_id, error=type(error).__name__)
            return
        async with database.system_transaction() as session:
            await session.execute(
                update(DataExport).where(DataExport.id == export_id).values(file_wiped=True),
                execution_options={"synchronize_session": False},
            )


async def forget_filters(session: TenantSession, *where: ColumnElement[bool]) -> int:
    """Remove the words of the filters of the admin's exports that meet `where`; how many.

    The chain stays whole: it covers a salted hash of them, and the salt goes with the words.
    """
    found = (
        await session.scalars(select(DataExport).where(DataExport.filters.is_not(None), *where))
    ).all()
    for export in found:
        export.filters = export.filters_salt = None
    await session.flush()
    return len(found)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which exports are wanted; those that began at `since` or later, and before `until`."""

    status: ExportStatus | None = None
    export_type: str | None = None
    initiated_by: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_exports(
    session: TenantSession, filters: Filters, *, limit: int, cursor: str | None
) -> Page[DataExport]:
    """A page of the log, the newest first."""
    model = DataExport
    statement = select(model)
    if filters.status is not None:
        statement = statement.where(model.status == filters.status.value)
    if filters.export_type is not None:
        statement = statement.where(model.export_type == filters.export_type)
    if filters.initiated_by is not None:
        statement = statement.where(model.initiated_by == filters.initiated_by)
    if filters.since is not None:
        statement = statement.where(model.created_at >= filters.since)
    if filters.until is not None:
        statement = statement.where(model.created_at < filters.until)
    return await newest_first(
        session, statement, model.created_at, model.id, limit=limit, cursor=cursor
    )
