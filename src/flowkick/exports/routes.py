"""The routes of exports that are fetched at once, and of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from flowkick.auth.service import Principal, Scope
from flowkick.core.errors import Gone
from flowkick.core.schemas import InstantQuery
from flowkick.exports import schemas, service
from flowkick.exports.making import Exporter, Wanted
from flowkick.exports.models import DataExport, ExportStatus
from flowkick.exports.parts import Part
from flowkick.exports.query import CsvQuery, ExportQuery, JsonQuery, csv_query, json_query
from flowkick.exports.service import By
from flowkick.exports.writers import FORMATS
from flowkick.http.context import Caller, Context, InContext, InSession
from flowkick.http.pages import Cursor, IdFilter, Limit
from flowkick.http.route import CLIENT_CLOSED_REQUEST, ApiRoute, policy
from flowkick.storage.keyset import pagination
from flowkick.users.query import query_names, query_parameters

router = APIRouter(prefix="/api/admin", tags=["exports"], route_class=ApiRoute)

_LOOK_SECONDS: Final = 0.25
GZIP: Final = "application/gzip"
FILE_HEADERS: Final[dict[str, Any]] = {
    name: {"description": description, "schema": {"type": "string"}}
    for name, description in {
        "Content-Disposition": "The name of the file.",
        "ETag": "The hash of the file, for `If-Range`.",
        "X-Export-ID": "The id of the export in the log.",
        "X-Export-Count": "How many users there are in it.",
        "X-File-Hash": "SHA-256 of the file's bytes, in hex.",
    }.items()
}
BEYOND: Final[dict[int | str, dict[str, Any]]] = {
    416: {"description": "The file ends before the range that is asked for."}
}
_CSV: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The whole file.",
        "headers": FILE_HEADERS,
        "content": {"text/csv": {"schema": {"type": "string"}}},
    },
    **BEYOND,
}
_JSON: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The whole file.", "headers": FILE_HEADERS},
    **BEYOND,
}


class ExportFile(StreamingResponse):
    """A file of which FastAPI knows that it is none of its JSON."""

    media_type = None


@router.get(
    "/export/users/csv",
    operation_id="exportUsersCsv",
    response_class=ExportFile,
    responses=_CSV,
    openapi_extra={"parameters": query_parameters(CsvQuery)},
)
@policy(scope=Scope.EXPORT, transaction=False, query=query_names(CsvQuery))
async def export_csv(request: Request, context: InContext, caller: Caller) -> Any:
    """Users as CSV, in a file that is complete before its first byte is sent."""
    query = csv_query(request)
    return await _fetch(request, context, caller, query, bom=query.bom)


@router.get(
    "/export/users/json",
    operation_id="exportUsersJson",
    response_model=schemas.ExportDocument,
    responses=_JSON,
    openapi_extra={"parameters": query_parameters(JsonQuery)},
)
@policy(scope=Scope.EXPORT, transaction=False, query=query_names(JsonQuery))
async def export_json(request: Request, context: InContext, caller: Caller) -> Any:
    """Users as JSON, in a file that is complete before its first byte is sent."""
    return await _fetch(request, context, caller, json_query(request))


@router.get("/exports", operation_id="listExports", response_model=schemas.ExportsAnswer)
@policy(scope=Scope.EXPORT)
async def list_exports(
    session: InSession,
    *,
    status: Annotated[ExportStatus | None, Query()] = None,
    export_type: Annotated[
        Literal["csv", "json", "ndjson", "xlsx", "parquet"] | None, Query(alias="exportType")
    ] = None,
    initiated_by: Annotated[IdFilter, Query(alias="initiatedBy")] = None,
    since: InstantQuery = None,
    until: InstantQuery = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """A page of the log of exports, the newest first."""
    filters = service.Filters(status, export_type, initiated_by, since, until)
    page = await service.list_exports(session, filters, limit=limit, cursor=cursor)
    return {"exports": page.rows, "pagination": pagination(page, limit)}


def exporter_of(request: Request) -> Exporter:
    """Who makes the files of this process."""
    exporter: Exporter = request.app.state.exporter
    return exporter


def by_caller(request: Request, caller: Principal) -> By:
    """Who is asking, as the log tells it."""
    return By(caller.key_id or "gateway", request.client.host if request.client else None)


async def _fetch(
    request: Request, context: Context, caller: Principal, query: ExportQuery, *, bom: bool = False
) -> Response:
    exporter, by = exporter_of(request), by_caller(request, caller)
    format_ = FORMATS["json" if isinstance(query, JsonQuery) else "csv"]
    wanted = Wanted(format_, query.selection(), by, bom)
    try:
        made = await _while_connected(request, exporter.export(caller.admin_id, wanted))
    except _ClientLeft:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return await send(request, context, made, by)


async def send(request: Request, context: Context, export: DataExport, by: By) -> Response:
    """The file of a completed export, or the range of it that is asked for; logged as a download.

    Gone where the file is not there any more.
    """
    name = str(export.file_name)
    shelf = exporter_of(request).files.shelf
    if export.file_removed_at is not None or not await shelf.has(name):
        raise Gone(f"The file of the export {export.id} is not kept any longer: export anew.")
    part = Part.of(request.headers, etag=_etag(export), size=int(export.file_size_bytes or 0))
    async with context.database.transaction(export.admin_id) as session:
        await service.count_download(
            session, export.id, by=by, now=context.clock(), byte_range=request.headers.get("range")
        )
    ending = name.partition(".")[2]
    return ExportFile(
        shelf.read(name, part.start, part.end),
        status_code=part.status,
        media_type=GZIP if name.endswith(".gz") else FORMATS[export.export_type].media_type,
        headers={
            **_headers(export, f"users-export-{export.created_at:%Y-%m-%d}.{ending}"),
            **part.headers,
        },
    )


def _etag(export: DataExport) -> str:
    return f'"{export.file_hash}"'


def _headers(export: DataExport, name: str) -> dict[str, str]:
    return {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "private, no-store",
        "ETag": _etag(export),
        "X-Export-ID": export.id,
        "X-Export-Count": str(export.record_count),
        "X-File-Hash": str(export.file_hash),
    }


class _ClientLeft(Exception):
    """Nobody waits for the answer any more."""


async def _while_connected(request: Request, work: Coroutine[Any, Any, DataExport]) -> DataExport:
    """The result of `work`, which is stopped when the client goes away."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            if not task.done() and await request.is_disconnected():
                task.cancel()
                await asyncio.wait({task})
                raise _ClientLeft
    finally:
        if not task.done():  # this request is cancelled itself
            task.cancel()
            await asyncio.wait({task})
    return task.result()
