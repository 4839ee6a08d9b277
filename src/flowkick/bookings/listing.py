"""Bookings as they are listed: filtered, page by page, with their tools and users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from flowkick.bookings.service import Booked
from flowkick.bookings.states import BookingStatus
from flowkick.history.models import Booking
from flowkick.storage.dialects import among
from flowkick.storage.keyset import Page, newest_first
from flowkick.storage.tenancy import TenantSession
from flowkick.tools.service import find_tools
from flowkick.users.models import User


@dataclass(frozen=True, slots=True)
class Filters:
    """Which bookings are wanted; those that begin at `since` or later, and before `until`."""

    user_id: str | None = None
    tool_id: str | None = None
    status: BookingStatus | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_bookings(
    session: TenantSession, filters: Filters, *, limit: int, cursor: str | None
) -> Page[Booked]:
    """A page of bookings, by when they begin, the latest first."""
    statement = select(Booking)
    if filters.user_id is not None:
        statement = statement.where(Booking.user_id == filters.user_id)
    if filters.tool_id is not None:
        statement = statement.where(Booking.tool_id == filters.tool_id)
    if filters.status is not None:
        statement = statement.where(Booking.status == filters.status.value)
    if filters.since is not None:
        statement = statement.where(Booking.start_time >= filters.since)
    if filters.until is not None:
        statement = statement.where(Booking.start_time < filters.until)
    page = await newest_first(
        session, statement, Booking.start_time, Booking.id, limit=limit, cursor=cursor
    )
    return Page(await _with_tools_and_users(session, page.rows), page.next_cursor)


async def _with_tools_and_users(
    session: TenantSession, bookings: Sequence[Booking]
) -> list[Booked]:
    tools = await find_tools(session, (row.tool_id for row in bookings))
    users = await _users(session, sorted({row.user_id for row in bookings}))
    return [
        Booked(row, tools[row.tool_id], users[row.user_id])
        for row in bookings
        if row.tool_id in tools and row.user_id in users  # and not deleted since
    ]


async def _users(session: TenantSession, ids: Sequence[str]) -> Mapping[str, User]:
    if not ids:
        return {}
    rows = await session.scalars(select(User).where(among(session, User.id, ids)))
    return {row.id: row for row in rows}
