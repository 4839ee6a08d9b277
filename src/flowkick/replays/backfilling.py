"""The job of a backfill: the present state of users is sent to one subscription.

A user's event carries the number of the last event that told of it, read together with the state,
and not a number of its own: whatever happens meanwhile has a higher one, so that a receiver which
drops lower numbers never puts an older state over a newer one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import select

from flowkick.core.clock import parse_iso
from flowkick.jobs.run import Run
from flowkick.replays.marks import SOURCE, USER_CREATED, tell_ended, tell_started
from flowkick.replays.pump import Pump
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession
from flowkick.users.cursors import Order, Position, encode, find_position
from flowkick.users.filters import UserFilters, criteria
from flowkick.users.finding import Pace, count_users, find_page
from flowkick.users.models import User
from flowkick.users.payload import load_belongings, payload
from flowkick.webhooks import outbox
from flowkick.webhooks.outbox import Draft
from flowkick.webhooks.payloads import UserCreated, UserPayload

NOTHING_YET: Final = {"phase": "start", "queued": 0, "after": None}
_ORDER: Final = Order("createdAt", "asc")
_PACE: Final = Pace()
_FOUND_AT_ONCE: Final = 1000


async def backfill(run: Run) -> None:
    """Mark the beginning, send all users, and mark the end when each was delivered or given up."""
    webhook_id = run.input["webhookId"]
    pump = Pump(run, webhook_id, run.input["rate"])
    if run.progress["phase"] == "start":
        async with run.step() as session:
            await tell_started(session, run.job_id, webhook_id, run.progress["count"], run.clock())
            run.progress["phase"] = "users"
    if run.progress["phase"] == "users":
        await pump.drain()  # the mark comes first
        await pump.fill(partial(_queue, run, await _people(run)))
        async with run.step():
            run.progress["phase"] = "end"
    if run.progress["phase"] == "end":
        await pump.drain()
        async with run.step() as session:
            queued = run.progress["queued"]
            await tell_ended(
                session, run.job_id, webhook_id, run.clock(), queued=queued, status="completed"
            )
            run.progress["phase"] = "done"


async def count(session: TenantSession, filters: UserFilters) -> int:
    """How many users these filters leave now."""
    return await count_users(session, await criteria(session, filters))


class _People:
    """The users that are yet to be sent, found some at a time."""

    def __init__(self, run: Run, filters: UserFilters, after: Position | None) -> None:
        self._run = run
        self._filters = filters
        self._found: deque[Position] = deque()
        self._after = after
        self._is_last = False

    async def take(self, most: int) -> Sequence[Position]:
        """The next of them; none where there are no more."""
        if not self._found and not self._is_last:
            await self._find()
        return [self._found.popleft() for _ in range(min(most, len(self._found)))]

    async def _find(self) -> None:
        async with self._run.database.reading(self._run.admin_id) as session:
            page = await find_page(
                session,
                await criteria(session, self._filters),
                _ORDER,
                [User.created_at, User.id],
                after=self._after,
                offset=0,
                limit=_FOUND_AT_ONCE,
                pace=_PACE,
            )
        self._found.extend(Position(created_at, id_) for created_at, id_ in page.rows)
        self._after, self._is_last = page.next, page.next is None


async def _people(run: Run) -> _People:
    filters, after = UserFilters.model_validate(run.input["filters"]), run.progress["after"]
    asked_at = parse_iso(run.input["askedAt"])
    # Who comes later is told of by events of their own.
    filters.created_before = min(filters.created_before or asked_at, asked_at)
    async with run.database.reading(run.admin_id) as session:
        place = None if after is None else await find_position(session, _ORDER, after)
    return _People(run, filters, place)


async def _queue(run: Run, people: _People, room: int) -> bool:
    """Send some; whether there are more."""
    positions = await people.take(room)
    if not positions:
        return False
    async with run.step() as session:
        states = await _states(session, [position.id for position in positions])
        drafts = [
            Draft(USER_CREATED, UserCreated(user), user.id, sequence) for user, sequence in states
        ]
        await outbox.emit_to_one(
            session,
            drafts,
            subscription_id=run.input["webhookId"],
            job_id=run.job_id,
            source=SOURCE,
            now=run.clock(),
        )
        run.progress["queued"] += len(drafts)
        run.progress["after"] = encode(_ORDER, positions[-1])
    return True


async def _states(session: TenantSession, ids: Sequence[str]) -> Sequence[tuple[UserPayload, int]]:
    """Users as they are, each of one moment, with their numbers; those that are gone are left out.

    Where rows are not locked, a change may come between the statements that read a user and its
    tags: those of whom that is so are read once more.
    """
    found: dict[str, tuple[UserPayload, int]] = {}
    missing: Sequence[str] = ids
    while missing:
        users = await session.scalars(
            select(User).where(among(session, User.id, missing)),
            execution_options={"populate_existing": True},
        )
        read = {user.id: user for user in users}
        belongings = await load_belongings(session, list(read))
        for user_id in await _unchanged(session, read):
            user = read[user_id]
            found[user_id] = payload(user, belongings[user_id]), user.sequence
        missing = [user_id for user_id in read if user_id not in found]
    return [found[user_id] for user_id in ids if user_id in found]


async def _unchanged(session: TenantSession, read: dict[str, User]) -> Sequence[str]:
    """Those who are still as they were read; none of them is erased before the commit."""
    rows: Any = await session.execute(
        select(User.id, User.sequence, User.updated_at)
        .where(among(session, User.id, sorted(read)))
        .with_for_update(read=True, key_share=True)
    )
    return [
        id_
        for id_, sequence, updated_at in rows
        if (sequence, updated_at) == (read[id_].sequence, read[id_].updated_at)
    ]
