"""The two ends of the engine in the database: claim what is due, record what came of it.

A claim leases deliveries: nobody else takes them before the lease ends, and a process that dies
loses nothing but the time until then. What is recorded is guarded by the lease: whoever lost it
changes nothing. An attempt counts when it is recorded, so a killed process burns no retry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, update

from flowkick.delivery import leases, ordering, sql
from flowkick.delivery.attempts import LOG_ATTEMPTS, Attempt
from flowkick.delivery.breaker import BreakerPolicy
from flowkick.delivery.claimed import Claimed, Destination, destinations
from flowkick.delivery.client import Outcome
from flowkick.delivery.coalescing import Merger, coalesce
from flowkick.delivery.counters import Tally, lock_subscriptions, write_counters
from flowkick.delivery.health import GivenUp, Notices
from flowkick.delivery.holding import hold_waiting
from flowkick.delivery.leases import Lease
from flowkick.delivery.models import WebhookDelivery
from flowkick.delivery.ordering import Line
from flowkick.delivery.retry import decide
from flowkick.delivery.states import UNFINISHED, DeliveryState
from flowkick.storage.tenancy import TenantSession

_DELETED: Final = "The subscription was deleted."
_NO_BODY: Final = "The event is no longer kept, so it can't be sent."
_UNLOGGED: Final = "It was sent, but the attempt could not be logged."


@dataclass(frozen=True, slots=True)
class Claims:
    """What a claim came to."""

    deliveries: Sequence[Claimed] = ()
    taken: Mapping[str, int] = field(default_factory=dict)
    """How many due deliveries of each subscription were taken up, those not to be sent included."""
    superseded: int = 0


class Result(NamedTuple):
    """What came of the attempt of a claimed delivery."""

    claimed: Claimed
    outcome: Outcome


@dataclass(slots=True)
class Recorded:
    """What a batch of results came to."""

    statuses: list[DeliveryState] = field(default_factory=list)
    deactivated: dict[str, str] = field(default_factory=dict)
    """Subscriptions that were deactivated, and why."""
    notices: Notices = field(default_factory=Notices)
    breakers: dict[str, bool] = field(default_factory=dict)
    """Subscriptions whose breakers turned, and whether they are paused now."""
    promoted: int = 0
    """Deliveries that are due now, since those before them have ended."""
    claimed: Sequence[Claimed] = ()
    """Deliveries that are leased now, since those before them have ended."""


async def claim(
    session: TenantSession,
    rooms: Mapping[str, int],
    locked: Mapping[str, Destination],
    *,
    lease: Lease,
    now: datetime,
    merger: Merger,
) -> Claims:
    """Lease due deliveries, up to `rooms` for each subscription, those due longest first.

    `locked` are the destinations of the subscriptions whose rows are locked.

    What can't be sent is settled at once: held where its subscription is inactive, failed where the
    subscription or the event is gone. What is not the first of its line is given back.
    """
    rows: Sequence[sql.Leased] = await sql.lease_due(
        session, rooms, lease_id=lease.id, now=now, until=lease.until
    )
    if not rows:
        return Claims()
    taken = Counter(row.subscription_id for row in rows)
    rows = await _first_of_lines(session, rows, now, locked)
    others = {row.subscription_id for row in rows}.difference(locked)
    to = {**locked, **await destinations(session, others)}
    stead: Mapping[int, sql.Leased] = {}
    superseded = 0
    in_line = [row for row in rows if row.ordering_key is not None]
    if heads := [row for row in in_line if _coalesces(to.get(row.subscription_id))]:
        stead, superseded = await coalesce(session, heads, merger, lease, now=now)
    rows = [stead.get(row.id, row) for row in rows]
    messages = await sql.messages(session, {row.event_id for row in rows})
    deliveries, unsendable, left = [], [], set()
    for row in sorted(rows, key=attrgetter("event_id")):
        destination, message = to.get(row.subscription_id), messages.get(row.event_id)
        if destination is None or message is None:
            note = _DELETED if destination is None else _NO_BODY
            unsendable.append(
                sql.settled(row.id, DeliveryState.FAILED, row.attempt, now, note=note)
            )
            if row.ordering_key is not None:
                left.add(Line(row.subscription_id, row.ordering_key))
        elif not destination.active:
            unsendable.append(sql.settled(row.id, DeliveryState.HELD, row.attempt, now))
        else:
            deliveries.append(Claimed.of(row, destination, message))
    await sql.SETTLE.run_tuples(session, unsendable)
    await ordering.promote(session, left, now)
    return Claims(deliveries, taken, superseded)


async def _first_of_lines(
    session: TenantSession,
    rows: Sequence[sql.Leased],
    now: datetime,
    locked: Collection[str],
) -> Sequence[sql.Leased]:
    """What was leased and may be sent now; the rest waits for what is before it."""
    in_line = [row for row in rows if row.ordering_key is not None]
    if not in_line:
        return rows
    # Of a subscription whose order is just changing, there may be some that are not locked.
    if unlocked := {row.subscription_id for row in in_line}.difference(locked):
        await ordering.lock(session, unlocked)
    parked = await ordering.park(session, [row.id for row in in_line])
    if crowded := {row.subscription_id for row in in_line if row.id in parked}:
        await ordering.park_ahead(session, crowded, now)
    return [row for row in rows if row.id not in parked]


def _coalesces(destination: Destination | None) -> bool:
    return destination is not None and destination.active and destination.coalesces


async def record(
    session: TenantSession,
    results: Sequence[Result],
    *,
    lease: Lease,
    now: datetime,
    jitter: Callable[[], float],
    failing_after: int,
    breaker: BreakerPolicy,
    go_on: bool,
) -> Recorded:
    """Write attempts, the next states and the subscriptions' counters of a batch of results.

    With `go_on`, what is next in lines that were left is leased at once, where nothing speaks
    against its subscription; otherwise it becomes due.
    """
    subscriptions = await lock_subscriptions(
        session, {result.claimed.endpoint.subscription_id for result in results}
    )
    ids = sorted(result.claimed.id for result in results)
    ours = await sql.lock_leased(session, ids, lease.id)
    recorded = Recorded()
    settled: list[sql.Settled] = []
    attempts: list[Attempt] = []
    left: set[Line] = set()
    for result in results:
        claimed, outcome = result
        subscription = subscriptions.get(claimed.endpoint.subscription_id)
        if claimed.id not in ours or subscription is None:
            continue
        status, due_at = _next_state(subscription, result, breaker, now, jitter)
        settled.append(
            sql.settled(
                claimed.id,
                status,
                claimed.scheduled,
                now,
                last_attempt=claimed.attempt,
                due_at=due_at,
                in_line=status is DeliveryState.FAILED and subscription.on_give_up == ordering.HOLD,
            )
        )
        attempts.append(
            Attempt.of(
                outcome,
                admin_id=claimed.admin_id,
                delivery_id=claimed.id,
                subscription_id=subscription.id,
                attempt=claimed.attempt,
            )
        )
        recorded.statuses.append(status)
        if (key := ours[claimed.id]) is not None and not settled[-1].in_line:
            left.add(Line(subscription.id, key))
        if status is DeliveryState.FAILED:
            recorded.notices.given_up.append(_given_up(result))
    await sql.SETTLE.run_tuples(session, settled)
    await LOG_ATTEMPTS.run_tuples(session, attempts)
    onward = {line for line in left if go_on and subscriptions[line.subscription_id].flows}
    recorded.claimed = await _go_on(session, onward, subscriptions, lease, now)
    recorded.promoted = await ordering.promote(session, left - onward, now)
    for tally in subscriptions.values():
        if tally.last_at is not None and (turned := tally.turned(failing_after, now)):
            recorded.notices.turned.append(turned)
        if tally.turned_breaker:
            recorded.breakers[tally.id] = tally.breaker.is_paused(now)
    await write_counters(session, subscriptions.values())
    for tally in subscriptions.values():
        if tally.deactivated_now:
            recorded.deactivated[tally.id] = tally.disabled_reason or ""
            await hold_waiting(session, tally.id)
    return recorded


async def _go_on(
    session: TenantSession,
    lines: Collection[Line],
    tallies: Mapping[str, Tally],
    lease: Lease,
    now: datetime,
) -> list[Claimed]:
    """Lease what is first in these lines now, as the next claim would."""
    rows = await ordering.lease_first(session, lines, lease, now)
    messages = await sql.messages(session, {row.event_id for row in rows})
    if gone := [row.id for row in rows if row.event_id not in messages]:
        await leases.give_back(session, gone, lease_id=lease.id, now=now)  # a claim ends them
    return [
        Claimed.of(row, tallies[row.subscription_id].destination, messages[row.event_id])
        for row in rows
        if row.event_id in messages
    ]


def _next_state(
    subscription: Tally,
    result: Result,
    breaker: BreakerPolicy,
    now: datetime,
    jitter: Callable[[], float],
) -> tuple[DeliveryState, datetime | None]:
    """Count a result; gives the state that follows for its delivery, and when it is due."""
    claimed, outcome = result
    if outcome.success and subscription.is_well:
        subscription.succeed(outcome)
        return DeliveryState.SUCCESS, None
    decision = decide(
        claimed.policy, attempt=claimed.scheduled, outcome=outcome, now=now, jitter=jitter()
    )
    subscription.count(outcome, decision)
    subscription.gate(outcome, breaker, probe=claimed.probe, now=now, jitter=jitter)
    return subscription.next_state(decision)


async def settle_unlogged(
    session: TenantSession, result: Result, *, lease_id: str, now: datetime
) -> None:
    """End a delivery whose attempt can't be logged; no counter and no retry tells of it."""
    claimed = result.claimed
    await ordering.lock(session, [claimed.endpoint.subscription_id])
    ours = await sql.lock_leased(session, [claimed.id], lease_id)
    if not ours:
        return
    state = DeliveryState.SUCCESS if result.outcome.success else DeliveryState.FAILED
    settled = sql.settled(
        claimed.id, state, claimed.scheduled, now, last_attempt=claimed.attempt, note=_UNLOGGED
    )
    await sql.SETTLE.run_tuples(session, [settled])
    if (key := ours[claimed.id]) is not None:
        line = Line(claimed.endpoint.subscription_id, key)
        await ordering.promote(session, [line], now)


def _given_up(result: Result) -> GivenUp:
    claimed = result.claimed
    return GivenUp(
        claimed.endpoint.subscription_id,
        claimed.id,
        claimed.message.event,
        claimed.message.event_id,
        claimed.scheduled,
        result.outcome,
    )


async def end_unfinished(
    session: TenantSession,
    *where: ColumnElement[bool],
    note: str,
    now: datetime,
    states: Sequence[DeliveryState] = UNFINISHED,
) -> int:
    """End deliveries of these states as failed, whoever holds them; how many they are.

    Who sends one of them just now, records nothing of it any more. What stood behind them in lines
    is still to be promoted.
    """
    result: Any = await session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.status.in_(states), *where)
        .values(
            status=DeliveryState.FAILED.value,
            note=note,
            due_at=None,
            lease_id=None,
            finished_at=now,
            ordering_key=None,
        ),
        execution_options={"synchronize_session": False},
    )
    return int(result.rowcount)
