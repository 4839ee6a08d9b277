"""QR codes as events show them, and the events themselves."""

from __future__ import annotations

from datetime import datetime

from flowkick.core.clock import isoformat
from flowkick.history.models import QRCode, Tool
from flowkick.storage.tenancy import TenantSession
from flowkick.tools.payload import tool_payload
from flowkick.users.models import User
from flowkick.users.payload import load_payload
from flowkick.users.telling import contact, tell
from flowkick.webhooks.payloads import QRCodeOfUser, QRCodePayload, QRCodeScanned


def payload(qr_code: QRCode, tool: Tool | None, user: User | None) -> QRCodePayload:
    """A QR code as events show it."""
    return QRCodePayload(
        id=qr_code.id,
        code=qr_code.code,
        type=qr_code.type,
        metadata=qr_code.details,
        active=qr_code.active,
        expires_at=_moment(qr_code.expires_at),
        scanned_at=_moment(qr_code.scanned_at),
        scanned_by=qr_code.scanned_by,
        tool=None if tool is None else tool_payload(tool),
        user=None if user is None else contact(user),
        created_at=isoformat(qr_code.created_at),
    )


async def tell_of(
    session: TenantSession,
    event: str,
    shown: QRCodePayload,
    user: User | None,
    *,
    source: str,
    now: datetime,
) -> str:
    """Tell that a QR code was made or validated, by that event's name."""
    whole = None if user is None else await load_payload(session, user)
    return await tell(session, user, event, QRCodeOfUser(shown, whole), source=source, now=now)


async def tell_scanned(
    session: TenantSession,
    shown: QRCodePayload,
    user: User | None,
    scanned_by: str | None,
    *,
    source: str,
    now: datetime,
) -> str:
    """Tell that a QR code was scanned, and by whom."""
    whole = None if user is None else await load_payload(session, user)
    data = QRCodeScanned(shown, whole, scanned_by)
    return await tell(session, user, "qr.scanned", data, source=source, now=now)


def _moment(value: datetime | None) -> str | None:
    return None if value is None else isoformat(value)
