"""What counters that ManyChat pushes grew by, as the interactions of a day.

ManyChat tells how many there were in all; what they grew by since the last push counts for the day
of this one. What a user starts with is of no known day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from flowkick.core.ids import new_id
from flowkick.history.models import InteractionHistory
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.tenancy import TenantSession
from flowkick.users import fields
from flowkick.webhooks.payloads import Change

_PATHS: Final = {
    field.name: field.path for field in fields.WRITABLE if field.name in fields.COUNTERS
}
_LARGEST_GROWTH: Final = 1_000_000
_FULL: Final = 2_000_000_000
"""From here on a day is not added to, so that no counter leaves its column."""

_COLUMNS: Final = ("messagesCount", "commentsCount", "storiesCount")
_ADD: Final = BulkStatement.insert(
    InteractionHistory,
    *("id", "admin_id", "user_id", "day", "messages_count", "comments_count", "stories_count"),
    *("created_at", "updated_at"),
    on_conflict='("userId", "date") DO UPDATE SET '
    + ", ".join(f'"{n}" = "InteractionHistory"."{n}" + excluded."{n}"' for n in _COLUMNS)
    + ', "updatedAt" = excluded."updatedAt" WHERE '
    + " AND ".join(f'"InteractionHistory"."{n}" < {_FULL}' for n in _COLUMNS),
)


Changes = Mapping[str, Change]
"""How fields of a user changed, by their paths in events."""


async def add_growth(
    session: TenantSession, changed: Iterable[tuple[str, Changes]], now: datetime
) -> None:
    """Add what the counters of these users, by their ids, grew by to the rows of today.

    The rows of the users are locked.
    """
    rows = [
        {
            **growth,
            "id": new_id("int"),
            "admin_id": session.admin_id,
            "user_id": user_id,
            "day": now.date(),
            "created_at": now,
            "updated_at": now,
        }
        for user_id, changes in changed
        if any((growth := _growths(changes)).values())
    ]
    await _ADD.run(session, rows)


def _growths(changes: Changes) -> dict[str, int]:
    return {name: _growth(changes.get(path)) for name, path in _PATHS.items()}


def _growth(change: Change | None) -> int:
    return 0 if change is None else min(max(change.new - change.old, 0), _LARGEST_GROWTH)
