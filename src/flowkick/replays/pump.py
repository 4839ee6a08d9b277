"""Queues deliveries of a job little by little, so that live ones never wait behind thousands.

At most `MOST_WAITING` deliveries of a job are unfinished at once, and a rate bounds how many are
queued in a second. A job that comes no further, since its endpoint is slow, fails or is inactive,
gives its place in the worker to others and comes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from flowkick.jobs.run import JobPaused, Run
from flowkick.replays.queueing import Standing, standing

MOST_WAITING: Final = 200
_FIRST_LOOK: Final = 0.02
_LONGEST_LOOK: Final = 0.25
_PATIENCE_SECONDS: Final = 2.0
"""A job that comes no further for so long gives its place to others…"""
_PAUSE_SECONDS: Final = 3.0
"""…for so long."""
_TURN_SECONDS: Final = 20.0
"""After so long at a time, another job that waits has its turn."""

Queue = Callable[[int], Awaitable[bool]]
"""Queues up to so many deliveries; whether there may be more."""


class Pump:
    """What a job does between its beginning and its end."""

    def __init__(self, run: Run, subscription_id: str, rate: int | None) -> None:
        self._run = run
        self._subscription_id = subscription_id
        self._rate = rate
        self._began = self._moved = self._paced = time.monotonic()
        self._last: Standing | None = None
        self._look = _FIRST_LOOK

    async def fill(self, queue: Queue) -> None:
        """Let `queue` queue as much as there is room for, until there is no more.

        Raises JobPaused where others are to have their turn.
        """
        while True:
            now = await self._standing()
            room = self._room(now)
            if room:
                self._take(room)
                if not await queue(room):
                    return
            await self._wait(now)

    async def drain(self) -> None:
        """Wait until everything that was queued is delivered or given up; raises JobPaused."""
        while (now := await self._standing()).waiting:
            await self._wait(now)

    async def _standing(self) -> Standing:
        now = await standing(self._run, self._subscription_id)
        if now != self._last:
            self._last, self._moved, self._look = now, time.monotonic(), _FIRST_LOOK
        return now

    def _room(self, now: Standing) -> int:
        if not now.active or now.waiting > MOST_WAITING // 2:
            return 0
        room = MOST_WAITING - now.waiting
        if self._rate is None:
            return room
        allowed = int(self._rate * (time.monotonic() - self._paced))
        return min(room, allowed, self._rate)  # never more at once than in a second

    def _take(self, room: int) -> None:
        now = time.monotonic()
        self._moved, self._look = now, _FIRST_LOOK
        if self._rate is not None:
            self._paced = max(self._paced + room / self._rate, now - 1)

    async def _wait(self, now: Standing) -> None:
        moment = time.monotonic()
        if not now.active or moment - self._moved > _PATIENCE_SECONDS:
            raise JobPaused(_PAUSE_SECONDS)
        if moment - self._began > _TURN_SECONDS:
            raise JobPaused(0)
        if now.waiting or self._rate is not None:
            await asyncio.sleep(self._look)
            self._look = min(self._look * 1.5, _LONGEST_LOOK)
