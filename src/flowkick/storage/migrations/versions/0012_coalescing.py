"""Whether updates that wait for a subscription become one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column: sa.Column[bool] = sa.Column(
        "coalesce", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("WebhookSubscription", column)
