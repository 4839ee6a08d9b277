"""The breaker of a subscription: it stops trying an endpoint that keeps failing, and probes it.

    closed ──so many failures in a row──▶ open ──the pause has ended──▶ half-open: one probe
       ▲                                   ▲                               │
       │                                   └────────────it failed──────────┤
       └──────────────────────────────────────────────it was answered──────┘

A failure says that the endpoint is down or overloaded: no answer, a 429, or a 5xx. Any other answer
says that it works, even one that refuses what it was sent. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from flowkick.delivery.client import Outcome, OutcomeKind

JITTER: Final = 0.1
_MAX_DOUBLINGS: Final = 32


class BreakerState(StrEnum):
    """Whether the endpoint of a subscription is tried."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When breakers open, and for how long."""

    failures: int = 20
    """In a row."""
    first_pause: float = 5.0
    """Seconds; each further pause is twice as long, ±10 %."""
    longest_pause: float = 300.0
    """Seconds; also the most that a `Retry-After` pauses a subscription."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is kept of one subscription's breaker."""

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    """In a row, while it is closed."""
    openings: int = 0
    """Pauses since its endpoint last worked for longer than a probe."""
    paused_until: datetime | None = None
    """Nothing is claimed before; while it is half-open, when its probe counts as lost."""

    def is_paused(self, now: datetime) -> bool:
        """Whether nothing may be claimed."""
        return self.paused_until is not None and self.paused_until > now

    def probing(self, until: datetime) -> Breaker:
        """Its probe is under way, and lost where nothing is heard of it `until` then."""
        return replace(self, state=BreakerState.HALF_OPEN, paused_until=until)


WELL: Final = Breaker()
"""One that nothing speaks against."""


def breaker_of(row: Any) -> Breaker:
    """The breaker in a row of its subscription; `WELL` itself where nothing speaks against it."""
    breaker = Breaker(
        BreakerState(row.breaker), row.breaker_failures, row.breaker_openings, row.paused_until
    )
    return WELL if breaker == WELL else breaker


def is_overloaded(outcome: Outcome) -> bool:
    """Whether an endpoint could not or would not take more."""
    if outcome.kind is not OutcomeKind.RESPONSE:
        return True
    return outcome.status_code == HTTPStatus.TOO_MANY_REQUESTS or (outcome.status_code or 0) >= 500


def advance(
    breaker: Breaker,
    outcome: Outcome,
    policy: BreakerPolicy,
    *,
    probe: bool,
    now: datetime,
    jitter: Callable[[], float],
) -> Breaker:
    """The breaker after an attempt; `jitter` gives a number in [-1, 1].

    While it is not closed, only its probe decides: other attempts began before it opened.
    """
    overloaded = is_overloaded(outcome)
    if breaker.state is BreakerState.CLOSED:
        after = _failed(breaker, policy, now, jitter) if overloaded else _worked(breaker, now)
    elif not probe:
        after = breaker
    elif overloaded:
        after = _opened(breaker, policy, now, jitter)
    else:
        after = replace(breaker, state=BreakerState.CLOSED, failures=0, paused_until=None)
    return _asked_to_wait(after, outcome, policy, now)


def _worked(breaker: Breaker, now: datetime) -> Breaker:
    paused = breaker.is_paused(now)
    if not (breaker.failures or breaker.openings) and (paused or breaker.paused_until is None):
        return breaker
    return Breaker(paused_until=breaker.paused_until if paused else None)


def _failed(
    breaker: Breaker, policy: BreakerPolicy, now: datetime, jitter: Callable[[], float]
) -> Breaker:
    failed = replace(breaker, failures=breaker.failures + 1)
    return failed if failed.failures < policy.failures else _opened(failed, policy, now, jitter)


def _opened(
    breaker: Breaker, policy: BreakerPolicy, now: datetime, jitter: Callable[[], float]
) -> Breaker:
    doubled = policy.first_pause * 2.0 ** min(breaker.openings, _MAX_DOUBLINGS)
    pause = min(doubled, policy.longest_pause) * (1.0 + JITTER * jitter())
    until = now + timedelta(seconds=pause)
    return Breaker(BreakerState.OPEN, 0, breaker.openings + 1, until)


def _asked_to_wait(
    breaker: Breaker, outcome: Outcome, policy: BreakerPolicy, now: datetime
) -> Breaker:
    """Pause all of it where a 429 or 503 says for how long; a probe under way is not put off."""
    if not outcome.retry_after or breaker.state is BreakerState.HALF_OPEN:
        return breaker
    until = now + timedelta(seconds=min(outcome.retry_after, policy.longest_pause))
    if breaker.paused_until is not None and breaker.paused_until >= until:
        return breaker
    return replace(breaker, paused_until=until)
