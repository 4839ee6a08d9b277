"""The counters of subscriptions while a batch of results is recorded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from flowkick.delivery.breaker import (
    WELL,
    Breaker,
    BreakerPolicy,
    BreakerState,
    advance,
    breaker_of,
)
from flowkick.delivery.claimed import DESTINATION, Destination, destination_of
from flowkick.delivery.client import Outcome
from flowkick.delivery.health import Health, Turned
from flowkick.delivery.models import WebhookSubscription
from flowkick.delivery.retry import Decision, NextState
from flowkick.delivery.states import DeliveryState
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession


@dataclass(slots=True)
class Tally:
    """The counters of one subscription while a batch is recorded; its row is locked."""

    id: str
    active: bool
    consecutive_failures: int
    auto_disable_after: int | None
    health: Health
    on_give_up: str
    breaker: Breaker
    breaker_before: Breaker
    destination: Destination
    is_limited: bool
    succeeded: int = 0
    failed: int = 0
    last_at: datetime | None = None
    last_status: str | None = None
    disabled_reason: str | None = None
    deactivated_now: bool = False
    last_failure: Outcome | None = None

    @property
    def is_well(self) -> bool:
        """Whether nothing speaks against it: then one more success changes nothing but counts."""
        return self.consecutive_failures == 0 and self.breaker is WELL

    @property
    def flows(self) -> bool:
        """Whether a claim of it would bring what is due, as it is."""
        if self.is_limited or self.destination.coalesces or not self.active:
            return False
        return self.breaker.state is BreakerState.CLOSED and self.breaker.paused_until is None

    def succeed(self, outcome: Outcome) -> None:
        """Count a success while it is well."""
        self.last_at, self.last_status = outcome.started_at, "success"
        self.succeeded += 1

    def count(self, outcome: Outcome, decision: Decision) -> None:
        """Count one attempt; may deactivate the subscription."""
        self.last_at = outcome.started_at
        self.last_status = "success" if outcome.success else "failed"
        if outcome.success:
            self.succeeded += 1
            self.consecutive_failures = 0
            return
        self.failed += 1
        self.last_failure = outcome
        self.consecutive_failures += 1
        limit = self.auto_disable_after
        if decision.gone:
            self._deactivate("gone")
        elif limit is not None and self.consecutive_failures >= limit:
            self._deactivate("consecutive_failures")

    def gate(
        self,
        outcome: Outcome,
        policy: BreakerPolicy,
        *,
        probe: bool,
        now: datetime,
        jitter: Callable[[], float],
    ) -> None:
        """Let one attempt move its breaker."""
        self.breaker = advance(self.breaker, outcome, policy, probe=probe, now=now, jitter=jitter)

    @property
    def turned_breaker(self) -> bool:
        """Whether what may be claimed of it is another matter now."""
        before, after = self.breaker_before, self.breaker
        return (before.state, before.paused_until) != (after.state, after.paused_until)

    def _deactivate(self, reason: str) -> None:
        if self.active:
            self.active, self.deactivated_now, self.disabled_reason = False, True, reason

    def turned(self, limit: int, now: datetime) -> Turned | None:
        """What there is to tell of it, now that the batch is counted."""
        since = self.health.failing_since
        turn = self.health.turn(
            active=self.active,
            disabled_now=self.deactivated_now,
            failures=self.consecutive_failures,
            limit=limit,
            now=now,
        )
        if turn is None:
            return None
        return Turned(
            turn,
            self.id,
            self.health.failing_since or since or now,
            self.consecutive_failures,
            self.last_failure,
            self.disabled_reason,
        )

    def next_state(self, decision: Decision) -> tuple[DeliveryState, datetime | None]:
        """The state that follows for the delivery, and when it is due."""
        if decision.state is NextState.RETRYING and not self.active:
            return DeliveryState.HELD, None
        return DeliveryState(decision.state), decision.due_at


async def lock_subscriptions(session: TenantSession, ids: Collection[str]) -> dict[str, Tally]:
    """The subscriptions of a batch; their rows stay locked, in the order of their ids."""
    subscription = WebhookSubscription
    rows = await session.execute(
        select(
            *DESTINATION,
            subscription.consecutive_failures,
            subscription.auto_disable_after,
            subscription.failing_since,
            subscription.recovered_at,
            subscription.on_give_up,
            subscription.breaker,
            subscription.breaker_failures,
            subscription.breaker_openings,
            subscription.paused_until,
            subscription.rate_limit,
        )
        .where(among(session, subscription.id, sorted(ids)))
        .order_by(subscription.id)
        .with_for_update()
    )
    return {row.id: _tally(row) for row in rows}


def _tally(row: Any) -> Tally:
    breaker = breaker_of(row)
    return Tally(
        row.id,
        row.active,
        row.consecutive_failures,
        row.auto_disable_after,
        Health(row.failing_since, row.recovered_at),
        row.on_give_up,
        breaker,
        breaker_before=breaker,
        destination=destination_of(row),
        is_limited=row.rate_limit is not None,
    )


async def write_counters(session: TenantSession, tallies: Iterable[Tally]) -> None:
    """Add a batch's counts to its subscriptions, whose rows are locked."""
    for tally in tallies:
        if tally.last_at is None:
            continue
        subscription = WebhookSubscription
        values: dict[str, Any] = {
            "success_count": subscription.success_count + tally.succeeded,
            "failed_count": subscription.failed_count + tally.failed,
            "consecutive_failures": tally.consecutive_failures,
            "failing_since": tally.health.failing_since,
            "recovered_at": tally.health.recovered_at,
            "last_delivery_at": tally.last_at,
            "last_delivery_status": tally.last_status,
        }
        if tally.breaker is not tally.breaker_before:
            values |= {
                "breaker": tally.breaker.state.value,
                "breaker_failures": tally.breaker.failures,
                "breaker_openings": tally.breaker.openings,
                "paused_until": tally.breaker.paused_until,
            }
        if tally.deactivated_now:
            values |= {"active": False, "disabled_reason": tally.disabled_reason}
        await session.execute(
            update(subscription).where(subscription.id == tally.id).values(values),
            execution_options={"synchronize_session": False},
        )
