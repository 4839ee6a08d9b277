"""The feed: all events of an admin in one order, to be read on from a cursor.

A cursor is a place between two events. Nothing is ever put in before a place that was given out
(see `positions`), so whoever goes on from the last cursor gets each event exactly once.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Select, func, literal, select, tuple_

from flowkick.core.errors import Gone, InvalidInput
from flowkick.delivery.models import WebhookEvent
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession
from flowkick.webhooks.catalogue import OPERATIONAL
from flowkick.webhooks.positions import Bounds, bounds

STRETCH: Final = 10_000
"""So many events are looked through for those that are wanted before an answer is given."""
_MOST_BYTES: Final = 8 * 1024 * 1024
_MARK: Final = "f1."
NOW: Final = "now"
_ADVICE: Final = "pass what nextCursor gave, or `now` to begin with what comes"


class Place(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A place in the feed: right behind the event `id` at `position`.

    `at` is the moment, in milliseconds, up to which everything is before this place.
    """

    position: int
    id: str
    at: int

    def encode(self) -> str:
        """As `nextCursor` gives it."""
        packed = msgspec.json.encode(self)
        return _MARK + base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def decode(cls, cursor: str) -> Place:
        """The place of a cursor; InvalidInput where it has none."""
        packed = cursor.removeprefix(_MARK)
        try:
            if packed == cursor:
                raise _wrong()
            plain = base64.b64decode(
                packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True
            )
            place = msgspec.json.decode(plain, type=cls)
        except (binascii.Error, msgspec.MsgspecError, ValueError):
            raise _wrong() from None
        if not place.id.isprintable() or not _LOWEST <= place.position < 2**63 - 1:
            raise _wrong()
        return place


_LOWEST: Final = -(2**62)
"""Before all events: positions begin at 0, but for those that a dump brought to another server."""


def _wrong() -> InvalidInput:
    details = [{"field": "after", "problem": _ADVICE}]
    return InvalidInput(f"The cursor in `after` can't be used: {_ADVICE}.", details=details)


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, and where to go on."""

    bodies: Sequence[bytes]
    next: Place
    has_more: bool
    removed: int
    """Events between the two places whose bodies are no longer kept."""
    coming: bool
    """Whether there are events that may not be given before another transaction ends."""


async def read_page(
    session: TenantSession,
    after: Place | None,
    *,
    names: Sequence[str] | None,
    limit: int,
    now: datetime,
    kept_for: timedelta | None = None,
    stretch: int = STRETCH,
) -> Page:
    """The events behind `after`, or from the beginning; of `names`, or what ``*`` stands for.

    Raises Gone where `after` is of a database that this one is not, or no longer, or where what
    follows it may be removed already, since events are `kept_for` so long.
    """
    until = await bounds(session)
    if after is not None:
        _check(after, until, None if kept_for is None else _milliseconds(now - kept_for))
    walk = _Walk(session, after or Place(_LOWEST, "", 0), until, _milliseconds(now), names, stretch)
    rows = await walk.rows(limit + 1)
    chosen = _up_to_bytes(rows[:limit])
    if len(chosen) < len(rows):
        place, more = _behind(chosen[-1]), True
    else:
        place, more = await walk.end()
    bodies = await _bodies(session, [row.id for row in chosen if row.size])
    return Page(
        [bodies[row.id] for row in chosen if row.id in bodies],
        place,
        more,
        sum(row.id not in bodies for row in chosen),
        coming=not more and not chosen and await _is_coming(session, until),
    )


async def end_of_feed(session: TenantSession, *, now: datetime) -> Page:
    """No events, and the place behind all that are there."""
    until = await bounds(session)
    place = Place(until.settled, "", _milliseconds(now))
    return Page([], place, has_more=False, removed=0, coming=False)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _behind(row: Any) -> Place:
    return Place(row.position, row.id, _milliseconds(row.recorded_at))


def _check(after: Place, until: Bounds, oldest: int | None) -> None:
    if oldest is not None and after.at < oldest:
        raise Gone(
            "What follows this cursor may be removed by now: begin anew without `after`, drop what"
            " you have seen by its id, and look for what you miss with /api/admin/reconcile."
        )
    if after.position > until.given_out:
        raise Gone(
            "This cursor is of a later state of the database, which was restored from a copy since:"
            " begin anew without `after`, and drop events that you have seen by their ids."
        )


@dataclass(frozen=True, slots=True)
class _Walk:
    """A way through the feed from a place on, as far as it is settled."""

    session: TenantSession
    after: Place
    until: Bounds
    now: int
    names: Sequence[str] | None
    stretch: int

    async def rows(self, limit: int) -> Sequence[Any]:
        """(position, id, recorded_at, size of the body) of the events that are wanted."""
        size = func.length(WebhookEvent.body).label("size")
        if self.names is None:
            # What is about the machinery is for those who name it.
            users = WebhookEvent.event.not_in(OPERATIONAL)
            plain = await self.session.execute(self._all(size).where(users).limit(limit))
            return list(plain)
        mine = WebhookEvent.admin_id == self.session.admin_id
        walked = self._all(size, WebhookEvent.event).where(mine).limit(self.stretch).subquery()
        statement: Select[Any] = (
            select(walked.c.position, walked.c.id, walked.c.recorded_at, walked.c.size)
            .where(among(self.session, walked.c.event, self.names))
            .order_by(walked.c.position, walked.c.id)
            .limit(limit)
        )
        by_hand = {"scoped_by_hand": True}
        return list(await self.session.execute(statement, execution_options=by_hand))

    async def end(self) -> tuple[Place, bool]:
        """Where to go on when all that was looked through is given, and whether more is there."""
        if self.names is not None:
            statement = self._all().offset(self.stretch - 1).limit(1)
            last = (await self.session.execute(statement)).one_or_none()
            if last is not None:
                return _behind(last), True
        # Behind all that is settled: who waits long for a rare event looks at no other twice.
        position, id_ = max((self.after.position, self.after.id), (self.until.settled, ""))
        return Place(position, id_, self.now), False

    def _all(self, *columns: Any) -> Select[Any]:
        here = tuple_(
            literal(self.after.position, WebhookEvent.position.type), literal(self.after.id)
        )
        return (
            select(
                WebhookEvent.position,
                WebhookEvent.id,
                WebhookEvent.created_at.label("recorded_at"),
                *columns,
            )
            .where(
                tuple_(WebhookEvent.position, WebhookEvent.id) > here,
                WebhookEvent.position < self.until.settled,
            )
            .order_by(WebhookEvent.position, WebhookEvent.id)
        )


def _up_to_bytes(rows: Sequence[Any]) -> Sequence[Any]:
    """As many of the rows as an answer may be large; at least one."""
    total = 0
    for number, row in enumerate(rows):
        total += row.size
        if total > _MOST_BYTES and number:
            return rows[:number]
    return rows


async def _bodies(session: TenantSession, ids: Sequence[str]) -> dict[str, bytes]:
    if not ids:
        return {}
    rows = await session.execute(
        select(WebhookEvent.id, WebhookEvent.body).where(among(session, WebhookEvent.id, ids))
    )
    return {row.id: row.body for row in rows if row.body}


async def _is_coming(session: TenantSession, until: Bounds) -> bool:
    statement = select(WebhookEvent.id).where(WebhookEvent.position >= until.settled).limit(1)
    return await session.scalar(statement) is not None
