"""Signatures that the receivers of others accept, and refusals of what was changed."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from flowkick.delivery.signing import (
    RESERVED_HEADERS,
    body_signature,
    check_extra_headers,
    explain_standard,
    new_secret,
    signed_headers,
    signing_secret,
    standard_signature,
    verify_body,
    verify_standard,
)

BODY = '{"event":"user.created","data":{"user":{"name":"Zoë"}}}'.encode()
SECRET = "a1b2c3d4" * 8
OTHER = "0123cdef" * 8
NOW = datetime(2025, 11, 6, 10, 30, 0, 250_000, tzinfo=UTC)


def create_headers(
    secrets: tuple[str, ...] = (SECRET,),
    at: datetime = NOW,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    return signed_headers(
        event="user.created",
        message_id="evt_1",
        payload_timestamp="2025-11-06T10:29:58.000Z",
        attempt=2,
        body=BODY,
        secrets=secrets,
        at=at,
        extra=extra,
    )


def test_the_published_standard_webhooks_vector_is_met() -> None:
    signature = standard_signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_body_signature_is_keyed_with_the_text_of_the_secret() -> None:
    expected = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    assert body_signature(SECRET, BODY) == expected


def test_secrets_are_64_hex_characters_and_never_repeat() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(bytes.fromhex(secret)) == 32 and secret.isascii() for secret in secrets)


def test_the_signing_secret_spells_the_same_key_within_the_standards_bounds() -> None:
    key = base64.b64decode(signing_secret(SECRET).removeprefix("whsec_"))
    assert key == SECRET.encode()
    assert 24 <= len(key) <= 64
    assert standard_signature(SECRET, "m", 1, b"x") == standard_signature(
        signing_secret(SECRET), "m", 1, b"x"
    )


def test_a_request_carries_exactly_the_documented_headers() -> None:
    assert create_headers(extra={"Authorization": "Bearer token"}) == {
        "Authorization": "Bearer token",
        "Content-Type": "application/json",
        "User-Agent": "Flowkick-Webhook/1.0",
        "X-Webhook-Event": "user.created",
        "X-Webhook-ID": "evt_1",
        "X-Webhook-Timestamp": "2025-11-06T10:29:58.000Z",
        "X-Webhook-Attempt": "2",
        "X-Webhook-Signature": body_signature(SECRET, BODY),
        "webhook-id": "evt_1",
        "webhook-timestamp": "1762425000",
        "webhook-signature": standard_signature(SECRET, "evt_1", 1762425000, BODY),
    }


def test_every_header_we_set_is_reserved() -> None:
    assert {name.lower() for name in create_headers()} <= RESERVED_HEADERS


# Strangers verify us


def test_the_standard_webhooks_library_accepts_our_requests() -> None:
    headers = create_headers(at=datetime.now(UTC))
    assert Webhook(signing_secret(SECRET)).verify(BODY, headers)["event"] == "user.created"


def test_the_standard_webhooks_library_refuses_a_changed_body() -> None:
    headers = create_headers(at=datetime.now(UTC))
    with pytest.raises(WebhookVerificationError):
        Webhook(signing_secret(SECRET)).verify(BODY + b" ", headers)


def test_the_standard_webhooks_library_refuses_a_changed_id() -> None:
    headers = create_headers(at=datetime.now(UTC)) | {"webhook-id": "evt_2"}
    with pytest.raises(WebhookVerificationError):
        Webhook(signing_secret(SECRET)).verify(BODY, headers)


def test_the_standard_webhooks_library_refuses_a_wrong_secret() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(signing_secret(OTHER)).verify(BODY, create_headers(at=datetime.now(UTC)))


@pytest.mark.parametrize("shift", [timedelta(minutes=-6), timedelta(minutes=6)])
def test_the_standard_webhooks_library_refuses_an_old_or_future_time(shift: timedelta) -> None:
    headers = create_headers(at=datetime.now(UTC) + shift)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing_secret(SECRET)).verify(BODY, headers)


def test_during_a_rotation_both_secrets_verify_and_the_first_signs_the_body() -> None:
    headers = create_headers(secrets=(SECRET, OTHER), at=datetime.now(UTC))
    for secret in (SECRET, OTHER):
        Webhook(signing_secret(secret)).verify(BODY, headers)
        assert verify_standard(secret, headers, BODY, datetime.now(UTC))
    assert verify_body(SECRET, BODY, headers["X-Webhook-Signature"])
    assert not verify_body(OTHER, BODY, headers["X-Webhook-Signature"])


# We verify as receivers


def test_our_receiver_accepts_what_we_send_whatever_the_case_of_header_names() -> None:
    headers = {name.title(): value for name, value in create_headers().items()}
    assert verify_standard(SECRET, headers, BODY, NOW)
    assert verify_standard([OTHER, signing_secret(SECRET)], headers, BODY, NOW)
    assert verify_body(SECRET, BODY, headers["X-Webhook-Signature"])


def test_our_receiver_accepts_what_the_standard_webhooks_library_signs() -> None:
    signature = Webhook(signing_secret(SECRET)).sign("msg_1", NOW, BODY.decode())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": f"v1a,other {signature}",
    }
    assert verify_standard(SECRET, headers, BODY, NOW)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_body_signature_belongs_to_one_body_only(body: bytes, other: bytes) -> None:
    assert verify_body(SECRET, body, body_signature(SECRET, body))
    assert verify_body(SECRET, other, body_signature(SECRET, body)) is (body == other)


@given(st.text(max_size=80))
def test_no_text_passes_for_a_signature(text: str) -> None:
    assert not verify_body(SECRET, BODY, text)
    headers = create_headers() | {"webhook-signature": text}
    assert not verify_standard(SECRET, headers, BODY, NOW)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"webhook-id": "evt_2"}, "belongs to"),
        ({"webhook-id": ""}, "lacks"),
        ({"webhook-signature": ""}, "belongs to"),
        ({"webhook-signature": "v2,abc"}, "belongs to"),
        ({"webhook-timestamp": "1762425001"}, "belongs to"),
        ({"webhook-timestamp": ""}, "not a number"),
        ({"webhook-timestamp": "soon"}, "not a number"),
        ({"webhook-timestamp": "1762425000.0"}, "not a number"),
        ({"webhook-timestamp": "-1"}, "not a number"),
        ({"webhook-timestamp": "１７６２４２５０００"}, "not a number"),
    ],
)
def test_a_changed_header_is_refused_and_the_reason_told(
    change: dict[str, str], reason: str
) -> None:
    why = explain_standard(SECRET, create_headers() | change, BODY, NOW)
    assert why is not None
    assert reason in why


def test_missing_headers_are_refused() -> None:
    assert explain_standard(SECRET, {}, BODY, NOW) is not None


@pytest.mark.parametrize(
    ("seconds", "accepted"), [(0, True), (300, True), (301, False), (-300, True), (-301, False)]
)
def test_a_request_is_accepted_for_five_minutes_around_its_time(
    seconds: int, accepted: bool
) -> None:
    later = NOW + timedelta(seconds=seconds)
    assert verify_standard(SECRET, create_headers(), BODY, later) is accepted


# Extra headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer abc.def-ghi"},
        {"X-Tenant": "42", "X-Note": 'a "quoted" text; with = signs, and\ttabs'},
        {f"X-Header-{n}": "v" for n in range(20)},
        {"X" * 128: "v" * 4096},
    ],
)
def test_ordinary_extra_headers_are_possible(headers: dict[str, str]) -> None:
    check_extra_headers(headers)


@pytest.mark.parametrize("name", sorted(RESERVED_HEADERS))
def test_reserved_headers_cannot_be_chosen_in_any_case(name: str) -> None:
    for spelling in (name, name.upper(), name.title()):
        with pytest.raises(ValueError, match="cannot be chosen"):
            check_extra_headers({spelling: "value"})


@pytest.mark.parametrize(
    "headers",
    [
        {f"X-Header-{n}": "v" for n in range(21)},
        {"": "v"},
        {"X Header": "v"},
        {"X-Header:": "v"},
        {"X-Header\r\nHost": "v"},
        {"X-Headér": "v"},
        {"X" * 129: "v"},
        {"X-One": "v", "x-one": "v"},
        {"X-Header": ""},
        {"X-Header": " padded"},
        {"X-Header": "padded "},
        {"X-Header": "two\r\nlines"},
        {"X-Header": "two\nlines"},
        {"X-Header": "nul\x00"},
        {"X-Header": "café"},
        {"X-Header": "v" * 4097},
    ],
)
def test_extra_headers_that_could_not_be_sent_are_refused_with_a_sentence(
    headers: dict[str, str],
) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        check_extra_headers(headers)


def test_a_refusal_never_shows_the_value_of_a_header() -> None:
    with pytest.raises(ValueError, match="X-Token") as refusal:
        check_extra_headers({"X-Token": "s3cr3t\n"})
    assert "s3cr3t" not in str(refusal.value)
