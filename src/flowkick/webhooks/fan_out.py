"""One delivery for each recorded event and each subscription that matches: one statement.

However many events a transaction records, the subscriptions are looked through once for each name
among them. Deliveries are numbered in the order of their events, which is the order of their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from flowkick.delivery import ordering
from flowkick.delivery.models import WebhookDelivery
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.dialects import DELIVERIES_CHANNEL, among, is_sqlite, notify
from flowkick.storage.tenancy import QUEUED, TenantSession
from flowkick.webhooks.catalogue import CATALOGUE, matching_patterns

_COLUMNS: Final = {
    "id": "text",
    "admin_id": "text",
    "event": "text",
    "event_group": "text",
    "event_all": "text",
    "about": "text",
    "user_id": "text",
    "sequence": "integer",
    "created_at": "timestamptz",
}
_SQL: Final = """
INSERT INTO "WebhookDelivery" ("adminId", "subscriptionId", "eventId", event, status, attempt,
    "lastAttempt", "dueAt", "createdAt", "orderingKey", sequence)
WITH recorded AS MATERIALIZED (SELECT * FROM {given}),
matching AS MATERIALIZED (
    SELECT kind.admin_id, kind.event, kind.about, subscription.id, subscription.active,
        subscription.ordering
    FROM (SELECT DISTINCT admin_id, event, event_group, event_all, about FROM recorded) AS kind
    JOIN "WebhookSubscription" AS subscription
        ON subscription."adminId" = kind.admin_id AND subscription.id <> kind.about
    WHERE @asked_for
)
SELECT recorded.admin_id, matching.id, recorded.id, recorded.event,
    CASE WHEN matching.active THEN 'pending' ELSE 'held' END, 0, 0,
    CASE WHEN matching.active THEN recorded.created_at END, recorded.created_at,
    CASE WHEN matching.ordering = 'user' THEN recorded.user_id END,
    CASE WHEN matching.ordering = 'user' THEN recorded.sequence END
FROM recorded JOIN matching ON matching.admin_id = recorded.admin_id
    AND matching.event = recorded.event AND matching.about = recorded.about
ORDER BY recorded.id, matching.id
"""
_ASKED_FOR_SQLITE: Final = """EXISTS (
    SELECT 1 FROM json_each(subscription.events)
    WHERE value IN (kind.event, kind.event_group, kind.event_all)
)"""
_ASKED_FOR_POSTGRESQL: Final = """
    subscription.events ?| ARRAY[kind.event, kind.event_group, kind.event_all]"""
_OFTEN_ALIKE: Final = ("admin_id", "event", "event_group", "event_all", "about", "created_at")
_STATEMENTS: Final = {
    on_sqlite: BulkStatement(_COLUMNS, _SQL.replace("@asked_for", asked_for), _OFTEN_ALIKE)
    for on_sqlite, asked_for in ((True, _ASKED_FOR_SQLITE), (False, _ASKED_FOR_POSTGRESQL))
}
NOBODY: Final[Mapping[str, str]] = MappingProxyType({})
_PATTERNS: Final = {
    name: {"event_group": matching_patterns(name)[1], "event_all": matching_patterns(name)[-1]}
    for name in CATALOGUE
}

_FOR_ONE: Final = BulkStatement(
    {
        "id": "text",
        "admin_id": "text",
        "event": "text",
        "subscription_id": "text",
        "job_id": "text",
        "place": "integer",
        "created_at": "timestamptz",
    },
    """
INSERT INTO "WebhookDelivery" ("adminId", "subscriptionId", "eventId", event, status, attempt,
    "lastAttempt", "dueAt", "createdAt", "jobId", "orderingKey", sequence)
SELECT given.admin_id, subscription.id, given.id, given.event,
    CASE WHEN subscription.active THEN 'pending' ELSE 'held' END, 0, 0,
    CASE WHEN subscription.active THEN given.created_at END, given.created_at, given.job_id,
    CASE WHEN subscription.ordering = 'user' THEN event."userId" END,
    CASE WHEN subscription.ordering = 'user' THEN event.sequence END
FROM {given}
JOIN "WebhookEvent" AS event ON event.id = given.id AND event."adminId" = given.admin_id
JOIN "WebhookSubscription" AS subscription
    ON subscription.id = given.subscription_id AND subscription."adminId" = given.admin_id
ORDER BY given.place
""",
)


async def queue_for_one(
    session: TenantSession,
    subscription_id: str,
    events: Sequence[tuple[str, str]],
    *,
    job_id: str,
    now: datetime,
) -> int:
    """Queue deliveries of events, given as (id, name), to one subscription alone, in their order.

    How many those are: none where the subscription is gone. Former deliveries of these events hold
    up nothing any more: the new ones stand in their places.
    """
    ids = [event_id for event_id, _name in events]
    await ordering.let_pass(
        session,
        WebhookDelivery.subscription_id == subscription_id,
        among(session, WebhookDelivery.event_id, ids),
    )
    rows = [
        {
            "id": event_id,
            "admin_id": session.admin_id,
            "event": name,
            "subscription_id": subscription_id,
            "job_id": job_id,
            "place": place,
            "created_at": now,
        }
        for place, (event_id, name) in enumerate(events)
    ]
    queued = await _FOR_ONE.run(session, rows)
    if queued:
        session.info[QUEUED] = True
        await notify(session, DELIVERIES_CHANNEL)
    return queued


async def queue_deliveries(
    session: TenantSession, events: Sequence[Mapping[str, Any]], about: Mapping[str, str] = NOBODY
) -> int:
    """Queue the deliveries of events, given as they are recorded; how many those are.

    They are due now where the subscription is active, and held where it is not. `about` gives for
    events' ids the subscription that is not to get the event, since it is about that one.
    """
    rows = [
        {**event, **_PATTERNS[event["event"]], "about": about.get(event["id"], "")}
        for event in events
    ]
    return await _STATEMENTS[is_sqlite(session)].run(session, rows)
