"""A page of users that meet some criteria, in some order, from a place on.

There are two ways to a page. Walking goes through the index of the order and tests each user until
the page is full: best where many match. Gathering takes all candidates from the index of one
criterion, tests and sorts them: best where few match. Which one it is, is decided by counting
candidates up to a bound, not by statistics: they tell nothing of who clusters where, and an admin
who just imported a million users has none yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, UnaryExpression, case, func, select

from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession
from flowkick.users import search
from flowkick.users.cursors import Order, Position
from flowkick.users.filters import Criterion
from flowkick.users.models import User, UserCount

FEW: Final = 4000
"""So many candidates are gathered in about the time that a page takes to be walked to."""
_SAMPLE: Final = 500
_ESTIMATED_FROM: Final = 2000
_COMMON: Final = 10
"""So many of the sample have a word that is common: no index needs to be asked for it."""
# The statements here name their admin themselves: the index entries of tags and values don't, and
# to look at each row for it would take several times as long. What tags and fields there are was
# found within the admin's scope.
_BY_HAND: Final = {"scoped_by_hand": True}


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a page, and the place of the last of them where there are more."""

    rows: Sequence[Sequence[Any]]
    next: Position | None


async def find_page(
    session: TenantSession,
    criteria: Sequence[Criterion],
    order: Order,
    columns: Sequence[Any],
    *,
    after: Position | None,
    offset: int,
    limit: int,
    few: int = FEW,
) -> Page:
    """The rows with `columns` of the users who meet all `criteria`; `few` decides on the way."""
    statement = select(*columns, order.column, User.id)
    others = [item for item in criteria if item.column is not order.column]
    fewest = await _fewest(session, others, few)
    mine = User.admin_id == session.admin_id if fewest is None else _gathered(session, fewest)
    statement = statement.where(mine, *(item.test for item in criteria))
    if after is not None:
        statement = statement.where(after.beyond(order))
    statement = statement.order_by(*order.expressions).offset(offset or None).limit(limit + 1)
    rows = (await session.execute(statement, execution_options=_BY_HAND)).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        [row[:-2] for row in rows[:limit]], None if last is None else Position(last[-2], last[-1])
    )


def _gathered(session: TenantSession, criterion: Criterion) -> ColumnElement[bool]:
    """The admin's users among the candidates, found by these and by nothing else."""
    if criterion.candidates is None or criterion.member is None:
        raise ValueError("This criterion has no candidates.")
    # The bound was counted in another statement: there may be some more by now.
    bounded = criterion.candidates.limit(2 * FEW).subquery()
    # An expression, so that no database takes an index that begins with the admin.
    mine = User.admin_id.concat("") == session.admin_id
    return mine & criterion.member.in_(select(*bounded.c))


async def _fewest(
    session: TenantSession, criteria: Sequence[Criterion], few: int = FEW
) -> Criterion | None:
    """The criterion with the fewest candidates, if these are fewer than `few`."""
    known = [item for item in criteria if item.candidates is not None]
    if not known:
        return None
    counted = [_count(session, item).label(f"n{number}") for number, item in enumerate(known)]
    counts = (await session.execute(select(*counted), execution_options=_BY_HAND)).one()
    fewest = min(range(len(known)), key=counts.__getitem__)
    return known[fewest] if counts[fewest] < few else None


def _count(session: TenantSession, criterion: Criterion) -> ColumnElement[int]:
    """How many candidates there are, counted up to `FEW`."""
    if criterion.candidates is None:
        raise ValueError("This criterion has no candidates.")
    bounded = criterion.candidates.limit(FEW).subquery()
    counted = select(func.count()).select_from(bounded).scalar_subquery()
    if not criterion.words or is_sqlite(session):
        return counted
    # PostgreSQL's trigram index finds all of a word's users before it gives the first of them.
    newest = (
        select(User.search_text)
        .where(User.admin_id == session.admin_id)
        .order_by(User.created_at.desc(), User.id.desc())
        .limit(_SAMPLE)
        .subquery()
    )
    have = search.holds_words(session, criterion.words, newest.c.search_text)
    sampled = select(func.count()).select_from(newest).where(have).scalar_subquery()
    return case((sampled >= _COMMON, FEW), else_=counted)


async def count_users(session: TenantSession, criteria: Sequence[Criterion]) -> int:
    """How many users meet all `criteria`."""
    if not criteria:
        return int(await session.scalar(select(func.sum(UserCount.users))) or 0)
    statement = select(func.count()).select_from(User)
    fewest = await _fewest(session, criteria)
    if fewest is None:
        mine = User.admin_id == session.admin_id
        statement = statement.where(mine, *(item.condition for item in criteria))
    else:
        statement = statement.where(_gathered(session, fewest), *(item.test for item in criteria))
    return await session.scalar(statement, execution_options=_BY_HAND) or 0


async def estimate_users(session: TenantSession, criteria: Sequence[Criterion]) -> int:
    """About how many users meet all `criteria`: exact where they are few, else by a sample."""
    total = await count_users(session, [])
    if not criteria or total <= 2 * _ESTIMATED_FROM:
        return await count_users(session, criteria)
    if await _fewest(session, criteria) is not None:
        return await count_users(session, criteria)
    oldest = _sampled(session, criteria, User.created_at.asc())
    newest = _sampled(session, criteria, User.created_at.desc())
    hits = await session.scalar(select(oldest + newest), execution_options=_BY_HAND) or 0
    return round(hits * total / (2 * _ESTIMATED_FROM))


def _sampled(
    session: TenantSession, criteria: Sequence[Criterion], end: UnaryExpression[Any]
) -> ColumnElement[int]:
    """How many of the users at one end of the list meet all `criteria`."""
    bounded = (
        select(User.id)
        .where(User.admin_id == session.admin_id)
        .order_by(end)
        .limit(_ESTIMATED_FROM)
        .subquery()
    )
    mine = User.admin_id.concat("") == session.admin_id
    chosen = User.id.in_(select(bounded.c.id))
    return (
        select(func.count())
        .select_from(User)
        .where(mine, chosen, *(item.test for item in criteria))
        .scalar_subquery()
    )
