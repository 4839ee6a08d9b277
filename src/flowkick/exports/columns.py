"""The registry of what an export can hold of a user, as data: every format writes from it.

A table (CSV) has the columns by their `name`, in the order of this list; a document (JSON) has them
at their `path`. An admin's custom fields follow, by name, whether or not anybody has a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from flowkick.core.errors import InvalidInput
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import CustomField, User

CUSTOM_FIELDS: Final = "customFields"
TAGS: Final = "tags"
PREFIX: Final = "cf_"


class Kind(StrEnum):
    """What the values of a column are, in the rows that writers get."""

    ID = "id"
    """Text or None; never a number, however it looks."""
    TEXT = "text"
    """Text or None."""
    PHONE = "phone"
    """Text or None."""
    BOOLEAN = "boolean"
    MOMENT = "moment"
    """An aware datetime or None."""
    NUMBER = "number"
    """A whole number."""
    TAGS = "tags"
    """A list of `rows.TagOfUser`."""
    HISTORY = "history"
    """A list of objects that JSON can hold; in documents alone."""


@dataclass(frozen=True, slots=True)
class CustomColumn:
    """The custom field that a column holds the values of."""

    id: str
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, and its place in a document."""

    name: str
    """In the header of a table."""
    field: str
    """In the API; `fields` takes either name."""
    kind: Kind
    path: tuple[str, ...]
    """Where the value stands in a document."""
    source: InstrumentedAttribute[Any] | None = None
    """The attribute of `User`; None for tags, custom fields and what is included."""
    custom: CustomColumn | None = None
    in_tables: bool = True
    """Whether a table has it without being asked."""


def _of_user(
    name: str,
    source: InstrumentedAttribute[Any],
    kind: Kind,
    *path: str,
    in_tables: bool = True,
) -> Column:
    field = source.expression.name
    return Column(name, field, kind, path or (field,), source, in_tables=in_tables)


def _profile(name: str, source: InstrumentedAttribute[Any], kind: Kind = Kind.TEXT) -> Column:
    return _of_user(name, source, kind, "profile", source.expression.name)


COLUMNS: Final = (
    _of_user("id", User.id, Kind.ID),
    _of_user("manychat_id", User.manychat_id, Kind.ID),
    _of_user("instagram_id", User.instagram_id, Kind.ID, "instagram", "id"),
    _of_user("instagram_username", User.ig_username, Kind.TEXT, "instagram", "username"),
    _profile("first_name", User.first_name),
    _profile("last_name", User.last_name),
    _profile("email", User.email),
    _profile("phone", User.phone, Kind.PHONE),
    _profile("whatsapp_phone", User.whatsapp_phone, Kind.PHONE),
    _profile("gender", User.gender),
    _profile("locale", User.locale),
    _profile("timezone", User.timezone),
    _of_user("profile_pic", User.profile_pic, Kind.TEXT, "profile", "profilePic", in_tables=False),
    _of_user("opted_in_messenger", User.opted_in_messenger, Kind.BOOLEAN, "optIns", "messenger"),
    _of_user("opted_in_instagram", User.opted_in_instagram, Kind.BOOLEAN, "optIns", "instagram"),
    _of_user("opted_in_whatsapp", User.opted_in_whatsapp, Kind.BOOLEAN, "optIns", "whatsapp"),
    _of_user("opted_in_telegram", User.opted_in_telegram, Kind.BOOLEAN, "optIns", "telegram"),
    _of_user(
        "export_consent_given", User.export_consent_given, Kind.BOOLEAN, "exportConsent", "given"
    ),
    _of_user("export_consent_at", User.export_consent_at, Kind.MOMENT, "exportConsent", "at"),
    _of_user("subscribed_at", User.subscribed_at, Kind.MOMENT, "timestamps", "subscribedAt"),
    _of_user("last_synced_at", User.last_synced_at, Kind.MOMENT, "timestamps", "lastSyncedAt"),
    _of_user("bookings_count", User.bookings_count, Kind.NUMBER, "stats", "bookingsCount"),
    _of_user("qr_codes_count", User.qr_codes_count, Kind.NUMBER, "stats", "qrCodesCount"),
    _of_user(
        "conversations_count", User.conversations_count, Kind.NUMBER, "stats", "conversationsCount"
    ),
    Column("tags", TAGS, Kind.TAGS, (TAGS,)),
    _of_user("created_at", User.created_at, Kind.MOMENT, "timestamps", "createdAt"),
    _of_user("updated_at", User.updated_at, Kind.MOMENT, "timestamps", "updatedAt"),
)
"""What every admin's users have, in the order of tables."""

INCLUDES: Final = {
    name: Column(name, name, Kind.HISTORY, (name,), in_tables=False)
    for name in ("bookings", "qrCodes", "interactionHistory", "conversations")
}
"""What a document can include beside a user's own fields."""


async def find_columns(
    session: TenantSession,
    fields: Sequence[str] | None = None,
    *,
    includes: Sequence[str] = (),
    nested: bool = False,
) -> list[Column]:
    """The columns of an export, in their order: all, or those that `fields` names.

    `fields` takes the names of the table and of the API, `customFields` for all custom fields, and
    `cf_<name>` for one. `nested` is for documents, which have more. Raises InvalidInput where a
    field is unknown.
    """
    known = [*COLUMNS, *await _custom_columns(session)]
    if fields is None:
        chosen = [column for column in known if nested or column.in_tables]
    else:
        wanted = set(fields)
        _check(wanted, known)
        chosen = [column for column in known if wanted & _names(column)]
    return [*chosen, *(column for name, column in INCLUDES.items() if name in includes)]


async def _custom_columns(session: TenantSession) -> list[Column]:
    rows = await session.execute(select(CustomField.id, CustomField.name, CustomField.type))
    return [
        Column(
            f"{PREFIX}{name}",
            f"{PREFIX}{name}",
            Kind.TEXT,
            (CUSTOM_FIELDS, name),
            custom=CustomColumn(id_, name, type_),
        )
        for id_, name, type_ in sorted(rows, key=lambda row: row.name)  # the same on any database
    ]


def _names(column: Column) -> set[str]:
    names = {column.name, column.field}
    return names if column.custom is None else {*names, CUSTOM_FIELDS}


def _check(wanted: set[str], known: Sequence[Column]) -> None:
    unknown = sorted(wanted - {CUSTOM_FIELDS, *(name for item in known for name in _names(item))})
    if unknown:
        fixed = ", ".join(column.field for column in COLUMNS)
        problem = f"unknown {', '.join(unknown)}"
        raise InvalidInput(
            f"fields: {problem}; there are {fixed}, {CUSTOM_FIELDS}, and {PREFIX}<name> for each"
            " custom field.",
            details=[{"field": "fields", "problem": problem}],
        )
