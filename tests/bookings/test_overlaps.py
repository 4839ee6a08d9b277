"""An exclusive tool takes what a naive calendar takes, whatever is tried in whatever order."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flowkick.bookings.service import (
    LONGEST,
    change_booking,
    create_booking,
    end_booking,
)
from flowkick.bookings.states import BookingStatus
from flowkick.core.clock import system_clock
from flowkick.core.errors import Conflict
from flowkick.storage.database import Database
from flowkick.storage.tenancy import TenantSession
from flowkick.tools.service import create_tool
from flowkick.users.service import create_user
from flowkick.users.writing import Desired
from tests.conftest import new_admin

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
TRIES = 250


@dataclass
class Calendar:
    """Bookings by their ids, compared with one another each time."""

    taken: dict[str, tuple[datetime, datetime]]

    def is_free(self, start: datetime, end: datetime, but: str = "") -> bool:
        others = [times for id_, times in self.taken.items() if id_ != but]
        return not any(start < until and since < end for since, until in others)


def _times(chance: random.Random) -> tuple[datetime, datetime]:
    """Mostly an hour or some, so that they often touch; now and then the longest there is."""
    start = BEGIN + timedelta(hours=chance.randrange(120))
    long = chance.random() < 0.03
    return start, start + (LONGEST if long else timedelta(hours=chance.randint(1, 4)))


async def _try(
    session: TenantSession, ids: tuple[str, str], calendar: Calendar, chance: random.Random
) -> None:
    start, end = _times(chance)
    now = system_clock()
    times = {"start_time": start, "end_time": end}
    what = chance.choice(["book", "book", "move", "cancel"])
    if what == "book" or not calendar.taken:
        values = {"user_id": ids[0], "tool_id": ids[1], "notes": None, "status": "pending", **times}
        free = calendar.is_free(start, end)
        try:
            booked = await create_booking(session, values, source="api", now=now)
        except Conflict:
            assert not free
        else:
            assert free
            calendar.taken[booked.booking.id] = start, end
        return
    id_ = chance.choice(sorted(calendar.taken))
    if what == "cancel":
        await end_booking(session, id_, BookingStatus.CANCELLED, source="api", now=now)
        del calendar.taken[id_]
        return
    free = calendar.is_free(start, end, but=id_) or calendar.taken[id_] == (start, end)
    try:
        async with session.begin_nested():
            await change_booking(session, id_, times, source="api", now=now)
    except Conflict:
        assert not free
    else:
        assert free
        calendar.taken[id_] = start, end


async def test_what_is_taken_is_what_a_naive_calendar_takes(database: Database) -> None:
    admin_id, _ = await new_admin(database)
    chance, calendar = random.Random(7), Calendar({})
    now = system_clock()
    async with database.transaction(admin_id) as session:
        user = await create_user(session, Desired(), source="api", now=now)
        tool = await create_tool(session, {"name": "Table", "exclusive": True}, now)
        for _ in range(TRIES):
            await _try(session, (user.id, tool.id), calendar, chance)
    assert len(calendar.taken) > 5
