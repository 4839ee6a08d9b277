"""Rows that tests need, made the way the product makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select

from flowkick.core.clock import system_clock
from flowkick.core.encryption import KeyRing
from flowkick.core.ids import new_id
from flowkick.delivery.models import WebhookAttempt, WebhookDelivery, WebhookSubscription
from flowkick.delivery.requests import secret_context
from flowkick.storage.database import Database
from flowkick.webhooks import outbox, payloads, samples
from flowkick.webhooks.outbox import Draft

SECRET = "5e" * 32


async def create_subscription(
    database: Database, keys: KeyRing, admin_id: str, url: str, **values: Any
) -> str:
    """A subscription to everything that retries within seconds; returns its id."""
    now = system_clock()
    subscription_id = new_id("whs")
    defaults: dict[str, Any] = {
        "name": "Test",
        "events": ["*"],
        "header_names": [],
        "retry_attempts": 3,
        "retry_delay": 1,
        "timeout_ms": 2000,
        "auto_disable_after": None,
        "active": True,
        "created_at": now,
        "updated_at": now,
    }
    async with database.transaction(admin_id) as session:
        session.add(
            WebhookSubscription(
                id=subscription_id,
                url=url,
                secret=keys.seal(SECRET, secret_context(subscription_id)),
                secret_hint=SECRET[-4:],
                **{**defaults, **values},
            )
        )
    return subscription_id


def user_created(number: int = 1) -> Draft:
    """A draft of ``user.created`` with a body of everyday size."""
    return Draft("user.created", payloads.UserCreated(samples.USER), samples.USER.id, number)


async def emit(database: Database, admin_id: str, drafts: Sequence[Draft]) -> list[str]:
    """Record events in a transaction of their own; returns their ids."""
    async with database.transaction(admin_id) as session:
        return await outbox.emit(session, drafts, source="api", now=system_clock())


async def deliveries(database: Database) -> Sequence[WebhookDelivery]:
    """All deliveries, the oldest first."""
    async with database.system_reading() as session:
        return (await session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id))).all()


async def attempts(database: Database) -> Sequence[WebhookAttempt]:
    """All attempts, the oldest first."""
    async with database.system_reading() as session:
        return (await session.scalars(select(WebhookAttempt).order_by(WebhookAttempt.id))).all()


async def subscription(database: Database, subscription_id: str) -> WebhookSubscription:
    """A subscription as it is in the database now."""
    async with database.system_reading() as session:
        found = await session.get(WebhookSubscription, subscription_id)
        assert found is not None
        return found


async def until(
    database: Database,
    holds: Callable[[Sequence[WebhookDelivery]], bool],
    seconds: float = 60,
) -> Sequence[WebhookDelivery]:
    """Wait until `holds` is true of all deliveries."""
    async with asyncio.timeout(seconds):
        while not holds(found := await deliveries(database)):
            await asyncio.sleep(0.02)
    return found


def all_in(*states: str) -> Callable[[Sequence[WebhookDelivery]], bool]:
    """Whether every delivery is in one of these states."""
    return lambda rows: bool(rows) and all(row.status in states for row in rows)
