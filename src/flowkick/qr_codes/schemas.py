"""The shapes of QR codes on the wire."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from flowkick.core.schemas import (
    ApiInput,
    CursorPagination,
    Instant,
    JsonObject,
    Name,
    Storable,
    Success,
    left_out,
    shown_as,
)
from flowkick.history.models import QRCode, Tool
from flowkick.history.recent import qr_code_values
from flowkick.history.schemas import QR_CODE, QRCodeOfUser

Id = Annotated[str, StringConstraints(min_length=1, max_length=100), Storable]
Code = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$"),
    Field(description="Letters, digits, `-` and `_`; unique, and exact in case."),
]
Kind = Annotated[str, StringConstraints(min_length=1, max_length=100), Storable]


class QRCodeInput(ApiInput):
    """A new QR code; without `code`, one that can't be guessed is made."""

    model_config = shown_as(
        code="WELCOME-7F3K",
        userId="usr_0199f8d29c3a7d10a6f4",
        metadata={"discount": 10},
        expiresAt="2025-12-31T23:59:59.000Z",
    )

    code: Code | None = None
    type: Kind = "voucher"
    user_id: Id | None = None
    tool_id: Id | None = None
    metadata: JsonObject | None = None
    expires_at: Instant | None = None
    active: bool = True

    def values(self) -> dict[str, Any]:
        """The fields by the names that they are kept under."""
        return _kept(self.model_dump())


class QRCodePatch(ApiInput):
    """What of a QR code can be changed; what is left out stays as it is."""

    model_config = shown_as(active=False)

    active: bool = left_out(True)
    expires_at: Instant | None = left_out(None)
    metadata: JsonObject | None = left_out(None)

    def values(self) -> dict[str, Any]:
        """The fields that were sent, by the names that they are kept under."""
        return _kept(self.sent())


class ScanInput(ApiInput):
    """Who scanned the code."""

    model_config = shown_as(scannedBy="front-desk")

    scanned_by: Name


class QRCodeShown(QRCodeOfUser):
    """A QR code with its tool, and whose it is."""

    model_config = shown_as(**QR_CODE, userId="usr_0199f8d29c3a7d10a6f4")

    user_id: str | None


class QRCodeAnswer(Success):
    """One QR code."""

    qr_code: QRCodeShown


class QRCodesAnswer(Success):
    """A page of QR codes."""

    qr_codes: list[QRCodeShown]
    pagination: CursorPagination


def shown(qr_code: QRCode, tool: Tool | None) -> dict[str, Any]:
    """The values of a `QRCodeShown`."""
    return {**qr_code_values(qr_code, tool), "user_id": qr_code.user_id}


def _kept(values: dict[str, Any]) -> dict[str, Any]:
    # SQLAlchemy's classes keep the name `metadata` for themselves.
    if "metadata" in values:
        values["details"] = values.pop("metadata")
    return values
