"""Leases: kept while a request runs, given back where none will, ended with their process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import update

from flowkick.delivery.models import WebhookDelivery
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession


class Lease(NamedTuple):
    """Whose deliveries are, and until when."""

    id: str
    until: datetime


async def extend(
    session: TenantSession, ids: Sequence[int], *, lease_id: str, until: datetime
) -> None:
    """Keep deliveries that are still being sent."""
    await session.execute(
        update(WebhookDelivery)
        .where(among(session, WebhookDelivery.id, ids), WebhookDelivery.lease_id == lease_id)
        .values(due_at=until),
        execution_options={"synchronize_session": False},
    )


async def give_back(
    session: TenantSession, ids: Sequence[int], *, lease_id: str, now: datetime
) -> None:
    """Give back deliveries that were not sent: they are due at once, for anybody."""
    await session.execute(
        update(WebhookDelivery)
        .where(among(session, WebhookDelivery.id, ids), WebhookDelivery.lease_id == lease_id)
        .values(due_at=now, lease_id=None),
        execution_options={"synchronize_session": False},
    )


async def end_all(session: TenantSession, now: datetime) -> None:
    """Free what a former process left leased. Only for SQLite, where one process delivers."""
    await session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.due_at.is_not(None), WebhookDelivery.lease_id.is_not(None))
        .values(due_at=now, lease_id=None),
        execution_options={"synchronize_session": False},
    )
