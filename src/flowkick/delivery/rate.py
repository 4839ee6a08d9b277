"""Rates: when the requests of a subscription with a limit may be sent.

The generic cell rate algorithm (ITU-T I.371): of a subscription, the moment is kept before which no
further request conforms, and each request moves it on by the time that one of them takes. Requests
are given their moments a little ahead, when they are claimed, so that they leave evenly.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

AHEAD: Final = timedelta(seconds=0.5)
"""How far ahead moments are given. A claim may be late by half of it, and no moment is missed."""
LATE: Final = timedelta(seconds=0.2)
"""How much time that passed unused may be made up for: over 10 seconds, 2 % of a limit."""


def due_at(next_at: datetime) -> datetime:
    """When a claim is worth its cost again, where requests conform from `next_at` on."""
    return next_at - AHEAD / 2


def most(rate: float, next_at: datetime | None, now: datetime) -> int:
    """How many requests can be given their moments now; `rate` is in requests per second."""
    left = now + AHEAD - _start(next_at, now)
    return 0 if left < timedelta(0) else int(left.total_seconds() * rate) + 1


def reserve(
    rate: float, next_at: datetime | None, now: datetime, count: int
) -> tuple[list[datetime], datetime]:
    """The moments of `count` requests, the first one first, and when the next one is free.

    The latter in whole milliseconds, as SQLite keeps it, rounded up: cut off, 1,500 requests a
    second that are claimed by the eight would be 1,600.
    """
    start = _start(next_at, now)
    moments = [start + timedelta(seconds=number / rate) for number in range(count + 1)]
    return moments[:count], _whole_milliseconds(moments[count])


def _start(next_at: datetime | None, now: datetime) -> datetime:
    return now if next_at is None else max(next_at, now - LATE)


def _whole_milliseconds(moment: datetime) -> datetime:
    return moment + timedelta(microseconds=-moment.microsecond % 1000)
