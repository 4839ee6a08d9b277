"""From a delivery to the complete, signed request that goes out: no I/O, no database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

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
    previous_secret: str | None
    previous_secret_until: datetime | None
    headers: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """One event, as every subscription gets it."""

    event: str
    event_id: str
    recorded_at: datetime
    body: bytes


def secret_context(subscription_id: str) -> str:
    """What a sealed signing secret is bound to."""
    return f"WebhookSubscription:{subscription_id}:secret"


def headers_context(subscription_id: str) -> str:
    """What sealed extra headers are bound to."""
    return f"WebhookSubscription:{subscription_id}:headers"


class RequestBuilder:
    """Opens secrets once and keeps them in memory, since one subscription has many deliveries."""

    def __init__(self, key_ring: KeyRing) -> None:
        self._open = lru_cache(maxsize=1024)(key_ring.open)

    def build(self, endpoint: Endpoint, message: Message, *, attempt: int, at: datetime) -> Request:
        """The request of attempt number `attempt` (from 1), signed as of `at`."""
        headers = signed_headers(
            event=message.event,
            message_id=message.event_id,
            payload_timestamp=isoformat(message.recorded_at),
            attempt=attempt,
            body=message.body,
            secrets=self._secrets(endpoint, at),
            at=at,
            extra=self._extra(endpoint),
        )
        return Request(endpoint.url, message.body, headers, endpoint.timeout_ms / 1000)

    def _secrets(self, endpoint: Endpoint, at: datetime) -> list[str]:
        """The live secrets; while a rotation overlaps, the former one comes first."""
        context = secret_context(endpoint.subscription_id)
        secrets = [self._open(endpoint.secret, context)]
        if (
            endpoint.previous_secret is not None
            and endpoint.previous_secret_until is not None
            and at < endpoint.previous_secret_until
        ):
            secrets.insert(0, self._open(endpoint.previous_secret, context))
        return secrets

    def _extra(self, endpoint: Endpoint) -> Mapping[str, str]:
        if endpoint.headers is None:
            return {}
        extra: dict[str, str] = json.loads(
            self._open(endpoint.headers, headers_context(endpoint.subscription_id))
        )
        return extra
