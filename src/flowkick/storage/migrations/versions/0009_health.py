"""Since when subscriptions fail, and when they last recovered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowkick.storage.base import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("WebhookSubscription") as table:
        table.add_column(sa.Column("failingSince", UtcDateTime(), nullable=True))
        table.add_column(sa.Column("recoveredAt", UtcDateTime(), nullable=True))
