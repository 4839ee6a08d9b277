"""The state of every user in short, for receivers that look for what they miss.

The hash is of `data.user` as events carry it, without what changes while no event with
`data.user` tells of it: the counters in `stats`, and `updatedAt`. Whoever keeps the last
`data.user` it got can compute it: `docs/receivers.md` has the lines.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import msgspec

from flowkick.storage.tenancy import TenantSession
from flowkick.users.cursors import Order, encode, find_position
from flowkick.users.finding import Pace, find_page
from flowkick.users.models import User
from flowkick.users.payload import load_belongings, payload
from flowkick.webhooks.payloads import TagPayload, UserPayload

_ORDER: Final = Order("createdAt", "asc")
_PACE: Final = Pace()
# The keys of objects are sorted by their bytes in UTF-8, which is the order of code points.
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")
_FIELDS: Final = tuple(name for name in UserPayload.__struct_encode_fields__ if name != "stats")
_SHOWN: Final = attrgetter(*UserPayload.__struct_fields__)
_BY_ID: Final = attrgetter("id")


@dataclass(frozen=True, slots=True)
class UserState:
    """The present state of one user in short."""

    id: str
    sequence: int
    hash: str


def state_hash(user: UserPayload) -> str:
    """SHA-256 of the canonical JSON of what events tell of a user, as 64 hex characters."""
    shown = dict(zip(UserPayload.__struct_encode_fields__, _SHOWN(user), strict=True))
    tags: list[TagPayload] = sorted(user.tags, key=_BY_ID)
    moments = user.timestamps
    hashed: dict[str, Any] = {
        **{name: shown[name] for name in _FIELDS},
        "tags": tags,
        "timestamps": {"createdAt": moments.created_at, "subscribedAt": moments.subscribed_at},
    }
    return hashlib.sha256(_CANONICAL.encode(hashed)).hexdigest()


async def list_states(
    session: TenantSession, *, limit: int, cursor: str | None
) -> tuple[list[UserState], str | None]:
    """A page of states, the users created first coming first, and the cursor of the next page."""
    after = None if cursor is None else await find_position(session, _ORDER, cursor)
    page = await find_page(
        session, [], _ORDER, [User], after=after, offset=0, limit=limit, pace=_PACE
    )
    users = [row[0] for row in page.rows]
    belongings = await load_belongings(session, [user.id for user in users])
    states = [
        UserState(user.id, user.sequence, state_hash(payload(user, belongings[user.id])))
        for user in users
    ]
    return states, None if page.next is None else encode(_ORDER, page.next)
