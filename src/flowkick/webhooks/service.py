"""Subscriptions: making, changing, deleting them, and rotating their secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update

from flowkick.core.clock import isoformat
from flowkick.core.encryption import KeyRing
from flowkick.core.errors import Conflict, InvalidInput, NotFound
from flowkick.core.ids import new_id
from flowkick.delivery import gates, ordering
from flowkick.delivery.holding import hold_waiting
from flowkick.delivery.models import WebhookDelivery, WebhookSubscription
from flowkick.delivery.queue import end_unfinished
from flowkick.delivery.requests import headers_context, live_secrets, secret_context
from flowkick.delivery.signing import new_secret
from flowkick.delivery.states import DeliveryState
from flowkick.delivery.targets import TargetGuard, TargetRefused
from flowkick.storage.dialects import DELIVERIES_CHANNEL, notify
from flowkick.storage.tenancy import QUEUED, TenantSession

DELETED = "The subscription was deleted."
DISCARDED = "Discarded when the subscription was re-activated."
MOST_FORMER_SECRETS = 5
"""Each makes the header of signatures longer, and costs one more signature a request."""
_NO_SYNC = {"synchronize_session": False}


async def check_target(guard: TargetGuard, url: str) -> None:
    """Raise InvalidInput where webhooks may not go to `url`, as far as it can be known now."""
    try:
        await guard.check_resolved(url)
    except TargetRefused as error:
        details = [{"field": "url", "problem": str(error)}]
        raise InvalidInput(f"url: {error}", details=details) from None


async def list_subscriptions(session: TenantSession) -> Sequence[WebhookSubscription]:
    """All subscriptions of the admin, the newest first."""
    model = WebhookSubscription
    return (
        await session.scalars(select(model).order_by(model.created_at.desc(), model.id.desc()))
    ).all()


async def find_subscription(
    session: TenantSession, subscription_id: str, *, lock: bool = False
) -> WebhookSubscription:
    """One subscription; NotFound where the admin has none with this id."""
    statement = select(WebhookSubscription).where(WebhookSubscription.id == subscription_id)
    found = await session.scalar(statement.with_for_update() if lock else statement)
    if found is None:
        raise NotFound(f"There is no webhook {subscription_id}.")
    return found


async def create_subscription(
    session: TenantSession, keys: KeyRing, values: Mapping[str, Any], now: datetime
) -> tuple[WebhookSubscription, str]:
    """Add a subscription; the second value is its secret, shown only here."""
    subscription_id = new_id("whs")
    secret = new_secret()
    plain = {name: value for name, value in values.items() if name in _PLAIN}
    plain["name"] = plain.get("name") or f"Webhook {isoformat(now)}"
    subscription = WebhookSubscription(
        id=subscription_id,
        secret=keys.seal(secret, secret_context(subscription_id)),
        secret_hint=secret[-4:],
        created_at=now,
        updated_at=now,
        **plain,
    )
    _check_order(subscription)
    _set_headers(subscription, keys, values.get("headers"))
    session.add(subscription)
    await session.flush()
    return subscription, secret


_PLAIN = frozenset(
    {
        "name",
        "url",
        "events",
        "description",
        "retry_attempts",
        "retry_delay",
        "timeout_ms",
        "auto_disable_after",
        "ordering",
        "on_give_up",
        "coalesce",
        "rate_limit",
        "active",
    }
)


def _set_headers(
    subscription: WebhookSubscription, keys: KeyRing, headers: Mapping[str, str] | None
) -> None:
    subscription.header_names = sorted(headers or {})
    subscription.headers = (
        keys.seal(json.dumps(dict(headers)), headers_context(subscription.id)) if headers else None
    )


async def change_subscription(
    session: TenantSession,
    keys: KeyRing,
    subscription_id: str,
    given: Mapping[str, Any],
    now: datetime,
) -> tuple[WebhookSubscription, int, int]:
    """Change what is given; also how many held deliveries were released, and discarded."""
    subscription = await find_subscription(session, subscription_id, lock=True)
    was_active, was_ordered = subscription.active, subscription.ordering
    _open_gate(subscription, given)
    for name in _PLAIN.intersection(given):
        setattr(subscription, name, given[name])
    _check_order(subscription)
    if "headers" in given:
        _set_headers(subscription, keys, given["headers"])
    subscription.updated_at = now
    released = discarded = 0
    if given.get("active") is True:
        subscription.disabled_reason = None
        if not was_active:
            subscription.consecutive_failures = 0
        await session.flush()
        if given.get("held") == "discard":
            theirs = WebhookDelivery.subscription_id == subscription_id
            held = (DeliveryState.HELD,)
            discarded = await end_unfinished(session, theirs, states=held, note=DISCARDED, now=now)
        else:
            released = await _release(session, subscription_id, now)
    elif was_active and not subscription.active:
        await session.flush()
        await hold_waiting(session, subscription_id)
    await session.flush()
    await _change_lines(session, subscription, was_ordered, given, now)
    return subscription, released, discarded


def _open_gate(subscription: WebhookSubscription, given: Mapping[str, Any]) -> None:
    """Forget what speaks against another endpoint, or one that is said to work again."""
    if given.get("active") is True or given.get("url", subscription.url) != subscription.url:
        for name, value in gates.CLOSED.items():
            setattr(subscription, name, value)
    if given.get("rate_limit", subscription.rate_limit) != subscription.rate_limit:
        subscription.paced_until = None


def _check_order(subscription: WebhookSubscription) -> None:
    """Raise InvalidInput where what goes by lines is asked for, and there are none."""
    asked = {
        "onGiveUp": subscription.on_give_up == ordering.HOLD,
        "coalesce": subscription.coalesce,
    }
    missing = [field for field, value in asked.items() if value]
    if missing and subscription.ordering != ordering.BY_USER:
        problem = 'this needs "ordering": "user"'
        details = [{"field": field, "problem": problem} for field in missing]
        raise InvalidInput(f"{missing[0]}: {problem}", details=details)


_MOVES_LINES: Final = frozenset({"on_give_up", "active"})


async def _change_lines(
    session: TenantSession,
    subscription: WebhookSubscription,
    was_ordered: str,
    given: Mapping[str, Any],
    now: datetime,
) -> None:
    """Bring what waits in line with a subscription's new order, and wake the engine."""
    theirs = WebhookDelivery.subscription_id == subscription.id
    if subscription.ordering != was_ordered:
        if subscription.ordering == ordering.BY_USER:
            await ordering.line_up(session, subscription.id)
        else:
            await ordering.break_up(session, subscription.id, now)
    elif subscription.ordering != ordering.BY_USER or not _MOVES_LINES & given.keys():
        return
    else:
        if subscription.on_give_up != ordering.HOLD:
            await ordering.let_pass(session, theirs)
        await ordering.promote_all(session, theirs, now=now)
    await wake_engine(session)


async def wake_engine(session: TenantSession) -> None:
    """Let the engine look for what is due as soon as the session's transaction commits."""
    session.info[QUEUED] = True
    await notify(session, DELIVERIES_CHANNEL)


async def _release(session: TenantSession, subscription_id: str, now: datetime) -> int:
    result: Any = await session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.subscription_id == subscription_id,
            WebhookDelivery.status == DeliveryState.HELD.value,
        )
        .values(status=DeliveryState.PENDING.value, due_at=now),
        execution_options=_NO_SYNC,
    )
    if result.rowcount:
        await wake_engine(session)
    return int(result.rowcount)


async def delete_subscription(
    session: TenantSession, subscription_id: str, now: datetime
) -> WebhookSubscription:
    """Delete a subscription and end its deliveries; their log stays."""
    subscription = await find_subscription(session, subscription_id, lock=True)
    await session.delete(subscription)
    await session.flush()
    theirs = WebhookDelivery.subscription_id == subscription_id
    await end_unfinished(session, theirs, note=DELETED, now=now)
    await ordering.let_pass(session, theirs)
    return subscription


async def rotate_secret(
    session: TenantSession, keys: KeyRing, subscription_id: str, overlap: timedelta, now: datetime
) -> tuple[WebhookSubscription, str]:
    """Give a subscription a new secret; former ones sign beside it while they overlap.

    Without an overlap, every former secret stops at once. Conflict where too many still sign.
    """
    subscription = await find_subscription(session, subscription_id, lock=True)
    secret = new_secret()
    former = live_secrets(subscription.former_secrets, now) if overlap else []
    if len(former) >= MOST_FORMER_SECRETS:
        raise Conflict(
            f"{len(former)} former secrets still sign, and more can't: wait until the first of them"
            f" ends ({min(item['until'] for item in former)}), or end them all with overlapHours 0."
        )
    if overlap:
        former.append({"secret": subscription.secret, "until": isoformat(now + overlap)})
    subscription.former_secrets = [dict(item) for item in former]
    subscription.secret = keys.seal(secret, secret_context(subscription_id))
    subscription.secret_hint = secret[-4:]
    subscription.updated_at = now
    await session.flush()
    return subscription, secret
