"""The catalogue of events: each is declared here, once. Schemas and examples derive from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Struct

from flowkick.webhooks import payloads, samples

ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event: its name, what it tells, the shape of its data, and an example of that."""

    name: str
    description: str
    data_type: type[Struct]
    example_data: Struct
    example_source: str = "manychat_sync"
    subscribable: bool = True
    metadata_type: type[payloads.Metadata] = payloads.Metadata
    operational: bool = False
    """Of the machinery, not of a user: sent to those who name it or its group, not for ``*``."""

    def example(self) -> dict[str, Any]:
        """A whole body, as a receiver might get it."""
        body = payloads.encode_event(
            self.name,
            samples.MOMENT,
            self.example_data,
            source=self.example_source,
            event_id="evt_0199f8d2c1a07b3e9d41c6a5f0e27b11",
            sequence=7 if self.subscribable and not self.operational else 0,
        )
        decoded: dict[str, Any] = msgspec.json.decode(body)
        return decoded

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the whole body, complete in itself."""
        (data, metadata), definitions = msgspec.json.schema_components(
            [self.data_type, self.metadata_type], ref_template="#/$defs/{name}"
        )
        action = {"const": payloads.action_of(self.name)}
        definitions[self.metadata_type.__name__]["properties"]["action"] = action
        (moment,), _ = msgspec.json.schema_components([payloads.Moment])
        properties = {
            "event": {"const": self.name},
            "timestamp": moment,
            "data": data,
            "metadata": metadata,
        }
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.name,
            "description": self.description,
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
            "$defs": definitions,
        }

    def description_for_api(self) -> dict[str, Any]:
        """How the API shows this type."""
        return {
            "name": self.name,
            "description": self.description,
            "schema": self.json_schema(),
            "example": self.example(),
        }


TEST: Final = "webhook.test"
BACKFILL_STARTED: Final = "backfill.started"
BACKFILL_COMPLETED: Final = "backfill.completed"
_WEBHOOK: Final = "whs_0199f8d2b7c47e12a3d5"
_BACKFILL: Final = "job_0199f8d2d4e57c61b2f8"
DISABLED: Final = "subscription.disabled"
FAILING: Final = "subscription.failing"
RECOVERED: Final = "subscription.recovered"
GIVEN_UP: Final = "delivery.failed"

_TYPES: Final = (
    EventType(
        "user.created",
        "A user was added, with everything that is known of it.",
        payloads.UserCreated,
        payloads.UserCreated(samples.USER),
    ),
    EventType(
        "user.updated",
        "Fields of a user changed; `changes` has each with its old and its new value.",
        payloads.UserUpdated,
        payloads.UserUpdated(samples.USER, samples.USER_CHANGES),
        metadata_type=payloads.UpdateMetadata,
    ),
    EventType(
        "user.deleted",
        "A user was deleted; what was known of it is gone.",
        payloads.UserDeleted,
        payloads.UserDeleted(payloads.DeletedUser(samples.USER.id, samples.USER.manychat_id)),
        "api",
    ),
    EventType(
        "booking.created",
        "A user booked a tool.",
        payloads.BookingCreated,
        payloads.BookingCreated(samples.BOOKING, samples.USER),
        "api",
    ),
    EventType(
        "booking.updated",
        "A booking changed; `changes` has each field with its old and its new value.",
        payloads.BookingUpdated,
        payloads.BookingUpdated(samples.BOOKING, samples.BOOKING_CHANGES),
        "api",
    ),
    EventType(
        "booking.cancelled",
        "A booking was cancelled.",
        payloads.BookingEnded,
        payloads.BookingEnded(samples.booking("cancelled")),
        "api",
    ),
    EventType(
        "booking.completed",
        "A booking was completed.",
        payloads.BookingEnded,
        payloads.BookingEnded(samples.booking("completed")),
        "api",
    ),
    EventType(
        "qr.created",
        "A QR code was made.",
        payloads.QRCodeOfUser,
        payloads.QRCodeOfUser(samples.QR_CODE, samples.USER),
        "api",
    ),
    EventType(
        "qr.scanned",
        "A QR code was scanned; this happens once.",
        payloads.QRCodeScanned,
        payloads.QRCodeScanned(samples.SCANNED_QR_CODE, samples.USER, samples.SCANNER),
        "api",
    ),
    EventType(
        "qr.validated",
        "A QR code was checked and found valid.",
        payloads.QRCodeOfUser,
        payloads.QRCodeOfUser(samples.QR_CODE, samples.USER),
        "api",
    ),
    EventType(
        "tag.added",
        "A tag was put on a user.",
        payloads.TagChanged,
        payloads.TagChanged(samples.USER, samples.TAG),
    ),
    EventType(
        "tag.removed",
        "A tag was taken from a user.",
        payloads.TagChanged,
        payloads.TagChanged(samples.USER, samples.REMOVED_TAG),
    ),
    EventType(
        "customfield.updated",
        "The value that a user has in a custom field changed.",
        payloads.CustomFieldUpdated,
        payloads.CustomFieldUpdated(samples.USER, samples.FIELD_CHANGE),
    ),
    EventType(
        DISABLED,
        "A webhook was deactivated, since it failed too often or its endpoint is gone.",
        payloads.SubscriptionDisabled,
        payloads.SubscriptionDisabled(
            _WEBHOOK, "My CRM Webhook", "consecutive_failures", samples.MOMENT, 100
        ),
        "engine",
        operational=True,
    ),
    EventType(
        FAILING,
        "A webhook began to fail: so many attempts in a row did. It is told once.",
        payloads.SubscriptionFailing,
        payloads.SubscriptionFailing(
            _WEBHOOK, "My CRM Webhook", samples.MOMENT, 5, "response", 503
        ),
        "engine",
        operational=True,
    ),
    EventType(
        RECOVERED,
        "A webhook that had failed or was deactivated takes deliveries again.",
        payloads.SubscriptionRecovered,
        payloads.SubscriptionRecovered(_WEBHOOK, "My CRM Webhook", samples.MOMENT),
        "engine",
        operational=True,
    ),
    EventType(
        GIVEN_UP,
        "A delivery was given up: its retries are used up, or the endpoint is gone.",
        payloads.DeliveryFailed,
        payloads.DeliveryFailed(
            _WEBHOOK,
            "My CRM Webhook",
            "4711",
            "user.created",
            "evt_0199f8d2c1a07b3e9d41c6a5f0e27b10",
            4,
            "timeout",
            None,
        ),
        "engine",
        operational=True,
    ),
    EventType(
        TEST,
        "A test that was asked for; it is never subscribed to.",
        payloads.WebhookTest,
        payloads.WebhookTest("This is a test from Flowkick.", _WEBHOOK, "My CRM Webhook"),
        "api",
        subscribable=False,
    ),
    EventType(
        BACKFILL_STARTED,
        "A backfill begins: as many users as `count` says are about to be sent to this webhook.",
        payloads.BackfillStarted,
        payloads.BackfillStarted(_BACKFILL, _WEBHOOK, "user.created", 1200),
        "backfill",
        subscribable=False,
    ),
    EventType(
        BACKFILL_COMPLETED,
        "A backfill has ended: each user was delivered or given up, unless it was cancelled.",
        payloads.BackfillCompleted,
        payloads.BackfillCompleted(_BACKFILL, _WEBHOOK, "user.created", "completed", 1200, 1199, 1),
        "backfill",
        subscribable=False,
    ),
)

CATALOGUE: Final[Mapping[str, EventType]] = {type_.name: type_ for type_ in _TYPES}
SUBSCRIBABLE: Final[frozenset[str]] = frozenset(
    type_.name for type_ in _TYPES if type_.subscribable
)
"""All but those that are sent without being subscribed to: tests, and the marks of backfills."""


OPERATIONAL: Final[frozenset[str]] = frozenset(type_.name for type_ in _TYPES if type_.operational)
"""Those that tell of the machinery itself."""


def group_of(event: str) -> str:
    """The group that an event belongs to: ``user.created`` gives ``user.*``."""
    return f"{event.partition('.')[0]}.*"


GROUPS: Final[frozenset[str]] = frozenset(map(group_of, SUBSCRIBABLE))
_PATTERNS: Final = SUBSCRIBABLE | GROUPS | {ALL}


def matching_patterns(event: str) -> tuple[str, ...]:
    """What a subscription may have asked for to get this event: its name, its group, or all.

    Not all, where the event is about the machinery: who asks for every change means those of users.
    """
    group = group_of(event)
    return (event, group) if event in OPERATIONAL else (event, group, ALL)


def check_patterns(patterns: Iterable[str]) -> list[str]:
    """The patterns, each once, in their order.

    Raises ValueError, with a sentence that lists what there is, for none or an unknown one.
    """
    chosen = list(dict.fromkeys(patterns))
    if not chosen:
        raise ValueError("name at least one event, a group such as user.*, or *")
    unknown = [pattern for pattern in chosen if pattern not in _PATTERNS]
    if unknown:
        shown = ", ".join(pattern[:100] for pattern in unknown[:5])
        raise ValueError(
            f"unknown event {shown}: there are {', '.join(sorted(SUBSCRIBABLE))},"
            f" the groups {', '.join(sorted(GROUPS))}, and *"
        )
    return chosen


def expand(patterns: Iterable[str]) -> frozenset[str]:
    """The names of all events that these patterns stand for."""
    wanted = set(patterns)
    return frozenset(name for name in SUBSCRIBABLE if wanted.intersection(matching_patterns(name)))
