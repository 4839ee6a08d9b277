"""Signatures of webhook requests, for the sender and for receivers.

Two signatures go with every request. `X-Webhook-Signature` is hex HMAC-SHA256 of the raw body.
`webhook-signature` follows Standard Webhooks (standardwebhooks.com): base64 HMAC-SHA256 of
`id.timestamp.body`, which also protects the id and the time. The HMAC key of both is the ASCII
text of the 64 hex characters that the customer was shown, not the 32 bytes they spell.
"""

import base64
import binascii
import hmac
import re
import secrets as random_secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

__all__ = [
    "RESERVED_HEADERS",
    "body_signature",
    "check_extra_headers",
    "explain_standard",
    "new_secret",
    "signed_headers",
    "signing_secret",
    "standard_signature",
    "verify_body",
    "verify_standard",
]

USER_AGENT = "Flowkick-Webhook/1.0"
TOLERANCE_SECONDS = 300
"""How far a receiver lets the timestamp be off; the Standard Webhooks libraries use the same."""

MAX_EXTRA_HEADERS = 20
MAX_HEADER_NAME = 128
MAX_HEADER_VALUE = 4096
"""Receivers commonly allow 8 KiB for one header line."""

RESERVED_HEADERS: frozenset[str] = frozenset(
    {
        # set by us
        "content-type",
        "user-agent",
        "x-webhook-event",
        "x-webhook-id",
        "x-webhook-timestamp",
        "x-webhook-attempt",
        "x-webhook-signature",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "traceparent",
        # set by HTTP, or able to change how the request is framed and routed
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # no cookies
        "cookie",
        "cookie2",
    }
)

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_WHSEC = "whsec_"


def new_secret() -> str:
    """A fresh signing secret: 64 hex characters, 256 bits."""
    return random_secrets.token_hex(32)


def signing_secret(secret: str) -> str:
    """The form of a secret that Standard Webhooks libraries take."""
    return _WHSEC + base64.b64encode(_key(secret)).decode("ascii")


def body_signature(secret: str, body: bytes) -> str:
    """The value of X-Webhook-Signature."""
    return hmac.digest(_key(secret), body, "sha256").hex()


def standard_signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One entry of webhook-signature: `v1,` and base64."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.digest(_key(secret), signed, "sha256")
    return "v1," + binascii.b2a_base64(digest, newline=False).decode("ascii")


def signed_headers(
    *,
    event: str,
    message_id: str,
    payload_timestamp: str,
    attempt: int,
    body: bytes,
    secrets: Sequence[str],
    at: datetime,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Every header of a webhook request that is not HTTP's own.

    `secrets` are the live ones, at least one; the first makes X-Webhook-Signature, and each an
    entry of webhook-signature. While a rotation overlaps the first is the old one, so that
    receivers of the body signature go on working until they have the new secret.
    `at` is the time of this attempt.
    """
    timestamp = int(at.timestamp())
    signatures = [standard_signature(secret, message_id, timestamp, body) for secret in secrets]
    return {
        **(extra or {}),
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "X-Webhook-Event": event,
        "X-Webhook-ID": message_id,
        "X-Webhook-Timestamp": payload_timestamp,
        "X-Webhook-Attempt": str(attempt),
        "X-Webhook-Signature": body_signature(secrets[0], body),
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def check_extra_headers(headers: Mapping[str, str]) -> None:
    """Raise ValueError, with a sentence, for headers that a subscription may not add.

    The sentence names headers and never shows a value, which may be a credential.
    """
    if len(headers) > MAX_EXTRA_HEADERS:
        raise ValueError(f"At most {MAX_EXTRA_HEADERS} extra headers are possible.")
    seen: set[str] = set()
    for name, value in headers.items():
        _check_header_name(name, seen)
        _check_header_value(name, value)


def _check_header_name(name: str, seen: set[str]) -> None:
    if len(name) > MAX_HEADER_NAME or _TOKEN.fullmatch(name) is None:
        raise ValueError(
            "A header name is 1 to 128 letters, digits and hyphens (RFC 9110 tokens); "
            f"{name[:40]!r} is not one."
        )
    lowered = name.lower()
    if lowered in RESERVED_HEADERS:
        raise ValueError(f"The header {name} is set by Flowkick or by HTTP and cannot be chosen.")
    if lowered in seen:
        raise ValueError(f"The header {name} is given twice.")
    seen.add(lowered)


def _check_header_value(name: str, value: str) -> None:
    if len(value) > MAX_HEADER_VALUE:
        raise ValueError(f"The value of {name} is longer than {MAX_HEADER_VALUE:,} characters.")
    if _VALUE.fullmatch(value) is None:
        raise ValueError(
            f"The value of {name} must be printable ASCII text without spaces at its ends."
        )


def verify_body(secret: str, body: bytes, signature: str) -> bool:
    """Whether an X-Webhook-Signature belongs to this body, compared in constant time."""
    return _same(body_signature(secret, body), signature)


def verify_standard(
    secrets: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    tolerance: int = TOLERANCE_SECONDS,
) -> bool:
    """Whether a request is genuine and recent by the three Standard Webhooks headers."""
    return explain_standard(secrets, headers, body, now, tolerance) is None


def explain_standard(
    secrets: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    tolerance: int = TOLERANCE_SECONDS,
) -> str | None:
    """Why `verify_standard` says no, as a sentence; None where it says yes.

    Header names are matched without regard to case, secrets may be given in either form, and
    any one of several secrets is enough.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    message_id, stamp = lowered.get("webhook-id"), lowered.get("webhook-timestamp", "")
    if not message_id or "webhook-signature" not in lowered:
        return "The request lacks webhook-id or webhook-signature."
    if re.fullmatch(r"[0-9]{1,12}", stamp) is None:
        return "webhook-timestamp is missing or not a number of seconds."
    age = int(now.timestamp()) - int(stamp)
    if abs(age) > tolerance:
        return f"webhook-timestamp is {abs(age)} s {'old' if age > 0 else 'ahead of the clock'}."
    known = (secrets,) if isinstance(secrets, str) else secrets
    expected = [standard_signature(secret, message_id, int(stamp), body) for secret in known]
    given = lowered["webhook-signature"].split(" ")
    # Every pair is compared, so that the time taken tells nothing about which one matched.
    matches = [_same(ours, theirs) for ours in expected for theirs in given]
    if not any(matches):
        return "No entry of webhook-signature belongs to this body, id, time and secret."
    return None


def _same(ours: str, theirs: str) -> bool:
    # compare_digest refuses non-ASCII text with a TypeError; bytes are compared whatever they are.
    return hmac.compare_digest(ours.encode("ascii"), theirs.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=1024)
def _key(secret: str) -> bytes:
    """The HMAC key of a secret in either form."""
    if secret.startswith(_WHSEC):
        return base64.b64decode(secret.removeprefix(_WHSEC), validate=True)
    return secret.encode("ascii")
