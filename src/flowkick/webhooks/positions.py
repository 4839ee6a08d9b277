"""Where events stand in the feed: an order in which nothing is ever put in before what was read.

Ids are made before a transaction commits, and so are sequences: by either, an event of a slow
transaction would appear behind a reader who has gone on. Hence on PostgreSQL an event stands at the
number of the transaction that wrote it, and is given once no transaction of a lower number is
open: ``pg_snapshot_xmin`` says which is the lowest. On SQLite, where one transaction writes at a
time, it stands one after the last that is there. Events of one transaction share their position,
and are in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, text

from flowkick.delivery.models import WebhookEvent
from flowkick.delivery.sql import EVENT_COLUMNS
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession

# The column's default is the number of the transaction, with COPY as with INSERT.
_RECORD_POSTGRESQL: Final = BulkStatement.insert(WebhookEvent, *EVENT_COLUMNS)
# Not before the moment in milliseconds: who has read a list goes on rightly though all of it was
# removed since, or the file is an older copy of itself.
_RECORD_SQLITE: Final = BulkStatement(
    {**_RECORD_POSTGRESQL.columns, "floor": "bigint"},
    """
INSERT INTO "WebhookEvent" (id, "adminId", event, "userId", sequence, body, "createdAt",
    traceparent, position)
SELECT given.id, given.admin_id, given.event, given.user_id, given.sequence, given.body,
    given.created_at, given.traceparent, max(given.floor, coalesce((
        SELECT max(position) FROM "WebhookEvent" WHERE "adminId" = given.admin_id
    ) + 1, 0))
FROM {given}
""",
    often_alike=("admin_id", "event", "created_at", "traceparent", "floor"),
)
_SNAPSHOT: Final = text("""
SELECT pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint
FROM pg_current_snapshot() AS now
""")
_BEYOND_ALL: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far the feed can be read just now."""

    settled: int
    """Everything that will ever stand before this position is there."""
    given_out: int
    """No position from here on was ever given to an event, nor to a reader to go on from."""


async def record_events(
    session: TenantSession, rows: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """Write events, each with its position in the feed."""
    if is_sqlite(session):
        floor = int(now.timestamp() * 1000)
        await _RECORD_SQLITE.run(session, [{**row, "floor": floor} for row in rows])
    else:
        await _RECORD_POSTGRESQL.run(session, rows)


async def bounds(session: TenantSession) -> Bounds:
    """How far the session's admin can read the feed, in this transaction or a later one."""
    if is_sqlite(session):
        last = await session.scalar(select(func.max(WebhookEvent.position)))
        return Bounds(0 if last is None else last + 1, _BEYOND_ALL)
    row = (await session.execute(_SNAPSHOT, execution_options={"scoped_by_hand": True})).one()
    return Bounds(row[0], row[1] + 1)
