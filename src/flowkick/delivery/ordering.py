"""Order: deliveries of one user to one subscription stand in a line, and its first alone is sent.

A delivery stands in a line while it carries an ordering key (the id of its user), at the place of
its event's number among the events of that user. Whoever records an event knows nothing of lines:
the delivery is due like any other. A claim that meets one with others before it parks it: it is
due no more. Whoever takes a delivery out of its line makes the one behind it due.

Both happen while the subscription's row is locked, so that none parks a delivery behind one that
leaves just then. A failed delivery that stays in its line holds up what is behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, and_, exists, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from flowkick.delivery.leases import Lease
from flowkick.delivery.models import WebhookDelivery, WebhookEvent, WebhookSubscription
from flowkick.delivery.sql import Leased
from flowkick.delivery.states import UNFINISHED, WAITING, DeliveryState
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession

BY_USER: Final = "user"
HOLD: Final = "hold"
_NO_SYNC: Final = {"synchronize_session": False}
_FIRST: Final = """(
        SELECT id FROM "WebhookDelivery"
        WHERE "subscriptionId" = given.subscription_id AND "orderingKey" = given.key
        ORDER BY sequence, id LIMIT 1
    )"""
_PROMOTE: Final = BulkStatement(
    {"subscription_id": "text", "key": "text", "now": "timestamptz"},
    """
UPDATE "WebhookDelivery" SET "dueAt" = line.now
FROM (SELECT given.now AS now, @first AS first FROM {given}) AS line
WHERE "WebhookDelivery".id = line.first AND "dueAt" IS NULL AND "leaseId" IS NULL
    AND status IN ('pending', 'retrying')
""".replace("@first", _FIRST),
)
_LEASE_FIRST: Final = BulkStatement(
    {
        "subscription_id": "text",
        "key": "text",
        "now": "timestamptz",
        "lease_id": "text",
        "until": "timestamptz",
    },
    """
UPDATE "WebhookDelivery" SET "dueAt" = line.until, "leaseId" = line.lease_id
FROM (
    SELECT given.now AS now, given.until AS until, given.lease_id AS lease_id, @first AS first
    FROM {given}
) AS line
WHERE "WebhookDelivery".id = line.first AND ("dueAt" IS NULL OR "dueAt" <= line.now)
    AND "leaseId" IS NULL AND status IN ('pending', 'retrying')
RETURNING id, "adminId", "subscriptionId", "eventId", attempt, "lastAttempt", "orderingKey"
""".replace("@first", _FIRST),
    often_alike=("subscription_id", "now", "lease_id", "until"),
)
# Steps from the head of one line to that of the next through the index, however long they are.
_STALLED: Final = text("""
WITH RECURSIVE head(id) AS (
    SELECT (
        SELECT id FROM "WebhookDelivery" WHERE "orderingKey" IS NOT NULL
        ORDER BY "subscriptionId", "orderingKey", sequence, id LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT id FROM "WebhookDelivery"
        WHERE "orderingKey" IS NOT NULL
            AND ("subscriptionId", "orderingKey") > (former."subscriptionId", former."orderingKey")
        ORDER BY "subscriptionId", "orderingKey", sequence, id LIMIT 1
    )
    FROM head JOIN "WebhookDelivery" AS former ON former.id = head.id
)
SELECT id FROM head JOIN "WebhookDelivery" USING (id)
WHERE "dueAt" IS NULL AND "leaseId" IS NULL AND status IN ('pending', 'retrying')
""")


class Line(NamedTuple):
    """The deliveries of one user to one subscription."""

    subscription_id: str
    key: str


async def lock(session: TenantSession, subscription_ids: Iterable[str]) -> None:
    """Let nobody else park or promote deliveries of these subscriptions before the commit."""
    model = WebhookSubscription
    await session.execute(
        select(model.id)
        .where(among(session, model.id, sorted(subscription_ids)))
        .order_by(model.id)
        .with_for_update()
    )


async def park(session: TenantSession, claimed: Sequence[int]) -> set[int]:
    """Give back those of just claimed deliveries that are not the first of their lines.

    They are due no more; gives their ids. Their subscriptions are locked.
    """
    delivery = WebhookDelivery
    statement = (
        update(delivery)
        .where(among(session, delivery.id, claimed), _is_behind())
        .values(lease_id=None, due_at=None)
        .returning(delivery.id)
    )
    return set((await session.scalars(statement, execution_options=_NO_SYNC)).all())


_AHEAD: Final = 1000


async def park_ahead(
    session: TenantSession, subscription_ids: Iterable[str], now: datetime
) -> None:
    """Park what is due next of these subscriptions and is behind others in its line.

    So a long line takes up few claims, and other users are not held up by it. The subscriptions
    are locked.
    """
    delivery = WebhookDelivery
    for subscription_id in sorted(subscription_ids):
        ahead = (
            select(delivery.id)
            .where(delivery.subscription_id == subscription_id, delivery.due_at <= now)
            .order_by(delivery.due_at, delivery.id)
            .limit(_AHEAD)
            .subquery()
        )
        await session.execute(
            update(delivery)
            .where(
                delivery.id.in_(select(ahead.c.id)),
                delivery.ordering_key.is_not(None),
                delivery.lease_id.is_(None),
                _is_behind(),
            )
            .values(due_at=None),
            execution_options=_NO_SYNC,
        )


async def lease_first(
    session: TenantSession, lines: Collection[Line], lease: Lease, now: datetime
) -> list[Leased]:
    """Lease the first of each of these lines, where nobody has it and it need not wait.

    Their subscriptions are locked.
    """
    rows = [(*line, now, *lease) for line in sorted(lines)]
    return list(map(Leased._make, await _LEASE_FIRST.fetch(session, rows)))


async def promote(session: TenantSession, lines: Collection[Line], now: datetime) -> int:
    """Make the first of each of these lines due, where it was parked; how many were.

    Their subscriptions are locked.
    """
    rows = [
        {"subscription_id": line.subscription_id, "key": line.key, "now": now}
        for line in sorted(lines)
    ]
    return await _PROMOTE.run(session, rows)


async def promote_all(session: TenantSession, *where: ColumnElement[bool], now: datetime) -> int:
    """The same for all lines that the condition on their first deliveries leaves."""
    delivery = WebhookDelivery
    result: Any = await session.execute(
        update(delivery).where(_is_parked(), ~_is_behind(), *where).values(due_at=now),
        execution_options=_NO_SYNC,
    )
    return int(result.rowcount)


async def find_stalled(session: AsyncSession) -> Sequence[int]:
    """Deliveries that are parked although they are the first of their lines: there should be none.

    Promoting them needs no lock: a claim looks again.
    """
    return (await session.scalars(_STALLED)).all()


def _is_parked() -> ColumnElement[bool]:
    delivery = WebhookDelivery
    return and_(
        delivery.ordering_key.is_not(None),
        delivery.due_at.is_(None),
        delivery.lease_id.is_(None),
        delivery.status.in_(WAITING),
    )


def _is_behind(*states: DeliveryState) -> ColumnElement[bool]:
    """Whether another delivery, of one of these states, stands before this one in its line."""
    delivery, before = WebhookDelivery, aliased(WebhookDelivery)
    statement = select(before.id).where(
        before.subscription_id == delivery.subscription_id,
        before.ordering_key == delivery.ordering_key,
        tuple_(before.sequence, before.id) < tuple_(delivery.sequence, delivery.id),
    )
    if states:
        statement = statement.where(before.status.in_(states))
    return exists(statement.correlate(delivery))


def is_held_up() -> ColumnElement[bool]:
    """Whether a delivery waits behind one that was given up, until somebody does something."""
    return and_(_is_parked(), _is_behind(DeliveryState.FAILED))


async def is_behind(session: TenantSession, delivery_id: int) -> bool:
    """Whether another delivery stands before this one in its line."""
    statement = select(WebhookDelivery.id).where(WebhookDelivery.id == delivery_id, _is_behind())
    return await session.scalar(statement) is not None


async def line_up(session: TenantSession, subscription_id: str) -> None:
    """Let what waits for a subscription stand in lines from now on; its row is locked."""
    delivery, event = WebhookDelivery, WebhookEvent
    await session.execute(
        update(delivery)
        .where(
            delivery.subscription_id == subscription_id,
            delivery.status.in_(UNFINISHED),
            delivery.event_id == event.id,
            event.user_id.is_not(None),
        )
        .values(ordering_key=event.user_id, sequence=event.sequence),
        execution_options=_NO_SYNC,
    )


async def break_up(session: TenantSession, subscription_id: str, now: datetime) -> None:
    """Let nothing of a subscription stand in lines any more; its row is locked."""
    delivery = WebhookDelivery
    in_line = and_(delivery.subscription_id == subscription_id, delivery.ordering_key.is_not(None))
    parked = and_(in_line, _is_parked())
    for where, values in ((parked, {"due_at": now}), (in_line, {"ordering_key": None})):
        await session.execute(
            update(delivery).where(where).values(values), execution_options=_NO_SYNC
        )


async def let_pass(session: TenantSession, *where: ColumnElement[bool]) -> int:
    """Let what failed hold up nothing any more; how many failed deliveries that were.

    Their subscriptions are locked, and what is behind them is still to be promoted.
    """
    delivery = WebhookDelivery
    result: Any = await session.execute(
        update(delivery)
        .where(
            delivery.ordering_key.is_not(None),
            delivery.status == DeliveryState.FAILED.value,
            *where,
        )
        .values(ordering_key=None),
        execution_options=_NO_SYNC,
    )
    return int(result.rowcount)
