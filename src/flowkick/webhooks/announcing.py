"""Events about the machinery itself, recorded in the transaction of what they tell of.

A subscription is never told of itself, and a delivery of such an event that is given up is not told
of at all: two receivers of them that are both down would keep each other busy for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, select

from flowkick.core.clock import isoformat
from flowkick.delivery.health import GivenUp, Notices, Turn, Turned
from flowkick.delivery.models import WebhookSubscription
from flowkick.storage.dialects import among
from flowkick.storage.tenancy import TenantSession
from flowkick.webhooks import catalogue
from flowkick.webhooks.outbox import Draft, emit_frozen, freeze
from flowkick.webhooks.payloads import (
    DeliveryFailed,
    SubscriptionDisabled,
    SubscriptionFailing,
    SubscriptionRecovered,
)

SOURCE: Final = "engine"
_Subject = Row[str, str, str]
"""The id, the admin's and the name of a subscription."""


async def announce(session: TenantSession, notices: Notices, now: datetime) -> None:
    """Record what there is to tell, for all admins; joins the caller's transaction."""
    subscription = WebhookSubscription
    statement = select(subscription.id, subscription.admin_id, subscription.name).where(
        among(session, subscription.id, notices.subscription_ids)
    )
    subjects = {row[0]: row for row in await session.execute(statement)}
    rows, about = [], {}
    for subject, draft in _drafts(notices, subjects):
        row = freeze(subject[1], draft, SOURCE, now)
        rows.append(row)
        about[row["id"]] = subject[0]
    await emit_frozen(session, rows, now=now, about=about)


def _drafts(notices: Notices, subjects: Mapping[str, _Subject]) -> Iterator[tuple[_Subject, Draft]]:
    for turned in notices.turned:
        if subject := subjects.get(turned.subscription_id):
            name, data = _of_turn(turned, subject)
            yield subject, Draft(name, data, None, 0)
    for given_up in notices.given_up:
        if given_up.event in catalogue.OPERATIONAL:
            continue
        if subject := subjects.get(given_up.subscription_id):
            yield subject, Draft(catalogue.GIVEN_UP, _of_given_up(given_up, subject), None, 0)


def _of_turn(turned: Turned, subject: _Subject) -> tuple[str, Any]:
    id_, _, name = subject
    since = isoformat(turned.failing_since)
    if turned.turn is Turn.RECOVERED:
        return catalogue.RECOVERED, SubscriptionRecovered(id_, name, since)
    if turned.turn is Turn.DISABLED:
        reason: Any = turned.disabled_reason
        return catalogue.DISABLED, SubscriptionDisabled(id_, name, reason, since, turned.failures)
    failure: Any = turned.last_failure
    return catalogue.FAILING, SubscriptionFailing(
        id_, name, since, turned.failures, failure.kind.value, failure.status_code
    )


def _of_given_up(given_up: GivenUp, subject: _Subject) -> DeliveryFailed:
    outcome: Any = given_up.outcome
    return DeliveryFailed(
        webhook_id=subject[0],
        webhook_name=subject[2],
        delivery_id=str(given_up.delivery_id),
        event=given_up.event,
        event_id=given_up.event_id,
        attempts=given_up.attempts,
        outcome=outcome.kind.value,
        status_code=outcome.status_code,
    )
