"""The log of exports, and of their downloads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowkick.storage.base import Json, JsonOrNull, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _exports()
    op.create_table(
        "DataExportDownload",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("exportId", sa.Text(), nullable=False),
        sa.Column("downloadedBy", sa.Text(), nullable=False),
        sa.Column("ipAddress", sa.Text(), nullable=True),
        sa.Column("byteRange", sa.Text(), nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_DataExportDownload")),
    )
    op.create_index(
        op.f("ix_DataExportDownload_exportId_createdAt_id"),
        "DataExportDownload",
        ["exportId", "createdAt", "id"],
    )


def _exports() -> None:
    op.create_table(
        "DataExport",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("jobId", sa.Text(), nullable=True),
        sa.Column("leaseUntil", UtcDateTime(), nullable=True),
        sa.Column("exportType", sa.Text(), nullable=False),
        sa.Column("recordType", sa.Text(), nullable=False),
        sa.Column("recordCount", sa.BigInteger(), nullable=False),
        sa.Column("fields", Json, nullable=False),
        sa.Column("filters", JsonOrNull, nullable=True),
        sa.Column("filtersSalt", sa.Text(), nullable=True),
        sa.Column("filtersHash", sa.Text(), nullable=False),
        sa.Column("dateRangeStart", UtcDateTime(), nullable=True),
        sa.Column("dateRangeEnd", UtcDateTime(), nullable=True),
        sa.Column("fileHash", sa.Text(), nullable=True),
        sa.Column("fileSizeBytes", sa.BigInteger(), nullable=True),
        sa.Column("fileName", sa.Text(), nullable=True),
        sa.Column("destinationUrl", sa.Text(), nullable=True),
        sa.Column("fileRemovedAt", UtcDateTime(), nullable=True),
        sa.Column("downloadCount", sa.Integer(), nullable=False),
        sa.Column("includesWithoutConsent", sa.Boolean(), nullable=False),
        sa.Column("initiatedBy", sa.Text(), nullable=False),
        sa.Column("ipAddress", sa.Text(), nullable=True),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("finishedAt", UtcDateTime(), nullable=True),
        sa.Column("expiresAt", UtcDateTime(), nullable=True),
        sa.Column("chainNumber", sa.Integer(), nullable=True),
        sa.Column("previousHash", sa.Text(), nullable=True),
        sa.Column("chainHash", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_DataExport")),
        sa.UniqueConstraint(
            "adminId", "chainNumber", name=op.f("uq_DataExport_adminId_chainNumber")
        ),
    )
    op.create_index(
        op.f("ix_DataExport_adminId_createdAt_id"), "DataExport", ["adminId", "createdAt", "id"]
    )
    _where("leaseUntil", '"leaseUntil" IS NOT NULL')
    _where("expiresAt", '"fileRemovedAt" IS NULL')


def _where(column: str, condition: str) -> None:
    op.create_index(
        op.f(f"ix_DataExport_{column}"),
        "DataExport",
        [column],
        sqlite_where=sa.text(condition),
        postgresql_where=sa.text(condition),
    )
