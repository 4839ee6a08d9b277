"""Jobs: long work, done by workers step by step."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowkick.storage.base import Json, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "Job",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("input", Json, nullable=False),
        sa.Column("progress", Json, nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("leaseId", sa.Text(), nullable=True),
        sa.Column("dueAt", UtcDateTime(), nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("startedAt", UtcDateTime(), nullable=True),
        sa.Column("finishedAt", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_Job_adminId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_Job")),
    )
    with op.batch_alter_table("Job") as table:
        table.create_index(
            op.f("ix_Job_adminId_kind_createdAt_id"),
            ["adminId", "kind", "createdAt", "id"],
            unique=False,
        )
        table.create_index(
            op.f("ix_Job_dueAt"),
            ["dueAt"],
            unique=False,
            sqlite_where=sa.text('"dueAt" IS NOT NULL'),
            postgresql_where=sa.text('"dueAt" IS NOT NULL'),
        )
