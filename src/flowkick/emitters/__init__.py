"""Emit events from your own code, in your own transaction.

For applications that keep their own tables in the same database and change users, bookings and QR
codes with their own SQL. Each function joins the transaction of the session that it is given: the
event is recorded if that commits, and was never there if it rolls back.

    async with session.begin():
        await session.execute(update(User)…)
        changes = {"email": {"old": …, "new": …}}
        await emitters.emit_user_updated(session, admin_id, user_id, changes)
"""

from __future__ import annotations

from flowkick.auth import models as _admins  # noqa: F401  # all tables point to its "Admin"
from flowkick.emitters.bookings import (
    emit_booking_cancelled,
    emit_booking_completed,
    emit_booking_created,
    emit_booking_updated,
)
from flowkick.emitters.qr_codes import emit_qr_created, emit_qr_scanned, emit_qr_validated
from flowkick.emitters.users import (
    emit_custom_field_updated,
    emit_tag_added,
    emit_tag_removed,
    emit_user_created,
    emit_user_deleted,
    emit_user_updated,
)

__all__ = [
    "emit_booking_cancelled",
    "emit_booking_completed",
    "emit_booking_created",
    "emit_booking_updated",
    "emit_custom_field_updated",
    "emit_qr_created",
    "emit_qr_scanned",
    "emit_qr_validated",
    "emit_tag_added",
    "emit_tag_removed",
    "emit_user_created",
    "emit_user_deleted",
    "emit_user_updated",
]
