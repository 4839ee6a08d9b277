"""Completes erasures once every receiver was told or given up: a duty of the worker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from sqlalchemy import exists, select

from flowkick.core.clock import Clock
from flowkick.core.logs import get_logger
from flowkick.delivery.models import WebhookDelivery
from flowkick.delivery.states import UNFINISHED
from flowkick.privacy import service
from flowkick.privacy.models import Erasure
from flowkick.storage.database import Database

_log = get_logger(__name__)
_LOOK_SECONDS: Final = 5.0
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Settling:
    """Looks for erasures that can be completed."""

    database: Database
    clock: Clock

    async def run(self) -> None:
        """Settle what can be settled, every few seconds, for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.settle()

    async def settle(self) -> int:
        """Complete what can be; how many erasures that were."""
        waiting = exists().where(
            WebhookDelivery.event_id == Erasure.event_id, WebhookDelivery.status.in_(UNFINISHED)
        )
        open_ones = (
            select(Erasure.id, Erasure.admin_id)
            .where(Erasure.completed_at.is_(None), ~waiting)
            .order_by(Erasure.created_at)
            .limit(_AT_ONCE)
        )
        async with self.database.system_reading() as session:
            found = (await session.execute(open_ones)).all()
        settled = 0
        for erasure_id, admin_id in found:
            async with self.database.transaction(admin_id) as session:
                locked = select(Erasure).where(
                    Erasure.id == erasure_id, Erasure.completed_at.is_(None)
                )
                erasure = await session.scalar(locked.with_for_update())
                if erasure is not None:
                    settled += await service.settle(session, erasure, now=self.clock())
        if settled:
            _log.info("erasures_completed", count=settled)
        return settled
