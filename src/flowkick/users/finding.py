"""A page of users that meet some criteria, in some order, from a place on.

There are two ways to a page. Walking goes through the index of the order and tests each user until
the page is full: best where many match. Gathering takes all candidates from the index of one
criterion, tests and sorts them: best where few match. Which one it is, is decided by counting
candidates up to a bound, and by a look at the first stretch of the walk, not by statistics: they
tell nothing of who clusters where, and an admin who just imported a million users has none yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, UnaryExpression, case, func, select

from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession
from flowkick.users import search
from flowkick.users.cursors import Order, Position
from flowkick.users.filters import Criterion
from flowkick.users.models import User, UserCount

_GATHERING: Final = 5
"""To gather, test and sort a user costs as much as to walk past so many."""
_SAMPLE: Final = 1000
_COMMON: Final = 4
"""So many of the sample have a word that is common: no index needs to be asked for it."""
_ESTIMATED_FROM: Final = 2000
_COUNTED_BY_INDEX: Final = 4000
# The statements here name their admin themselves: the index entries of tags and values don't, and
# to look at each row for it would take several times as long. What tags and fields there are was
# found within the admin's scope.
_BY_HAND: Final = {"scoped_by_hand": True}


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a page, and the place of the last of them where there are more."""

    rows: Sequence[Sequence[Any]]
    next: Position | None


@dataclass(frozen=True, slots=True)
class Pace:
    """How the way to a page is chosen."""

    stretch: int = 4000
    """Users that are walked past before anything else is thought of."""
    small: int = 1000
    """So many users are walked past before anything else could be counted."""
    few: int | None = None
    """Fewer candidates are gathered at once; None: where that is less work than to walk."""

    def gathered_below(self, needed: int, total: int) -> int:
        """Below so many candidates, gathering costs less than walking is expected to.

        Of n candidates among `total` users, `needed` are found by walking past needed × total / n.
        """
        return isqrt(needed * total // _GATHERING) + 1 if self.few is None else self.few


@dataclass(frozen=True, slots=True)
class _Search:
    """A page that is looked for, whichever way."""

    session: TenantSession
    criteria: Sequence[Criterion]
    order: Order
    columns: Sequence[Any]
    after: Position | None
    offset: int
    limit: int

    @property
    def needed(self) -> int:
        return self.offset + self.limit + 1

    @property
    def others(self) -> list[Criterion]:
        """Those that an index other than the order's knows of."""
        return [
            item
            for item in self.criteria
            if item.candidates is not None and item.column is not self.order.column
        ]

    def _ordered(self) -> list[ColumnElement[bool]]:
        """What the index of the order narrows down."""
        bounds = [i.condition for i in self.criteria if i.column is self.order.column]
        return bounds if self.after is None else [*bounds, self.after.beyond(self.order)]

    async def walk(
        self,
        *,
        since: Position | None = None,
        until: Position | None = None,
        found: int = 0,
        among: Criterion | None = None,
    ) -> Sequence[Any]:
        """Rows in their order, beyond `since` up to `until`; so many `found` already.

        With `among`, its candidates are read first, and each user is looked for there.
        """
        mine = [User.admin_id == self.session.admin_id, *self._ordered()]
        if since is not None:
            mine.append(since.beyond(self.order))
        if until is not None:
            mine.append(until.not_beyond(self.order))
        if among is not None:
            # As a value, so that no database makes a join of it.
            mine.append(_member(among).in_(_candidates(among)).is_(True))
        settled = among if among is not None and among.exact else None
        tests = [item.test for item in self._unordered() if item is not settled]
        return await self._rows([*mine, *tests], found)

    async def gather(self, criterion: Criterion, known: int) -> Sequence[Any]:
        """Rows of all candidates, of which about so many are known."""
        gathered = _gathered(self.session, criterion, known, self._unordered())
        return await self._rows([*gathered, *self._ordered()])

    def _unordered(self) -> list[Criterion]:
        return [item for item in self.criteria if item.column is not self.order.column]

    async def _rows(
        self, conditions: Sequence[ColumnElement[bool]], found: int = 0
    ) -> Sequence[Any]:
        statement = (
            select(*self.columns, self.order.column, User.id)
            .where(*conditions)
            .order_by(*self.order.expressions)
            .offset(self.offset or None)
            .limit(self.limit + 1 - found)
        )
        return (await self.session.execute(statement, execution_options=_BY_HAND)).all()

    async def place_after(self, users: int) -> Position | None:
        """The place so many users further on; None where the list ends before."""
        statement = (
            self.order.places()
            .where(User.admin_id == self.session.admin_id, *self._ordered())
            .offset(users)
            .limit(1)
        )
        row = (await self.session.execute(statement, execution_options=_BY_HAND)).one_or_none()
        return None if row is None else Position(row[0], row[1])

    def page(self, rows: Sequence[Any]) -> Page:
        last = rows[self.limit - 1] if len(rows) > self.limit else None
        place = None if last is None else Position(last[-2], last[-1])
        return Page([row[:-2] for row in rows[: self.limit]], place)


async def find_page(
    session: TenantSession,
    criteria: Sequence[Criterion],
    order: Order,
    columns: Sequence[Any],
    *,
    after: Position | None,
    offset: int,
    limit: int,
    pace: Pace,
) -> Page:
    """The rows with `columns` of the users who meet all `criteria`."""
    wanted = _Search(session, criteria, order, columns, after, offset, limit)
    return wanted.page(await _find_rows(wanted, pace))


async def _find_rows(wanted: _Search, pace: Pace) -> Sequence[Any]:
    if not wanted.others:
        return await wanted.walk()
    total = await count_users(wanted.session, [])
    if total <= pace.small:
        return await wanted.walk()
    few = pace.gathered_below(wanted.needed, total)
    fewest, known = await _fewest(wanted.session, wanted.others, few)
    if known < few:
        return await wanted.gather(fewest, known)
    until = await wanted.place_after(pace.stretch)
    rows = await wanted.walk(until=until)
    if until is None or len(rows) > wanted.limit:
        return rows
    # Here there are less than the candidates of any one criterion let hope for.
    expected = min(pace.stretch * wanted.needed // (len(rows) + 1), total)
    most = max(few, expected // _GATHERING)
    largest = max(most, expected)
    for bound in sorted({min(8 * few, largest), largest}):  # who is found by the less, saves time
        fewest, known = await _fewest(wanted.session, wanted.others, bound)
        if known < bound:
            break
    if known < most:
        return await wanted.gather(fewest, known)
    # A walk past more users than there are candidates looks each up among these.
    among = fewest if known < expected else None
    if wanted.offset:  # how many of them the stretch held is not known
        return await wanted.walk(among=among)
    return [*rows, *await wanted.walk(since=until, found=len(rows), among=among)]


def _gathered(
    session: TenantSession, criterion: Criterion, known: int, criteria: Sequence[Criterion]
) -> list[ColumnElement[bool]]:
    """The admin's users among the candidates who meet all `criteria`; found by nothing else.

    Candidates that another of `criteria` rules out by an index are left out before their rows are
    read.
    """
    # They were counted in another statement: there may be some more by now.
    bounded = _candidates(criterion).limit(2 * known + 1000).subquery()
    chosen = select(*bounded.c)
    tested = [item for item in criteria if item is not criterion or not item.exact]
    if criterion.member is User.id:
        (user_id,) = bounded.c
        others = [item for item in tested if item is not criterion]
        chosen = chosen.where(*(item.probe(user_id) for item in others if item.probe is not None))
        tested = [item for item in tested if item.probe is None or item is criterion]
    # An expression, so that no database takes an index that begins with the admin.
    mine = User.admin_id.concat("") == session.admin_id
    return [mine, _member(criterion).in_(chosen), *(item.test for item in tested)]


def _candidates(criterion: Criterion) -> Select[Any]:
    if criterion.candidates is None:
        raise ValueError("This criterion has no candidates.")
    return criterion.candidates


def _member(criterion: Criterion) -> Any:
    return criterion.member


async def _fewest(
    session: TenantSession, criteria: Sequence[Criterion], most: int
) -> tuple[Criterion, int]:
    """The criterion with the fewest candidates, and how many, counted up to `most`."""
    counted = [_count(session, c, most).label(f"n{number}") for number, c in enumerate(criteria)]
    counts = (await session.execute(select(*counted), execution_options=_BY_HAND)).one()
    fewest = min(range(len(criteria)), key=counts.__getitem__)
    return criteria[fewest], counts[fewest]


def _count(session: TenantSession, criterion: Criterion, most: int) -> ColumnElement[int]:
    """How many candidates there are, counted up to `most`."""
    bounded = _candidates(criterion).limit(most).subquery()
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
    return case((sampled >= _COMMON, most), else_=counted)


async def count_users(session: TenantSession, criteria: Sequence[Criterion]) -> int:
    """How many users meet all `criteria`."""
    if not criteria:
        return int(await session.scalar(select(func.sum(UserCount.users))) or 0)
    if len(criteria) == 1 and criteria[0].exact:
        counted = select(func.count()).select_from(_candidates(criteria[0]).subquery())
        return await session.scalar(counted, execution_options=_BY_HAND) or 0
    conditions = [User.admin_id == session.admin_id, *(item.condition for item in criteria)]
    if (few := await _few(session, criteria)) is not None:
        conditions = _gathered(session, few, _COUNTED_BY_INDEX, criteria)
    statement = select(func.count()).select_from(User).where(*conditions)
    return await session.scalar(statement, execution_options=_BY_HAND) or 0


async def _few(session: TenantSession, criteria: Sequence[Criterion]) -> Criterion | None:
    """The criterion with the fewest candidates, where an index makes all others cheap to test."""
    known = [item for item in criteria if item.candidates is not None]
    if not known:
        return None
    fewest, count = await _fewest(session, known, _COUNTED_BY_INDEX)
    return fewest if count < _COUNTED_BY_INDEX else None


async def estimate_users(session: TenantSession, criteria: Sequence[Criterion]) -> int:
    """About how many users meet all `criteria`: exact where they are few, else by a sample."""
    total = await count_users(session, [])
    is_small = total <= 2 * _ESTIMATED_FROM
    if is_small or not criteria or await _few(session, criteria) is not None:
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
