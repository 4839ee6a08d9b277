"""The tables of users, tags and custom fields."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, event, inspect
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminPart, AdminScoped, Base, BinaryText
from flowkick.users.folding import user_keys, value_key


class User(AdminScoped, Base):
    """A contact of one admin.

    The counters are kept here, in the transaction of what they count, so that neither a list nor an
    event has to count rows. `sequence` numbers the events of this user. What names sort by and what
    `search` looks through follows from the names; it is kept, so that indexes can hold it.
    """

    __tablename__ = "User"
    __table_args__ = (
        UniqueConstraint("adminId", "manychatId"),
        Index(None, "adminId", "createdAt", "id"),
        Index(None, "adminId", "updatedAt", "id"),
        Index(None, "adminId", "firstNameKey", "id"),
        Index(None, "adminId", "lastNameKey", "id"),
        # SQLite's counterpart is the virtual table "UserSearch", which only a migration can make.
        Index(
            "ix_User_searchText",
            "searchText",
            postgresql_using="gin",
            postgresql_ops={"searchText": "gin_trgm_ops"},
        ).ddl_if(dialect="postgresql"),
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
    first_name_key: Mapped[str] = mapped_column("firstNameKey", BinaryText)
    last_name_key: Mapped[str] = mapped_column("lastNameKey", BinaryText)
    search_text: Mapped[str] = mapped_column("searchText")


_NAMES: Final = ("first_name", "last_name", "ig_username", "email")


@event.listens_for(User, "before_insert")
@event.listens_for(User, "before_update")
def _follow_names(_mapper: Any, _connection: Any, user: User) -> None:
    state = inspect(user)
    if not state.persistent or any(state.attrs[name].history.has_changes() for name in _NAMES):
        for key, value in user_keys({name: getattr(user, name) for name in _NAMES}).items():
            setattr(user, key, value)


class UserCount(AdminPart, Base):
    """How many users an admin has: the sum of its rows, which triggers on "User" keep.

    Each connection adds to a row of its own, so that none waits for another's transaction.
    """

    __tablename__ = "UserCount"

    admin_id: Mapped[str] = mapped_column("adminId", primary_key=True)
    share: Mapped[int] = mapped_column("share", primary_key=True, autoincrement=False)
    users: Mapped[int] = mapped_column("users", BigInteger)


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


class ContactTag(AdminPart, Base):
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


class CustomFieldValue(AdminPart, Base):
    """The value that one user has in one custom field: text, or null."""

    __tablename__ = "CustomFieldValue"
    __table_args__ = (
        UniqueConstraint("userId", "fieldId"),
        Index(None, "fieldId", "valueKey", "userId"),
    )

    id: Mapped[str] = mapped_column("id", primary_key=True)
    user_id: Mapped[str] = mapped_column("userId", ForeignKey("User.id", ondelete="CASCADE"))
    field_id: Mapped[str] = mapped_column(
        "fieldId", ForeignKey("CustomField.id", ondelete="CASCADE")
    )
    value: Mapped[str | None] = mapped_column("value")
    value_key: Mapped[str | None] = mapped_column("valueKey")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")


@event.listens_for(CustomFieldValue, "before_insert")
@event.listens_for(CustomFieldValue, "before_update")
def _follow_value(_mapper: Any, _connection: Any, row: CustomFieldValue) -> None:
    row.value_key = value_key(row.value)


class ConsentEntry(AdminScoped, Base):
    """One time that a user gave or withdrew consent. Rows are only ever added.

    `source` says where: what the caller names, or by which way it came in.
    """

    __tablename__ = "Consent"
    __table_args__ = (Index(None, "userId", "createdAt", "id"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    user_id: Mapped[str] = mapped_column("userId", ForeignKey("User.id", ondelete="CASCADE"))
    given: Mapped[bool] = mapped_column("given")
    purpose: Mapped[str] = mapped_column("purpose")
    source: Mapped[str] = mapped_column("source")
    wording: Mapped[str | None] = mapped_column("wording")
    created_at: Mapped[datetime] = mapped_column("createdAt")


class SuppressionKey(AdminScoped, Base):
    """What an admin's suppressed ids are hashed with; sealed, and made with the first erasure."""

    __tablename__ = "SuppressionKey"

    admin_id: Mapped[str] = mapped_column(
        "adminId", ForeignKey("Admin.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column("key")


class Suppression(AdminScoped, Base):
    """The keyed hash of an erased user's manychatId: nobody brings it back unless it consents."""

    __tablename__ = "Suppression"

    admin_id: Mapped[str] = mapped_column(
        "adminId", ForeignKey("Admin.id", ondelete="CASCADE"), primary_key=True
    )
    hash: Mapped[str] = mapped_column("hash", primary_key=True)
    created_at: Mapped[datetime] = mapped_column("createdAt")
