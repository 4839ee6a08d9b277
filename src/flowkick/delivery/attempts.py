"""The log row of an attempt, however it was triggered."""

from __future__ import annotations

from typing import Any, Final

from flowkick.delivery.client import Outcome

AUTOMATIC: Final = "automatic"
RESEND: Final = "resend"
TEST: Final = "test"


def attempt_values(
    *,
    admin_id: str,
    subscription_id: str,
    delivery_id: int,
    attempt: int,
    trigger: str,
    outcome: Outcome,
) -> dict[str, Any]:
    """The values of a `WebhookAttempt`, by attribute name."""
    return {
        "admin_id": admin_id,
        "delivery_id": delivery_id,
        "subscription_id": subscription_id,
        "attempt": attempt,
        "trigger": trigger,
        "status": "success" if outcome.success else "failed",
        "status_code": outcome.status_code,
        "response_body": outcome.response_body,
        "error_message": outcome.error_message,
        "duration_ms": outcome.duration_ms,
        "sent_at": outcome.started_at,
    }
