"""The hash chain over an admin's exports, by which a change of the log is found.

Each row that is finished has a number, the hash of the row before it, and a hash over its own
content and that: so a row that was changed, removed, inserted or swapped does not fit any more. Who
can write the database could make the whole chain anew, or cut its end off; an anchor (how many rows
there are, and the last hash) that is kept elsewhere proves that this was not done.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select

from flowkick.auth.service import lock_admin
from flowkick.core.errors import InvalidInput
from flowkick.exports.models import DataExport, DataExportDownload, ExportStatus
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession

GENESIS: Final = "0" * 64
_OUTSIDE: Final = frozenset(
    {
        "chain_hash",
        "download_count",
        "file_removed_at",
        "file_wiped",
        "filters",
        "filters_salt",
        "lease_until",
    }
)
_COVERED: Final = sorted(
    attribute.key
    for attribute in DataExport.__mapper__.column_attrs
    if attribute.key not in _OUTSIDE
)
_BATCH: Final = 500
_ANCHOR: Final = re.compile(r"flowkick-anchor v1 (\S+) ([0-9]{1,18}) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Anchor:
    """How long an admin's chain is, and its last hash."""

    admin_id: str
    count: int
    head: str

    def __str__(self) -> str:
        return f"flowkick-anchor v1 {self.admin_id} {self.count} {self.head}"

    @classmethod
    def parse(cls, line: str) -> Anchor:
        """The anchor of a line; InvalidInput where it is none."""
        found = _ANCHOR.fullmatch(line.strip())
        if found is None:
            raise InvalidInput(
                "An anchor is one whole line as `flowkick audit anchor` prints it:"
                " flowkick-anchor v1 ADMIN COUNT HASH."
            )
        return cls(found[1], int(found[2]), found[3])


@dataclass(frozen=True, slots=True)
class Broken:
    """The first row of a chain that is not as it was written."""

    number: int
    """Its place in the chain, from 1."""
    export_id: str | None
    """None where a row is missing."""
    problem: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verification of one admin's chain found."""

    anchor: Anchor
    """Of what was verified."""
    broken: Broken | None


def filters_hash(filters: Mapping[str, Any], salt: str) -> str:
    """What the chain covers of the filters, so that their words can be removed one day."""
    return hashlib.sha256(f"{salt}\n{_canonical(filters)}".encode()).hexdigest()


async def append(session: TenantSession, export: DataExport) -> None:
    """Give a finished export the next place in its admin's chain.

    One transaction of the admin at a time: the others wait for its commit.
    """
    await lock_admin(session)
    last = await anchor(session)
    export.chain_number, export.previous_hash = last.count + 1, last.head
    export.chain_hash = chain_hash(export)
    await session.flush()


def chain_hash(export: DataExport) -> str:
    """The hash over all of a row that may not change any more."""
    content = {name: getattr(export, name) for name in _COVERED}
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=_text)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


async def anchor(session: TenantSession) -> Anchor:
    """The anchor of the admin's chain as it is now."""
    last = (
        await session.execute(
            select(DataExport.chain_number, DataExport.chain_hash)
            .where(DataExport.chain_number.is_not(None))
            .order_by(DataExport.chain_number.desc())
            .limit(1)
        )
    ).one_or_none()
    number, head = (0, GENESIS) if last is None else (last[0] or 0, last[1] or GENESIS)
    return Anchor(session.admin_id, number, head)


async def verify(session: TenantSession, kept: Anchor | None = None) -> Verdict:
    """Verify the admin's whole chain; with `kept`, also that it still holds what that anchored."""
    count, head = 0, GENESIS
    async for export in _finished(session):
        broken = _check(export, count, head) or await _check_downloads(session, export)
        if broken is not None:
            return Verdict(Anchor(session.admin_id, count, head), broken)
        count, head = count + 1, export.chain_hash or ""
        if kept is not None and kept.count == count and kept.head != head:
            problem = "it is not the row that the anchor was made of"
            return Verdict(Anchor(session.admin_id, count, head), Broken(count, export.id, problem))
    broken = await _check_outside(session, count)
    if broken is None and kept is not None and kept.count > count:
        problem = f"the anchor was made of {kept.count} rows; those after {count} were removed"
        broken = Broken(count + 1, None, problem)
    return Verdict(Anchor(session.admin_id, count, head), broken)


async def _finished(session: TenantSession) -> AsyncIterator[DataExport]:
    seen = None
    while True:
        statement = select(DataExport).where(DataExport.chain_number.is_not(None))
        if seen is not None:
            statement = statement.where(DataExport.chain_number > seen)
        rows = await session.scalars(statement.order_by(DataExport.chain_number).limit(_BATCH))
        batch = rows.all()
        for row in batch:
            yield row
        if len(batch) < _BATCH:
            return
        seen = batch[-1].chain_number
        session.expunge_all()  # so that a long chain is not kept in memory


def _check(export: DataExport, count: int, head: str) -> Broken | None:
    if export.chain_number != count + 1:
        return Broken(count + 1, None, "it was removed")
    if export.previous_hash != head:
        return Broken(count + 1, export.id, "it does not follow the row before it")
    if export.chain_hash != chain_hash(export):
        return Broken(count + 1, export.id, "it was changed")
    if export.filters is not None or export.filters_salt is not None:
        words = filters_hash(export.filters or {}, export.filters_salt or "")
        if words != export.filters_hash:
            return Broken(count + 1, export.id, "its filters were changed")
    if not _ended_as_written(export):
        return Broken(count + 1, export.id, "what became of it can't be")
    return None


def _ended_as_written(export: DataExport) -> bool:
    """Whether what lies outside of the chain can be so in an export that has ended.

    Nobody holds a lease of it any more; its bytes are gone only after nobody gets them; and what
    failed has no file that could be got.
    """
    gone = export.file_removed_at is not None
    return (
        export.lease_until is None
        and (gone or not export.file_wiped)
        and (gone or export.status != ExportStatus.FAILED)
    )


async def _check_downloads(session: TenantSession, export: DataExport) -> Broken | None:
    model = DataExportDownload
    counted = await session.scalar(
        select(func.count()).select_from(model).where(model.export_id == export.id)
    )
    if counted == export.download_count:
        return None
    problem = f"its downloadCount is {export.download_count}, and {counted} downloads are logged"
    return Broken(export.chain_number or 0, export.id, problem)


async def _check_outside(session: TenantSession, count: int) -> Broken | None:
    """A finished export that has no place in the chain was not written by us."""
    ended = [status.value for status in ExportStatus if status is not ExportStatus.RUNNING]
    stray = await session.scalar(
        select(DataExport.id)
        .where(DataExport.chain_number.is_(None), among(session, DataExport.status, ended))
        .order_by(DataExport.id)
        .limit(1)
    )
    return None if stray is None else Broken(count + 1, stray, "it was inserted beside the chain")
