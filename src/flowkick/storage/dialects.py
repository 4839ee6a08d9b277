"""SQL that the two databases spell differently, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Select,
    any_,
    bindparam,
    cast,
    func,
    select,
    text,
    true,
    type_coerce,
)
from sqlalchemy import column as sql_column
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.types import Text

_M = TypeVar("_M")
DELIVERIES_CHANNEL = "flowkick_deliveries"
"""The PostgreSQL notification channel on which a commit that queued deliveries is told."""
EVENTS_CHANNEL = "flowkick_events"
"""The one on which a commit is told that recorded events, but queued no delivery of them."""
_DEADLOCK_DETECTED = "40P01"


def is_sqlite(session: AsyncSession) -> bool:
    """Whether the session speaks to SQLite."""
    return session.get_bind().dialect.name == "sqlite"


def insert_or_ignore(session: AsyncSession, model: type[Any]) -> Any:
    """``INSERT … ON CONFLICT DO NOTHING`` into the table of `model`."""
    insert = sqlite_insert if is_sqlite(session) else postgres_insert
    return insert(model).on_conflict_do_nothing()


def among(session: AsyncSession, column: Any, values: Sequence[Any]) -> ColumnElement[bool]:
    """`column` is one of `values`: one parameter, however many they are."""
    if is_sqlite(session):
        # unique=True: a statement may hold several lists
        listed = bindparam("listed", json.dumps(list(values)), type_=Text, unique=True)
        each = func.json_each(listed).table_valued("value")
        return column.in_(select(each.c.value))  # type: ignore[no-any-return]
    return column == any_(  # type: ignore[no-any-return]
        cast(bindparam("listed", list(values), unique=True), ARRAY(column.type))
    )


def one_by_one(
    session: AsyncSession, model: type[_M], column: Any, values: Sequence[str], *, lock: bool
) -> Select[_M]:
    """Rows of `model` whose `column` is one of `values`, found by one look-up in an index each.

    With `lock`, PostgreSQL locks them in the order of `values`; SQLite has one writer anyway.

    PostgreSQL's planner believes an admin with a million users, who came since it last looked, to
    have a dozen: with `among` it would read all of them and compare. A row that is locked inside
    LATERAL leaves it no choice.
    """
    if is_sqlite(session):
        return select(model).where(among(session, column, values))
    array = func.unnest(cast(list(values), ARRAY(Text)))
    given = array.table_valued(sql_column("value", Text)).render_derived("given")
    one = select(model).where(column == given.c.value)
    one = one.with_for_update() if lock else one.offset(0)
    found = aliased(model, one.lateral())
    return select(found).select_from(given).join(found, true())


def newest_of_each(
    session: AsyncSession,
    model: type[_M],
    owner: InstrumentedAttribute[Any],
    order: Sequence[InstrumentedAttribute[Any]],
    owners: Sequence[str],
    *,
    limit: int,
) -> tuple[type[_M], Select[_M]]:
    """The first `limit` rows of each of `owners`, by `order` from its end.

    Gives an alias of `model`, and the statement that selects it, which can be joined to more.

    PostgreSQL reads no more rows than it gives, and finds them by the owner's index, whatever its
    statistics say. SQLite has no LATERAL, and numbers all rows of these owners.
    """
    by = [column.desc() for column in order]
    id_: Any = model.id  # type: ignore[attr-defined]  # every model that is listed has one
    if is_sqlite(session):
        place = func.row_number().over(partition_by=owner, order_by=by).label("place")
        theirs = select(id_.label("id"), place).where(among(session, owner, owners)).subquery()
        found = model
        statement = select(found).join(theirs, theirs.c.id == id_).where(theirs.c.place <= limit)
    else:
        array = func.unnest(cast(list(owners), ARRAY(Text)))
        given = array.table_valued(sql_column("value", Text)).render_derived("given")
        first = select(model).where(owner == given.c.value).order_by(*by).limit(limit)
        found = aliased(model, first.lateral())
        statement = select(found).select_from(given).join(found, true())
    return found, statement.order_by(*(getattr(found, column.key).desc() for column in order))


def as_shown(session: AsyncSession, moment: Any) -> Any:
    """A column of moments, read as SQLite keeps them: just as answers show them."""
    return type_coerce(moment, Text) if is_sqlite(session) else moment


def is_deadlock(error: DBAPIError) -> bool:
    """Whether PostgreSQL gave a transaction up, so that others get the locks. SQLite has none."""
    return getattr(error.orig, "sqlstate", None) == _DEADLOCK_DETECTED


async def notify(session: AsyncSession, channel: str) -> None:
    """Tell other processes when this transaction commits. On SQLite, they see it by themselves."""
    if not is_sqlite(session):
        await session.execute(
            text("SELECT pg_notify(:channel, '')"),
            {"channel": channel},
            execution_options={"scoped_by_hand": True},
        )
