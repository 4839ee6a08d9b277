"""The shapes of what users did, on the wire."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from flowkick.core.schemas import ApiModel, Timestamp, shown_as

# Without nulls, which the OpenAPI document would leave out of its examples.
_MOMENTS: Final = {
    "createdAt": "2025-11-06T10:30:00.000Z",
    "updatedAt": "2025-11-06T10:30:00.000Z",
}
TOOL: Final[dict[str, Any]] = {
    "id": "tol_0199f8d2d5e67f31c9a2",
    "name": "Table by the window",
    "type": "table",
}
BOOKING: Final[dict[str, Any]] = {
    "id": "bkg_0199f8d2e8b97a42d0b3",
    "startTime": "2025-11-08T18:00:00.000Z",
    "endTime": "2025-11-08T20:00:00.000Z",
    "status": "pending",
    "notes": "A high chair, please",
    "tool": TOOL,
    **_MOMENTS,
}
QR_CODE: Final[dict[str, Any]] = {
    "id": "qrc_0199f8d2f1c07b53e1c4",
    "code": "WELCOME-7F3K",
    "type": "voucher",
    "metadata": {"discount": 10},
    "active": True,
    "expiresAt": "2025-12-31T23:59:59.000Z",
    "scannedAt": "2025-11-08T18:05:00.000Z",
    "scannedBy": "front-desk",
    "tool": TOOL,
    **_MOMENTS,
}
CONVERSATION: Final[dict[str, Any]] = {
    "id": "cnv_0199f8d307d27c64f2d5",
    "title": "A table for two",
    "messagesCount": 1,
    "lastMessageAt": "2025-11-06T10:30:00.000Z",
    **_MOMENTS,
}
MESSAGE: Final[dict[str, Any]] = {
    "id": "msg_0199f8d30ce37d75a3e6",
    "role": "user",
    "content": "Is there a table for two tonight?",
    "createdAt": "2025-11-06T10:30:00.000Z",
}


class ToolInShort(ApiModel):
    """A tool, inside of what was booked or redeemed."""

    model_config = shown_as(**TOOL)

    id: str
    name: str
    type: str


class BookingOfUser(ApiModel):
    """A booking, as its user shows it."""

    model_config = shown_as(**BOOKING)

    id: str
    start_time: Timestamp
    end_time: Timestamp
    status: str
    notes: str | None
    tool: ToolInShort
    created_at: Timestamp
    updated_at: Timestamp


class QRCodeOfUser(ApiModel):
    """A QR code, as its user shows it."""

    model_config = shown_as(**QR_CODE)

    id: str
    code: str
    type: str
    metadata: dict[str, Any] | None
    active: bool
    expires_at: Timestamp | None
    scanned_at: Timestamp | None
    scanned_by: str | None
    tool: ToolInShort | None
    created_at: Timestamp
    updated_at: Timestamp


class InteractionDay(ApiModel):
    """How often a user interacted on one day (UTC)."""

    model_config = shown_as(
        date="2025-11-06", messagesCount=3, commentsCount=0, storiesCount=1, totalCount=4
    )

    date: date
    messages_count: int
    comments_count: int
    stories_count: int
    total_count: int


class ConversationOfUser(ApiModel):
    """A conversation without its messages, as its user shows it."""

    model_config = shown_as(**CONVERSATION)

    id: str
    title: str | None
    messages_count: int
    last_message_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class MessageShown(ApiModel):
    """One message of a conversation."""

    model_config = shown_as(**MESSAGE)

    id: str
    role: str
    content: str
    created_at: Timestamp
