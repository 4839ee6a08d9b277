"""Bookings: made, changed, ended. Each change emits its event in the same transaction.

Rows are locked in one order, so that none deadlock: the booking, then its user, then the tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import select

from flowkick.bookings import events
from flowkick.bookings.states import OPEN, BookingStatus, check_transition
from flowkick.core.clock import isoformat
from flowkick.core.errors import Conflict, InvalidInput, NotFound
from flowkick.core.ids import new_id
from flowkick.history.models import Booking, Tool
from flowkick.storage.tenancy import TenantSession
from flowkick.tools.service import find_tool
from flowkick.users.counters import recount_bookings
from flowkick.users.models import User
from flowkick.users.service import find_user

LONGEST: Final = timedelta(days=366)
"""So that those which may overlap a given one begin near it, where an index finds them."""
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Booked:
    """A booking with its tool and its user."""

    booking: Booking
    tool: Tool
    user: User


async def create_booking(
    session: TenantSession, values: Mapping[str, Any], *, source: str, now: datetime
) -> Booked:
    """Book a tool for a user; Conflict where the tool takes no booking then."""
    booking = Booking(id=new_id("bkg"), **values, created_at=now, updated_at=now)
    _check_times(booking)
    user = await find_user(session, booking.user_id, lock=True)
    tool = await find_tool(session, booking.tool_id, lock=True)
    await _check_free(session, booking, tool)
    session.add(booking)
    await session.flush()
    await recount_bookings(session, user, now)
    shown = events.payload(booking, tool, user)
    await events.tell_created(session, shown, user, source=source, now=now)
    return Booked(booking, tool, user)


async def find_booking(session: TenantSession, booking_id: str, *, lock: bool = False) -> Booking:
    """One booking; NotFound where the admin has none with this id."""
    statement = select(Booking).where(Booking.id == booking_id)
    if lock:
        statement = statement.with_for_update(key_share=True)
    booking = await session.scalar(statement)
    if booking is None:
        raise NotFound(f"There is no booking {booking_id}.")
    return booking


async def get_booked(session: TenantSession, booking_id: str, *, lock: bool = False) -> Booked:
    """One booking with its tool and its user; with `lock`, user and booking stay locked."""
    booking = await find_booking(session, booking_id, lock=lock)
    user = await find_user(session, booking.user_id, lock=lock)
    return Booked(booking, await find_tool(session, booking.tool_id), user)


async def change_booking(
    session: TenantSession,
    booking_id: str,
    values: Mapping[str, Any],
    *,
    source: str,
    now: datetime,
) -> Booked:
    """Change a booking; nothing is emitted where nothing differs.

    The notes of a booking can always be changed, the rest while it is open.
    """
    booked = await get_booked(session, booking_id, lock=True)
    booking, before = booked.booking, events.payload(booked.booking, booked.tool, booked.user)
    different = {name: new for name, new in values.items() if getattr(booking, name) != new}
    if not different:
        return booked
    if "status" in different:
        check_transition(booking.id, booking.status, BookingStatus(different["status"]))
    elif different.keys() - {"notes"}:
        _check_open(booking)
    for name, new in different.items():
        setattr(booking, name, new)
    booking.updated_at = now
    if different.keys() & {"start_time", "end_time", "tool_id"}:
        booked = await _moved(session, booked)
    after = events.payload(booking, booked.tool, booked.user)
    changes = events.changes(before, after)
    await events.tell_updated(session, after, booked.user, changes, source=source, now=now)
    return booked


async def end_booking(
    session: TenantSession, booking_id: str, status: BookingStatus, *, source: str, now: datetime
) -> Booked:
    """Cancel or complete a booking; Conflict where it has ended already."""
    booked = await get_booked(session, booking_id, lock=True)
    event = check_transition(booking_id, booked.booking.status, status)
    booked.booking.status = status.value
    booked.booking.updated_at = now
    shown = events.payload(booked.booking, booked.tool, booked.user)
    await events.tell_ended(session, shown, booked.user, event, source=source, now=now)
    return booked


async def _moved(session: TenantSession, booked: Booked) -> Booked:
    """The booking with the tool that it has now, checked against others' bookings."""
    _check_times(booked.booking)
    tool = await find_tool(session, booked.booking.tool_id, lock=True)
    await _check_free(session, booked.booking, tool)
    return Booked(booked.booking, tool, booked.user)


def _check_times(booking: Booking) -> None:
    if booking.start_time < EARLIEST:
        raise InvalidInput(f"startTime: must not be before {EARLIEST.year}.")
    if booking.end_time <= booking.start_time:
        raise InvalidInput("endTime: must be after startTime.")
    if booking.end_time - booking.start_time > LONGEST:
        raise InvalidInput(f"endTime: a booking lasts at most {LONGEST.days} days.")


def _check_open(booking: Booking) -> None:
    if booking.status not in OPEN:
        raise Conflict(
            f"The booking {booking.id} is {booking.status}: only its notes can be changed.",
            details=[{"field": "status", "status": booking.status}],
        )


async def _check_free(session: TenantSession, booking: Booking, tool: Tool) -> None:
    """Conflict where a tool, whose row is locked, is inactive or taken.

    Intervals are half-open: one may begin at the moment at which another ends.
    """
    if not tool.active:
        raise Conflict(f"The tool {tool.id} is inactive: it takes no bookings.")
    if not tool.exclusive:
        return
    taken = await session.scalar(
        select(Booking)
        .where(
            Booking.tool_id == tool.id,
            Booking.id != booking.id,
            Booking.start_time < booking.end_time,
            Booking.start_time > booking.start_time - LONGEST,
            Booking.end_time > booking.start_time,
            Booking.status.in_(OPEN),
        )
        .limit(1)
    )
    if taken is not None:
        since, until = isoformat(taken.start_time), isoformat(taken.end_time)
        raise Conflict(
            f"The tool {tool.id} is booked from {since} until {until}: choose another time.",
            details=[{"field": "startTime", "bookingId": taken.id}],
        )
