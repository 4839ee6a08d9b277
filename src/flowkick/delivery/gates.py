"""The gates of subscriptions in the database: their breakers and rates, over all processes.

A subscription whose breaker is closed and that has no limit costs a claim nothing but columns of
the statement that finds it. The row of any other is locked while its deliveries are claimed: so
there is one probe, and no moment is given twice, however many processes claim.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update

from flowkick.core import metrics
from flowkick.delivery import queue, rate
from flowkick.delivery.breaker import Breaker, BreakerState, breaker_of
from flowkick.delivery.claimed import DESTINATION, Claimed, Destination, destination_of
from flowkick.delivery.coalescing import Merger
from flowkick.delivery.leases import Lease
from flowkick.delivery.models import WebhookSubscription
from flowkick.delivery.queue import Claims
from flowkick.delivery.sql import Lane
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession

_PROBE_MARGIN: Final = timedelta(seconds=5)
"""What recording a probe may take beyond its timeout, before it counts as lost."""
_NO_SYNC: Final = {"synchronize_session": False}
CLOSED: Final[Mapping[str, Any]] = {
    "breaker": BreakerState.CLOSED.value,
    "breaker_failures": 0,
    "breaker_openings": 0,
    "paused_until": None,
}
"""The attributes of a subscription whose breaker nothing speaks against."""


@dataclass(slots=True)
class _Gate:
    breaker: Breaker
    rate: float | None
    next_at: datetime | None
    timeout: timedelta

    def room(self, room: int, now: datetime) -> int:
        """How many of `room` deliveries may be claimed."""
        if self.breaker.is_paused(now):
            return 0
        if self.breaker.state is not BreakerState.CLOSED:
            room = min(room, 1)
        return room if self.rate is None else min(room, rate.most(self.rate, self.next_at, now))

    def let_through(
        self, claimed: Sequence[Claimed], now: datetime, until: datetime
    ) -> list[Claimed]:
        """Note what was claimed and is leased `until` then; gives it with what each must know."""
        probe = self.breaker.state is not BreakerState.CLOSED
        if probe:
            self.breaker = self.breaker.probing(max(until, now + self.timeout + _PROBE_MARGIN))
        if self.rate is None:
            return [one._replace(probe=probe) for one in claimed]
        moments, self.next_at = rate.reserve(self.rate, self.next_at, now, len(claimed))
        return [
            one._replace(probe=probe, not_before=moment)
            for one, moment in zip(claimed, moments, strict=True)
        ]

    def values(self) -> dict[str, Any]:
        return {
            "breaker": self.breaker.state.value,
            "paused_until": self.breaker.paused_until,
            "paced_until": self.next_at,
        }


async def claim(
    session: TenantSession,
    rooms: Mapping[str, int],
    lanes: Mapping[str, Lane],
    *,
    lease: Lease,
    now: datetime,
    merger: Merger,
) -> Claims:
    """Claim as `queue.claim` does, what gates let through.

    What a gate alone kept back does not count as taken: a claim right after this one would not
    bring it.
    """
    gated = {id_ for id_ in rooms if lanes[id_].gated}
    # Those with an order, too, before their deliveries are: whoever holds a subscription and then
    # writes what waits for it would meet a claim that does it the other way round.
    locked = gated | {id_ for id_ in rooms if lanes[id_].ordered}
    gates, destinations = await _lock(session, locked, gated)
    narrowed = {
        id_: gates[id_].room(room, now) if id_ in gates else room for id_, room in rooms.items()
    }
    passing = {id_: room for id_, room in narrowed.items() if room > 0}
    if not passing:
        return Claims()
    claims = await queue.claim(session, passing, destinations, lease=lease, now=now, merger=merger)
    if not gates:
        return claims
    through_gate = {one.endpoint.subscription_id for one in claims.deliveries}
    taken = {
        # Where only what had to be parked was found, another look brings what is behind it.
        id_: rooms[id_] if id_ not in through_gate else n
        for id_, n in claims.taken.items()
        if narrowed[id_] == rooms[id_] or id_ not in through_gate
    }
    limited = (id_ for id_ in gates if gates[id_].rate is not None and id_ in passing)
    metrics.RATE_LIMITED.inc(sum(narrowed[id_] < rooms[id_] for id_ in limited))
    through = await _let_through(session, gates, claims, now, lease.until)
    return replace(claims, deliveries=through, taken=taken)


async def _lock(
    session: TenantSession, locked: Collection[str], gated: Collection[str]
) -> tuple[dict[str, _Gate], dict[str, Destination]]:
    """The gates of those that have one, and where all go whose rows this locks, in one order."""
    if not locked:
        return {}, {}
    model = WebhookSubscription
    statement = (
        select(
            *DESTINATION,
            model.breaker,
            model.breaker_failures,
            model.breaker_openings,
            model.paused_until,
            model.rate_limit,
            model.paced_until,
        )
        .where(among(session, model.id, sorted(locked)))
        .order_by(model.id)
        .with_for_update()
    )
    rows = (await session.execute(statement)).all()
    gates = {
        row.id: _Gate(
            breaker_of(row),
            row.rate_limit,
            row.paced_until,
            timedelta(milliseconds=row.timeout_ms),
        )
        for row in rows
        if row.id in gated
    }
    return gates, {row.id: destination_of(row) for row in rows}


async def _let_through(
    session: TenantSession,
    gates: Mapping[str, _Gate],
    claims: Claims,
    now: datetime,
    until: datetime,
) -> list[Claimed]:
    through: list[Claimed] = []
    gated: dict[str, list[Claimed]] = {}
    for one in claims.deliveries:
        id_ = one.endpoint.subscription_id
        (gated.setdefault(id_, []) if id_ in gates else through).append(one)
    for id_, claimed in gated.items():
        through += gates[id_].let_through(claimed, now, until)
        await _write(session, id_, gates[id_].values())
    return through


async def note_by_hand(
    session: TenantSession, subscription_id: str, *, success: bool, now: datetime
) -> bool:
    """Note a request that somebody asked for; returns whether it closed the breaker.

    It was sent at once, whatever the gate; it uses up the limit like any other.
    """
    model = WebhookSubscription
    row = (
        await session.execute(
            select(model.breaker, model.rate_limit, model.paced_until)
            .where(model.id == subscription_id)
            .with_for_update()
        )
    ).one_or_none()
    if row is None:
        return False
    values: dict[str, Any] = {}
    if closes := success and row[0] != BreakerState.CLOSED:
        values |= CLOSED
    if row[1] is not None:
        values["paced_until"] = rate.reserve(row[1], row[2], now, 1)[1]
    if values:
        await _write(session, subscription_id, values)
    return closes


async def _write(session: TenantSession, id_: str, values: Mapping[str, Any]) -> None:
    model = WebhookSubscription
    await session.execute(
        update(model).where(model.id == id_).values(**values), execution_options=_NO_SYNC
    )
