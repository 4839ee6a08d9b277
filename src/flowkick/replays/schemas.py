"""The shapes of replays and backfills on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from flowkick.core.schemas import (
    ApiInput,
    ApiModel,
    CursorPagination,
    Instant,
    Success,
    Timestamp,
    shown_as,
)
from flowkick.users.filters import UserFilters
from flowkick.webhooks.catalogue import check_patterns

Rate = Annotated[
    int,
    Field(ge=1, le=1000, description="At most so many deliveries are queued a second; null: all."),
]
JobState = Literal["queued", "running", "completed", "failed", "cancelled"]


class ReplayInput(ApiInput):
    """Which past deliveries of a webhook are to be sent again; all, where nothing is said."""

    model_config = shown_as(since="2025-11-06T00:00:00.000Z", status="failed", events=["user.*"])

    since: Instant | None = Field(None, description="Of events recorded at this moment or later.")
    until: Instant | None = Field(None, description="Of events recorded at this moment or earlier.")
    status: Literal["success", "failed"] | None = Field(
        None, description="What the newest delivery of the event came to; null for either."
    )
    events: (
        Annotated[
            list[Annotated[str, StringConstraints(max_length=100)]],
            Field(min_length=1, max_length=100),
        ]
        | None
    ) = Field(None, description="Names, groups such as `user.*`, or `*`; null for all.")
    rate: Rate | None = None
    dry_run: bool = Field(default=False, description="Only count.")

    @field_validator("events")
    @classmethod
    def _known_events(cls, events: list[str] | None) -> list[str] | None:
        return None if events is None else check_patterns(events)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since is not None and self.until is not None and self.since > self.until:
            raise ValueError("since must not be later than until")
        return self


class BackfillInput(ApiInput):
    """Whose present state is to be sent to a webhook; everybody's, where nothing is said."""

    model_config = shown_as(events="user.created", filters={"hasTag": ["vip"]}, rate=100)

    events: Literal["user.created"] = "user.created"
    filters: UserFilters = Field(
        default_factory=UserFilters, description="The filters of the list of users."
    )
    rate: Rate | None = None


class LongSending(ApiModel):
    """A replay or backfill, how far it is, and what became of its deliveries."""

    id: str
    webhook_id: str
    status: JobState
    filters: dict[str, Any]
    rate: int | None
    count: int = Field(description="How many there were to send when it was asked for.")
    removed: int = Field(description="Past deliveries whose bodies are no longer kept.")
    queued: int
    waiting: int
    delivered: int
    failed: int
    error: str | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None


class ReplayStarted(Success):
    """How many past deliveries match, and the replay that was started, if any was."""

    count: int
    removed: int = Field(description="Those that match too, but whose bodies are no longer kept.")
    dry_run: bool
    replay: LongSending | None
    message: str


class ReplayAnswer(Success):
    """One replay."""

    replay: LongSending


class ReplaysAnswer(Success):
    """A page of replays, the newest first."""

    replays: list[LongSending]
    pagination: CursorPagination


class BackfillStartedAnswer(Success):
    """How many users match, and the backfill that was started."""

    count: int
    backfill: LongSending
    message: str


class BackfillAnswer(Success):
    """One backfill."""

    backfill: LongSending


class BackfillsAnswer(Success):
    """A page of backfills, the newest first."""

    backfills: list[LongSending]
    pagination: CursorPagination
