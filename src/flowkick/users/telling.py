"""Events about what users did: numbered among their users' events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import User
from flowkick.webhooks import outbox
from flowkick.webhooks.outbox import Draft
from flowkick.webhooks.payloads import ContactPayload


async def tell(
    session: TenantSession, user: User | None, event: str, data: Any, *, source: str, now: datetime
) -> str:
    """Record one event of a user whose row is locked, or of none; gives the event's id."""
    number = 0
    if user is not None:
        user.sequence += 1
        number = user.sequence
    await session.flush()
    draft = Draft(event, data, None if user is None else user.id, number)
    (event_id,) = await outbox.emit(session, [draft], source=source, now=now)
    return event_id


def contact(user: User) -> ContactPayload:
    """A user in short, as bookings and QR codes show it in events."""
    return ContactPayload(
        id=user.id,
        manychat_id=user.manychat_id,
        instagram_username=user.ig_username,
        first_name=user.first_name,
        last_name=user.last_name,
        email=user.email,
        phone=user.phone,
    )
