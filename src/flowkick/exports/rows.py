"""The users of an export, batch by batch, from one snapshot of the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import Select, select

from flowkick.core.clock import isoformat
from flowkick.core.schemas import shown_as
from flowkick.exports.columns import Column, Kind
from flowkick.history import recent
from flowkick.history.recent import ByUser
from flowkick.history.schemas import (
    CONVERSATION,
    MESSAGE,
    BookingOfUser,
    ConversationOfUser,
    InteractionDay,
    MessageShown,
    QRCodeOfUser,
)
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession
from flowkick.users.filters import Criterion, UserFilters, criteria
from flowkick.users.finding import count_users
from flowkick.users.models import ContactTag, CustomFieldValue, Tag, User

Row = tuple[Any, ...]
"""The values of one user, one for each column, of the column's kind."""
BATCH: Final = 1000
_BATCH_WITH_HISTORY: Final = 100
_ALL: Final = 2**31 - 1
# The statement names its admin itself; what tags and fields there are is found in its scope.
_BY_HAND: Final = {"scoped_by_hand": True}
ORDER: Final = (User.created_at.desc(), User.id.desc())
"""The newest first, as in the list; so `limit` gives the newest."""


class TagOfUser(NamedTuple):
    """A tag on a user."""

    id: str
    name: str
    manychat_tag_id: str | None
    applied_at: datetime


class ConversationExported(ConversationOfUser):
    """A conversation with all that was said in it."""

    model_config = shown_as(**CONVERSATION, messages=[MESSAGE])

    messages: list[MessageShown]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which users, and what of them."""

    filters: UserFilters
    fields: Sequence[str] | None = None
    limit: int | None = None
    includes: Sequence[str] = ()

    def described(self) -> dict[str, Any]:
        """The filters that were given, and the limit, as JSON says them."""
        given = self.filters.model_dump(by_alias=True, exclude_defaults=True)
        shown = {k: isoformat(v) if isinstance(v, datetime) else v for k, v in given.items()}
        return shown if self.limit is None else {**shown, "limit": self.limit}


@dataclass(frozen=True, slots=True)
class _History:
    load: Callable[[TenantSession, Sequence[str], int], Awaitable[ByUser]]
    shape: TypeAdapter[Any]


_HISTORY: Final = {
    "bookings": _History(recent.load_recent_bookings, TypeAdapter(list[BookingOfUser])),
    "qrCodes": _History(recent.load_recent_qr_codes, TypeAdapter(list[QRCodeOfUser])),
    "interactionHistory": _History(
        recent.load_recent_interactions, TypeAdapter(list[InteractionDay])
    ),
    "conversations": _History(
        recent.load_recent_conversations, TypeAdapter(list[ConversationExported])
    ),
}


async def count(session: TenantSession, selection: Selection) -> int:
    """How many users the selection has, in the session's snapshot."""
    found = await count_users(session, await criteria(session, selection.filters))
    return found if selection.limit is None else min(found, selection.limit)


async def stream(
    session: TenantSession, columns: Sequence[Column], selection: Selection
) -> AsyncIterator[Sequence[Row]]:
    """The users of the selection, in batches; memory does not grow with their number.

    The session is a snapshot (`Database.snapshot`), so that all of it is of one moment.
    """
    wanted = await criteria(session, selection.filters)
    sources = [column.source for column in columns if column.source is not None]
    statement = users(session, wanted, selection.limit, [User.id, *sources])
    with_history = any(column.kind is Kind.HISTORY for column in columns)
    size = _BATCH_WITH_HISTORY if with_history else BATCH
    result = await session.stream(statement, execution_options={**_BY_HAND, "yield_per": size})
    async for batch in result.partitions(size):
        yield await _complete(session, columns, batch)


def users(
    session: TenantSession, wanted: Sequence[Criterion], limit: int | None, columns: Sequence[Any]
) -> Select[Any]:
    """The users who meet all criteria, in the order of exports."""
    conditions = [item.condition for item in wanted]
    statement = select(*columns).where(User.admin_id == session.admin_id, *conditions)
    return statement.order_by(*ORDER).limit(limit)


async def _complete(
    session: TenantSession, columns: Sequence[Column], batch: Sequence[Sequence[Any]]
) -> list[Row]:
    """Rows with what is not in the table of users itself."""
    ids = [row[0] for row in batch]
    more: dict[str, Mapping[str, Any]] = {
        column.name: await _load_more(session, column, ids)
        for column in columns
        if column.source is None and column.custom is None
    }
    custom = [column.custom.id for column in columns if column.custom is not None]
    values = await _custom_values(session, custom, ids) if custom else {}
    rows = []
    for user_id, *own in batch:
        mine = iter(own)
        rows.append(
            tuple(
                next(mine)
                if column.source is not None
                else values[user_id].get(column.custom.id)
                if column.custom is not None
                else more[column.name][user_id]
                for column in columns
            )
        )
    return rows


async def _load_more(
    session: TenantSession, column: Column, ids: Sequence[str]
) -> Mapping[str, Any]:
    if column.kind is Kind.TAGS:
        return await _tags(session, ids)
    history = _HISTORY[column.name]
    found = await history.load(session, ids, _ALL)
    return {
        user_id: history.shape.dump_python(
            history.shape.validate_python(found.get(user_id, [])), mode="json", by_alias=True
        )
        for user_id in ids
    }


async def _tags(session: TenantSession, ids: Sequence[str]) -> Mapping[str, list[TagOfUser]]:
    statement = (
        select(ContactTag.user_id, Tag.id, Tag.name, Tag.manychat_tag_id, ContactTag.applied_at)
        .join_from(ContactTag, Tag, ContactTag.tag_id == Tag.id)
        .where(Tag.admin_id == session.admin_id, among(session, ContactTag.user_id, ids))
        .order_by(ContactTag.user_id, ContactTag.tag_id)  # as their index has them
    )
    found: Mapping[str, list[TagOfUser]] = defaultdict(list)
    for row in await session.execute(statement, execution_options=_BY_HAND):
        found[row[0]].append(TagOfUser(row[1], row[2], row[3], row[4]))
    return found


async def _custom_values(
    session: TenantSession, field_ids: Sequence[str], ids: Sequence[str]
) -> Mapping[str, dict[str, str | None]]:
    model = CustomFieldValue
    statement = select(model.user_id, model.field_id, model.value).where(
        among(session, model.user_id, ids), among(session, model.field_id, field_ids)
    )
    found: Mapping[str, dict[str, str | None]] = defaultdict(dict)
    for user_id, field_id, value in await session.execute(statement, execution_options=_BY_HAND):
        found[user_id][field_id] = value
    return found
