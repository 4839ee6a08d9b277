"""Whether the bytes of an export file that was removed are gone from where it lay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column: sa.Column[bool] = sa.Column(
        "fileWiped", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("DataExport", column)
    op.execute('UPDATE "DataExport" SET "fileWiped" = TRUE WHERE "fileRemovedAt" IS NOT NULL')
    op.create_index(
        op.f("ix_DataExport_fileRemovedAt"),
        "DataExport",
        ["fileRemovedAt"],
        sqlite_where=sa.text('NOT "fileWiped"'),
        postgresql_where=sa.text('NOT "fileWiped"'),
    )
