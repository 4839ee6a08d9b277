"""The image of a QR code."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import segno

MEDIA_TYPE: Final = "image/png"
LARGEST_SCALE: Final = 40
_BORDER: Final = 4
"""Modules of quiet zone, as ISO/IEC 18004 asks for."""


def png(code: str, scale: int) -> bytes:
    """A PNG that says `code`, of `scale` pixels a module, with error correction M or better."""
    image = BytesIO()
    segno.make_qr(code, error="m").save(image, kind="png", scale=scale, border=_BORDER)
    return image.getvalue()
