"""What becomes of a delivery after an attempt: a pure function, without clock, chance or I/O."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from flowkick.delivery.client import Outcome, OutcomeKind

__all__ = ["Decision", "NextState", "RetryPolicy", "decide", "delay_before_retry"]

JITTER = 0.1
MAX_DELAY_SECONDS = 24 * 60 * 60.0
GONE = 410
_MAX_DOUBLINGS = 32
"""Far beyond the cap for any delay of at least a millisecond; keeps the power finite."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a subscription's deliveries are tried again."""

    retry_attempts: int
    """Retries after the first try; 0 means one try."""
    retry_delay: float
    """Seconds before the first retry; each later one waits twice as long."""


class NextState(StrEnum):
    """The states that an attempt can leave a delivery in."""

    SUCCESS = "success"
    RETRYING = "retrying"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state of a delivery."""

    state: NextState
    due_at: datetime | None = None
    """When the next attempt is due; set exactly while retrying."""
    gone: bool = False
    """The receiver answered 410: its subscription is to be deactivated."""


def decide(
    policy: RetryPolicy, *, attempt: int, outcome: Outcome, now: datetime, jitter: float
) -> Decision:
    """The consequence of attempt number `attempt` (from 1); `jitter` is in [-1, 1]."""
    if outcome.success:
        return Decision(NextState.SUCCESS)
    if outcome.kind is OutcomeKind.RESPONSE and outcome.status_code == GONE:
        return Decision(NextState.FAILED, gone=True)
    if attempt > policy.retry_attempts:
        return Decision(NextState.FAILED)
    delay = max(delay_before_retry(policy, attempt, jitter), outcome.retry_after or 0.0)
    return Decision(
        NextState.RETRYING, due_at=now + timedelta(seconds=min(delay, MAX_DELAY_SECONDS))
    )


def delay_before_retry(policy: RetryPolicy, retry: int, jitter: float) -> float:
    """Seconds before retry number `retry` (from 1): doubling, ±10 %, at most a day."""
    doubled = policy.retry_delay * 2.0 ** min(retry - 1, _MAX_DOUBLINGS)
    return min(doubled * (1.0 + JITTER * jitter), MAX_DELAY_SECONDS)
