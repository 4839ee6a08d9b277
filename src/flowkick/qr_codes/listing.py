"""QR codes as they are listed: filtered, page by page, with their tools."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from flowkick.history.models import QRCode, Tool
from flowkick.storage.keyset import Page, newest_first
from flowkick.storage.tenancy import TenantSession
from flowkick.tools.service import find_tools


@dataclass(frozen=True, slots=True)
class Filters:
    """Which QR codes are wanted."""

    user_id: str | None = None
    tool_id: str | None = None
    type: str | None = None
    active: bool | None = None
    scanned: bool | None = None


async def list_qr_codes(
    session: TenantSession, filters: Filters, *, limit: int, cursor: str | None
) -> Page[tuple[QRCode, Tool | None]]:
    """A page of QR codes with their tools, the newest first."""
    statement = select(QRCode)
    if filters.user_id is not None:
        statement = statement.where(QRCode.user_id == filters.user_id)
    if filters.tool_id is not None:
        statement = statement.where(QRCode.tool_id == filters.tool_id)
    if filters.type is not None:
        statement = statement.where(QRCode.type == filters.type)
    if filters.active is not None:
        statement = statement.where(QRCode.active.is_(filters.active))
    if filters.scanned is not None:
        was = QRCode.scanned_at.is_not(None)
        statement = statement.where(was if filters.scanned else ~was)
    page = await newest_first(
        session, statement, QRCode.created_at, QRCode.id, limit=limit, cursor=cursor
    )
    tools = await find_tools(session, (row.tool_id for row in page.rows if row.tool_id))
    return Page([(row, tools.get(row.tool_id or "")) for row in page.rows], page.next_cursor)
