"""Pages by keyset: the next page begins where the last one ended, whatever was added meanwhile.

A cursor holds the moment and the id of the last row seen, not its number, so that a page costs the
same wherever it is, and rows that did not change are neither skipped nor repeated.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, or_
from sqlalchemy.orm import InstrumentedAttribute

from flowkick.core.clock import parse_iso
from flowkick.core.errors import InvalidInput
from flowkick.storage.tenancy import TenantSession

_T = TypeVar("_T")
MAX_CURSOR = 300
_UNCHANGED = "cursor: pass what nextCursor gave, unchanged."


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """Some rows, and the cursor of those that follow."""

    rows: Sequence[_T]
    next_cursor: str | None


async def newest_first(
    session: TenantSession,
    statement: Select[_T],
    moment: InstrumentedAttribute[datetime],
    id_: InstrumentedAttribute[str],
    *,
    limit: int,
    cursor: str | None,
) -> Page[_T]:
    """A page of `statement`, by `moment` and then by `id_`, the latest first.

    Raises InvalidInput for a cursor that no page gave.
    """
    if cursor is not None:
        seen, seen_id = _decode(cursor)
        # Spelt like this, both databases begin in the index where the last page ended.
        statement = statement.where(moment <= seen, or_(moment < seen, id_ < seen_id))
    rows = await session.scalars(statement.order_by(moment.desc(), id_.desc()).limit(limit + 1))
    found = rows.all()
    page = found[:limit]
    more = len(found) > limit
    return Page(page, _encode(page[-1], moment, id_) if more else None)


def pagination(page: Page[Any], limit: int) -> dict[str, Any]:
    """What an answer says of where its page stands."""
    more = page.next_cursor is not None
    return {"limit": limit, "has_more": more, "next_cursor": page.next_cursor}


def _encode(
    row: Any, moment: InstrumentedAttribute[datetime], id_: InstrumentedAttribute[str]
) -> str:
    # In microseconds, which rows that others' code wrote have on PostgreSQL.
    text = f"{getattr(row, moment.key).isoformat()} {getattr(row, id_.key)}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
        moment, _, id_ = text.partition(" ")
        seen = parse_iso(moment)
    except (ValueError, OverflowError, binascii.Error):
        raise InvalidInput(_UNCHANGED) from None
    if not id_.isprintable():
        raise InvalidInput(_UNCHANGED)
    return seen, id_
