"""What a process counts, for Prometheus. One registry a process, with nothing of anybody else's."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY: Final = CollectorRegistry()

EVENTS_RECORDED: Final = Counter(
    "flowkick_events_recorded", "Events recorded by this process.", ["event"], registry=REGISTRY
)
ATTEMPTS: Final = Counter(
    "flowkick_delivery_attempts",
    "Attempts recorded by this process, by how the request ended.",
    ["outcome"],
    registry=REGISTRY,
)
DELIVERIES: Final = Counter(
    "flowkick_deliveries",
    "Deliveries that this process brought into a state.",
    ["status"],
    registry=REGISTRY,
)
ATTEMPT_SECONDS: Final = Histogram(
    "flowkick_delivery_attempt_seconds",
    "How long attempts took, connection and body included.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
LANES: Final = Gauge(
    "flowkick_delivery_lanes",
    "Subscriptions with work in this process, by how their endpoints answered of late.",
    ["pace"],
    registry=REGISTRY,
)
SUBSCRIPTIONS: Final = Gauge(
    "flowkick_subscriptions",
    "Subscriptions by how they do: healthy, failing, disabled by the engine, or paused.",
    ["state"],
    registry=REGISTRY,
)
BREAKERS: Final = Gauge(
    "flowkick_breakers",
    "Active subscriptions, by the states of their breakers.",
    ["state"],
    registry=REGISTRY,
)
PAUSED: Final = Gauge(
    "flowkick_breakers_paused",
    "Active subscriptions of which nothing is sent for a while.",
    registry=REGISTRY,
)
RATE_LIMITED: Final = Counter(
    "flowkick_rate_limited_claims",
    "Claims of this process that brought less of a subscription, since its limit says so.",
    registry=REGISTRY,
)
DISABLED: Final = Counter(
    "flowkick_subscriptions_disabled",
    "Subscriptions that this process disabled.",
    ["reason"],
    registry=REGISTRY,
)
JOBS: Final = Gauge(
    "flowkick_jobs",
    "Unfinished replays, backfills and other jobs in the database.",
    ["kind", "status"],
    registry=REGISTRY,
)
FEED_EVENTS: Final = Counter(
    "flowkick_feed_events", "Events that this process gave to who fetched them.", registry=REGISTRY
)
FEED_WAITING: Final = Gauge(
    "flowkick_feed_waiting", "Readers of the feed who wait for events.", registry=REGISTRY
)
EXPORTS: Final = Counter(
    "flowkick_exports",
    "Files of users that this process made, or failed to make.",
    ["format", "status"],
    registry=REGISTRY,
)
PRUNED: Final = Counter(
    "flowkick_pruned", "What this process removed by age.", ["kind"], registry=REGISTRY
)
IN_FLIGHT: Final = Gauge(
    "flowkick_delivery_in_flight", "Requests in flight in this process.", registry=REGISTRY
)
CLAIMED: Final = Gauge(
    "flowkick_delivery_claimed", "Deliveries leased by this process.", registry=REGISTRY
)
QUEUE_DEPTH: Final = Gauge(
    "flowkick_delivery_queue_depth",
    "Deliveries in the database that wait, by state.",
    ["status"],
    registry=REGISTRY,
)
OLDEST_DUE_SECONDS: Final = Gauge(
    "flowkick_delivery_oldest_due_seconds",
    "How long the delivery that is due longest has been due; 0 where none is.",
    registry=REGISTRY,
)

# Of what may never have happened, nothing would be shown: a rate needs a 0 to begin with.
for _status in ("success", "retrying", "failed", "held", "superseded"):
    DELIVERIES.labels(_status)
for _outcome in ("success", "response", "timeout", "refused", "fault"):
    ATTEMPTS.labels(_outcome)
for _reason in ("consecutive_failures", "gone"):
    DISABLED.labels(_reason)
for _pace in ("new", "fast", "slow"):
    LANES.labels(_pace)
for _kind in ("events", "attempts"):
    PRUNED.labels(_kind)
