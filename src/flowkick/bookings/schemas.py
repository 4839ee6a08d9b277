"""The shapes of bookings on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from flowkick.bookings.service import Booked
from flowkick.core.schemas import (
    ApiInput,
    ApiModel,
    CursorPagination,
    Instant,
    Storable,
    Success,
    left_out,
    shown_as,
)
from flowkick.history.recent import booking_values
from flowkick.history.schemas import BOOKING, BookingOfUser

Id = Annotated[str, StringConstraints(min_length=1, max_length=100), Storable]
Notes = Annotated[str, StringConstraints(max_length=10_000), Storable]
OpenStatus = Annotated[
    Literal["pending", "confirmed"],
    Field(description="To cancel or complete a booking has calls of its own."),
]


class BookingInput(ApiInput):
    """A new booking, from `startTime` on until just before `endTime`."""

    model_config = shown_as(
        userId="usr_0199f8d29c3a7d10a6f4",
        toolId="tol_0199f8d2d5e67f31c9a2",
        startTime="2025-11-08T18:00:00.000Z",
        endTime="2025-11-08T20:00:00.000Z",
        notes="A high chair, please",
    )

    user_id: Id
    tool_id: Id
    start_time: Instant
    end_time: Instant
    status: OpenStatus = "pending"
    notes: Notes | None = None


class BookingPatch(ApiInput):
    """Any of a booking's fields; what is left out stays as it is."""

    model_config = shown_as(status="confirmed")

    tool_id: Id = left_out("")
    start_time: Instant = left_out(None)
    end_time: Instant = left_out(None)
    status: OpenStatus = left_out("pending")
    notes: Notes | None = left_out(None)


_CONTACT: dict[str, Any] = {
    "id": "usr_0199f8d29c3a7d10a6f4",
    "manychatId": "1234567890",
    "igUsername": "johndoe",
    "firstName": "John",
    "lastName": "Doe",
    "email": "john@example.com",
    "phone": "+1234567890",
}


class ContactShown(ApiModel):
    """A user in short."""

    model_config = shown_as(**_CONTACT)

    id: str
    manychat_id: str | None
    ig_username: str | None
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None


class BookingShown(BookingOfUser):
    """A booking with its tool and its user."""

    model_config = shown_as(**BOOKING, user=_CONTACT)

    user: ContactShown


def shown(booked: Booked) -> dict[str, Any]:
    """The values of a `BookingShown`."""
    return {**booking_values(booked.booking, booked.tool), "user": booked.user}


class BookingAnswer(Success):
    """One booking."""

    booking: BookingShown


class BookingsAnswer(Success):
    """A page of bookings."""

    bookings: list[BookingShown]
    pagination: CursorPagination
