"""From a delivery to the complete, signed request that goes out: no I/O, no database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from flowkick.core.clock import isoformat
from flowkick.core.encryption import KeyRing
from flowkick.delivery.client import Request
from flowkick.delivery.signing import signed_headers


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a subscription's requests go and how they are signed, secrets still sealed."""

    subscription_id: str
    url: str
    timeout_ms: int
    secret: str
    former_secrets: Sequence[Mapping[str, str]]
    headers: str | None


class Message(NamedTuple):
    """One event, as every subscription gets it."""

    event: str
    event_id: str
    timestamp: str
    """When it was recorded, as its body says it."""
    body: bytes
    traceparent: str | None = None


def secret_context(subscription_id: str) -> str:
    """What a sealed signing secret is bound to."""
    return f"WebhookSubscription:{subscription_id}:secret"


def headers_context(subscription_id: str) -> str:
    """What sealed extra headers are bound to."""
    return f"WebhookSubscription:{subscription_id}:headers"


def live_secrets(former: Sequence[Mapping[str, str]], at: datetime) -> list[Mapping[str, str]]:
    """Those of a subscription's former secrets whose overlap has not ended."""
    moment = isoformat(at)
    return [secret for secret in former if moment < secret["until"]]


class RequestBuilder:
    """Opens secrets once and keeps them in memory, since one subscription has many deliveries."""

    def __init__(self, key_ring: KeyRing) -> None:
        self._open = lru_cache(maxsize=1024)(key_ring.open)

    def build(self, endpoint: Endpoint, message: Message, *, attempt: int, at: datetime) -> Request:
        """The request of attempt number `attempt` (from 1), signed as of `at`."""
        headers = signed_headers(
            event=message.event,
            message_id=message.event_id,
            payload_timestamp=message.timestamp,
            attempt=attempt,
            body=message.body,
            secrets=self._secrets(endpoint, at),
            at=at,
            extra=self._extra(endpoint),
        )
        return Request(
            endpoint.url,
            message.body,
            headers,
            endpoint.timeout_ms / 1000,
            endpoint.subscription_id,
            message.traceparent,
            at,
        )

    def _secrets(self, endpoint: Endpoint, at: datetime) -> list[str]:
        """The live secrets, the oldest first: while rotations overlap, the former ones sign too."""
        context = secret_context(endpoint.subscription_id)
        former = live_secrets(endpoint.former_secrets, at) if endpoint.former_secrets else ()
        return [
            self._open(sealed, context)
            for sealed in (*(item["secret"] for item in former), endpoint.secret)
        ]

    def _extra(self, endpoint: Endpoint) -> Mapping[str, str]:
        if endpoint.headers is None:
            return {}
        extra: dict[str, str] = json.loads(
            self._open(endpoint.headers, headers_context(endpoint.subscription_id))
        )
        return extra
