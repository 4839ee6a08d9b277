"""Bookings as events show them, and the events themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from flowkick.core.clock import isoformat
from flowkick.history.models import Booking, Tool
from flowkick.storage.tenancy import TenantSession
from flowkick.tools.payload import tool_payload
from flowkick.users.models import User
from flowkick.users.payload import load_payload
from flowkick.users.telling import contact, tell
from flowkick.webhooks.payloads import (
    BookingCreated,
    BookingEnded,
    BookingPayload,
    BookingUpdated,
    Change,
    Timestamps,
)


def payload(booking: Booking, tool: Tool, user: User) -> BookingPayload:
    """A booking as events show it."""
    return BookingPayload(
        id=booking.id,
        start_time=isoformat(booking.start_time),
        end_time=isoformat(booking.end_time),
        status=booking.status,
        notes=booking.notes,
        tool=tool_payload(tool),
        user=contact(user),
        timestamps=Timestamps(isoformat(booking.created_at), isoformat(booking.updated_at)),
    )


def changes(before: BookingPayload, after: BookingPayload) -> dict[str, Change]:
    """What differs between two states of a booking, by its path inside ``data.booking``."""
    old, new = (dict(_leaves(msgspec.to_builtins(state))) for state in (before, after))
    return {
        path: Change(old[path], value)
        for path, value in new.items()
        if old[path] != value and not path.startswith("timestamps.")
    }


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


async def tell_created(
    session: TenantSession, shown: BookingPayload, user: User, *, source: str, now: datetime
) -> str:
    """Tell that a booking was made; the user's counters count it already."""
    data = BookingCreated(shown, await load_payload(session, user))
    return await tell(session, user, "booking.created", data, source=source, now=now)


async def tell_updated(
    session: TenantSession,
    shown: BookingPayload,
    user: User,
    different: dict[str, Change],
    *,
    source: str,
    now: datetime,
) -> str:
    """Tell that a booking changed, and how."""
    data = BookingUpdated(shown, different)
    return await tell(session, user, "booking.updated", data, source=source, now=now)


async def tell_ended(
    session: TenantSession,
    shown: BookingPayload,
    user: User,
    event: str,
    *,
    source: str,
    now: datetime,
) -> str:
    """Tell that a booking was cancelled or completed, by that event's name."""
    return await tell(session, user, event, BookingEnded(shown), source=source, now=now)
