"""Emitters of what becomes of bookings, which stand in the table "Booking"."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from flowkick.bookings import events
from flowkick.bookings.service import get_booked
from flowkick.core.clock import system_clock
from flowkick.emitters.joining import SOURCE, Changes, joined, told
from flowkick.users.counters import recount_bookings


async def emit_booking_created(session: AsyncSession, admin_id: str, booking_id: str) -> str:
    """Tell that a booking was made, and count it; returns the event's id.

    NotFound for an unknown one.
    """
    now = system_clock()
    async with joined(session, admin_id) as ours:
        booked = await get_booked(ours, booking_id, lock=True)
        await recount_bookings(ours, booked.user, now)
        shown = events.payload(booked.booking, booked.tool, booked.user)
        return await events.tell_created(ours, shown, booked.user, source=SOURCE, now=now)


async def emit_booking_updated(
    session: AsyncSession, admin_id: str, booking_id: str, changes: Changes
) -> str | None:
    """Tell that fields of a booking changed, by their paths inside ``data.booking``.

    Entries whose values are equal are left out; None where nothing is left to tell.
    """
    if not (different := told(changes)):
        return None
    async with joined(session, admin_id) as ours:
        booked = await get_booked(ours, booking_id, lock=True)
        shown = events.payload(booked.booking, booked.tool, booked.user)
        return await events.tell_updated(
            ours, shown, booked.user, different, source=SOURCE, now=system_clock()
        )


async def emit_booking_cancelled(session: AsyncSession, admin_id: str, booking_id: str) -> str:
    """Tell that a booking was cancelled."""
    return await _emit_ended(session, admin_id, booking_id, "booking.cancelled")


async def emit_booking_completed(session: AsyncSession, admin_id: str, booking_id: str) -> str:
    """Tell that a booking was completed."""
    return await _emit_ended(session, admin_id, booking_id, "booking.completed")


async def _emit_ended(session: AsyncSession, admin_id: str, booking_id: str, event: str) -> str:
    async with joined(session, admin_id) as ours:
        booked = await get_booked(ours, booking_id, lock=True)
        shown = events.payload(booked.booking, booked.tool, booked.user)
        return await events.tell_ended(
            ours, shown, booked.user, event, source=SOURCE, now=system_clock()
        )
