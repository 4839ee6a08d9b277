"""Emitters of what becomes of users, their tags and custom fields."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from flowkick.core.clock import isoformat, system_clock
from flowkick.core.errors import NotFound
from flowkick.delivery.models import WebhookEvent
from flowkick.emitters.joining import SOURCE, Changes, joined, told
from flowkick.storage.tenancy import TenantSession
from flowkick.users.labels import find_tags, tag_key
from flowkick.users.models import ContactTag, CustomField, User
from flowkick.users.payload import load_payload
from flowkick.users.service import find_user
from flowkick.users.telling import tell
from flowkick.webhooks import outbox
from flowkick.webhooks.outbox import Draft
from flowkick.webhooks.payloads import (
    CustomFieldChange,
    CustomFieldUpdated,
    DeletedUser,
    TagChanged,
    TagPayload,
    UserCreated,
    UserDeleted,
    UserUpdated,
)

_DELETED: Final = "user.deleted"


async def _record(session: TenantSession, user: User, event: str, data: Any) -> str:
    return await tell(session, user, event, data, source=SOURCE, now=system_clock())


async def emit_user_created(session: AsyncSession, admin_id: str, user_id: str) -> str:
    """Tell that a user was added; returns the event's id. NotFound for an unknown user."""
    async with joined(session, admin_id) as ours:
        user = await find_user(ours, user_id, lock=True)
        return await _record(
            ours, user, "user.created", UserCreated(await load_payload(ours, user))
        )


async def emit_user_updated(
    session: AsyncSession, admin_id: str, user_id: str, changes: Changes
) -> str | None:
    """Tell that fields of a user changed: ``{field: {"old": …, "new": …}}``.

    Entries whose values are equal are left out; None where nothing is left to tell.
    """
    if not (different := told(changes)):
        return None
    async with joined(session, admin_id) as ours:
        user = await find_user(ours, user_id, lock=True)
        data = UserUpdated(await load_payload(ours, user), different)
        return await _record(ours, user, "user.updated", data)


async def emit_user_deleted(
    session: AsyncSession, admin_id: str, user_id: str, manychat_id: str | None = None
) -> str:
    """Tell that a user is being deleted, before its row goes or after.

    After, `manychat_id` is what the event shows, and NotFound is raised for a user of whom nothing
    was ever told, or the end was told already.
    """
    async with joined(session, admin_id) as ours:
        user = await ours.scalar(select(User).where(User.id == user_id).with_for_update())
        if user is not None:
            data = UserDeleted(DeletedUser(user.id, user.manychat_id))
            return await _record(ours, user, _DELETED, data)
        data = UserDeleted(DeletedUser(user_id, manychat_id))
        draft = Draft(_DELETED, data, user_id, await _last_number(ours, user_id) + 1)
        (event_id,) = await outbox.emit(ours, [draft], source=SOURCE, now=system_clock())
        return event_id


async def _last_number(session: TenantSession, user_id: str) -> int:
    """The number of the last event of a user whose row is gone."""
    last = await session.scalar(
        select(WebhookEvent)
        .where(WebhookEvent.user_id == user_id)
        .order_by(WebhookEvent.sequence.desc())
        .limit(1)
    )
    if last is None or last.event == _DELETED:
        raise NotFound(f"There is no user {user_id}.")
    return last.sequence


async def emit_tag_added(session: AsyncSession, admin_id: str, user_id: str, tag_name: str) -> str:
    """Tell that a tag was put on a user; NotFound where the tag does not exist."""
    return await _emit_tag(session, admin_id, user_id, tag_name, "tag.added")


async def emit_tag_removed(
    session: AsyncSession, admin_id: str, user_id: str, tag_name: str
) -> str:
    """Tell that a tag was taken from a user."""
    return await _emit_tag(session, admin_id, user_id, tag_name, "tag.removed")


async def _emit_tag(
    session: AsyncSession, admin_id: str, user_id: str, tag_name: str, event: str
) -> str:
    async with joined(session, admin_id) as ours:
        user = await find_user(ours, user_id, lock=True)
        tag = (await find_tags(ours, [tag_name])).get(tag_key(tag_name))
        if tag is None:
            raise NotFound(f"There is no tag {tag_name}.")
        link = await ours.scalar(
            select(ContactTag).where(ContactTag.user_id == user_id, ContactTag.tag_id == tag.id)
        )
        applied_at = link.applied_at if link else system_clock()
        data = TagChanged(
            await load_payload(ours, user), TagPayload(tag.id, tag.name, isoformat(applied_at))
        )
        return await _record(ours, user, event, data)


async def emit_custom_field_updated(  # noqa: PLR0917  # as callers write it
    session: AsyncSession,
    admin_id: str,
    user_id: str,
    name: str,
    old_value: str | None,
    new_value: str | None,
) -> str | None:
    """Tell that a custom field of a user changed; None where the values are equal."""
    if old_value == new_value:
        return None
    async with joined(session, admin_id) as ours:
        user = await find_user(ours, user_id, lock=True)
        known = await ours.scalar(select(CustomField).where(CustomField.name == name))
        change = CustomFieldChange(name, known.type if known else "text", old_value, new_value)
        data = CustomFieldUpdated(await load_payload(ours, user), change)
        return await _record(ours, user, "customfield.updated", data)
