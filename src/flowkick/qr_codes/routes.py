"""The routes of QR codes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from flowkick.http.context import InContext, InSession
from flowkick.http.pages import Cursor, IdFilter, Limit
from flowkick.http.route import ApiRoute
from flowkick.qr_codes import image, listing, schemas, service
from flowkick.storage.keyset import pagination

router = APIRouter(prefix="/api/admin", tags=["qr codes"], route_class=ApiRoute)

API = "api"
Code = Annotated[str, Path(max_length=100)]
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def _answer(owned: service.Owned) -> dict[str, Any]:
    return {"qr_code": schemas.shown(owned.qr_code, owned.tool)}


@router.get("/qr-codes", operation_id="listQRCodes", response_model=schemas.QRCodesAnswer)
async def list_qr_codes(
    session: InSession,
    *,
    user_id: Annotated[IdFilter, Query(alias="userId")] = None,
    tool_id: Annotated[IdFilter, Query(alias="toolId")] = None,
    type_: Annotated[IdFilter, Query(alias="type")] = None,
    active: bool | None = None,
    scanned: bool | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """A page of QR codes, the newest first."""
    filters = listing.Filters(user_id, tool_id, type_, active, scanned)
    page = await listing.list_qr_codes(session, filters, limit=limit, cursor=cursor)
    shown = [schemas.shown(*row) for row in page.rows]
    return {"qr_codes": shown, "pagination": pagination(page, limit)}


@router.post(
    "/qr-codes",
    operation_id="createQRCode",
    status_code=201,
    response_model=schemas.QRCodeAnswer,
)
async def create_qr_code(body: schemas.QRCodeInput, session: InSession, context: InContext) -> Any:
    """Make a QR code, of a given code or of a new one that can't be guessed."""
    return _answer(
        await service.create_qr_code(session, body.values(), source=API, now=context.clock())
    )


@router.get(
    "/qr-codes/{code}.png",
    operation_id="getQRCodeImage",
    response_class=Response,
    responses={200: {"description": "The image.", "content": {image.MEDIA_TYPE: _BINARY}}},
)
async def get_qr_code_image(
    code: Code,
    session: InSession,
    scale: Annotated[
        int, Query(ge=1, le=image.LARGEST_SCALE, description="Pixels of a module.")
    ] = 8,
) -> Response:
    """The image of a QR code, as PNG."""
    found = await service.find_qr_code(session, code)
    return Response(image.png(found.code, scale), media_type=image.MEDIA_TYPE)


@router.get("/qr-codes/{code}", operation_id="getQRCode", response_model=schemas.QRCodeAnswer)
async def get_qr_code(code: Code, session: InSession) -> Any:
    """One QR code."""
    return _answer(await service.get_owned(session, code))


@router.patch("/qr-codes/{code}", operation_id="updateQRCode", response_model=schemas.QRCodeAnswer)
async def update_qr_code(
    code: Code, body: schemas.QRCodePatch, session: InSession, context: InContext
) -> Any:
    """Deactivate a QR code or activate it again, or change when it expires and its metadata."""
    return _answer(await service.change_qr_code(session, code, body.values(), context.clock()))


@router.post(
    "/qr-codes/{code}/scan", operation_id="scanQRCode", response_model=schemas.QRCodeAnswer
)
async def scan_qr_code(
    code: Code, body: schemas.ScanInput, session: InSession, context: InContext
) -> Any:
    """Use a QR code up, once; 409 says who scanned it and when, or why it can't be scanned."""
    return _answer(
        await service.scan_qr_code(session, code, body.scanned_by, source=API, now=context.clock())
    )


@router.post(
    "/qr-codes/{code}/validate",
    operation_id="validateQRCode",
    response_model=schemas.QRCodeAnswer,
)
async def validate_qr_code(code: Code, session: InSession, context: InContext) -> Any:
    """Check a QR code without using it up; 409 where a scan would be refused."""
    return _answer(await service.validate_qr_code(session, code, source=API, now=context.clock()))
