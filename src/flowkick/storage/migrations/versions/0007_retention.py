"""How far what goes by age has been removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowkick.storage.base import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "RetentionMark",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("updatedAt", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_RetentionMark")),
    )
