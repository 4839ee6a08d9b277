"""How subscriptions do: what operators are told of them, and when.

A subscription begins to fail with so many failed attempts in a row, and works again with the first
one that succeeds. Each is told once. One that fails and works by turns begins to fail anew only a
while after it was last found to work, so it tells of itself twice in `QUIET`, however busy it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from flowkick.delivery.client import Outcome
from flowkick.storage.tenancy import TenantSession

QUIET: Final = timedelta(minutes=5)


class Turn(StrEnum):
    """What can become of a subscription."""

    FAILING = "failing"
    RECOVERED = "recovered"
    DISABLED = "disabled"


@dataclass(slots=True)
class Health:
    """What is kept of how a subscription does."""

    failing_since: datetime | None
    recovered_at: datetime | None

    def turn(
        self, *, active: bool, disabled_now: bool, failures: int, limit: int, now: datetime
    ) -> Turn | None:
        """What a batch of attempts, of which the last `failures` failed, made of it."""
        if disabled_now:
            self.failing_since = self.failing_since or now
            return Turn.DISABLED
        if not active:  # what was under way when it was deactivated
            return None
        if self.failing_since is not None:
            if failures:
                return None
            self.failing_since, self.recovered_at = None, now
            return Turn.RECOVERED
        rested = self.recovered_at is None or now - self.recovered_at >= QUIET
        if failures < limit or not rested:
            return None
        self.failing_since = now
        return Turn.FAILING


@dataclass(frozen=True, slots=True)
class Turned:
    """A subscription of which there is something to tell."""

    turn: Turn
    subscription_id: str
    failing_since: datetime
    failures: int
    """In a row, up to now."""
    last_failure: Outcome | None
    disabled_reason: str | None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A delivery that no retry is left of."""

    subscription_id: str
    delivery_id: int
    event: str
    event_id: str
    attempts: int
    outcome: Outcome


@dataclass(slots=True)
class Notices:
    """What a batch of attempts gives to tell to operators."""

    turned: list[Turned] = field(default_factory=list)
    given_up: list[GivenUp] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.turned or self.given_up)

    @property
    def subscription_ids(self) -> Sequence[str]:
        """Whom they are about."""
        turned = {one.subscription_id for one in self.turned}
        return sorted(turned | {one.subscription_id for one in self.given_up})


@dataclass(frozen=True, slots=True)
class Operators:
    """When and how operators are told."""

    failing_after: int
    """Failed attempts in a row, from which on a subscription counts as failing."""
    announce: Callable[[TenantSession, Notices, datetime], Awaitable[None]]
    """Records what there is to tell, in the transaction of what it tells of."""
