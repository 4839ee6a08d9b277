"""Nets: what the engine looks for now and then, since it would wait for ever otherwise."""

from __future__ import annotations

from datetime import datetime

from flowkick.core.logs import get_logger
from flowkick.delivery import ordering
from flowkick.delivery.holding import release_held
from flowkick.delivery.models import WebhookDelivery
from flowkick.storage.database import Database
from flowkick.storage.dialects import among

_log = get_logger(__name__)


async def catch_held(database: Database, now: datetime) -> int:
    """Release what is held although its subscription is active; how many deliveries that were."""
    async with database.system_transaction() as session:
        return await release_held(session, now)


async def catch_stalled(database: Database, now: datetime) -> int:
    """Make due what no delivery before it in its line will; there should be nothing of the kind."""
    async with database.system_reading() as session:
        ids = await ordering.find_stalled(session)
    if not ids:
        return 0
    async with database.system_transaction() as session:
        these = among(session, WebhookDelivery.id, ids)
        promoted = await ordering.promote_all(session, these, now=now)
    if promoted:
        _log.warning("lines_stalled", deliveries=promoted)
    return promoted
