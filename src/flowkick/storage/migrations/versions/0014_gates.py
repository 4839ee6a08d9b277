"""The breakers of subscriptions, and their limits of requests per second."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowkick.storage.base import UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    breaker: sa.Column[str] = sa.Column(
        "breaker", sa.Text(), nullable=False, server_default="closed"
    )
    op.add_column("WebhookSubscription", breaker)
    for name in ("breakerFailures", "breakerOpenings"):
        counter: sa.Column[int] = sa.Column(name, sa.Integer(), nullable=False, server_default="0")
        op.add_column("WebhookSubscription", counter)
    op.add_column("WebhookSubscription", sa.Column("rateLimit", sa.Double(), nullable=True))
    for name in ("pausedUntil", "pacedUntil"):
        op.add_column("WebhookSubscription", sa.Column(name, UtcDateTime(), nullable=True))
