"""``GET /metrics``, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Row, Select, case, func, select
from sqlalchemy.exc import SQLAlchemyError

from flowkick.core import metrics
from flowkick.delivery import sql
from flowkick.delivery.breaker import BreakerState
from flowkick.delivery.models import WebhookDelivery, WebhookSubscription
from flowkick.delivery.states import UNFINISHED
from flowkick.http.context import Context, InContext
from flowkick.jobs.models import Job

router = APIRouter(tags=["health"])
_FRESH_SECONDS: Final = 1.0
_STATES: Final = ("healthy", "failing", "disabled", "paused")
_STATE: Final = case(
    (
        WebhookSubscription.active,
        case((WebhookSubscription.consecutive_failures > 0, "failing"), else_="healthy"),
    ),
    (WebhookSubscription.disabled_reason.is_not(None), "disabled"),
    else_="paused",
).label("state")
_SUBSCRIPTIONS: Final = select(_STATE, func.count()).group_by(_STATE)
_JOBS: Final = (
    select(Job.kind, Job.status, func.count())
    .where(Job.due_at.is_not(None))  # as the index of those that are unfinished
    .group_by(Job.kind, Job.status)
)
_BREAKERS: Final = (
    select(WebhookSubscription.breaker, func.count())
    .where(WebhookSubscription.active)
    .group_by(WebhookSubscription.breaker)
)


def _paused(now: datetime) -> Select[int]:
    model = WebhookSubscription
    return select(func.count()).where(model.active, model.paused_until > now)


@router.get("/metrics", operation_id="getMetrics", response_class=Response)
async def get_metrics(request: Request, context: InContext) -> Response:
    """Counts of this process, and how much waits in the database."""
    state = request.app.state
    if time.monotonic() - getattr(state, "looked_at", float("-inf")) > _FRESH_SECONDS:
        state.looked_at = time.monotonic()  # whoever asks meanwhile does not look, too
        try:
            await _look(context)
        except (SQLAlchemyError, OSError):
            state.looked_at = float("-inf")  # what the process counts is told all the same
    return Response(generate_latest(metrics.REGISTRY), media_type=CONTENT_TYPE_LATEST)


async def _look(context: Context) -> None:
    delivery = WebhookDelivery
    async with context.database.system_reading() as session:
        rows = await session.execute(
            select(delivery.status, func.count())
            .where(delivery.status.in_(UNFINISHED))
            .group_by(delivery.status)
        )
        counts = {row[0]: row[1] for row in rows}
        subscriptions = (await session.execute(_SUBSCRIPTIONS)).all()
        jobs = (await session.execute(_JOBS)).all()
        # A lease puts this moment off to its own end: what a dead process leased is due again.
        lanes = await sql.lanes(session)
        oldest = min((lane.due_at for lane in lanes.values()), default=None)
        breakers = {row[0]: row[1] for row in await session.execute(_BREAKERS)}
        paused = await session.scalar(_paused(context.clock()))
    for status in UNFINISHED:
        metrics.QUEUE_DEPTH.labels(status.value).set(counts.get(status.value, 0))
    _show_subscriptions(subscriptions)
    for breaker in BreakerState:
        metrics.BREAKERS.labels(breaker.value).set(breakers.get(breaker.value, 0))
    metrics.PAUSED.set(paused or 0)
    _show_jobs(jobs)
    waited = (context.clock() - oldest).total_seconds() if oldest else 0.0
    metrics.OLDEST_DUE_SECONDS.set(max(waited, 0.0))


def _show_subscriptions(rows: Iterable[Row[str, int]]) -> None:
    counts = {row[0]: row[1] for row in rows}
    for state in _STATES:
        metrics.SUBSCRIPTIONS.labels(state).set(counts.get(state, 0))


def _show_jobs(rows: Iterable[Row[str, str, int]]) -> None:
    metrics.JOBS.clear()  # kinds that have ended
    for kind, status, count in rows:
        metrics.JOBS.labels(kind, status).set(count)
