"""Requests that wait for events: one listener for all of them, and no connection of their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from flowkick.core.errors import TooManyRequests
from flowkick.storage.database import Database
from flowkick.storage.dialects import DELIVERIES_CHANNEL, EVENTS_CHANNEL
from flowkick.storage.wakeup import listen

_MOST_WAITERS: Final = 200
_MOST_OF_ONE_ADMIN: Final = 20
_CHANNELS: Final = (DELIVERIES_CHANNEL, EVENTS_CHANNEL)


class Doorbell:
    """Rings whenever events may have been committed, by whichever process.

    The listener starts with the first who waits, and ends with the process.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: Counter[str] = Counter()
        self._next = asyncio.Event()
        self._closed = False
        self._listener: asyncio.Task[None] | None = None

    @contextmanager
    def waiting(self, admin_id: str) -> Iterator[None]:
        """A place among those who wait; TooManyRequests where there is none left."""
        if self._waiting[admin_id] >= _MOST_OF_ONE_ADMIN or self._waiting.total() >= _MOST_WAITERS:
            raise TooManyRequests(
                "Too many requests are waiting for events already: one at a time is enough, since"
                " each gets all that comes.",
                headers={"Retry-After": "1"},
            )
        if self._listener is None and not self._closed:
            self._listener = asyncio.create_task(listen(self._database, self._ring, _CHANNELS))
        self._waiting[admin_id] += 1
        try:
            yield
        finally:
            self._waiting[admin_id] -= 1
            if not self._waiting[admin_id]:
                del self._waiting[admin_id]

    def next_ring(self) -> asyncio.Event:
        """Is set at the next ring: take it before looking at what is there."""
        return self._next

    async def rung(self, ring: asyncio.Event, seconds: float, unless: asyncio.Future[Any]) -> None:
        """Wait until `ring` is set or `unless` is done, at most so long."""
        waiting = asyncio.ensure_future(ring.wait())
        try:
            await asyncio.wait(
                (waiting, unless), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()

    def _ring(self) -> None:
        self._next.set()
        if not self._closed:
            self._next = asyncio.Event()

    @property
    def waiters(self) -> int:
        """How many are waiting."""
        return self._waiting.total()

    @property
    def closed(self) -> bool:
        """Whether nobody is to wait any longer: the process is about to end."""
        return self._closed

    def close(self) -> None:
        """Let everybody go who waits, and who comes."""
        self._closed = True
        self._ring()

    async def stop(self) -> None:
        """End the listener."""
        self.close()
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
