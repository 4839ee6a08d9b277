"""The trace that an event was recorded in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("WebhookEvent") as table:
        table.add_column(sa.Column("traceparent", sa.Text(), nullable=True))
