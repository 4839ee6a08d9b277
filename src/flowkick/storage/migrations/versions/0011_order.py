"""Order: the lines in which deliveries of one user stand, and what becomes of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("ordering", sa.Text(), nullable=False, server_default="none"),
        sa.Column("onGiveUp", sa.Text(), nullable=False, server_default="skip"),
    ):
        op.add_column("WebhookSubscription", column)
    op.add_column("WebhookDelivery", sa.Column("orderingKey", sa.Text(), nullable=True))
    op.add_column("WebhookDelivery", sa.Column("sequence", sa.Integer(), nullable=True))
    op.create_index(
        "ix_WebhookDelivery_line",
        "WebhookDelivery",
        ["subscriptionId", "orderingKey", "sequence", "id"],
        sqlite_where=sa.text('"orderingKey" IS NOT NULL'),
        postgresql_where=sa.text('"orderingKey" IS NOT NULL'),
    )
