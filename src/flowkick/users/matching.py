"""Users changed by something other than their manychatId: their id, their address, their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Text, func, or_, select

from flowkick.core.errors import Conflict, FlowkickError, NotFound
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import User
from flowkick.users.service import existing, insert_users, lock_users
from flowkick.users.writing import Desired, Target, write

Matched = Literal["email", "phone"]
Found = Mapping[str, Target | FlowkickError]
"""What became of each, by the key it was given under."""
_COLUMNS: Final = {"email": User.email, "phone": User.phone}


def match_key(by: Matched, value: str) -> str:
    """What makes two values the same: of addresses, the case does not count."""
    return value.lower() if by == "email" else value


async def change_users(
    session: TenantSession,
    desired: Mapping[str, Desired],
    *,
    source: str,
    now: datetime,
    told: bool = True,
) -> Found:
    """Change users by their ids; NotFound stands for those whom the admin does not have."""
    users = await lock_users(session, User.id, desired)
    targets = {user.id: existing(user, desired[user.id], now) for user in users}
    await write(session, list(targets.values()), source=source, now=now, told=told)
    return {id_: targets.get(id_) or NotFound(f"There is no user {id_}.") for id_ in desired}


async def match_users(
    session: TenantSession,
    by: Matched,
    desired: Mapping[str, Desired],
    *,
    source: str,
    now: datetime,
    told: bool = True,
) -> Found:
    """Change the user with this address or number, by its `match_key`; add where there is none.

    Conflict stands for what several users have. Nothing keeps others from adding one meanwhile.
    """
    users = await _having(session, by, desired)
    found: dict[str, Target | FlowkickError] = {}
    for key, same in users.items():
        if len(same) == 1:
            found[key] = existing(same[0], desired[key], now)
        else:
            found[key] = Conflict(f"{len(same)} users have this {by}: name one by its id.")
    new = [key for key in desired if key not in found]
    added = await insert_users(
        session, [desired[key] for key in new], source=source, now=now, told=told
    )
    for key, target in zip(new, added, strict=True):
        found[key] = target or Conflict("Another user has this manychatId.")
    targets = [target for target in found.values() if isinstance(target, Target)]
    await write(session, targets, source=source, now=now, told=told)
    return found


async def add_users(
    session: TenantSession,
    desired: Sequence[Desired],
    *,
    source: str,
    now: datetime,
    told: bool = True,
) -> list[Target]:
    """Add users without a manychatId."""
    added = await insert_users(session, desired, source=source, now=now, told=told)
    targets = [target for target in added if isinstance(target, Target)]
    await write(session, targets, source=source, now=now, told=told)
    return targets


async def _having(
    session: TenantSession, by: Matched, desired: Mapping[str, Desired]
) -> dict[str, list[User]]:
    """Who has these addresses or numbers, locked, by their keys."""
    column = _COLUMNS[by]
    given = [str(item.values[by]) for item in desired.values()]
    has = among(session, column, given)
    if by == "email":  # SQLite lowers the letters of ASCII alone, so both are asked for
        has = or_(has, among(session, func.lower(column, type_=Text), list(desired)))
    ids = (await session.scalars(select(User.id).where(has))).all()
    users: dict[str, list[User]] = {}
    for user in await lock_users(session, User.id, ids) if ids else ():
        key = match_key(by, str(getattr(user, by)))
        if key in desired:
            users.setdefault(key, []).append(user)
    return users
