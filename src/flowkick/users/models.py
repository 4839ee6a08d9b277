"""The tables of users, tags and custom fields."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminScoped, Base


class User(AdminScoped, Base):
    """A contact of one admin.

    The counters are kept here, in the transaction of what they count, so that neither a list nor an
    event has to count rows. `sequence` numbers the events of this user.
    """

    __tablename__ = "User"
    __table_args__ = (
        UniqueConstraint("adminId", "manychatId"),
        Index(None, "adminId", "createdAt", "id"),
    )

    id: Mapped[str] = mapped_column("id", primary_key=True)
    manychat_id: Mapped[str | None] = mapped_column("manychatId")
    instagram_id: Mapped[str | None] = mapped_column("instagramId")
    ig_username: Mapped[str | None] = mapped_column("igUsername")
    first_name: Mapped[str | None] = mapped_column("firstName")
    last_name: Mapped[str | None] = mapped_column("lastName")
    email: Mapped[str | None] = mapped_column("email")
    phone: Mapped[str | None] = mapped_column("phone")
    whatsapp_phone: Mapped[str | None] = mapped_column("whatsappPhone")
    profile_pic: Mapped[str | None] = mapped_column("profilePic")
    gender: Mapped[str | None] = mapped_column("gender")
    locale: Mapped[str | None] = mapped_column("locale")
    timezone: Mapped[str | None] = mapped_column("timezone")
    subscribed_at: Mapped[datetime | None] = mapped_column("subscribedAt")
    opted_in_messenger: Mapped[bool] = mapped_column("optedInMessenger", default=False)
    opted_in_instagram: Mapped[bool] = mapped_column("optedInInstagram", default=False)
    opted_in_whatsapp: Mapped[bool] = mapped_column("optedInWhatsapp", default=False)
    opted_in_telegram: Mapped[bool] = mapped_column("optedInTelegram", default=False)
    export_consent_given: Mapped[bool] = mapped_column("exportConsentGiven", default=False)
    export_consent_at: Mapped[datetime | None] = mapped_column("exportConsentAt")
    last_synced_at: Mapped[datetime | None] = mapped_column("lastSyncedAt")
    messages_count: Mapped[int] = mapped_column("messagesCount", default=0)
    comments_count: Mapped[int] = mapped_column("commentsCount", default=0)
    stories_count: Mapped[int] = mapped_column("storiesCount", default=0)
    interactions_updated_at: Mapped[datetime | None] = mapped_column("interactionsUpdatedAt")
    bookings_count: Mapped[int] = mapped_column("bookingsCount", default=0)
    qr_codes_count: Mapped[int] = mapped_column("qrCodesCount", default=0)
    qr_scans_count: Mapped[int] = mapped_column("qrScansCount", default=0)
    conversations_count: Mapped[int] = mapped_column("conversationsCount", default=0)
    last_booking_at: Mapped[datetime | None] = mapped_column("lastBookingAt")
    sequence: Mapped[int] = mapped_column("sequence", default=0)
    created_at: Mapped[datetime] = mapped_column("createdAt")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")


class NewUser(SimpleNamespace):
    """A user that was just added, with the attributes of `User`.

    To load the row back as a `User` would cost as much as to write it.
    """


AnyUser = User | NewUser


class Tag(AdminScoped, Base):
    """A label of one admin; its name is unique, whatever the case of its letters."""

    __tablename__ = "Tag"
    __table_args__ = (UniqueConstraint("adminId", "nameKey"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    name: Mapped[str] = mapped_column("name")
    name_key: Mapped[str] = mapped_column("nameKey")
    manychat_tag_id: Mapped[str | None] = mapped_column("manychatTagId")
    created_at: Mapped[datetime] = mapped_column("createdAt")


class ContactTag(AdminScoped, Base):
    """A tag on a user. `source` says who put it there: a sync removes only what a sync put."""

    __tablename__ = "ContactTag"
    __table_args__ = (UniqueConstraint("userId", "tagId"), Index(None, "tagId", "userId"))

    id: Mapped[str] = mapped_column("id", primary_key=True)
    user_id: Mapped[str] = mapped_column("userId", ForeignKey("User.id", ondelete="CASCADE"))
    tag_id: Mapped[str] = mapped_column("tagId", ForeignKey("Tag.id", ondelete="CASCADE"))
    source: Mapped[str] = mapped_column("source")
    applied_at: Mapped[datetime] = mapped_column("appliedAt")


class CustomField(AdminScoped, Base):
    """A field that an admin defined, or that ManyChat sent; its name is unique in exact letters."""

    __tablename__ = "CustomField"
    __table_args__ = (UniqueConstraint("adminId", "name"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    name: Mapped[str] = mapped_column("name")
    type: Mapped[str] = mapped_column("type", default="text")
    manychat_field_id: Mapped[str | None] = mapped_column("manychatFieldId")
    created_at: Mapped[datetime] = mapped_column("createdAt")


class CustomFieldValue(AdminScoped, Base):
    """The value that one user has in one custom field: text, or null."""

    __tablename__ = "CustomFieldValue"
    __table_args__ = (UniqueConstraint("userId", "fieldId"), Index(None, "fieldId", "userId"))

    id: Mapped[str] = mapped_column("id", primary_key=True)
    user_id: Mapped[str] = mapped_column("userId", ForeignKey("User.id", ondelete="CASCADE"))
    field_id: Mapped[str] = mapped_column(
        "fieldId", ForeignKey("CustomField.id", ondelete="CASCADE")
    )
    value: Mapped[str | None] = mapped_column("value")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")
