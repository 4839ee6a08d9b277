"""What a database needs that came out of a dump into another PostgreSQL server.

Events stand in the feed at the numbers of transactions. Those of another server may be higher than
any that this one has come to: such events would be held back for ever, and stand behind new ones.
They are put before all others, in their order.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

_SETTLE: Final = text("""
UPDATE "WebhookEvent" SET position = "WebhookEvent".position - newest.position - 1
FROM (
    SELECT max(of_one.position) AS position FROM "Admin" CROSS JOIN LATERAL (
        SELECT max(position) AS position FROM "WebhookEvent" WHERE "adminId" = "Admin".id
    ) AS of_one
) AS newest
WHERE newest.position >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint AND (
    "WebhookEvent".position < 0
    OR "WebhookEvent".position >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
)
""")


def settle_positions(connection: Connection) -> None:
    """Let the feed go on with what a dump brought; changes nothing where there was none."""
    connection.execute(_SETTLE)
