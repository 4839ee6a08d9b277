"""Deliveries of inactive subscriptions are held, and go on when those are active again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from flowkick.delivery.models import WebhookDelivery, WebhookSubscription
from flowkick.delivery.states import WAITING, DeliveryState
from flowkick.storage.tenancy import TenantSession


async def hold_waiting(session: TenantSession, subscription_id: str) -> int:
    """Hold what waits for a subscription; what is in flight is held when it is recorded."""
    result: Any = await session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.subscription_id == subscription_id,
            WebhookDelivery.status.in_(WAITING),
            WebhookDelivery.lease_id.is_(None),
        )
        .values(status=DeliveryState.HELD.value, due_at=None),
        execution_options={"synchronize_session": False},
    )
    return int(result.rowcount)


async def release_held(session: TenantSession, now: datetime) -> int:
    """Release what is held although its subscription is active.

    An event recorded while its subscription was being re-activated can end like that: its own
    transaction still saw the subscription inactive.
    """
    active = select(WebhookSubscription.id).where(WebhookSubscription.active)
    result: Any = await session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.status == DeliveryState.HELD.value,
            WebhookDelivery.subscription_id.in_(active),
        )
        .values(status=DeliveryState.PENDING.value, due_at=now),
        execution_options={"synchronize_session": False},
    )
    return int(result.rowcount)
