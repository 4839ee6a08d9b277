"""The tables of the export log."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminPart, Base, Json, JsonOrNull


class ExportStatus(StrEnum):
    """Where an export stands: running → completed or failed."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class DataExport(AdminPart, Base):
    """One export: who took what, when, and how much.

    With its end it gets its place in the admin's chain (`chain_number`), and nothing that the
    chain covers changes any more. Outside of the chain are `download_count`, which the rows of
    `DataExportDownload` prove, `file_removed_at` (nobody gets the file from then on), `file_wiped`
    (its bytes are gone, too), and the words of `filters`, which may be removed: the chain covers
    their salted hash. While it runs, `lease_until` tells that somebody is at it;
    an export that runs as a job has the job's own lease instead.
    """

    __tablename__ = "DataExport"
    __table_args__ = (
        UniqueConstraint("adminId", "chainNumber"),
        Index(None, "adminId", "createdAt", "id"),
        Index(
            None,
            "leaseUntil",
            sqlite_where=text('"leaseUntil" IS NOT NULL'),
            postgresql_where=text('"leaseUntil" IS NOT NULL'),
        ),
        Index(
            None,
            "expiresAt",
            sqlite_where=text('"fileRemovedAt" IS NULL'),
            postgresql_where=text('"fileRemovedAt" IS NULL'),
        ),
        Index(
            None,
            "fileRemovedAt",
            sqlite_where=text('NOT "fileWiped"'),
            postgresql_where=text('NOT "fileWiped"'),
        ),
    )

    id: Mapped[str] = mapped_column("id", primary_key=True)
    status: Mapped[str] = mapped_column("status")
    error: Mapped[str | None] = mapped_column("error")
    job_id: Mapped[str | None] = mapped_column("jobId")
    lease_until: Mapped[datetime | None] = mapped_column("leaseUntil")
    export_type: Mapped[str] = mapped_column("exportType")
    record_type: Mapped[str] = mapped_column("recordType", default="user")
    record_count: Mapped[int] = mapped_column("recordCount", BigInteger, default=0)
    fields: Mapped[list[str]] = mapped_column("fields", Json)
    filters: Mapped[dict[str, Any] | None] = mapped_column("filters", JsonOrNull)
    filters_salt: Mapped[str | None] = mapped_column("filtersSalt")
    filters_hash: Mapped[str] = mapped_column("filtersHash")
    date_range_start: Mapped[datetime | None] = mapped_column("dateRangeStart")
    date_range_end: Mapped[datetime | None] = mapped_column("dateRangeEnd")
    file_hash: Mapped[str | None] = mapped_column("fileHash")
    file_size_bytes: Mapped[int | None] = mapped_column("fileSizeBytes", BigInteger)
    file_name: Mapped[str | None] = mapped_column("fileName")
    destination_url: Mapped[str | None] = mapped_column("destinationUrl")
    file_removed_at: Mapped[datetime | None] = mapped_column("fileRemovedAt")
    file_wiped: Mapped[bool] = mapped_column("fileWiped", default=False)
    download_count: Mapped[int] = mapped_column("downloadCount", default=0)
    includes_without_consent: Mapped[bool] = mapped_column("includesWithoutConsent")
    initiated_by: Mapped[str] = mapped_column("initiatedBy")
    ip_address: Mapped[str | None] = mapped_column("ipAddress")
    details: Mapped[dict[str, Any]] = mapped_column("metadata", Json)
    created_at: Mapped[datetime] = mapped_column("createdAt")
    finished_at: Mapped[datetime | None] = mapped_column("finishedAt")
    expires_at: Mapped[datetime | None] = mapped_column("expiresAt")
    chain_number: Mapped[int | None] = mapped_column("chainNumber")
    previous_hash: Mapped[str | None] = mapped_column("previousHash")
    chain_hash: Mapped[str | None] = mapped_column("chainHash")


class DataExportDownload(AdminPart, Base):
    """One time that the bytes of an export, or a range of them, left. Rows are only ever added."""

    __tablename__ = "DataExportDownload"
    __table_args__ = (Index(None, "exportId", "createdAt", "id"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    export_id: Mapped[str] = mapped_column("exportId")
    downloaded_by: Mapped[str] = mapped_column("downloadedBy")
    ip_address: Mapped[str | None] = mapped_column("ipAddress")
    byte_range: Mapped[str | None] = mapped_column("byteRange")
    created_at: Mapped[datetime] = mapped_column("createdAt")
