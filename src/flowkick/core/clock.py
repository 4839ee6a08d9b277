"""The one source of time: aware UTC, and a clock that tests can set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache


def system_clock() -> datetime:
    """The present moment, aware, in UTC, in whole milliseconds: as exact as what is shown."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


Clock = Callable[[], datetime]


@lru_cache(maxsize=64)  # thousands of rows of a batch share their moments
def isoformat(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, such as ``2025-11-06T10:30:00.000Z``.

    The width is fixed, so that these strings sort as the moments do.
    """
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def parse_iso(text: str) -> datetime:
    """The moment that an ISO 8601 date or date-time names; without a zone it is UTC.

    Raises ValueError where `text` is not one.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
