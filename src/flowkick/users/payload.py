"""Users as events and answers show them, for any number of users in two more statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Table, inspect, select

from flowkick.core.clock import isoformat
from flowkick.storage.base import Base
from flowkick.storage.dialects import among, as_shown
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import AnyUser, ContactTag, CustomField, CustomFieldValue, Tag, User
from flowkick.webhooks.payloads import (
    ExportConsent,
    Interactions,
    OptIns,
    Stats,
    TagPayload,
    UserPayload,
    UserTimestamps,
)


def _table(model: type[Base]) -> Table:
    table: Any = inspect(model).local_table
    return table  # type: ignore[no-any-return]


_LINKS: Final = _table(ContactTag)
_TAGS: Final = _table(Tag)
_VALUES: Final = _table(CustomFieldValue)
_FIELDS: Final = _table(CustomField)
# On tables rather than classes, at half of the cost: by far most of a page's time is spent here.
_BY_HAND: Final = {"scoped_by_hand": True}


@dataclass(slots=True)
class Belongings:
    """The tags and custom field values of one user."""

    tags: list[TagPayload] = field(default_factory=list)
    custom_fields: dict[str, str | None] = field(default_factory=dict)


async def load_belongings(
    session: TenantSession, user_ids: Sequence[str]
) -> Mapping[str, Belongings]:
    """What belongs to these users; empty `Belongings` for those who have nothing."""
    found: Mapping[str, Belongings] = defaultdict(Belongings)
    if not user_ids:
        return found
    tags = (
        select(_LINKS.c.userId, _TAGS.c.id, _TAGS.c.name, as_shown(session, _LINKS.c.appliedAt))
        .join_from(_LINKS, _TAGS, _LINKS.c.tagId == _TAGS.c.id)
        .where(_TAGS.c.adminId == session.admin_id, among(session, _LINKS.c.userId, user_ids))
        .order_by(_LINKS.c.appliedAt, _TAGS.c.nameKey)
    )
    for user_id, tag_id, name, applied_at in await session.execute(
        tags, execution_options=_BY_HAND
    ):
        found[user_id].tags.append(TagPayload(tag_id, name, _text(applied_at)))
    values = (
        select(_VALUES.c.userId, _FIELDS.c.name, _VALUES.c.value)
        .join_from(_VALUES, _FIELDS, _VALUES.c.fieldId == _FIELDS.c.id)
        .where(_FIELDS.c.adminId == session.admin_id, among(session, _VALUES.c.userId, user_ids))
        .order_by(_FIELDS.c.name)
    )
    for user_id, name, value in await session.execute(values, execution_options=_BY_HAND):
        found[user_id].custom_fields[name] = value
    return found


async def load_payload(session: TenantSession, user: User) -> UserPayload:
    """One user as events show it."""
    return payload(user, (await load_belongings(session, [user.id]))[user.id])


def payload(user: AnyUser, belongings: Belongings) -> UserPayload:
    """A user as events show it."""
    names = [name for name in (user.first_name, user.last_name) if name]
    return UserPayload(
        id=user.id,
        manychat_id=user.manychat_id,
        instagram_username=user.ig_username,
        instagram_id=user.instagram_id,
        first_name=user.first_name,
        last_name=user.last_name,
        full_name=" ".join(names) or None,
        email=user.email,
        phone=user.phone,
        whatsapp_phone=user.whatsapp_phone,
        gender=user.gender,
        locale=user.locale,
        timezone=user.timezone,
        profile_pic=user.profile_pic,
        opt_ins=OptIns(
            user.opted_in_messenger,
            user.opted_in_instagram,
            user.opted_in_whatsapp,
            user.opted_in_telegram,
        ),
        export_consent=ExportConsent(user.export_consent_given, _moment(user.export_consent_at)),
        tags=belongings.tags,
        custom_fields=belongings.custom_fields,
        interactions=Interactions(
            user.messages_count,
            user.comments_count,
            user.stories_count,
            user.messages_count + user.comments_count + user.stories_count,
            _moment(user.interactions_updated_at),
        ),
        stats=Stats(
            user.bookings_count,
            user.qr_scans_count,
            user.conversations_count,
            _moment(user.last_booking_at),
            _moment(user.last_synced_at),
        ),
        timestamps=UserTimestamps(
            _moment(user.subscribed_at), isoformat(user.created_at), isoformat(user.updated_at)
        ),
    )


def _moment(value: datetime | None) -> str | None:
    return None if value is None else isoformat(value)


def _text(moment: datetime | str) -> str:
    return moment if isinstance(moment, str) else isoformat(moment)
