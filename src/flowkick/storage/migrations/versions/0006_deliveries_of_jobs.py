"""Deliveries that a job queued, so that it can be counted how many of them wait."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("WebhookDelivery", sa.Column("jobId", sa.Text(), nullable=True))
    op.create_index(
        op.f("ix_WebhookDelivery_jobId_status"),
        "WebhookDelivery",
        ["jobId", "status"],
        sqlite_where=sa.text('"jobId" IS NOT NULL'),
        postgresql_where=sa.text('"jobId" IS NOT NULL'),
    )
