"""The list of users as the API answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowkick.storage.tenancy import TenantSession
from flowkick.users.cursors import encode, find_position
from flowkick.users.filters import Criterion, criteria
from flowkick.users.finding import FEW, count_users, estimate_users, find_page
from flowkick.users.payload import load_belongings
from flowkick.users.query import UsersQuery
from flowkick.users.shown import COLUMNS, CUSTOM_FIELDS, SELECTABLE, TAGS, shown


async def list_users(
    session: TenantSession, query: UsersQuery, *, few: int = FEW
) -> dict[str, Any]:
    """A page of users, in the keys of the answer; `few` as in `find_page`."""
    order = query.order
    after = None if query.cursor is None else await find_position(session, order, query.cursor)
    wanted = await criteria(session, query)
    fields = SELECTABLE if query.fields is None else query.fields
    columns = [name for name in fields if name in COLUMNS]
    page = await find_page(
        session,
        wanted,
        order,
        [COLUMNS[name] for name in ("id", *columns)],
        after=after,
        offset=query.offset,
        limit=query.limit,
        few=few,
    )
    users = {row[0]: shown(columns, row[1:]) for row in page.rows}
    await _add_belongings(session, users, fields)
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


async def _total(session: TenantSession, wanted: Sequence[Criterion], how: str) -> int | None:
    if how == "none":
        return None
    return await (count_users if how == "exact" else estimate_users)(session, wanted)
