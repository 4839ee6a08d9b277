"""The routes of replays and backfills."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from flowkick.http.context import Context, InContext, InSession
from flowkick.http.pages import Cursor, Limit
from flowkick.http.route import ApiRoute, body_as, policy
from flowkick.jobs.models import Job
from flowkick.replays import backfilling, past, replaying, schemas, service
from flowkick.replays.service import BACKFILL, REPLAY
from flowkick.storage.keyset import Page, pagination
from flowkick.storage.tenancy import TenantSession
from flowkick.webhooks.service import find_subscription

router = APIRouter(prefix="/api/admin", tags=["webhooks"], route_class=ApiRoute)

WebhookId = Annotated[str, Path(alias="id", max_length=100)]
JobId = Annotated[str, Path(alias="jobId", max_length=100)]


def _replay_filters(body: schemas.ReplayInput, now: datetime) -> dict[str, Any]:
    """The filters as a job keeps them; what is recorded after `now` was never meant."""
    until = now if body.until is None else min(body.until, now)
    return {
        "since": None if body.since is None else body.since.isoformat(),
        "until": until.isoformat(),
        "status": body.status,
        "events": body.events,
    }


async def _count_deliveries(request: Request, context: Context) -> None:
    """Count before the transaction: there may be millions to look through."""
    if (body := body_as(request, schemas.ReplayInput)) is None:
        return
    request.state.filters = filters = _replay_filters(body, context.clock())
    wanted = replaying.wanted_of(request.path_params["id"], filters)
    async with context.database.reading(request.state.principal.admin_id) as session:
        request.state.counted = await past.count(session, wanted)


@router.post(
    "/webhooks/{id}/replay",
    operation_id="replayWebhook",
    status_code=202,
    response_model=schemas.ReplayStarted,
    responses={200: {"model": schemas.ReplayStarted, "description": "It was only counted."}},
)
@policy(prepare=_count_deliveries)
async def replay_webhook(  # noqa: PLR0917  # as FastAPI hands them over
    webhook_id: WebhookId,
    body: schemas.ReplayInput,
    request: Request,
    response: Response,
    session: InSession,
    context: InContext,
) -> Any:
    """Queue past deliveries again, little by little, as a job; with `dryRun`, only count them."""
    await find_subscription(session, webhook_id)
    count, removed = request.state.counted
    told = {"count": count, "removed": removed, "dry_run": body.dry_run, "replay": None}
    if body.dry_run:
        response.status_code = 200
        return {**told, "message": f"{count} deliveries match; nothing was queued."}
    job = await service.start(
        session,
        REPLAY,
        webhook_id,
        {"filters": request.state.filters, "rate": body.rate},
        now=context.clock(),
        progress={**replaying.NOTHING_YET, "count": count},
    )
    message = f"{count} deliveries are being queued again."
    return {**told, "replay": await _one(session, job), "message": message}


async def _one(session: TenantSession, job: Job) -> dict[str, Any]:
    (shown,) = await service.shown(session, [job])
    return shown


async def _page(session: TenantSession, page: Page[Job], limit: int, name: str) -> dict[str, Any]:
    shown = await service.shown(session, page.rows)
    return {name: shown, "pagination": pagination(page, limit)}


@router.get(
    "/webhooks/{id}/replays", operation_id="listReplays", response_model=schemas.ReplaysAnswer
)
async def list_replays(
    webhook_id: WebhookId, session: InSession, limit: Limit = 50, cursor: Cursor = None
) -> Any:
    """The replays of a webhook, the newest first."""
    page = await service.page(session, REPLAY, webhook_id, limit=limit, cursor=cursor)
    return await _page(session, page, limit, "replays")


@router.get(
    "/webhooks/{id}/replays/{jobId}", operation_id="getReplay", response_model=schemas.ReplayAnswer
)
async def get_replay(webhook_id: WebhookId, job_id: JobId, session: InSession) -> Any:
    """One replay: how far it is, and what became of its deliveries."""
    return {"replay": await _one(session, await service.find(session, REPLAY, webhook_id, job_id))}


@router.post(
    "/webhooks/{id}/replays/{jobId}/cancel",
    operation_id="cancelReplay",
    response_model=schemas.ReplayAnswer,
)
async def cancel_replay(
    webhook_id: WebhookId, job_id: JobId, session: InSession, context: InContext
) -> Any:
    """Cancel a replay, and end those of its deliveries that nobody sends just now."""
    job = await service.cancel(session, REPLAY, webhook_id, job_id, context.clock())
    return {"replay": await _one(session, job)}


async def _count_users(request: Request, context: Context) -> None:
    if (body := body_as(request, schemas.BackfillInput)) is not None:
        async with context.database.reading(request.state.principal.admin_id) as session:
            request.state.counted = await backfilling.count(session, body.filters)


@router.post(
    "/webhooks/{id}/backfill",
    operation_id="backfillWebhook",
    status_code=202,
    response_model=schemas.BackfillStartedAnswer,
)
@policy(prepare=_count_users)
async def backfill_webhook(
    webhook_id: WebhookId,
    body: schemas.BackfillInput,
    request: Request,
    session: InSession,
    context: InContext,
) -> Any:
    """Send the present state of users to one webhook, little by little, as a job."""
    count, now = request.state.counted, context.clock()
    filters = body.filters.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    job = await service.start(
        session,
        BACKFILL,
        webhook_id,
        {"filters": filters, "rate": body.rate, "askedAt": now.isoformat()},
        now=now,
        progress={**backfilling.NOTHING_YET, "count": count},
    )
    message = f"{count} users are being sent."
    return {"count": count, "backfill": await _one(session, job), "message": message}


@router.get(
    "/webhooks/{id}/backfills", operation_id="listBackfills", response_model=schemas.BackfillsAnswer
)
async def list_backfills(
    webhook_id: WebhookId, session: InSession, limit: Limit = 50, cursor: Cursor = None
) -> Any:
    """The backfills of a webhook, the newest first."""
    page = await service.page(session, BACKFILL, webhook_id, limit=limit, cursor=cursor)
    return await _page(session, page, limit, "backfills")


@router.get(
    "/webhooks/{id}/backfills/{jobId}",
    operation_id="getBackfill",
    response_model=schemas.BackfillAnswer,
)
async def get_backfill(webhook_id: WebhookId, job_id: JobId, session: InSession) -> Any:
    """One backfill: how far it is, and what became of its deliveries."""
    job = await service.find(session, BACKFILL, webhook_id, job_id)
    return {"backfill": await _one(session, job)}


@router.post(
    "/webhooks/{id}/backfills/{jobId}/cancel",
    operation_id="cancelBackfill",
    response_model=schemas.BackfillAnswer,
)
async def cancel_backfill(
    webhook_id: WebhookId, job_id: JobId, session: InSession, context: InContext
) -> Any:
    """Cancel a backfill, and end those of its deliveries that nobody sends just now."""
    job = await service.cancel(session, BACKFILL, webhook_id, job_id, context.clock())
    return {"backfill": await _one(session, job)}
