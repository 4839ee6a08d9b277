"""The users of an export, batch by batch, from one snapshot of the database.

Here they are read as rows of values, for formats with types of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, select

from flowkick.core.clock import isoformat
from flowkick.exports.columns import Column, Kind
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession
from flowkick.users.filters import Criterion, UserFilters, criteria
from flowkick.users.finding import count_users
from flowkick.users.models import ContactTag, CustomFieldValue, Tag, User

Row = tuple[Any, ...]
"""The values of one user, one for each column, of the column's kind."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Text of a file, as `users` are in it."""

    text: bytes
    users: int

    def __len__(self) -> int:
        return self.users


Batch = Sequence[Row] | Lines
Take = Callable[[Callable[[], Batch]], Awaitable[None]]
"""Is given what makes a batch, away from the event loop."""
BATCH: Final = 1000
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


async def count(session: TenantSession, selection: Selection) -> int:
    """How many users the selection has, in the session's snapshot."""
    found = await count_users(session, await criteria(session, selection.filters))
    return found if selection.limit is None else min(found, selection.limit)


async def read_rows(
    session: TenantSession, columns: Sequence[Column], selection: Selection, take: Take
) -> None:
    """Give `take` batches of rows of a selection, in its order."""
    wanted = await criteria(session, selection.filters)
    sources = [column.source for column in columns if column.source is not None]
    statement = users(session, wanted, selection.limit, [User.id, *sources])
    async for batch in batches(session, statement, BATCH):
        rows = await _complete(session, columns, batch)
        await take(lambda rows=rows: rows)  # type: ignore[misc]  # an argument with a default


async def batches(
    session: TenantSession, statement: Select[Any], size: int
) -> AsyncIterator[Sequence[Any]]:
    """The rows of a statement that names its admin; memory does not grow with their number."""
    # Not by the session: to look for objects in the rows takes a tenth of an export's time.
    connection = await session.connection()
    async with connection.stream(statement, execution_options={"yield_per": size}) as result:
        async for batch in result.partitions(size):
            yield batch


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
    tags = await _tags(session, ids) if any(item.kind is Kind.TAGS for item in columns) else {}
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
                else tags[user_id]
                for column in columns
            )
        )
    return rows


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
