"""Which part of a file a request asks for: all of it, or a range of bytes (RFC 9110, 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from flowkick.core.errors import RangeNotSatisfiable

_RANGE: Final = re.compile(
    r"bytes=[ \t]*(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))[ \t]*", re.I
)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes from `start` up to, and without, `end`, of a file of `size`."""

    start: int
    end: int
    size: int
    is_whole: bool = True

    @classmethod
    def of(cls, headers: Mapping[str, str], *, etag: str, size: int) -> Part:
        """The part that a request asks for; RangeNotSatisfiable where the file ends before it.

        A range of what the file is no longer (``If-Range``), of other units, or of several parts,
        is answered with the whole file, as a server may.
        """
        found = _RANGE.fullmatch(headers.get("range", ""))
        if found is None or headers.get("if-range", etag) != etag:
            return cls(0, size, size)
        first, last, suffix = found.groups()
        if suffix is not None:
            start, end = max(size - int(suffix), 0), size
        else:
            start, end = int(first), min(int(last or size) + 1, size)
            if last and int(last) < start:  # no range at all
                return cls(0, size, size)
        if start >= end:
            raise RangeNotSatisfiable(
                f"The file has {size} bytes: ask for a range within them, or for all of it.",
                headers={"Content-Range": f"bytes */{size}"},
            )
        return cls(start, end, size, is_whole=False)

    @property
    def status(self) -> int:
        """Of the answer; a plain number, as logs print it."""
        return int(HTTPStatus.OK if self.is_whole else HTTPStatus.PARTIAL_CONTENT)

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer."""
        length = {"Accept-Ranges": "bytes", "Content-Length": str(self.end - self.start)}
        if self.is_whole:
            return length
        return {**length, "Content-Range": f"bytes {self.start}-{self.end - 1}/{self.size}"}
