"""Emitters of what becomes of QR codes, which stand in the table "QRCode"."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from flowkick.core.clock import system_clock
from flowkick.emitters.joining import SOURCE, joined
from flowkick.qr_codes import events
from flowkick.qr_codes.service import Owned, get_owned_by_id
from flowkick.storage.tenancy import TenantSession
from flowkick.users.counters import recount_qr_codes


async def emit_qr_created(session: AsyncSession, admin_id: str, qr_code_id: str) -> str:
    """Tell that a QR code was made, and count it; returns the event's id.

    NotFound for an unknown one.
    """
    return await _emit(session, admin_id, qr_code_id, "qr.created")


async def emit_qr_validated(session: AsyncSession, admin_id: str, qr_code_id: str) -> str:
    """Tell that a QR code was checked and found valid."""
    return await _emit(session, admin_id, qr_code_id, "qr.validated")


async def emit_qr_scanned(
    session: AsyncSession, admin_id: str, qr_code_id: str, scanned_by: str | None
) -> str:
    """Tell that a QR code was scanned, by whom, and count it."""
    now = system_clock()
    async with joined(session, admin_id) as ours:
        owned = await _counted(ours, qr_code_id, now)
        shown = events.payload(owned.qr_code, owned.tool, owned.user)
        return await events.tell_scanned(
            ours, shown, owned.user, scanned_by, source=SOURCE, now=now
        )


async def _emit(session: AsyncSession, admin_id: str, qr_code_id: str, event: str) -> str:
    now = system_clock()
    async with joined(session, admin_id) as ours:
        owned = await _counted(ours, qr_code_id, now)
        shown = events.payload(owned.qr_code, owned.tool, owned.user)
        return await events.tell_of(ours, event, shown, owned.user, source=SOURCE, now=now)


async def _counted(session: TenantSession, qr_code_id: str, now: datetime) -> Owned:
    """The QR code, with its user locked and its counters brought up to date."""
    owned = await get_owned_by_id(session, qr_code_id)
    if owned.user is not None:
        await recount_qr_codes(session, owned.user, now)
    return owned
