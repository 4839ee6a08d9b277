"""The routes of bookings."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from flowkick.bookings import listing, schemas, service
from flowkick.bookings.states import BookingStatus
from flowkick.core.schemas import InstantQuery
from flowkick.http.context import InContext, InSession
from flowkick.http.pages import Cursor, IdFilter, Limit
from flowkick.http.route import ApiRoute
from flowkick.storage.keyset import pagination

router = APIRouter(prefix="/api/admin", tags=["bookings"], route_class=ApiRoute)

API = "api"
BookingId = Annotated[str, Path(alias="id", max_length=100)]


@router.get("/bookings", operation_id="listBookings", response_model=schemas.BookingsAnswer)
async def list_bookings(
    session: InSession,
    *,
    user_id: Annotated[IdFilter, Query(alias="userId")] = None,
    tool_id: Annotated[IdFilter, Query(alias="toolId")] = None,
    status: BookingStatus | None = None,
    since: Annotated[
        InstantQuery, Query(alias="from", description="Those that begin then, or later.")
    ] = None,
    until: Annotated[InstantQuery, Query(description="Those that begin before.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """A page of bookings, by when they begin, the latest first."""
    filters = listing.Filters(user_id, tool_id, status, since, until)
    page = await listing.list_bookings(session, filters, limit=limit, cursor=cursor)
    shown = [schemas.shown(booked) for booked in page.rows]
    return {"bookings": shown, "pagination": pagination(page, limit)}


@router.post(
    "/bookings",
    operation_id="createBooking",
    status_code=201,
    response_model=schemas.BookingAnswer,
)
async def create_booking(body: schemas.BookingInput, session: InSession, context: InContext) -> Any:
    """Book a tool for a user; 409 where an exclusive tool is taken at that time."""
    booked = await service.create_booking(
        session, body.model_dump(), source=API, now=context.clock()
    )
    return {"booking": schemas.shown(booked)}


@router.get("/bookings/{id}", operation_id="getBooking", response_model=schemas.BookingAnswer)
async def get_booking(booking_id: BookingId, session: InSession) -> Any:
    """One booking."""
    return {"booking": schemas.shown(await service.get_booked(session, booking_id))}


@router.patch("/bookings/{id}", operation_id="updateBooking", response_model=schemas.BookingAnswer)
async def update_booking(
    booking_id: BookingId, body: schemas.BookingPatch, session: InSession, context: InContext
) -> Any:
    """Move or confirm a booking, or change its notes."""
    booked = await service.change_booking(
        session, booking_id, body.sent(), source=API, now=context.clock()
    )
    return {"booking": schemas.shown(booked)}


@router.post(
    "/bookings/{id}/cancel", operation_id="cancelBooking", response_model=schemas.BookingAnswer
)
async def cancel_booking(booking_id: BookingId, session: InSession, context: InContext) -> Any:
    """Cancel a booking; 409 where it was cancelled or completed already."""
    return await _end(session, context, booking_id, BookingStatus.CANCELLED)


@router.post(
    "/bookings/{id}/complete", operation_id="completeBooking", response_model=schemas.BookingAnswer
)
async def complete_booking(booking_id: BookingId, session: InSession, context: InContext) -> Any:
    """Complete a booking; 409 where it was cancelled or completed already."""
    return await _end(session, context, booking_id, BookingStatus.COMPLETED)


async def _end(
    session: InSession, context: InContext, booking_id: str, status: BookingStatus
) -> dict[str, Any]:
    booked = await service.end_booking(session, booking_id, status, source=API, now=context.clock())
    return {"booking": schemas.shown(booked)}
