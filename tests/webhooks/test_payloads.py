"""The bytes of an event: the keys that receivers rely on, in their order."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from flowkick.webhooks import payloads, samples
from flowkick.webhooks.catalogue import CATALOGUE

USER_KEYS = [
    "id",
    "manychatId",
    "instagramUsername",
    "instagramId",
    "firstName",
    "lastName",
    "fullName",
    "email",
    "phone",
    "whatsappPhone",
    "gender",
    "locale",
    "timezone",
    "profilePic",
    "optIns",
    "exportConsent",
    "tags",
    "customFields",
    "interactions",
    "stats",
    "timestamps",
]
INNER_KEYS = {
    "optIns": "messenger instagram whatsapp telegram",
    "exportConsent": "given at",
    "interactions": "messagesCount commentsCount storiesCount totalCount lastUpdated",
    "stats": "bookingsCount qrScansCount conversationsCount lastBooking lastSynced",
    "timestamps": "subscribedAt createdAt updatedAt",
}


def _body(event: str, data: msgspec.Struct) -> dict[str, Any]:
    encoded = payloads.encode_event(
        event, samples.MOMENT, data, source="api", event_id="evt_1", sequence=3
    )
    decoded: dict[str, Any] = json.loads(encoded)
    return decoded


def test_a_body_has_its_keys_in_order() -> None:
    body = _body("user.created", payloads.UserCreated(samples.USER))
    assert list(body) == ["event", "timestamp", "data", "metadata"]
    assert list(body["metadata"].items()) == [
        ("source", "api"),
        ("action", "created"),
        ("eventId", "evt_1"),
        ("sequence", 3),
    ]


def test_a_user_has_every_key_in_order() -> None:
    user = _body("user.created", payloads.UserCreated(samples.USER))["data"]["user"]
    assert list(user) == USER_KEYS
    for name, keys in INNER_KEYS.items():
        assert list(user[name]) == keys.split(), name
    assert list(user["tags"][0]) == ["id", "name", "appliedAt"]


def test_what_is_unknown_is_null_and_never_left_out() -> None:
    unknown = dict.fromkeys(
        name
        for name, value in msgspec.structs.asdict(samples.USER).items()
        if value.__class__ is str
    )
    user = msgspec.structs.replace(
        samples.USER, **unknown | {"id": "usr_1"}, custom_fields={"a": None}
    )
    shown = _body("user.created", payloads.UserCreated(user))["data"]["user"]
    assert list(shown) == USER_KEYS
    assert shown["email"] is None
    assert shown["customFields"] == {"a": None}


def test_a_booking_and_a_qr_code_have_every_key_in_order() -> None:
    booking = _body("booking.completed", payloads.BookingEnded(samples.BOOKING))["data"]["booking"]
    assert list(booking) == [
        "id",
        "startTime",
        "endTime",
        "status",
        "notes",
        "tool",
        "user",
        "timestamps",
    ]
    contact = ["id", "manychatId", "instagramUsername", "firstName", "lastName", "email", "phone"]
    assert list(booking["tool"]) == ["id", "name", "type"]
    assert list(booking["user"]) == contact
    scanned = payloads.QRCodeScanned(samples.SCANNED_QR_CODE, samples.USER, samples.SCANNER)
    data = _body("qr.scanned", scanned)["data"]
    assert list(data) == ["qrCode", "user", "scannedBy"]
    keys = "id code type metadata active expiresAt scannedAt scannedBy tool user createdAt"
    assert list(data["qrCode"]) == keys.split()


def test_a_custom_field_tells_its_value_before_and_after() -> None:
    data = _body(
        "customfield.updated", payloads.CustomFieldUpdated(samples.USER, samples.FIELD_CHANGE)
    )["data"]
    assert list(data["field"]) == ["name", "type", "oldValue", "newValue"]


def test_text_is_kept_as_it_is() -> None:
    user = msgspec.structs.replace(samples.USER, first_name='Zoë 🎉 "\u0000\u2028</script>')
    shown = _body("user.created", payloads.UserCreated(user))["data"]["user"]
    assert shown["firstName"] == user.first_name


@pytest.mark.parametrize("name", CATALOGUE)
def test_data_comes_back_from_its_bytes_as_it_was(name: str) -> None:
    type_ = CATALOGUE[name]
    data = _body(name, type_.example_data)["data"]
    assert msgspec.convert(data, type_.data_type) == type_.example_data


@pytest.mark.parametrize(
    ("event", "action"),
    [("user.created", "created"), ("qr.scanned", "scanned"), ("webhook.test", "test")],
)
def test_the_action_is_the_second_half_of_the_name(event: str, action: str) -> None:
    assert payloads.action_of(event) == action
