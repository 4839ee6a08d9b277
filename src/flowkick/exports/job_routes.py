"""The routes of exports that run as jobs."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request

from flowkick.auth.service import Scope
from flowkick.core.errors import Conflict, InvalidInput
from flowkick.exports import background, schemas, service
from flowkick.exports.background import Order
from flowkick.exports.models import DataExport, ExportStatus
from flowkick.exports.routes import (
    BEYOND,
    FILE_HEADERS,
    GZIP,
    ExportFile,
    by_caller,
    exporter_of,
    send,
)
from flowkick.exports.rows import Selection
from flowkick.exports.writers import FORMATS
from flowkick.http.context import Caller, InContext, InSession
from flowkick.http.route import ApiRoute, policy
from flowkick.storage.tenancy import TenantSession

router = APIRouter(prefix="/api/admin", tags=["exports"], route_class=ApiRoute)

ExportId = Annotated[str, Path(alias="id", max_length=100)]
_BYTES: Final = "application/octet-stream"
"""Comes first, since generators of clients take the first one, and not each keeps bytes of text."""
_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The whole file.",
        "headers": FILE_HEADERS,
        "content": {
            media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
            for media_type in (_BYTES, *(format_.media_type for format_ in FORMATS.values()), GZIP)
        },
    },
    **BEYOND,
}


def _order(body: schemas.ExportInput) -> Order:
    format_ = FORMATS[body.format]
    if not format_.is_installed:
        raise InvalidInput(
            f"format: {format_.name} needs `pip install 'flowkick[{format_.name}]'` on the server.",
            details=[{"field": "format", "problem": "is not installed"}],
        )
    if body.includes and not format_.nested:
        raise InvalidInput(
            f"includes: a {format_.name} file has no place for them; json and ndjson have.",
            details=[{"field": "includes", "problem": f"not in {format_.name}"}],
        )
    if body.bom and format_.name != "csv":
        raise InvalidInput(
            "bom: only csv can begin with a byte order mark.",
            details=[{"field": "bom", "problem": f"not in {format_.name}"}],
        )
    selection = Selection(body.filters, body.fields, body.limit, body.includes)
    return Order(format_, selection, body.gzip, body.bom)


async def _shown(session: TenantSession, export: DataExport) -> dict[str, Any]:
    job = await background.job_of(session, export)
    progress = None if job is None else {**job.progress, "job_status": job.status}
    return {"export": export, "progress": progress}


@router.post(
    "/exports",
    operation_id="startExport",
    status_code=202,
    response_model=schemas.ExportStarted,
)
@policy(scope=Scope.EXPORT)
async def start_export(
    body: schemas.ExportInput,
    request: Request,
    session: InSession,
    context: InContext,
    caller: Caller,
) -> Any:
    """Make a file of users in the background, as a job."""
    by = by_caller(request, caller)
    export, _ = await background.start(session, _order(body), by, now=context.clock())
    message = f"The export {export.id} is queued."
    return {**await _shown(session, export), "message": message}


@router.get("/exports/{id}", operation_id="getExport", response_model=schemas.ExportAnswer)
@policy(scope=Scope.EXPORT)
async def get_export(export_id: ExportId, session: InSession) -> Any:
    """One export: how far it is, and what came of it."""
    return await _shown(session, await service.find(session, export_id))


@router.get(
    "/exports/{id}/download",
    operation_id="downloadExport",
    response_class=ExportFile,
    responses=_FILE,
)
@policy(scope=Scope.EXPORT, transaction=False)
async def download_export(
    export_id: ExportId, request: Request, context: InContext, caller: Caller
) -> Any:
    """The file of an export, or a range of it; each time is logged."""
    async with context.database.reading(caller.admin_id) as session:
        export = await service.find(session, export_id)
    if export.status != ExportStatus.COMPLETED:
        raise Conflict(
            f"The export {export_id} is {export.status}: there is a file once it is completed."
        )
    return await send(request, context, export, by_caller(request, caller))


@router.delete("/exports/{id}", operation_id="deleteExport", response_model=schemas.ExportDeleted)
@policy(scope=Scope.EXPORT)
async def delete_export(
    export_id: ExportId, request: Request, session: InSession, context: InContext
) -> Any:
    """Remove the file of an export, or end its job; its entry in the log stays."""
    files = exporter_of(request).files
    export = await background.delete(session, files, export_id, now=context.clock())
    return {"export": export, "message": "The file is removed; the entry in the log stays."}
