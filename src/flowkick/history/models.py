"""The tables of what users did. All of it goes with its user."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminScoped, Base, JsonOrNull


class Tool(AdminScoped, Base):
    """What users book or redeem: a table, a class, a QR campaign.

    `exclusive`: no two open bookings of it overlap.
    """

    __tablename__ = "Tool"
    __table_args__ = (Index(None, "adminId", "createdAt", "id"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    name: Mapped[str] = mapped_column("name")
    type: Mapped[str] = mapped_column("type", default="tool")
    description: Mapped[str | None] = mapped_column("description")
    exclusive: Mapped[bool] = mapped_column("exclusive", default=False)
    active: Mapped[bool] = mapped_column("active", default=True)
    created_at: Mapped[datetime] = mapped_column("createdAt")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")


class Booking(AdminScoped, Base):
    """A tool that a user has from `startTime` on, until just before `endTime`."""

    __tablename__ = "Booking"
    __table_args__ = (
        Index(None, "adminId", "startTime", "id"),
        Index(None, "userId", "adminId", "startTime", "id"),
        Index(None, "toolId", "adminId", "startTime", "id"),
    )

    id: Mapped[str] = mapped_column("id", primary_key=True)
    user_id: Mapped[str] = mapped_column("userId", ForeignKey("User.id", ondelete="CASCADE"))
    tool_id: Mapped[str] = mapped_column("toolId", ForeignKey("Tool.id", ondelete="CASCADE"))
    start_time: Mapped[datetime] = mapped_column("startTime")
    end_time: Mapped[datetime] = mapped_column("endTime")
    status: Mapped[str] = mapped_column("status", default="pending")
    notes: Mapped[str | None] = mapped_column("notes")
    created_at: Mapped[datetime] = mapped_column("createdAt")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")


class QRCode(AdminScoped, Base):
    """A code that is scanned once; `scannedAt` and `scannedBy` say when, and by whom."""

    __tablename__ = "QRCode"
    __table_args__ = (
        UniqueConstraint("adminId", "code"),
        Index(None, "adminId", "createdAt", "id"),
        Index(None, "userId", "adminId", "createdAt", "id"),
        Index(None, "toolId", "adminId", "createdAt", "id"),
    )

    id: Mapped[str] = mapped_column("id", primary_key=True)
    code: Mapped[str] = mapped_column("code")
    type: Mapped[str] = mapped_column("type", default="voucher")
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", JsonOrNull)
    active: Mapped[bool] = mapped_column("active", default=True)
    expires_at: Mapped[datetime | None] = mapped_column("expiresAt")
    scanned_at: Mapped[datetime | None] = mapped_column("scannedAt")
    scanned_by: Mapped[str | None] = mapped_column("scannedBy")
    user_id: Mapped[str | None] = mapped_column("userId", ForeignKey("User.id", ondelete="CASCADE"))
    tool_id: Mapped[str | None] = mapped_column(
        "toolId", ForeignKey("Tool.id", ondelete="SET NULL")
    )
    created_at: Mapped[datetime] = mapped_column("createdAt")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")


class InteractionHistory(AdminScoped, Base):
    """How often a user wrote, commented and reacted to stories on one day (UTC)."""

    __tablename__ = "InteractionHistory"
    __table_args__ = (UniqueConstraint("userId", "date"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    user_id: Mapped[str] = mapped_column("userId", ForeignKey("User.id", ondelete="CASCADE"))
    day: Mapped[date] = mapped_column("date", Date)
    messages_count: Mapped[int] = mapped_column("messagesCount", default=0)
    comments_count: Mapped[int] = mapped_column("commentsCount", default=0)
    stories_count: Mapped[int] = mapped_column("storiesCount", default=0)
    created_at: Mapped[datetime] = mapped_column("createdAt")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")


class Conversation(AdminScoped, Base):
    """A chat of a user with an assistant; its messages are counted here."""

    __tablename__ = "Conversation"
    __table_args__ = (
        Index(None, "adminId", "createdAt", "id"),
        Index(None, "userId", "adminId", "createdAt", "id"),
    )

    id: Mapped[str] = mapped_column("id", primary_key=True)
    user_id: Mapped[str] = mapped_column("userId", ForeignKey("User.id", ondelete="CASCADE"))
    title: Mapped[str | None] = mapped_column("title")
    messages_count: Mapped[int] = mapped_column("messagesCount", default=0)
    last_message_at: Mapped[datetime | None] = mapped_column("lastMessageAt")
    created_at: Mapped[datetime] = mapped_column("createdAt")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")


class AIMessage(AdminScoped, Base):
    """One message of a conversation; `number` counts them from 1."""

    __tablename__ = "AIMessage"
    __table_args__ = (UniqueConstraint("conversationId", "number"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    conversation_id: Mapped[str] = mapped_column(
        "conversationId", ForeignKey("Conversation.id", ondelete="CASCADE")
    )
    number: Mapped[int] = mapped_column("number")
    role: Mapped[str] = mapped_column("role")
    content: Mapped[str] = mapped_column("content")
    created_at: Mapped[datetime] = mapped_column("createdAt")
