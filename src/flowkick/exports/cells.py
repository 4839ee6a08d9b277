"""What stands in a cell of a table, as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

FORMULA_STARTS: Final = "=+-@\t\n\r＝＋－＠"  # noqa: RUF001  # the full-width forms run, too
"""A text that begins with one of these is a formula to some spreadsheet (OWASP, CSV Injection)."""
PLAIN_NUMBER: Final = r"[+-]?[0-9]+(\.[0-9]+)?"
"""A whole text like this is no formula: a number, or a phone number (E.164)."""
TAG_SEPARATOR: Final = "; "
ALONE: Final = ("", "\\.")
"""What is in quotes where it is a line of its own: readers pass an empty line over, and end at the
other, which ended data in PostgreSQL before release 18."""
_STARTS: Final = frozenset(FORMULA_STARTS)
_NUMBER: Final = re.compile(PLAIN_NUMBER)


def guarded(texts: Sequence[str]) -> list[str]:
    """The texts, with a leading ``'`` where a spreadsheet would run one as a formula."""
    return [text if text[:1] not in _STARTS else _guarded(text) for text in texts]


def _guarded(text: str) -> str:
    return text if _NUMBER.fullmatch(text) else f"'{text}"


def line(cells: Sequence[str]) -> str:
    """The cells as RFC 4180 writes them, without the line's end."""
    # By hand, since the csv module's own choice of what to quote differs between releases.
    plain = ",".join(cells)
    if len(cells) <= 1 and plain in ALONE:
        return f'"{plain}"'
    if '"' in plain or "\n" in plain or "\r" in plain or plain.count(",") >= len(cells):
        return ",".join(map(_quoted, cells))
    return plain


def _quoted(text: str) -> str:
    """A cell, in quotes where it holds a comma, a quote or a line's end."""
    if '"' in text or "," in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text
