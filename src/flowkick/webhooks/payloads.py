"""The bodies of events: their shapes, key for key, and the bytes that they are frozen to.

Every key is always present, null where the value is unknown. Moments are strings such as
``2025-11-06T10:30:00.000Z``.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Moment = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
        examples=["2025-11-06T10:30:00.000Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
Source = Literal["manychat_sync", "api", "import", "app", "backfill", "engine"]
AttemptOutcome = Literal["response", "timeout", "refused", "fault"]


class _Payload(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The base of all parts of a body."""


class OptIns(_Payload, frozen=True):
    messenger: bool
    instagram: bool
    whatsapp: bool
    telegram: bool


class ExportConsent(_Payload, frozen=True):
    given: bool
    at: Moment | None


class TagPayload(_Payload, frozen=True):
    id: str
    name: str
    applied_at: Moment


class Interactions(_Payload, frozen=True):
    messages_count: int
    comments_count: int
    stories_count: int
    total_count: int
    last_updated: Moment | None


class Stats(_Payload, frozen=True):
    bookings_count: int
    qr_scans_count: int
    conversations_count: int
    last_booking: Moment | None
    last_synced: Moment | None


class UserTimestamps(_Payload, frozen=True):
    subscribed_at: Moment | None
    created_at: Moment
    updated_at: Moment


class UserPayload(_Payload, frozen=True):
    """A user as events show it."""

    id: str
    manychat_id: str | None
    instagram_username: str | None
    instagram_id: str | None
    first_name: str | None
    last_name: str | None
    full_name: str | None
    email: str | None
    phone: str | None
    whatsapp_phone: str | None
    gender: str | None
    locale: str | None
    timezone: str | None
    profile_pic: str | None
    opt_ins: OptIns
    export_consent: ExportConsent
    tags: list[TagPayload]
    custom_fields: dict[str, str | None]
    interactions: Interactions
    stats: Stats
    timestamps: UserTimestamps


class DeletedUser(_Payload, frozen=True):
    id: str
    manychat_id: str | None


class Change(_Payload, frozen=True):
    """A value before and after."""

    old: Any
    new: Any


class CustomFieldChange(_Payload, frozen=True):
    name: str
    type: str
    old_value: str | None
    new_value: str | None


class ToolPayload(_Payload, frozen=True):
    id: str
    name: str
    type: str


class ContactPayload(_Payload, frozen=True):
    """A user in short, inside a booking or a QR code."""

    id: str
    manychat_id: str | None
    instagram_username: str | None
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None


class Timestamps(_Payload, frozen=True):
    created_at: Moment
    updated_at: Moment


class BookingPayload(_Payload, frozen=True):
    """A booking as events show it."""

    id: str
    start_time: Moment
    end_time: Moment
    status: str
    notes: str | None
    tool: ToolPayload
    user: ContactPayload
    timestamps: Timestamps


class QRCodePayload(_Payload, frozen=True):
    """A QR code as events show it."""

    id: str
    code: str
    type: str
    metadata: dict[str, Any] | None
    active: bool
    expires_at: Moment | None
    scanned_at: Moment | None
    scanned_by: str | None
    tool: ToolPayload | None
    user: ContactPayload | None
    created_at: Moment


class UserCreated(_Payload, frozen=True):
    user: UserPayload


class UserUpdated(_Payload, frozen=True):
    user: UserPayload
    changes: dict[str, Change]


class UserDeleted(_Payload, frozen=True):
    user: DeletedUser


class BookingCreated(_Payload, frozen=True):
    booking: BookingPayload
    user: UserPayload


class BookingUpdated(_Payload, frozen=True):
    booking: BookingPayload
    changes: dict[str, Change]


class BookingEnded(_Payload, frozen=True):
    booking: BookingPayload


class QRCodeOfUser(_Payload, frozen=True):
    qr_code: QRCodePayload
    user: UserPayload | None


class QRCodeScanned(_Payload, frozen=True):
    qr_code: QRCodePayload
    user: UserPayload | None
    scanned_by: str | None


class TagChanged(_Payload, frozen=True):
    user: UserPayload
    tag: TagPayload


class CustomFieldUpdated(_Payload, frozen=True):
    user: UserPayload
    field: CustomFieldChange


class WebhookTest(_Payload, frozen=True):
    message: str
    webhook_id: str
    webhook_name: str


class BackfillStarted(_Payload, frozen=True):
    backfill_id: str
    webhook_id: str
    event: str
    count: int


class BackfillCompleted(_Payload, frozen=True):
    backfill_id: str
    webhook_id: str
    event: str
    status: Literal["completed", "cancelled"]
    count: int
    delivered: int
    failed: int


class SubscriptionDisabled(_Payload, frozen=True):
    webhook_id: str
    webhook_name: str
    reason: Literal["consecutive_failures", "gone"]
    failing_since: Moment
    consecutive_failures: int


class SubscriptionFailing(_Payload, frozen=True):
    webhook_id: str
    webhook_name: str
    failing_since: Moment
    consecutive_failures: int
    outcome: AttemptOutcome
    status_code: int | None


class SubscriptionRecovered(_Payload, frozen=True):
    webhook_id: str
    webhook_name: str
    failing_since: Moment


class DeliveryFailed(_Payload, frozen=True):
    webhook_id: str
    webhook_name: str
    delivery_id: str
    event: str
    event_id: str
    attempts: int
    outcome: AttemptOutcome
    status_code: int | None


class Metadata(_Payload, frozen=True):
    source: Source
    action: str
    event_id: str
    sequence: int


class UpdateMetadata(Metadata, frozen=True):
    """Of an update, which may stand for others that were never sent: `supersedes` are their ids."""

    supersedes: list[str] | UnsetType = UNSET


class Envelope(_Payload, frozen=True):
    """The whole body of a webhook."""

    event: str
    timestamp: Moment
    data: Any
    metadata: Metadata


_ENCODER: Final = msgspec.json.Encoder()


def action_of(event: str) -> str:
    """The action that an event's name tells: ``user.created`` gives ``created``."""
    return event.rpartition(".")[2]


def encode_event(
    event: str, timestamp: str, data: Struct, *, source: str, event_id: str, sequence: int
) -> bytes:
    """The bytes of an event, as every attempt and every subscription gets them."""
    metadata = {
        "source": source,
        "action": action_of(event),
        "eventId": event_id,
        "sequence": sequence,
    }
    return _ENCODER.encode(
        {"event": event, "timestamp": timestamp, "data": data, "metadata": metadata}
    )
