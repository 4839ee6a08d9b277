"""The registry of what a list can show of a user: `fields=` selects from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import InstrumentedAttribute

from flowkick.core.clock import isoformat
from flowkick.storage.base import UtcDateTime
from flowkick.storage.dialects import as_shown
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import User

TAGS: Final = "tags"
CUSTOM_FIELDS: Final = "customFields"
_COLUMNS: Final = (
    User.id,
    User.manychat_id,
    User.instagram_id,
    User.ig_username,
    User.first_name,
    User.last_name,
    User.email,
    User.phone,
    User.whatsapp_phone,
    User.profile_pic,
    User.gender,
    User.locale,
    User.timezone,
    User.subscribed_at,
    User.opted_in_messenger,
    User.opted_in_instagram,
    User.opted_in_whatsapp,
    User.opted_in_telegram,
    User.export_consent_given,
    User.export_consent_at,
    User.last_synced_at,
    User.bookings_count,
    User.qr_codes_count,
    User.conversations_count,
    User.created_at,
    User.updated_at,
)
COLUMNS: Final[dict[str, InstrumentedAttribute[Any]]] = {
    column.expression.name: column for column in _COLUMNS
}
"""By the names that the API and the table share."""
SELECTABLE: Final = (*COLUMNS, TAGS, CUSTOM_FIELDS)


def as_read(session: TenantSession, column: InstrumentedAttribute[Any]) -> Any:
    """A column of a list, moments as they are shown where the database has them so."""
    return as_shown(session, column) if isinstance(column.type, UtcDateTime) else column


def shown(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """Columns of a user as JSON shows them."""
    return {
        name: isoformat(value) if isinstance(value, datetime) else value
        for name, value in zip(names, values, strict=True)
    }
