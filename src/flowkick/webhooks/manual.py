"""Requests that somebody asked for: a test of a subscription, a resend of a delivery.

Both send outside any transaction, and record what came of it in one of their own.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import case, insert, null, select, update

from flowkick.core.clock import isoformat
from flowkick.core.errors import Conflict, NotFound
from flowkick.core.ids import new_id
from flowkick.delivery import gates, ordering
from flowkick.delivery.attempts import RESEND, TEST, Attempt
from flowkick.delivery.client import Outcome
from flowkick.delivery.models import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEvent,
    WebhookSubscription,
)
from flowkick.delivery.ordering import Line
from flowkick.delivery.requests import Endpoint, Message, RequestBuilder
from flowkick.delivery.states import DeliveryState
from flowkick.http.context import Context
from flowkick.storage.tenancy import TenantSession
from flowkick.webhooks import catalogue
from flowkick.webhooks.deliveries import find_delivery
from flowkick.webhooks.payloads import WebhookTest, encode_event
from flowkick.webhooks.service import find_subscription, wake_engine

_BEHIND: Final = (
    "Another delivery of the same user comes before this one, since the webhook asks for the order"
    " of each user: resend that one first."
)


async def send_test(context: Context, admin_id: str, subscription_id: str) -> Outcome:
    """Send `webhook.test` now, and log it; the subscription's counters stay as they are."""
    async with context.database.reading(admin_id) as session:
        subscription = await find_subscription(session, subscription_id)
    now = context.clock()
    event_id = new_id("evt")
    data = WebhookTest("This is a test from Flowkick.", subscription.id, subscription.name)
    body = encode_event(
        catalogue.TEST, isoformat(now), data, source="api", event_id=event_id, sequence=0
    )
    message = Message(catalogue.TEST, event_id, isoformat(now), body)
    outcome = await _send(context, subscription, message, attempt=1)
    async with context.database.transaction(admin_id) as session:
        await _pass_gate(session, subscription_id, outcome, context.clock())
        await _log_test(session, subscription_id, message, outcome, now)
    return outcome


async def _pass_gate(
    session: TenantSession, subscription_id: str, outcome: Outcome, now: datetime
) -> None:
    """Let what waits go on where this shows that the endpoint works again."""
    success = outcome.success
    if await gates.note_by_hand(session, subscription_id, success=success, now=now):
        await wake_engine(session)


async def _send(
    context: Context, subscription: WebhookSubscription, message: Message, *, attempt: int
) -> Outcome:
    builder = RequestBuilder(context.settings.key_ring)
    endpoint = Endpoint(
        subscription.id,
        subscription.url,
        subscription.timeout_ms,
        subscription.secret,
        subscription.former_secrets,
        subscription.headers,
    )
    request = builder.build(endpoint, message, attempt=attempt, at=context.clock())
    return await context.sender.send(request)


async def _log_test(
    session: TenantSession, subscription_id: str, message: Message, outcome: Outcome, now: datetime
) -> None:
    session.add(
        WebhookEvent(
            id=message.event_id,
            event=message.event,
            user_id=None,
            sequence=0,
            body=message.body,
            created_at=now,
            position=null(),
        )
    )
    delivery = WebhookDelivery(
        subscription_id=subscription_id,
        event_id=message.event_id,
        event=message.event,
        status=(DeliveryState.SUCCESS if outcome.success else DeliveryState.FAILED).value,
        attempt=1,
        last_attempt=1,
        created_at=now,
        finished_at=now,
    )
    session.add(delivery)
    await session.flush()
    await _log_attempt(session, delivery, outcome, attempt=1, trigger=TEST)


async def resend(context: Context, admin_id: str, delivery_id: int) -> dict[str, Any]:
    """Send the same bytes and id again, beside the schedule; returns the attempt's log row.

    A waiting delivery goes on as planned. A failed one that is answered with a 2xx has succeeded.
    Conflict where its event is no longer kept, or its turn has not come.
    """
    async with context.database.reading(admin_id) as session:
        delivery = await find_delivery(session, delivery_id)
        subscription = await find_subscription(session, delivery.subscription_id)
        event = await session.scalar(
            select(WebhookEvent).where(WebhookEvent.id == delivery.event_id)
        )
        if event is None or not event.body:
            raise Conflict("The body of this event is no longer kept, so it can't be sent again.")
        if delivery.status == DeliveryState.SUPERSEDED:
            raise Conflict(str(delivery.note))
        if await ordering.is_behind(session, delivery_id):
            raise Conflict(_BEHIND)
    message = Message(event.event, event.id, isoformat(event.created_at), event.body)
    async with context.database.transaction(admin_id) as session:
        number = await _next_number(session, delivery_id)
    outcome = await _send(context, subscription, message, attempt=number)
    async with context.database.transaction(admin_id) as session:
        if not await _is_kept(session, event):
            outcome = outcome._replace(response_body=None)
        await _pass_gate(session, delivery.subscription_id, outcome, context.clock())
        row = await _log_attempt(session, delivery, outcome, attempt=number, trigger=RESEND)
        if outcome.success:
            await _succeed(session, delivery, context.clock())
    return row


async def _is_kept(session: TenantSession, event: WebhookEvent) -> bool:
    """Whether the body that was sent is still kept, and stays so until the commit.

    Otherwise its user was erased meanwhile, and what was answered to it, which may quote it, goes.
    """
    model = WebhookEvent
    statement = select(model.body).where(model.id == event.id).with_for_update(read=True)
    return await session.scalar(statement) == event.body


async def _succeed(session: TenantSession, delivery: WebhookDelivery, now: datetime) -> None:
    """Note the success of a delivery that had failed, and let what it held up go on."""
    model = WebhookDelivery
    await ordering.lock(session, [delivery.subscription_id])
    mended: Any = await session.execute(
        update(model)
        .where(model.id == delivery.id, model.status == DeliveryState.FAILED.value)
        .values(status=DeliveryState.SUCCESS.value, note=None, ordering_key=None),
        execution_options={"synchronize_session": False},
    )
    if mended.rowcount and delivery.ordering_key is not None:
        line = Line(delivery.subscription_id, delivery.ordering_key)
        if await ordering.promote(session, [line], now):
            await wake_engine(session)


async def _next_number(session: TenantSession, delivery_id: int) -> int:
    """A number for one more request of a delivery, that no other request of it carries.

    While the delivery is leased, the next one belongs to the attempt that is under way.
    """
    model = WebhookDelivery
    under_way = case((model.lease_id.is_not(None), 1), else_=0)
    number: int | None = await session.scalar(
        update(model)
        .where(model.id == delivery_id)
        .values(last_attempt=model.last_attempt + 1 + under_way)
        .returning(model.last_attempt),
        execution_options={"synchronize_session": False},
    )
    if number is None:
        raise NotFound(f"There is no delivery {delivery_id}.")
    return number


async def _log_attempt(
    session: TenantSession,
    delivery: WebhookDelivery,
    outcome: Outcome,
    *,
    attempt: int,
    trigger: str,
) -> dict[str, Any]:
    row = Attempt.of(
        outcome,
        admin_id=session.admin_id,
        delivery_id=delivery.id,
        subscription_id=delivery.subscription_id,
        attempt=attempt,
        trigger=trigger,
    )._asdict()
    await session.execute(insert(WebhookAttempt), [row])
    return row
