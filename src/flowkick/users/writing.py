"""Writes users and emits what changed, for any number of users in a constant number of statements.

The rows of the users are locked before their old values are read, so that `changes` are exact, and
the numbers of each user's events have neither gaps nor repeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select

from flowkick.core.clock import isoformat
from flowkick.core.ids import new_id
from flowkick.storage.bulk import DO_NOTHING, BulkStatement
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession
from flowkick.users import fields, ledger
from flowkick.users.days import add_growth
from flowkick.users.folding import value_key
from flowkick.users.labels import FieldValue, ensure_custom_fields, ensure_tags, tag_key
from flowkick.users.ledger import Consent
from flowkick.users.models import AnyUser, ContactTag, CustomField, CustomFieldValue, Tag
from flowkick.users.payload import Belongings, load_belongings, payload
from flowkick.webhooks.outbox import Draft, Frozen, emit_frozen, freeze
from flowkick.webhooks.payloads import (
    Change,
    CustomFieldChange,
    CustomFieldUpdated,
    TagChanged,
    TagPayload,
    UserCreated,
    UserPayload,
    UserUpdated,
)

MANYCHAT: Final = "manychat_sync"
_SLICE: Final = 25
"""So many events are made at once: about half a millisecond."""


@dataclass(slots=True)
class Desired:
    """What is to become of a user; whatever is not named stays as it is."""

    values: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    """Names of tags to put on."""
    removed_tags: Sequence[str] = ()
    tags_are_complete: bool = False
    """`tags` are all that ManyChat knows: others that ManyChat put on before are taken off."""
    manychat_tag_ids: Mapping[str, str] = field(default_factory=dict)
    custom_fields: Mapping[str, FieldValue] = field(default_factory=dict)
    consent: Consent | None = None
    """Goes into the ledger even where nothing changes."""


@dataclass(slots=True)
class Target:
    """A user, locked or just made, and what is to become of it."""

    user: AnyUser
    desired: Desired
    is_new: bool = False
    changes: dict[str, Change] = field(default_factory=dict)
    added: list[Tag] = field(default_factory=list)
    removed: list[tuple[Tag, ContactTag]] = field(default_factory=list)
    field_changes: list[tuple[CustomField, str | None, str | None]] = field(default_factory=list)

    @property
    def status(self) -> str:
        """created, updated or unchanged."""
        if self.is_new:
            return "created"
        changed = self.changes or self.added or self.removed or self.field_changes
        return "updated" if changed else "unchanged"


_CONTACT_TAG: Final = ("id", "admin_id", "user_id", "tag_id", "source", "applied_at")
_VALUE: Final = ("id", "admin_id", "user_id", "field_id", "value", "value_key", "updated_at")
_INSERT_CONTACT_TAGS: Final = BulkStatement.insert(
    ContactTag, *_CONTACT_TAG, on_conflict=DO_NOTHING
)
# A user who was just added can't have values already.
_FIRST_VALUES: Final = BulkStatement.insert(CustomFieldValue, *_VALUE)
_UPSERT_VALUES: Final = BulkStatement.insert(
    CustomFieldValue,
    *_VALUE,
    on_conflict='("userId", "fieldId") DO UPDATE SET value = excluded.value,'
    ' "valueKey" = excluded."valueKey", "updatedAt" = excluded."updatedAt"',
)


async def write(
    session: TenantSession,
    targets: Sequence[Target],
    *,
    source: str,
    now: datetime,
    told: bool = True,
) -> None:
    """Bring users to what is desired, and emit the events that tell of it, in their order.

    Without `told` none are emitted, and no numbers taken: users' next events follow on their last.
    """
    for target in targets:
        if not target.is_new:
            target.changes = fields.apply(target.user, target.desired.values, now)
        if source == MANYCHAT:
            target.user.last_synced_at = now
    await _plan_tags(session, targets, now)
    await _plan_custom_fields(session, targets, now)
    changed = [target for target in targets if target.status != "unchanged"]
    for target in changed:
        target.user.updated_at = now
    known = [target for target in changed if not target.is_new]
    numbers = [_number_events(target) for target in known] if told else []
    await session.flush()
    await ledger.write(session, _consents(targets), source=source, now=now)
    if not told:
        await _write_belongings(session, changed, source, now)
        return
    # The database writes meanwhile: what is told of new users needs nothing of it.
    _, frozen = await asyncio.gather(
        _write_belongings(session, changed, source, now),
        _freeze_new(session.admin_id, changed, source, now),
    )
    drafts = await _drafts(session, known, numbers, now)
    frozen += [freeze(session.admin_id, draft, source, now) for draft in drafts]
    await emit_frozen(session, frozen, now=now)


def _consents(targets: Sequence[Target]) -> list[tuple[AnyUser, Consent | None]]:
    """Those who gave or withdrew consent, and what is known of it."""
    return [
        (target.user, target.desired.consent)
        for target in targets
        if target.desired.consent is not None
        or ledger.CHANGED in target.changes
        or (target.is_new and target.user.export_consent_given)
    ]


async def _write_belongings(
    session: TenantSession, targets: Sequence[Target], source: str, now: datetime
) -> None:
    new = [target for target in targets if target.is_new]
    known = [target for target in targets if not target.is_new]
    await _INSERT_CONTACT_TAGS.run(session, _tag_rows(session.admin_id, targets, source, now))
    await _FIRST_VALUES.run(session, _value_rows(session.admin_id, new, now))
    await _UPSERT_VALUES.run(session, _value_rows(session.admin_id, known, now))
    await _remove_tags(session, known)
    if source == MANYCHAT:
        await add_growth(session, [(one.user.id, one.changes) for one in known], now)


async def make_labels(session: TenantSession, desired: Sequence[Desired], now: datetime) -> None:
    """Make the tags and custom fields that these need, before any of them is written.

    For users who are written one after the other in one transaction: all transactions lock users
    first, then tags, then custom fields, so that none deadlock.
    """
    await _tags(session, desired, now)
    await _custom_fields(session, desired, now)


async def _tags(
    session: TenantSession, desired: Sequence[Desired], now: datetime
) -> dict[str, Tag]:
    names = [name for item in desired for name in item.tags]
    ids = {key: id_ for item in desired for key, id_ in item.manychat_tag_ids.items()}
    return await ensure_tags(session, names, now, ids)


async def _custom_fields(
    session: TenantSession, desired: Sequence[Desired], now: datetime
) -> dict[str, CustomField]:
    names: set[str] = set()
    definitions: dict[str, FieldValue] = {}
    for item in desired:
        for name, given in item.custom_fields.items():
            names.add(name)
            if given.value is not None:
                definitions.setdefault(name, given)
    return await ensure_custom_fields(session, names, definitions, now)


def _number_events(target: Target) -> int:
    """Take the numbers of a user's next events; the first of them."""
    count = bool(target.changes) + len(target.added) + len(target.removed)
    count += len(target.field_changes)
    first = target.user.sequence + 1
    target.user.sequence += count
    return first


async def _plan_tags(session: TenantSession, targets: Sequence[Target], now: datetime) -> None:
    wanted = [
        target
        for target in targets
        if target.desired.tags or target.desired.removed_tags or target.desired.tags_are_complete
    ]
    if not wanted:
        return
    tags = await _tags(session, [target.desired for target in wanted], now)
    known = [target.user.id for target in wanted if not target.is_new]
    present = await _present_tags(session, known) if known else {}
    for target in wanted:
        here = present.get(target.user.id, {})
        keys = dict.fromkeys(tag_key(name) for name in target.desired.tags)
        target.added = [tags[key] for key in keys if key not in here]
        unwanted = {tag_key(name) for name in target.desired.removed_tags}
        target.removed = [
            (tag, link)
            for key, (tag, link) in here.items()
            if key in unwanted
            or (target.desired.tags_are_complete and link.source == MANYCHAT and key not in keys)
        ]


async def _present_tags(
    session: TenantSession, user_ids: Sequence[str]
) -> dict[str, dict[str, tuple[Tag, ContactTag]]]:
    rows = await session.execute(
        select(ContactTag, Tag)
        .join(Tag, ContactTag.tag_id == Tag.id)
        .where(among(session, ContactTag.user_id, user_ids))
    )
    present: dict[str, dict[str, tuple[Tag, ContactTag]]] = {}
    for link, tag in rows:
        present.setdefault(link.user_id, {})[tag.name_key] = (tag, link)
    return present


async def _plan_custom_fields(
    session: TenantSession, targets: Sequence[Target], now: datetime
) -> None:
    wanted = [target for target in targets if target.desired.custom_fields]
    if not wanted:
        return
    known = await _custom_fields(session, [target.desired for target in wanted], now)
    known_users = [target.user.id for target in wanted if not target.is_new]
    present = await _present_values(session, known_users) if known_users else {}
    for target in wanted:
        here = present.get(target.user.id, {})
        for name, given in target.desired.custom_fields.items():
            custom_field = known.get(name)
            if custom_field is None:
                continue  # to clear a field that was never defined changes nothing
            old = here.get(custom_field.id)
            if old != given.value:
                target.field_changes.append((custom_field, old, given.value))


async def _present_values(
    session: TenantSession, user_ids: Sequence[str]
) -> dict[str, dict[str, str | None]]:
    model = CustomFieldValue
    rows = await session.execute(
        select(model.user_id, model.field_id, model.value).where(
            among(session, model.user_id, user_ids)
        )
    )
    present: dict[str, dict[str, str | None]] = {}
    for user_id, field_id, value in rows:
        present.setdefault(user_id, {})[field_id] = value
    return present


def _tag_rows(
    admin_id: str, targets: Sequence[Target], source: str, now: datetime
) -> list[dict[str, Any]]:
    return [
        {
            "id": new_id("ctg"),
            "admin_id": admin_id,
            "user_id": target.user.id,
            "tag_id": tag.id,
            "source": source,
            "applied_at": now,
        }
        for target in targets
        for tag in target.added
    ]


def _value_rows(admin_id: str, targets: Sequence[Target], now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "id": new_id("cfv"),
            "admin_id": admin_id,
            "user_id": target.user.id,
            "field_id": custom_field.id,
            "value": new,
            "value_key": value_key(new),
            "updated_at": now,
        }
        for target in targets
        for custom_field, _, new in target.field_changes
    ]


async def _remove_tags(session: TenantSession, targets: Sequence[Target]) -> None:
    removed = [link.id for target in targets for _, link in target.removed]
    if removed:
        await session.execute(
            delete(ContactTag).where(among(session, ContactTag.id, removed)),
            execution_options={"synchronize_session": False},
        )


def _given(target: Target, now: datetime) -> Belongings:
    """What belongs to a new user: what was just written, in the order of `load_belongings`."""
    moment = isoformat(now)
    tags = sorted(target.added, key=_name_key)
    values = sorted((field.name, new) for field, _, new in target.field_changes)
    return Belongings([TagPayload(tag.id, tag.name, moment) for tag in tags], dict(values))


def _name_key(tag: Tag) -> str:
    return tag.name_key


async def _freeze_new(
    admin_id: str, targets: Sequence[Target], source: str, now: datetime
) -> list[Frozen]:
    """The events of new users, made some at a time, so that no answer of the database waits."""
    frozen: list[Frozen] = []
    new = [target for target in targets if target.is_new]
    for start in range(0, len(new), _SLICE):
        await asyncio.sleep(0)
        for target in new[start : start + _SLICE]:
            user = payload(target.user, _given(target, now))
            # Its row was made with this number taken.
            draft = Draft("user.created", UserCreated(user), user.id, 1)
            frozen.append(freeze(admin_id, draft, source, now))
    return frozen


async def _drafts(
    session: TenantSession, targets: Sequence[Target], numbers: Sequence[int], now: datetime
) -> list[Draft]:
    """The events of users who were there, each user's numbered from the one in `numbers`."""
    belongings = await load_belongings(session, [target.user.id for target in targets])
    drafts: list[Draft] = []
    for target, first in zip(targets, numbers, strict=True):
        user = payload(target.user, belongings[target.user.id])
        drafts += [
            Draft(event, data, user.id, number)
            for number, (event, data) in enumerate(_updates(target, user, now), first)
        ]
    return drafts


def _updates(target: Target, user: UserPayload, now: datetime) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = []
    if target.changes:
        told.append(("user.updated", UserUpdated(user, target.changes)))
    told += [
        ("tag.added", TagChanged(user, TagPayload(tag.id, tag.name, isoformat(now))))
        for tag in target.added
    ]
    for tag, link in target.removed:
        gone = TagPayload(tag.id, tag.name, isoformat(link.applied_at))
        told.append(("tag.removed", TagChanged(user, gone)))
    for custom_field, old, new in target.field_changes:
        change = CustomFieldChange(custom_field.name, custom_field.type, old, new)
        told.append(("customfield.updated", CustomFieldUpdated(user, change)))
    return told
