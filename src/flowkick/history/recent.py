"""The newest of what users did, for any number of users in one query each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select

from flowkick.history.models import (
    AIMessage,
    Booking,
    Conversation,
    InteractionHistory,
    QRCode,
    Tool,
)
from flowkick.storage.dialects import among, newest_of_each
from flowkick.storage.tenancy import TenantSession

Values = dict[str, Any]
ByUser = Mapping[str, list[Values]]
"""By the ids of users: lists that are empty for those who have nothing."""

BOOKINGS: Final = 10
QR_CODES: Final = 10
INTERACTIONS: Final = 30
CONVERSATIONS: Final = 10


async def load_recent_bookings(
    session: TenantSession, user_ids: Sequence[str], limit: int = BOOKINGS
) -> ByUser:
    """The last bookings of each of these users, the latest first: values of `BookingOfUser`."""
    order = (Booking.start_time, Booking.id)
    newest, statement = newest_of_each(
        session, Booking, Booking.user_id, order, user_ids, limit=limit
    )
    rows = await session.execute(statement.add_columns(Tool).join(Tool, newest.tool_id == Tool.id))
    found: ByUser = defaultdict(list)
    for booking, tool in rows:
        found[booking.user_id].append(booking_values(booking, tool))
    return found


async def load_recent_qr_codes(
    session: TenantSession, user_ids: Sequence[str], limit: int = QR_CODES
) -> ByUser:
    """The last QR codes of each of these users, the newest first: values of `QRCodeOfUser`."""
    order = (QRCode.created_at, QRCode.id)
    newest, statement = newest_of_each(
        session, QRCode, QRCode.user_id, order, user_ids, limit=limit
    )
    rows = await session.execute(
        statement.add_columns(Tool).outerjoin(Tool, newest.tool_id == Tool.id)
    )
    found: ByUser = defaultdict(list)
    for qr_code, tool in rows:
        found[str(qr_code.user_id)].append(qr_code_values(qr_code, tool))
    return found


async def load_recent_interactions(
    session: TenantSession, user_ids: Sequence[str], limit: int = INTERACTIONS
) -> ByUser:
    """The last days on which these users interacted, the latest first: `InteractionDay`."""
    model = InteractionHistory
    _, statement = newest_of_each(
        session, model, model.user_id, (model.day,), user_ids, limit=limit
    )
    found: ByUser = defaultdict(list)
    for row in await session.scalars(statement):
        found[row.user_id].append(interaction_values(row))
    return found


async def load_recent_conversations(
    session: TenantSession, user_ids: Sequence[str], limit: int = CONVERSATIONS
) -> ByUser:
    """The last conversations of each of these users, the newest first, with their messages.

    Values of `ConversationOfUser`, and beside them ``messages``: values of `MessageShown`, in the
    order in which they were said.
    """
    model = Conversation
    order = (model.created_at, model.id)
    _, statement = newest_of_each(session, model, model.user_id, order, user_ids, limit=limit)
    conversations = (await session.scalars(statement)).all()
    messages = await _messages(session, [row.id for row in conversations])
    found: ByUser = defaultdict(list)
    for row in conversations:
        found[row.user_id].append({**conversation_values(row), "messages": messages[row.id]})
    return found


async def _messages(session: TenantSession, conversation_ids: Sequence[str]) -> ByUser:
    found: ByUser = defaultdict(list)
    if conversation_ids:
        rows = await session.scalars(
            select(AIMessage)
            .where(among(session, AIMessage.conversation_id, conversation_ids))
            .order_by(AIMessage.conversation_id, AIMessage.number)
        )
        for row in rows:
            found[row.conversation_id].append(message_values(row))
    return found


def tool_values(tool: Tool) -> Values:
    """The values of a `ToolInShort`."""
    return {"id": tool.id, "name": tool.name, "type": tool.type}


def booking_values(booking: Booking, tool: Tool) -> Values:
    """The values of a `BookingOfUser`."""
    return {
        "id": booking.id,
        "start_time": booking.start_time,
        "end_time": booking.end_time,
        "status": booking.status,
        "notes": booking.notes,
        "tool": tool_values(tool),
        "created_at": booking.created_at,
        "updated_at": booking.updated_at,
    }


def qr_code_values(qr_code: QRCode, tool: Tool | None) -> Values:
    """The values of a `QRCodeOfUser`."""
    return {
        "id": qr_code.id,
        "code": qr_code.code,
        "type": qr_code.type,
        "metadata": qr_code.details,
        "active": qr_code.active,
        "expires_at": qr_code.expires_at,
        "scanned_at": qr_code.scanned_at,
        "scanned_by": qr_code.scanned_by,
        "tool": None if tool is None else tool_values(tool),
        "created_at": qr_code.created_at,
        "updated_at": qr_code.updated_at,
    }


def interaction_values(row: InteractionHistory) -> Values:
    """The values of an `InteractionDay`."""
    return {
        "date": row.day,
        "messages_count": row.messages_count,
        "comments_count": row.comments_count,
        "stories_count": row.stories_count,
        "total_count": row.messages_count + row.comments_count + row.stories_count,
    }


def conversation_values(row: Conversation) -> Values:
    """The values of a `ConversationOfUser`."""
    return {
        "id": row.id,
        "title": row.title,
        "messages_count": row.messages_count,
        "last_message_at": row.last_message_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def message_values(row: AIMessage) -> Values:
    """The values of a `MessageShown`."""
    return {
        "id": row.id,
        "role": row.role,
        "content": row.content,
        "created_at": row.created_at,
    }
