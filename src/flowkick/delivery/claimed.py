"""What is leased, with all that its request needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import select

from flowkick.delivery.models import WebhookSubscription
from flowkick.delivery.requests import Endpoint, Message
from flowkick.delivery.retry import RetryPolicy
from flowkick.delivery.sql import Leased
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession

DESTINATION: Final = (
    WebhookSubscription.id,
    WebhookSubscription.active,
    WebhookSubscription.coalesce,
    WebhookSubscription.url,
    WebhookSubscription.timeout_ms,
    WebhookSubscription.secret,
    WebhookSubscription.former_secrets,
    WebhookSubscription.headers,
    WebhookSubscription.retry_attempts,
    WebhookSubscription.retry_delay,
)
"""The columns that `destination_of` reads."""


@dataclass(frozen=True, slots=True)
class Destination:
    """What all deliveries to one subscription share."""

    active: bool
    coalesces: bool
    endpoint: Endpoint
    policy: RetryPolicy


class Claimed(NamedTuple):
    """A leased delivery, with all that its request needs."""

    id: int
    admin_id: str
    attempt: int
    """The number that the request carries, from 1: unique among all requests of the delivery."""
    scheduled: int
    """The number of the attempt in the schedule of retries, from 1: resends don't count."""
    endpoint: Endpoint
    message: Message
    policy: RetryPolicy
    probe: bool = False
    """Whether what comes of it decides over a breaker."""
    not_before: datetime | None = None
    """The moment that the limit of its subscription gives it; None where there is none."""

    @classmethod
    def of(cls, leased: Leased, destination: Destination, message: Message) -> Self:
        """A delivery that was leased, to be sent there."""
        return cls(
            leased.id,
            leased.admin_id,
            leased.last_attempt + 1,
            leased.attempt + 1,
            destination.endpoint,
            message,
            destination.policy,
        )


def destination_of(row: Any) -> Destination:
    """Where the deliveries to a subscription go, of a row with the columns `DESTINATION`."""
    return Destination(
        row.active,
        row.coalesce,
        Endpoint(row.id, row.url, row.timeout_ms, row.secret, row.former_secrets, row.headers),
        RetryPolicy(row.retry_attempts, row.retry_delay),
    )


async def destinations(session: TenantSession, ids: Collection[str]) -> Mapping[str, Destination]:
    """Where the deliveries to these subscriptions go, of those that are there."""
    if not ids:
        return {}
    statement = select(*DESTINATION).where(among(session, WebhookSubscription.id, sorted(ids)))
    return {row.id: destination_of(row) for row in await session.execute(statement)}
