"""QR codes: made, changed, validated, scanned once. Events are emitted in the same transaction.

Rows are locked in one order, so that none deadlock: the code, then its user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError

from flowkick.core.clock import isoformat
from flowkick.core.errors import Conflict, NotFound
from flowkick.core.ids import new_code, new_id
from flowkick.history.models import QRCode, Tool
from flowkick.qr_codes import events
from flowkick.storage.tenancy import TenantSession
from flowkick.tools.service import find_tool
from flowkick.users.counters import recount_qr_codes
from flowkick.users.models import User
from flowkick.users.service import find_user

_FRESH: Final = {"populate_existing": True}


@dataclass(frozen=True, slots=True)
class Owned:
    """A QR code with its tool and its user, where it has them."""

    qr_code: QRCode
    tool: Tool | None
    user: User | None


async def create_qr_code(
    session: TenantSession, values: Mapping[str, Any], *, source: str, now: datetime
) -> Owned:
    """Add a QR code; Conflict where the admin has this code already."""
    given = {**values, "code": values.get("code") or new_code()}
    qr_code = QRCode(id=new_id("qrc"), **given, created_at=now, updated_at=now)
    user = await find_user(session, qr_code.user_id, lock=True) if qr_code.user_id else None
    tool = await find_tool(session, qr_code.tool_id) if qr_code.tool_id else None
    try:
        async with session.begin_nested():  # so that the transaction outlives a refused code
            session.add(qr_code)
            await session.flush()
    except IntegrityError:
        raise _taken(given["code"]) from None
    if user is not None:
        await recount_qr_codes(session, user, now)
    shown = events.payload(qr_code, tool, user)
    await events.tell_of(session, "qr.created", shown, user, source=source, now=now)
    return Owned(qr_code, tool, user)


async def find_qr_code(session: TenantSession, code: str, *, lock: bool = False) -> QRCode:
    """One QR code by what it says; NotFound where the admin has none that says this."""
    statement = select(QRCode).where(QRCode.code == code)
    if lock:
        statement = statement.with_for_update(key_share=True)
    qr_code = await session.scalar(statement, execution_options=_FRESH)
    if qr_code is None:
        raise NotFound(f"There is no QR code {code}.")
    return qr_code


async def get_owned(session: TenantSession, code: str) -> Owned:
    """One QR code with its tool and its user."""
    qr_code = await find_qr_code(session, code)
    return await _owned(session, qr_code, await _user(session, qr_code, lock=False))


async def get_owned_by_id(session: TenantSession, qr_code_id: str) -> Owned:
    """One QR code by its id, with its tool and its user, whose row stays locked."""
    qr_code = await session.scalar(select(QRCode).where(QRCode.id == qr_code_id))
    if qr_code is None:
        raise NotFound(f"There is no QR code {qr_code_id}.")
    return await _owned(session, qr_code, await _user(session, qr_code, lock=True))


async def change_qr_code(
    session: TenantSession, code: str, values: Mapping[str, Any], now: datetime
) -> Owned:
    """Change a QR code: whether it is active, until when, and what else is noted of it."""
    qr_code = await find_qr_code(session, code, lock=True)
    different = {name: new for name, new in values.items() if getattr(qr_code, name) != new}
    for name, new in different.items():
        setattr(qr_code, name, new)
    if different:
        qr_code.updated_at = now
        await session.flush()
    return await _owned(session, qr_code, await _user(session, qr_code, lock=False))


async def validate_qr_code(
    session: TenantSession, code: str, *, source: str, now: datetime
) -> Owned:
    """Find a QR code valid, and tell so, without using it up; Conflict where it is not valid."""
    check_usable(qr_code := await find_qr_code(session, code), now)
    user = await _user(session, qr_code, lock=True)
    owned = await _owned(session, qr_code, user)
    shown = events.payload(qr_code, owned.tool, user)
    await events.tell_of(session, "qr.validated", shown, user, source=source, now=now)
    return owned


async def scan_qr_code(
    session: TenantSession, code: str, scanned_by: str, *, source: str, now: datetime
) -> Owned:
    """Use a QR code up: of any number of scans at once, one succeeds, and Conflict is the rest's.

    Those that come later are refused by a look at the row, and lock nothing.
    """
    check_usable(await find_qr_code(session, code), now)
    if not await _use_up(session, code, scanned_by, now):
        check_usable(await find_qr_code(session, code), now)
        raise Conflict(f"The QR code {code} was changed meanwhile: scan it again.")
    qr_code = await find_qr_code(session, code)
    user = await _user(session, qr_code, lock=True)
    if user is not None:
        await recount_qr_codes(session, user, now)
    owned = await _owned(session, qr_code, user)
    shown = events.payload(qr_code, owned.tool, user)
    await events.tell_scanned(session, shown, user, scanned_by, source=source, now=now)
    return owned


def check_usable(qr_code: QRCode, now: datetime) -> None:
    """Conflict where a code was scanned, says who and when, or is inactive or expired."""
    if qr_code.scanned_at is not None:
        when, who = isoformat(qr_code.scanned_at), qr_code.scanned_by
        raise Conflict(
            f"The QR code {qr_code.code} was scanned by {who or 'somebody'} at {when}.",
            details=[{"field": "code", "scannedAt": when, "scannedBy": who}],
        )
    if not qr_code.active:
        raise Conflict(
            f"The QR code {qr_code.code} is inactive.", details=[{"field": "code", "active": False}]
        )
    if qr_code.expires_at is not None and qr_code.expires_at <= now:
        when = isoformat(qr_code.expires_at)
        raise Conflict(
            f"The QR code {qr_code.code} expired at {when}.",
            details=[{"field": "code", "expiresAt": when}],
        )


async def _use_up(session: TenantSession, code: str, scanned_by: str, now: datetime) -> bool:
    """The one statement that decides whose scan it is."""
    used = await session.execute(
        update(QRCode)
        .where(
            QRCode.code == code,
            QRCode.active,
            QRCode.scanned_at.is_(None),
            or_(QRCode.expires_at.is_(None), QRCode.expires_at > now),
        )
        .values(scanned_at=now, scanned_by=scanned_by, updated_at=now)
        .returning(QRCode.id),
        execution_options={"synchronize_session": False},
    )
    return used.first() is not None


async def _owned(session: TenantSession, qr_code: QRCode, user: User | None) -> Owned:
    tool = await find_tool(session, qr_code.tool_id) if qr_code.tool_id else None
    return Owned(qr_code, tool, user)


async def _user(session: TenantSession, qr_code: QRCode, *, lock: bool) -> User | None:
    return await find_user(session, qr_code.user_id, lock=lock) if qr_code.user_id else None


def _taken(code: str) -> Conflict:
    return Conflict(
        f"There is a QR code {code} already: choose another, or leave it out to get one made.",
        details=[{"field": "code", "code": code}],
    )
