"""What the engine tells of attempts: metrics and log lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from flowkick.core import metrics
from flowkick.core.logs import get_logger
from flowkick.delivery.queue import Recorded, Result

_log = get_logger(__name__)


def tell(results: Sequence[Result], recorded: Recorded) -> None:
    """Count and log a batch that was recorded."""
    failed = [result for result in results if not result.outcome.success]
    endings = Counter(result.outcome.kind.value for result in failed)
    endings["success"] = len(results) - len(failed)
    for result in results:
        metrics.ATTEMPT_SECONDS.observe(result.outcome.duration_ms / 1000)
    for result in failed:
        _log.info("attempt_failed", **about(result))
    for ending, count in endings.items():
        metrics.ATTEMPTS.labels(ending).inc(count)
    for status, count in Counter(recorded.statuses).items():
        metrics.DELIVERIES.labels(status.value).inc(count)
    for subscription_id, reason in recorded.deactivated.items():
        metrics.DISABLED.labels(reason).inc()
        _log.warning("subscription_disabled", subscription_id=subscription_id, reason=reason)


def about(result: Result) -> dict[str, object]:
    """What a log line says of an attempt: nothing that the receiver or the event said."""
    claimed, outcome = result.claimed, result.outcome
    return {
        "delivery_id": claimed.id,
        "subscription_id": claimed.endpoint.subscription_id,
        "admin_id": claimed.admin_id,
        "attempt": claimed.attempt,
        "kind": outcome.kind.value,
        "status_code": outcome.status_code,
        "milliseconds": outcome.duration_ms,
    }
