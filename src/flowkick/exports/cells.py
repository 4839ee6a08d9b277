"""What stands in a cell of a table, as text."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from flowkick.core.clock import isoformat
from flowkick.exports.columns import Kind

FORMULA_STARTS: Final = "=+-@\t\n\r＝＋－＠"  # noqa: RUF001  # the full-width forms run, too
"""A text that begins with one of these is a formula to some spreadsheet (OWASP, CSV Injection)."""
PLAIN_NUMBER: Final = r"[+-]?[0-9]+(\.[0-9]+)?"
"""A whole text like this is no formula: a number, or a phone number (E.164)."""
_NUMBER: Final = re.compile(PLAIN_NUMBER)
TAG_SEPARATOR: Final = "; "


def guarded(text: str) -> str:
    """`text`, with a leading ``'`` where a spreadsheet would run it as a formula."""
    if text[:1] in FORMULA_STARTS and text and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def cell(value: Any, kind: Kind) -> str:
    """The text of a value; what is not there, and empty text, is an empty cell."""
    if value is None:
        return ""
    if kind is Kind.BOOLEAN:
        return "Yes" if value else "No"
    if kind is Kind.MOMENT:
        moment: datetime = value
        return isoformat(moment)
    if kind is Kind.NUMBER:
        return str(value)
    if kind is Kind.TAGS:
        return guarded(TAG_SEPARATOR.join(tag.name for tag in value))
    return guarded(value)
