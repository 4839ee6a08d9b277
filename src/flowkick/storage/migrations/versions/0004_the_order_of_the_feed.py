"""The order of the feed: where each event stands in it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    # What is there already gets the number of this transaction: all of it was committed before.
    number = None if is_sqlite else sa.text("(pg_current_xact_id()::text::bigint)")
    op.add_column(
        "WebhookEvent", sa.Column("position", sa.BigInteger(), nullable=True, server_default=number)
    )
    op.execute(
        "UPDATE \"WebhookEvent\" SET position = 0 WHERE event <> 'webhook.test'"
        if is_sqlite
        else "UPDATE \"WebhookEvent\" SET position = NULL WHERE event = 'webhook.test'"
    )
    op.create_index(
        op.f("ix_WebhookEvent_adminId_position_id"), "WebhookEvent", ["adminId", "position", "id"]
    )
