"""The list of users as the API answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from flowkick.history import recent
from flowkick.history.recent import ByUser
from flowkick.history.schemas import BookingOfUser, InteractionDay, QRCodeOfUser
from flowkick.storage.tenancy import TenantSession
from flowkick.users.cursors import encode, find_position
from flowkick.users.filters import Criterion, criteria
from flowkick.users.finding import Pace, count_users, estimate_users, find_page
from flowkick.users.payload import load_belongings
from flowkick.users.query import UsersQuery
from flowkick.users.shown import COLUMNS, CUSTOM_FIELDS, SELECTABLE, TAGS, as_read, shown

_PACE: Final = Pace()


@dataclass(frozen=True, slots=True)
class _Include:
    asked_by: str
    load: Callable[[TenantSession, Sequence[str]], Awaitable[ByUser]]
    shape: TypeAdapter[Any]


_INCLUDES: Final = {
    "bookings": _Include(
        "include_bookings", recent.load_recent_bookings, TypeAdapter(list[BookingOfUser])
    ),
    "qrCodes": _Include(
        "include_qr_codes", recent.load_recent_qr_codes, TypeAdapter(list[QRCodeOfUser])
    ),
    "interactionHistory": _Include(
        "include_interactions", recent.load_recent_interactions, TypeAdapter(list[InteractionDay])
    ),
}


async def list_users(
    session: TenantSession, query: UsersQuery, *, pace: Pace = _PACE
) -> dict[str, Any]:
    """A page of users, in the keys of the answer."""
    order = query.order
    after = None if query.cursor is None else await find_position(session, order, query.cursor)
    wanted = await criteria(session, query)
    fields = SELECTABLE if query.fields is None else query.fields
    columns = [name for name in fields if name in COLUMNS]
    page = await find_page(
        session,
        wanted,
        order,
        [as_read(session, COLUMNS[name]) for name in ("id", *columns)],
        after=after,
        offset=query.offset,
        limit=query.limit,
        pace=pace,
    )
    users = {row[0]: shown(columns, row[1:]) for row in page.rows}
    await _add_belongings(session, users, fields)
    for name, include in _INCLUDES.items():
        if getattr(query, include.asked_by):
            await _add(session, users, name, include)
    return {
        "success": True,
        "users": list(users.values()),
        "pagination": {
            "total": await _total(session, wanted, query.count),
            "limit": query.limit,
            "offset": query.offset,
            "hasMore": page.next is not None,
            "nextCursor": None if page.next is None else encode(order, page.next),
        },
    }


async def _add_belongings(
    session: TenantSession, users: Mapping[str, dict[str, Any]], fields: Sequence[str]
) -> None:
    if TAGS not in fields and CUSTOM_FIELDS not in fields:
        return
    belongings = await load_belongings(session, list(users))
    for user_id, user in users.items():
        if TAGS in fields:
            user[TAGS] = belongings[user_id].tags
        if CUSTOM_FIELDS in fields:
            user[CUSTOM_FIELDS] = belongings[user_id].custom_fields


async def _add(
    session: TenantSession, users: Mapping[str, dict[str, Any]], name: str, include: _Include
) -> None:
    found = await include.load(session, list(users))
    for user_id, user in users.items():
        items = include.shape.validate_python(found[user_id])
        user[name] = include.shape.dump_python(items, mode="json", by_alias=True)


async def _total(session: TenantSession, wanted: Sequence[Criterion], how: str) -> int | None:
    if how == "none":
        return None
    return await (count_users if how == "exact" else estimate_users)(session, wanted)
