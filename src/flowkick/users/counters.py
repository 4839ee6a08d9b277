"""The counters of a user, brought to what there is while its row is locked.

They are counted, not added to, so that rows that others' code wrote count, too. A count is a look
at one user's part of an index.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from flowkick.history.models import Booking, Conversation, QRCode
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import User


async def recount_bookings(session: TenantSession, user: User, now: datetime) -> None:
    """Count the bookings, whatever became of them, and note when the last one was made."""
    rows = await session.execute(
        select(func.count(Booking.id), func.max(Booking.created_at)).where(
            Booking.user_id == user.id
        )
    )
    count, last = rows.one()
    _set(user, now, bookings_count=count, last_booking_at=last)


async def recount_qr_codes(session: TenantSession, user: User, now: datetime) -> None:
    """Count the QR codes, and those of them that were scanned."""
    rows = await session.execute(
        select(func.count(QRCode.id), func.count(QRCode.scanned_at)).where(
            QRCode.user_id == user.id
        )
    )
    count, scans = rows.one()
    _set(user, now, qr_codes_count=count, qr_scans_count=scans)


async def recount_conversations(session: TenantSession, user: User, now: datetime) -> None:
    """Count the conversations."""
    count = await session.scalar(
        select(func.count(Conversation.id)).where(Conversation.user_id == user.id)
    )
    _set(user, now, conversations_count=count)


def _set(user: User, now: datetime, **counts: Any) -> None:
    for name, count in counts.items():
        if getattr(user, name) != count:
            setattr(user, name, count)
            user.updated_at = now
