"""One made-up contact with a booking and a QR code: the data of every example."""

from __future__ import annotations

from typing import Final

import msgspec

from flowkick.webhooks.payloads import (
    BookingPayload,
    Change,
    ContactPayload,
    CustomFieldChange,
    ExportConsent,
    Interactions,
    OptIns,
    QRCodePayload,
    Stats,
    TagPayload,
    Timestamps,
    ToolPayload,
    UserPayload,
    UserTimestamps,
)

MOMENT: Final = "2025-11-06T10:30:00.000Z"
SCANNER: Final = "front-desk"

TAG: Final = TagPayload("tag_0199f8d2a1f27c55b8e0", "vip", "2025-11-06T09:00:00.000Z")
REMOVED_TAG: Final = TagPayload("tag_0199f8d2a1f27c55b8e1", "newcomer", "2025-10-01T10:00:00.000Z")
FIELD_CHANGE: Final = CustomFieldChange("favorite_drink", "text", "Espresso", "Cappuccino")

USER: Final = UserPayload(
    id="usr_0199f8d29c3a7d10a6f4",
    manychat_id="1234567890",
    instagram_username="johndoe",
    instagram_id="9876543210",
    first_name="John",
    last_name="Doe",
    full_name="John Doe",
    email="john@example.com",
    phone="+1234567890",
    whatsapp_phone="+1234567890",
    gender="male",
    locale="en_US",
    timezone="America/New_York",
    profile_pic="https://cdn.example.com/johndoe.jpg",
    opt_ins=OptIns(messenger=True, instagram=True, whatsapp=False, telegram=False),
    export_consent=ExportConsent(given=True, at="2025-11-06T10:00:00.000Z"),
    tags=[TAG],
    custom_fields={"favorite_drink": "Cappuccino", "visit_count": "5", "loyalty_points": "150"},
    interactions=Interactions(
        messages_count=25,
        comments_count=8,
        stories_count=3,
        total_count=36,
        last_updated="2025-11-06T10:00:00.000Z",
    ),
    stats=Stats(
        bookings_count=3,
        qr_scans_count=12,
        conversations_count=2,
        last_booking="2025-11-05T14:30:00.000Z",
        last_synced=MOMENT,
    ),
    timestamps=UserTimestamps(
        subscribed_at="2025-10-01T10:00:00.000Z",
        created_at="2025-10-01T10:00:00.000Z",
        updated_at=MOMENT,
    ),
)
USER_CHANGES: Final = {
    "email": Change(old="john@old.example.com", new="john@example.com"),
    "optIns.instagram": Change(old=False, new=True),
}

_CONTACT: Final = ContactPayload(
    id=USER.id,
    manychat_id=USER.manychat_id,
    instagram_username=USER.instagram_username,
    first_name=USER.first_name,
    last_name=USER.last_name,
    email=USER.email,
    phone=USER.phone,
)
_TOOL: Final = ToolPayload(id="tol_0199f8d2d5e67f31c9a2", name="Table by the window", type="table")


def booking(status: str) -> BookingPayload:
    """The sample booking in a given status."""
    return msgspec.structs.replace(BOOKING, status=status)


BOOKING: Final = BookingPayload(
    id="bkg_0199f8d2e8b97a42d0b3",
    start_time="2025-11-08T18:00:00.000Z",
    end_time="2025-11-08T20:00:00.000Z",
    status="pending",
    notes="A high chair, please",
    tool=_TOOL,
    user=_CONTACT,
    timestamps=Timestamps(created_at=MOMENT, updated_at=MOMENT),
)
BOOKING_CHANGES: Final = {
    "startTime": Change(old="2025-11-08T17:00:00.000Z", new="2025-11-08T18:00:00.000Z")
}

QR_CODE: Final = QRCodePayload(
    id="qrc_0199f8d2f1c07b53e1c4",
    code="WELCOME-7F3K",
    type="voucher",
    metadata={"discount": 10},
    active=True,
    expires_at="2025-12-31T23:59:59.000Z",
    scanned_at=None,
    scanned_by=None,
    tool=_TOOL,
    user=_CONTACT,
    created_at=MOMENT,
)
SCANNED_QR_CODE: Final = msgspec.structs.replace(QR_CODE, scanned_at=MOMENT, scanned_by=SCANNER)
