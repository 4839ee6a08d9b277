"""The states of a booking, and which change of them tells of what: written here, once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from flowkick.core.errors import Conflict

UPDATED: Final = "booking.updated"


class BookingStatus(StrEnum):
    """What has become of a booking."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


_ENDS: Final = {
    BookingStatus.CANCELLED: "booking.cancelled",
    BookingStatus.COMPLETED: "booking.completed",
}
TRANSITIONS: Final[Mapping[BookingStatus, Mapping[BookingStatus, str]]] = {
    BookingStatus.PENDING: {BookingStatus.CONFIRMED: UPDATED, **_ENDS},
    BookingStatus.CONFIRMED: {BookingStatus.PENDING: UPDATED, **_ENDS},
    BookingStatus.CANCELLED: {},
    BookingStatus.COMPLETED: {},
}
"""From each state, those that may follow, with the event that tells of it."""

OPEN: Final = tuple(state for state, after in TRANSITIONS.items() if after)
"""The states in which a booking takes up its tool, and may be moved."""


def check_transition(booking_id: str, before: str, after: BookingStatus) -> str:
    """The event that tells of this change; Conflict, naming the present state, if it can't be."""
    allowed = next((after for state, after in TRANSITIONS.items() if state == before), {})
    if after not in allowed:
        can = f"it can become {', '.join(allowed)}" if allowed else "nothing can follow"
        raise Conflict(
            f"The booking {booking_id} is {before}: {can}, not {after.value}.",
            details=[{"field": "status", "status": before}],
        )
    return allowed[after]
