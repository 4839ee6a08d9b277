"""The tables of the delivery engine: subscriptions, events, deliveries and attempts.

Deliveries and attempts are numbered by the database and have no foreign keys: they are written
thousands a second, outlive their subscription, and are removed by age.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Double, FetchedValue, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminPart, AdminScoped, Base, BigId, Json

NO_BODY: Final = b""
"""The body of an event whose bytes are no longer kept."""


class WebhookSubscription(AdminScoped, Base):
    """A webhook endpoint that an admin registered.

    `former_secrets` are those that may still sign, the oldest first, each ``{secret, until}``.
    Nothing is claimed before `paused_until` (see `breaker`), and no request conforms to its limit
    before `paced_until` (see `rate`).
    """

    __tablename__ = "WebhookSubscription"
    __table_args__ = (Index(None, "adminId", "createdAt"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    name: Mapped[str] = mapped_column("name")
    url: Mapped[str] = mapped_column("url")
    description: Mapped[str | None] = mapped_column("description")
    events: Mapped[list[str]] = mapped_column("events", Json)
    secret: Mapped[str] = mapped_column("secret")
    secret_hint: Mapped[str] = mapped_column("secretHint")
    former_secrets: Mapped[list[dict[str, str]]] = mapped_column(
        "formerSecrets", Json, default=list
    )
    headers: Mapped[str | None] = mapped_column("headers")
    header_names: Mapped[list[str]] = mapped_column("headerNames", Json)
    retry_attempts: Mapped[int] = mapped_column("retryAttempts")
    retry_delay: Mapped[int] = mapped_column("retryDelay")
    timeout_ms: Mapped[int] = mapped_column("timeoutMs")
    auto_disable_after: Mapped[int | None] = mapped_column("autoDisableAfter")
    ordering: Mapped[str] = mapped_column("ordering", default="none")
    on_give_up: Mapped[str] = mapped_column("onGiveUp", default="skip")
    coalesce: Mapped[bool] = mapped_column("coalesce", default=False)
    rate_limit: Mapped[float | None] = mapped_column("rateLimit", Double)
    paced_until: Mapped[datetime | None] = mapped_column("pacedUntil")
    breaker: Mapped[str] = mapped_column("breaker", default="closed")
    breaker_failures: Mapped[int] = mapped_column("breakerFailures", default=0)
    breaker_openings: Mapped[int] = mapped_column("breakerOpenings", default=0)
    paused_until: Mapped[datetime | None] = mapped_column("pausedUntil")
    active: Mapped[bool] = mapped_column("active")
    disabled_reason: Mapped[str | None] = mapped_column("disabledReason")
    last_delivery_at: Mapped[datetime | None] = mapped_column("lastDeliveryAt")
    last_delivery_status: Mapped[str | None] = mapped_column("lastDeliveryStatus")
    success_count: Mapped[int] = mapped_column("successCount", default=0)
    failed_count: Mapped[int] = mapped_column("failedCount", default=0)
    consecutive_failures: Mapped[int] = mapped_column("consecutiveFailures", default=0)
    failing_since: Mapped[datetime | None] = mapped_column("failingSince")
    recovered_at: Mapped[datetime | None] = mapped_column("recoveredAt")
    created_at: Mapped[datetime] = mapped_column("createdAt")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")


class WebhookEvent(AdminPart, Base):
    """One recorded change, with the bytes that every subscription gets.

    `traceparent` is of the trace that it was recorded in, null where none was kept.

    `position` is where it stands in the feed, null where it is not in it; on PostgreSQL, the
    database fills it in.
    """

    __tablename__ = "WebhookEvent"
    __table_args__ = (
        Index(None, "adminId", "createdAt"),
        Index(None, "userId"),
        Index(None, "adminId", "position", "id"),
    )

    id: Mapped[str] = mapped_column("id", primary_key=True)
    event: Mapped[str] = mapped_column("event")
    user_id: Mapped[str | None] = mapped_column("userId")
    sequence: Mapped[int] = mapped_column("sequence")
    body: Mapped[bytes] = mapped_column("body", LargeBinary)
    created_at: Mapped[datetime] = mapped_column("createdAt")
    traceparent: Mapped[str | None] = mapped_column("traceparent")
    position: Mapped[int | None] = mapped_column("position", BigInteger, FetchedValue())


class WebhookDelivery(AdminPart, Base):
    """One event on its way to one subscription.

    `attempt` counts the attempts of the schedule recorded so far; `last_attempt` is the highest
    number that a request of it carried, those of resends included. `due_at` is when the engine
    looks at it next, null where it never will: while it is leased (`lease_id`), that is when the
    lease ends. `job_id` is the replay or backfill that queued it. `ordering_key` is the user in
    whose line it stands, at the place `sequence` (see `ordering`); null where it stands in none.
    """

    __tablename__ = "WebhookDelivery"
    __table_args__ = (
        Index(
            "ix_WebhookDelivery_dueAt",
            "subscriptionId",
            "dueAt",
            "id",
            sqlite_where=text('"dueAt" IS NOT NULL'),
            postgresql_where=text('"dueAt" IS NOT NULL'),
        ),
        Index(
            "ix_WebhookDelivery_held",
            "subscriptionId",
            sqlite_where=text("status = 'held'"),
            postgresql_where=text("status = 'held'"),
        ),
        Index(
            "ix_WebhookDelivery_line",
            "subscriptionId",
            "orderingKey",
            "sequence",
            "id",
            sqlite_where=text('"orderingKey" IS NOT NULL'),
            postgresql_where=text('"orderingKey" IS NOT NULL'),
        ),
        Index(None, "subscriptionId", "id"),
        Index(None, "eventId"),
        Index(
            None,
            "jobId",
            "status",
            sqlite_where=text('"jobId" IS NOT NULL'),
            postgresql_where=text('"jobId" IS NOT NULL'),
        ),
    )

    id: Mapped[int] = mapped_column("id", BigId, primary_key=True)
    subscription_id: Mapped[str] = mapped_column("subscriptionId")
    event_id: Mapped[str] = mapped_column("eventId")
    event: Mapped[str] = mapped_column("event")
    status: Mapped[str] = mapped_column("status")
    attempt: Mapped[int] = mapped_column("attempt", default=0)
    last_attempt: Mapped[int] = mapped_column("lastAttempt", default=0)
    due_at: Mapped[datetime | None] = mapped_column("dueAt")
    lease_id: Mapped[str | None] = mapped_column("leaseId")
    note: Mapped[str | None] = mapped_column("note")
    job_id: Mapped[str | None] = mapped_column("jobId")
    ordering_key: Mapped[str | None] = mapped_column("orderingKey")
    sequence: Mapped[int | None] = mapped_column("sequence")
    created_at: Mapped[datetime] = mapped_column("createdAt")
    finished_at: Mapped[datetime | None] = mapped_column("finishedAt")


class WebhookAttempt(AdminPart, Base):
    """One HTTP request of a delivery, and what came of it."""

    __tablename__ = "WebhookAttempt"
    __table_args__ = (Index(None, "deliveryId", "attempt", unique=True),)

    id: Mapped[int] = mapped_column("id", BigId, primary_key=True)
    delivery_id: Mapped[int] = mapped_column("deliveryId", BigId)
    subscription_id: Mapped[str] = mapped_column("subscriptionId")
    attempt: Mapped[int] = mapped_column("attempt")
    trigger: Mapped[str] = mapped_column("trigger")
    status: Mapped[str] = mapped_column("status")
    status_code: Mapped[int | None] = mapped_column("statusCode")
    response_body: Mapped[str | None] = mapped_column("responseBody")
    error_message: Mapped[str | None] = mapped_column("errorMessage")
    duration_ms: Mapped[int] = mapped_column("durationMs")
    sent_at: Mapped[datetime] = mapped_column("sentAt")
