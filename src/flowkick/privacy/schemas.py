"""The shapes of consents and erasures on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from flowkick.core.schemas import (
    ApiInput,
    ApiModel,
    CursorPagination,
    Storable,
    Success,
    Timestamp,
)
from flowkick.users.ledger import EXPORT
from flowkick.users.schemas import UserShown

Words = Annotated[str, StringConstraints(min_length=1, max_length=255), Storable]


class ConsentInput(ApiInput):
    """A consent that a user gave, or withdrew."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "given": True,
                    "purpose": "export",
                    "source": "sign-up form",
                    "wording": "You may pass my data on to our partners.",
                }
            ]
        }
    )

    given: bool
    purpose: Words = Field(EXPORT, description="What for.")
    source: Words = Field("api", description="Where it was given: a form, a call, a chat.")
    wording: Annotated[str, StringConstraints(max_length=10_000), Storable] | None = Field(
        None, description="What they were asked, word for word."
    )


class ConsentShown(ApiModel):
    """An entry of the ledger."""

    id: str
    given: bool
    purpose: str
    source: str
    wording: str | None
    created_at: Timestamp


class ConsentAnswer(Success):
    """A consent was recorded."""

    consent: ConsentShown
    user: UserShown


class ConsentsAnswer(Success):
    """What a user consented to, the newest first."""

    consents: list[ConsentShown]
    pagination: CursorPagination


class DeletedUserShown(ApiModel):
    """What is left of a deleted user."""

    id: str
    manychat_id: str | None


class ErasureReceiver(ApiModel):
    """A webhook that was told whom to forget, and what came of it."""

    webhook_id: str
    webhook_name: str | None = Field(description="Null where the webhook was deleted.")
    status: Literal["acknowledged", "waiting", "failed", "unreachable"] = Field(
        description="`acknowledged` is a 2xx; `failed` is used up; `unreachable` is a webhook that"
        " is inactive, and will be told when it is active again, or was deleted."
    )
    delivery_id: str | None = Field(
        description="Null where the webhook was deleted before the user was erased."
    )
    acknowledged_at: Timestamp | None


class ErasureRemoved(ApiModel):
    """How much was emptied, removed or ended."""

    events: int
    answers: int
    deliveries: int
    kept_answers: int
    export_files: int
    jobs: int


class ErasureShown(ApiModel):
    """A user who was erased."""

    id: str
    user_id: str
    status: Literal["pending", "completed"] = Field(
        description="`pending` until every receiver was told or given up."
    )
    event_id: str
    removed: ErasureRemoved
    created_at: Timestamp
    completed_at: Timestamp | None


class ErasureWithReceivers(ErasureShown):
    """A user who was erased, and who was told."""

    receivers: list[ErasureReceiver]


class ErasureAnswer(Success):
    """One erasure."""

    erasure: ErasureWithReceivers


class ErasuresAnswer(Success):
    """Erasures, the newest first."""

    erasures: list[ErasureShown]
    pagination: CursorPagination


class DeletedAnswer(Success):
    """A user was erased."""

    user: DeletedUserShown
    erasure: ErasureWithReceivers


Rows = list[dict[str, Any]]


class AccessAnswer(Success):
    """Everything that is held on one person, and who received it."""

    exported_at: Timestamp
    user: dict[str, Any] = Field(description="As events show it.")
    consents: Rows
    bookings: Rows
    qr_codes: Rows
    interaction_history: Rows
    conversations: Rows = Field(description="Each with its `messages`.")
    events: Rows = Field(description="What was recorded about them, each with its `body`.")
    received_by: Rows = Field(description="Which webhook got which event, and when.")
