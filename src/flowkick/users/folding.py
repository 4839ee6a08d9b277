"""Text as it is sorted, compared and searched: without regard to case and accents.

What is searched is kept in letters that an index of trigrams takes for letters in every locale.
PostgreSQL's leaves out punctuation, and in the locale C all that is not ASCII; so such characters
stand as runs of capitals, and folded text has no capitals of its own. The first letter of a run
(A to M) tells its length and no later one (N to Z) can be a first, so a word occurs in a text
exactly where its run of letters occurs in the text's. ``%``, ``_`` and quotes are capitals, too,
and mean nothing to a database.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

SORTED_LENGTH: Final = 100
"""Names sort by their first 100 characters, so that they fit into an index."""
_WHOLE_VALUE: Final = 100
_FIRST: Final = "ABCDEFGHIJKLM"
_LATER: Final = "NOPQRSTUVWXYZ"
_KEPT: Final = 70_000
# Letters that Unicode does not take apart, as those who lack them on their keyboards write them.
_STROKES: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "\u0131": "i", "æ": "ae", "œ": "oe"}
)


def fold(text: str) -> str:
    """`text` without case and accents (Unicode's NFKD and case folding), in composed letters."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return unicodedata.normalize("NFC", bare.translate(_STROKES))


def sort_key(text: str | None) -> str:
    """What a name sorts by; none sorts as the empty name, before all others."""
    return fold(text)[:SORTED_LENGTH] if text else ""


def value_key(value: str | None) -> str | None:
    """Equal for equal values of a custom field, whatever their case; bounded, for an index."""
    if value is None:
        return None
    key = value.casefold()
    if len(key) <= _WHOLE_VALUE:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{key[:32]}…{digest}"


def searched(*texts: str | None) -> str:
    """What `search` looks through: the texts on a line each, in the letters of an index."""
    return _searched([fold(text) for text in texts if text])


def _searched(folded: Sequence[str]) -> str:
    return "\n".join([" ".join(letters(text)) for text in folded if text])


def letters(folded: str) -> list[str]:
    """The words of a folded text, in the letters of an index."""
    return folded.translate(_CODES).split()


def user_keys(values: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a user that follow from its others."""
    first, last, *others = (
        fold(values.get(name) or "") for name in ("first_name", "last_name", "ig_username", "email")
    )
    return {
        "first_name_key": first[:SORTED_LENGTH],
        "last_name_key": last[:SORTED_LENGTH],
        "search_text": _searched([first, last, *others]),
    }


class _Codes(dict[int, str]):
    """For each character, what stands for it; made when it first occurs."""

    def __missing__(self, point: int) -> str:
        code = _code(point)
        if len(self) < _KEPT:
            self[point] = code
        return code


def _code(point: int) -> str:
    letter = chr(point)
    if letter.isspace() or not letter.isprintable() or letter in "abcdefghijklmnopqrstuvwxyz":
        return letter if letter.isalnum() else " "
    # Fewer letters for the alphabets, so that three of them still tell of more than one character.
    if (place := _SHORT.get(point)) is not None:
        return _run(0, 1, place)
    if (place := _MIDDLING.get(point)) is not None:
        return _run(9, 2, place)
    if point < 2 * 13**4:
        return _run(11, 4, point)
    return _run(8, 6, point)


def _run(first: int, later: int, number: int) -> str:
    """`number` in letters, the first of them from `first` on."""
    run = ""
    for _ in range(later):
        number, digit = divmod(number, 13)
        run = _LATER[digit] + run
    return _FIRST[first + number] + run


def _places(*ranges: tuple[int, int]) -> dict[int, int]:
    def points() -> Iterator[int]:
        for first, last in ranges:
            yield from range(first, last + 1)

    return {point: place for place, point in enumerate(points())}


# Punctuation of ASCII; Cyrillic; Greek: 104 = 8 × 13.
_SHORT: Final = _places(
    (0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0x430, 0x45E), (0x3B1, 0x3C9)
)
# Hebrew; Arabic, with Persian and Urdu; Devanagari; Thai: 322 of 2 × 169.
_MIDDLING: Final = _places(
    (0x5D0, 0x5EA), (0x620, 0x64A), (0x671, 0x6D3), (0x904, 0x963), (0xE01, 0xE39)
)
_CODES: Final = _Codes({ord(digit): digit for digit in "0123456789"})
