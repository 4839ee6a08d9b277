"""The shapes of subscriptions, deliveries and attempts on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from flowkick.core.schemas import ApiInput, ApiModel, Name, Success, Text, Timestamp
from flowkick.delivery.signing import check_extra_headers
from flowkick.webhooks.catalogue import check_patterns

MASK = "••••"

Url = Annotated[Text, StringConstraints(min_length=1, max_length=2048)]
Description = Annotated[Text, StringConstraints(max_length=10_000)]
Events = Annotated[
    list[Annotated[str, StringConstraints(max_length=100)]],
    Field(min_length=1, max_length=100, description="Names, groups such as `user.*`, or `*`."),
]
Headers = Annotated[
    dict[str, str],
    Field(max_length=20, description="Extra request headers; their values are never shown again."),
]
RetryAttempts = Annotated[int, Field(ge=0, le=10, description="Retries after the first try.")]
RetryDelay = Annotated[int, Field(ge=1, le=3600, description="Seconds before the first retry.")]
TimeoutMs = Annotated[int, Field(ge=1000, le=60_000, description="For the whole request.")]
AutoDisableAfter = Annotated[
    int, Field(ge=1, le=1_000_000, description="Consecutive failed attempts; null for never.")
]
RateLimit = Annotated[
    float,
    Field(ge=0.01, le=10_000, description="Requests per second, at the most; null for no limit."),
]
Ordering = Annotated[
    Literal["none", "user"],
    Field(description="`user`: events of one user arrive one after the other, in their order."),
]
OnGiveUp = Annotated[
    Literal["skip", "hold"],
    Field(
        description="With ordering by user: whether what is behind a delivery that was given up"
        " goes on, or waits until that one is sent again with success."
    ),
]
Coalesce = Annotated[
    bool,
    Field(description="With ordering by user: whether updates that wait become one, the latest."),
]


class _WebhookFields(ApiInput):
    @field_validator("events", check_fields=False)
    @classmethod
    def _known_events(cls, events: list[str] | None) -> list[str] | None:
        return None if events is None else check_patterns(events)

    @field_validator("headers", check_fields=False)
    @classmethod
    def _usable_headers(cls, headers: dict[str, str] | None) -> dict[str, str] | None:
        if headers:
            check_extra_headers(headers)
        return headers


class WebhookInput(_WebhookFields):
    """A new subscription."""

    name: Name | None = None
    url: Url
    events: Events
    description: Description | None = None
    retry_attempts: RetryAttempts = 3
    retry_delay: RetryDelay = 60
    timeout_ms: TimeoutMs = 10_000
    headers: Headers | None = None
    rate_limit: RateLimit | None = None
    ordering: Ordering = "none"
    on_give_up: OnGiveUp = "skip"
    coalesce: Coalesce = False
    auto_disable_after: AutoDisableAfter | None = 100
    active: bool = True


class WebhookPatch(_WebhookFields):
    """Any of a subscription's fields; what is left out stays as it is."""

    name: Name = ""
    url: Url = ""
    events: Events = Field([], validate_default=False)
    description: Description | None = None
    retry_attempts: RetryAttempts = 0
    retry_delay: RetryDelay = 0
    timeout_ms: TimeoutMs = 0
    headers: Headers | None = None
    rate_limit: RateLimit | None = None
    ordering: Ordering = "none"
    on_give_up: OnGiveUp = "skip"
    coalesce: Coalesce = False
    auto_disable_after: AutoDisableAfter | None = None
    active: bool = True
    held: Literal["release", "discard"] = Field(
        "release", description="With `active: true`: what becomes of the held deliveries."
    )

    @model_validator(mode="after")
    def _held_goes_with_active(self) -> Self:
        resumes = "active" in self.model_fields_set and self.active
        if "held" in self.model_fields_set and not resumes:
            raise ValueError("held goes with active: true")
        return self


class RotateInput(ApiInput):
    """How long the former secret goes on to sign beside the new one."""

    overlap_hours: Annotated[int, Field(ge=0, le=168)] = 24


class Webhook(ApiModel):
    """A subscription as it is shown."""

    id: str
    name: str
    url: str
    description: str | None
    events: list[str]
    active: bool
    disabled_reason: str | None
    retry_attempts: int
    retry_delay: int
    timeout_ms: int
    headers: dict[str, str]
    rate_limit: float | None
    ordering: Literal["none", "user"]
    on_give_up: Literal["skip", "hold"]
    coalesce: bool
    auto_disable_after: int | None
    secret_hint: str
    last_delivery_at: Timestamp | None
    last_delivery_status: Literal["success", "failed"] | None
    success_count: int
    failed_count: int
    consecutive_failures: int
    breaker: Literal["closed", "open", "half_open"]
    paused_until: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class WebhookWithSecret(Webhook):
    """A subscription with its secret: shown once, when the secret is made."""

    secret: str
    signing_secret: str


class Delivery(ApiModel):
    """A delivery, with what its last attempt came to."""

    id: str
    webhook_id: str
    event_id: str
    event: str
    status: Literal["pending", "retrying", "success", "failed", "held", "superseded"]
    attempt: int
    status_code: int | None
    response_body: str | None
    error_message: str | None
    duration_ms: int | None
    payload: Any
    payload_size_bytes: int | None
    sent_at: Timestamp | None
    job_id: str | None = Field(None, description="The replay or backfill that queued it.")
    next_retry_at: Timestamp | None
    created_at: Timestamp


class WebhookWithDeliveries(Webhook):
    """A subscription with its last deliveries."""

    deliveries: list[Delivery]


class Attempt(ApiModel):
    """One HTTP request of a delivery."""

    attempt: int
    trigger: Literal["automatic", "resend", "test"]
    status: Literal["success", "failed"]
    status_code: int | None
    response_body: str | None
    error_message: str | None
    duration_ms: int
    sent_at: Timestamp


class DeliveryWithAttempts(Delivery):
    """A delivery with every attempt, the first one first."""

    attempts: list[Attempt]


class WebhookAnswer(Success):
    """One subscription."""

    webhook: Webhook


class WebhookDetailAnswer(Success):
    """One subscription with its last deliveries."""

    webhook: WebhookWithDeliveries


class WebhookSecretAnswer(Success):
    """A new subscription, or a new secret."""

    webhook: WebhookWithSecret
    message: str


class PatchedAnswer(WebhookAnswer):
    """The subscription as it is now."""

    released: int = 0
    discarded: int = 0


class WebhooksAnswer(Success):
    """All subscriptions."""

    webhooks: list[Webhook]
    count: int


class Page(ApiModel):
    """Where a page of a keyset listing stands."""

    limit: int
    has_more: bool
    next_cursor: str | None


class DeliveriesAnswer(Success):
    """A page of deliveries, the newest first."""

    deliveries: list[Delivery]
    pagination: Page


class DeliveryAnswer(Success):
    """One delivery."""

    delivery: DeliveryWithAttempts


class ResendAnswer(Success):
    """What a resend came to."""

    attempt: Attempt
    message: str


class TestResult(ApiModel):
    """What a test came to."""

    sent: bool
    status: Literal["delivered", "failed"]
    status_code: int | None
    response_time: int
    error: str | None


class TestAnswer(Success):
    """A test that was made, whatever it came to."""

    test: TestResult
    message: str


class EventDescription(ApiModel):
    """One type of event."""

    name: str
    description: str
    schema_: dict[str, Any] = Field(alias="schema")
    example: dict[str, Any]


class EventsAnswer(Success):
    """The catalogue of events."""

    events: list[EventDescription]
    count: int
