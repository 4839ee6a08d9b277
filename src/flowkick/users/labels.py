"""Tags and custom fields as an admin defines them: found by name, made where they are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import select

from flowkick.core.errors import InvalidInput
from flowkick.core.ids import new_id
from flowkick.storage.base import Base
from flowkick.storage.dialects import among, insert_or_ignore
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import CustomField, Tag

_M = TypeVar("_M", bound=Base)
MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class FieldValue:
    """A value for a custom field; `type` and `manychat_field_id` count where the field is new."""

    value: str | None
    type: str | None = None
    manychat_field_id: str | None = None


def tag_key(name: str) -> str:
    """What makes two tags the same: their names without regard to case."""
    return name.strip().casefold()


def check_name(name: str, what: str) -> str:
    """A name without surrounding space; InvalidInput where it can't name a tag or a field."""
    stripped = name.strip()
    if not 1 <= len(stripped) <= MAX_NAME or "\x00" in stripped:
        raise InvalidInput(f"The name of a {what} has 1 to {MAX_NAME} characters.")
    return stripped


async def find_tags(session: TenantSession, names: Iterable[str]) -> dict[str, Tag]:
    """The tags that exist of these names, by their keys."""
    keys = sorted({tag_key(name) for name in names})
    return {row.name_key: row for row in await _named(session, Tag, Tag.name_key, keys)}


async def ensure_tags(
    session: TenantSession,
    names: Iterable[str],
    now: datetime,
    manychat_ids: Mapping[str, str] | None = None,
) -> dict[str, Tag]:
    """The tags of these names, by their keys; missing ones are made."""
    wanted: dict[str, str] = {}
    for name in names:
        wanted.setdefault(tag_key(name), check_name(name, "tag"))  # the first spelling stays
    if not wanted:
        return {}
    found = await find_tags(session, wanted.values())
    missing = [
        {
            "id": new_id("tag"),
            "admin_id": session.admin_id,
            "name": name,
            "name_key": key,
            "manychat_tag_id": (manychat_ids or {}).get(key),
            "created_at": now,
        }
        for key, name in sorted(wanted.items())  # one order for all, so that none deadlock
        if key not in found
    ]
    if missing:
        await session.execute(insert_or_ignore(session, Tag), missing)
        found = await find_tags(session, wanted.values())
    return found


async def ensure_custom_fields(
    session: TenantSession,
    names: Iterable[str],
    definitions: Mapping[str, FieldValue],
    now: datetime,
) -> dict[str, CustomField]:
    """The custom fields of these names; of the missing ones, those in `definitions` are made."""
    wanted = sorted(names)
    found = await _fields(session, wanted)
    missing = [
        {
            "id": new_id("cfd"),
            "admin_id": session.admin_id,
            "name": check_name(name, "custom field"),
            "type": given.type or "text",
            "manychat_field_id": given.manychat_field_id,
            "created_at": now,
        }
        for name, given in sorted(definitions.items(), key=itemgetter(0))
        if name not in found
    ]
    if missing:
        await session.execute(insert_or_ignore(session, CustomField), missing)
        found = await _fields(session, wanted)
    return found


async def _fields(session: TenantSession, names: Sequence[str]) -> dict[str, CustomField]:
    return {row.name: row for row in await _named(session, CustomField, CustomField.name, names)}


async def _named(
    session: TenantSession, model: type[_M], column: Any, names: Sequence[str]
) -> Sequence[_M]:
    rows = await session.scalars(select(model).where(among(session, column, names)))
    return rows.all()
