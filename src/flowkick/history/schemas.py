"""The shapes of what users did, on the wire."""

from __future__ import annotations

from datetime import date
from typing import Any

from flowkick.core.schemas import ApiModel, Timestamp


class ToolInShort(ApiModel):
    """A tool, inside of what was booked or redeemed."""

    id: str
    name: str
    type: str


class BookingOfUser(ApiModel):
    """A booking, as its user shows it."""

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

    date: date
    messages_count: int
    comments_count: int
    stories_count: int
    total_count: int


class ConversationOfUser(ApiModel):
    """A conversation without its messages, as its user shows it."""

    id: str
    title: str | None
    messages_count: int
    last_message_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class MessageShown(ApiModel):
    """One message of a conversation."""

    id: str
    role: str
    content: str
    created_at: Timestamp
