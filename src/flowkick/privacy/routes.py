"""The routes of consent and erasure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response

from flowkick.auth.service import Scope
from flowkick.core.clock import isoformat
from flowkick.exports.routes import by_caller, exporter_of
from flowkick.http.context import Caller, InContext, InSession
from flowkick.http.pages import Cursor, Limit
from flowkick.http.route import ApiRoute, policy
from flowkick.privacy import access, schemas, service
from flowkick.privacy.models import Erasure
from flowkick.storage.keyset import pagination
from flowkick.storage.tenancy import TenantSession
from flowkick.users.ledger import Consent
from flowkick.users.payload import load_belongings
from flowkick.users.schemas import shown

router = APIRouter(prefix="/api/admin", tags=["privacy"], route_class=ApiRoute)
UserId = Annotated[str, Path(alias="id", max_length=100)]
ErasureId = Annotated[str, Path(alias="id", max_length=100)]


@router.post(
    "/users/{id}/consent",
    operation_id="recordConsent",
    status_code=201,
    response_model=schemas.ConsentAnswer,
)
async def record_consent(
    user_id: UserId, body: schemas.ConsentInput, session: InSession, context: InContext
) -> Any:
    """Add a consent, or its withdrawal, to the ledger, and set the user's two fields."""
    consent = Consent(body.purpose, body.source, body.wording)
    target, entry = await service.record_consent(
        session, user_id, consent, given=body.given, now=context.clock()
    )
    belongings = await load_belongings(session, [user_id])
    return {"consent": entry, "user": shown(target.user, belongings[user_id])}


@router.get(
    "/users/{id}/consent", operation_id="listConsents", response_model=schemas.ConsentsAnswer
)
async def list_consents(
    user_id: UserId, session: InSession, limit: Limit = 50, cursor: Cursor = None
) -> Any:
    """What a user consented to and withdrew, the newest first."""
    page = await service.consents(session, user_id, limit=limit, cursor=cursor)
    return {"consents": page.rows, "pagination": pagination(page, limit)}


@router.get("/users/{id}/export", operation_id="exportUser", response_model=schemas.AccessAnswer)
@policy(scope=Scope.EXPORT, transaction=False)
async def export_user(request: Request, user_id: UserId, context: InContext, caller: Caller) -> Any:
    """Everything that is held on one person, and who received it. It is logged as an export."""
    now, by = context.clock(), by_caller(request, caller)
    async with context.database.transaction(caller.admin_id) as session:
        held = await access.everything(session, user_id)
        answer = {"success": True, "exportedAt": isoformat(now), **held}
        body = msgspec.json.encode(answer)
        export = await access.log(session, user_id, body, by=by, now=now)
    headers = {
        "Content-Disposition": f'attachment; filename="user-{user_id}.json"',
        "Cache-Control": "private, no-store",
        "X-Export-ID": export.id,
        "X-File-Hash": str(export.file_hash),
    }
    return Response(body, media_type="application/json", headers=headers)


@router.delete("/users/{id}", operation_id="deleteUser", response_model=schemas.DeletedAnswer)
async def delete_user(
    user_id: UserId, request: Request, session: InSession, context: InContext
) -> Any:
    """Erase a user, all that is theirs, and every trace of them; receivers are told to do so, too.

    Syncs and imports do not bring them back unless they consent anew.
    """
    settings = context.settings
    user, erasure = await service.erase(
        session,
        user_id,
        source="api",
        now=context.clock(),
        keys=settings.key_ring,
        files=exporter_of(request).files,
    )
    return {
        "user": {"id": user.id, "manychat_id": user.manychat_id},
        "erasure": await _with_receivers(session, erasure),
    }


@router.get("/erasures", operation_id="listErasures", response_model=schemas.ErasuresAnswer)
async def list_erasures(session: InSession, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """Who was erased, by the ids that they had here, the newest first."""
    page = await service.list_erasures(session, limit=limit, cursor=cursor)
    return {"erasures": [_shown(row) for row in page.rows], "pagination": pagination(page, limit)}


@router.get("/erasures/{id}", operation_id="getErasure", response_model=schemas.ErasureAnswer)
async def get_erasure(erasure_id: ErasureId, session: InSession) -> Any:
    """One erasure: who has acknowledged it, and who has not."""
    erasure = await service.find_erasure(session, erasure_id)
    return {"erasure": await _with_receivers(session, erasure)}


def _shown(erasure: Erasure) -> dict[str, Any]:
    return {
        "id": erasure.id,
        "user_id": erasure.user_id,
        "status": "pending" if erasure.completed_at is None else "completed",
        "event_id": erasure.event_id,
        "removed": erasure.removed,
        "created_at": erasure.created_at,
        "completed_at": erasure.completed_at,
    }


async def _with_receivers(session: TenantSession, erasure: Erasure) -> dict[str, Any]:
    return {**_shown(erasure), "receivers": await service.report(session, erasure)}
