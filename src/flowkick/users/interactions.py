"""Interactions of users: counted by day, and in all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from sqlalchemy import select

from flowkick.core.errors import Conflict, InvalidInput
from flowkick.core.ids import new_id
from flowkick.history.models import InteractionHistory
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import User
from flowkick.users.service import find_user
from flowkick.users.writing import Desired, Target, write

LARGEST = 2**31 - 1
_AHEAD = timedelta(days=1)


async def add_interactions(
    session: TenantSession,
    user_id: str,
    day: date,
    counts: Mapping[str, int],
    *,
    source: str,
    now: datetime,
) -> tuple[User, InteractionHistory]:
    """Add to what a user did on a day: `counts` by the counters' names, such as messages_count.

    The user's counters grow by as much; `user.updated` tells of it, unless all counts are 0.
    """
    if day > (now + _AHEAD).date():  # where the day began already, it may still be yesterday in UTC
        raise InvalidInput("date: must not be in the future.")
    user = await find_user(session, user_id, lock=True)
    row = await _day(session, user.id, day, now)
    for name, count in counts.items():
        setattr(row, name, _sum(name, getattr(row, name), count))
    if any(counts.values()):
        row.updated_at = now
        session.add(row)
    grown = {name: _sum(name, getattr(user, name), count) for name, count in counts.items()}
    await write(session, [Target(user, Desired(values=grown))], source=source, now=now)
    return user, row


async def _day(
    session: TenantSession, user_id: str, day: date, now: datetime
) -> InteractionHistory:
    """The row of a day, or a new one; nobody else can add it while the user is locked."""
    row = await session.scalar(
        select(InteractionHistory).where(
            InteractionHistory.user_id == user_id, InteractionHistory.day == day
        )
    )
    if row is None:
        return InteractionHistory(
            id=new_id("int"),
            user_id=user_id,
            day=day,
            messages_count=0,
            comments_count=0,
            stories_count=0,
            created_at=now,
            updated_at=now,
        )
    return row


def _sum(name: str, present: int, added: int) -> int:
    if present + added > LARGEST:
        raise Conflict(f"The {name.replace('_count', '')} of this user are too many to count.")
    return present + added
