"""Consents, erasures, and who is not to be brought back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowkick.storage.base import Json, JsonOrNull, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "Consent",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("userId", sa.Text(), nullable=False),
        sa.Column("given", sa.Boolean(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("wording", sa.Text(), nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        _of_admin("Consent"),
        sa.ForeignKeyConstraint(
            ["userId"], ["User.id"], name=op.f("fk_Consent_userId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_Consent")),
    )
    with op.batch_alter_table("Consent") as table:
        table.create_index(
            op.f("ix_Consent_userId_createdAt_id"), ["userId", "createdAt", "id"], unique=False
        )
    op.create_table(
        "SuppressionKey",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        _of_admin("SuppressionKey"),
        sa.PrimaryKeyConstraint("adminId", name=op.f("pk_SuppressionKey")),
    )
    op.create_table(
        "Suppression",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        _of_admin("Suppression"),
        sa.PrimaryKeyConstraint("adminId", "hash", name=op.f("pk_Suppression")),
    )
    op.create_table(
        "Erasure",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("userId", sa.Text(), nullable=False),
        sa.Column("eventId", sa.Text(), nullable=False),
        sa.Column("removed", Json, nullable=False),
        sa.Column("receivers", JsonOrNull, nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("completedAt", UtcDateTime(), nullable=True),
        _of_admin("Erasure"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_Erasure")),
    )
    with op.batch_alter_table("Erasure") as table:
        table.create_index(
            op.f("ix_Erasure_adminId_createdAt_id"), ["adminId", "createdAt", "id"], unique=False
        )
        table.create_index(
            op.f("ix_Erasure_createdAt"),
            ["createdAt"],
            unique=False,
            sqlite_where=sa.text('"completedAt" IS NULL'),
            postgresql_where=sa.text('"completedAt" IS NULL'),
        )


def _of_admin(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_adminId")
    return sa.ForeignKeyConstraint(["adminId"], ["Admin.id"], name=name, ondelete="CASCADE")
