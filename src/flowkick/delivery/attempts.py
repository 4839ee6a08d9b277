"""The log row of an attempt, however it was triggered."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple, Self

from flowkick.delivery.client import Outcome
from flowkick.delivery.models import WebhookAttempt
from flowkick.storage.bulk import BulkStatement

AUTOMATIC: Final = "automatic"
RESEND: Final = "resend"
TEST: Final = "test"


class Attempt(NamedTuple):
    """The values of a `WebhookAttempt`, by attribute name."""

    admin_id: str
    delivery_id: int
    subscription_id: str
    attempt: int
    trigger: str
    status: str
    status_code: int | None
    response_body: str | None
    error_message: str | None
    duration_ms: int
    sent_at: datetime

    @classmethod
    def of(
        cls,
        outcome: Outcome,
        *,
        admin_id: str,
        delivery_id: int,
        subscription_id: str,
        attempt: int,
        trigger: str = AUTOMATIC,
    ) -> Self:
        """The row of an attempt that came to this outcome."""
        return cls(
            admin_id,
            delivery_id,
            subscription_id,
            attempt,
            trigger,
            "success" if outcome.success else "failed",
            outcome.status_code,
            outcome.response_body,
            outcome.error_message,
            outcome.duration_ms,
            outcome.started_at,
        )


LOG_ATTEMPTS: Final = BulkStatement.insert(
    WebhookAttempt,
    *Attempt._fields,
    often_alike=(
        *("admin_id", "subscription_id", "attempt", "trigger", "status", "status_code"),
        *("response_body", "error_message"),
    ),
)
