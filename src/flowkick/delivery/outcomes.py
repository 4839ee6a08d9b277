"""The last stage of the engine: what came of requests, many in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from flowkick.core.clock import Clock
from flowkick.core.logs import get_logger
from flowkick.delivery import queue
from flowkick.delivery.hooks import Hooks
from flowkick.delivery.leases import Lease
from flowkick.delivery.patience import until_it_works
from flowkick.delivery.queue import Recorded, Result
from flowkick.delivery.recording import is_refusal, record_apart, without_answer
from flowkick.delivery.telling import about, tell
from flowkick.storage.database import Database

_log = get_logger(__name__)
_BATCH: Final = 500
_LINGER_SECONDS: Final = 0.04
"""How long it gathers while the engine is busy: more rows a commit."""


class Recorder:
    """Records the results that it is given, in their order.

    `is_busy` tells whether more are to come soon. `on_recorded` gets what each batch came to that
    is committed, and when it began, by the event loop's clock; `on_done` gets the results that need
    not be held any longer, recorded or not.
    """

    def __init__(  # noqa: PLR0913  # what the engine shares with it
        self,
        database: Database,
        lease_id: str,
        lease_seconds: float,
        clock: Clock,
        hooks: Hooks,
        *,
        jitter: Callable[[], float],
        stopping: asyncio.Event,
        is_busy: Callable[[], bool],
        on_recorded: Callable[[Recorded, float], None],
        on_done: Callable[[Sequence[Result]], None],
    ) -> None:
        self._database = database
        self._lease_id = lease_id
        self._lease = timedelta(seconds=lease_seconds)
        self._clock = clock
        self._hooks = hooks
        self._jitter = jitter
        self._stopping = stopping
        self._is_busy = is_busy
        self._on_recorded = on_recorded
        self._on_done = on_done
        self._waiting: list[Result] = []
        self._arrived = asyncio.Event()
        self._at_work = False
        self.unsettled: set[int] = set()
        """Deliveries that were sent, and whose rows the database lets nobody change."""

    def put(self, result: Result) -> None:
        """Take a result, to be recorded soon."""
        self._waiting.append(result)
        self._arrived.set()

    async def finish(self) -> None:
        """Wait until all that it was given is recorded."""
        while self._waiting or self._at_work:  # noqa: ASYNC110  # rare, short, at the end
            await asyncio.sleep(_LINGER_SECONDS / 4)

    async def run(self) -> None:
        """Record for ever."""
        while True:
            await self._arrived.wait()
            self._at_work = True
            if self._is_busy():
                await asyncio.sleep(_LINGER_SECONDS)
            results, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            if not self._waiting:
                self._arrived.clear()
            await record_apart(results, self._surely, self._set_aside)
            self._on_done(results)
            self._at_work = False

    async def _surely(self, results: Sequence[Result]) -> None:
        await self._until_it_works(partial(self._record, results))

    async def _until_it_works(self, work: Callable[[], Awaitable[None]]) -> None:
        await until_it_works(work, self._stopping, give_up=False)

    async def _record(self, results: Sequence[Result]) -> None:
        began = asyncio.get_running_loop().time()
        async with self._database.system_transaction() as session:
            now = self._clock()
            recorded = await queue.record(
                session,
                results,
                lease=Lease(self._lease_id, now + self._lease),
                now=now,
                jitter=self._jitter,
                failing_after=self._hooks.operators.failing_after,
                breaker=self._hooks.breaker,
                go_on=not self._stopping.is_set(),
            )
            if recorded.notices:
                await self._hooks.operators.announce(session, recorded.notices, now)
        self._on_recorded(recorded, began)
        tell(results, recorded)

    async def _set_aside(self, result: Result, error: Exception) -> None:
        """Record less of a result that the database refuses; at the least, send it no more."""
        _log.error("result_refused", error=type(error).__name__, **about(result))
        try:
            await self._surely([without_answer(result)])
        except Exception as again:
            if not is_refusal(again):
                raise
            await self._settle_alone(result)

    async def _settle_alone(self, result: Result) -> None:
        try:
            await self._until_it_works(partial(self._settle, result))
        except Exception as error:
            if not is_refusal(error):
                raise
            self.unsettled.add(result.claimed.id)
            _log.error("delivery_refused", error=type(error).__name__, **about(result))

    async def _settle(self, result: Result) -> None:
        async with self._database.system_transaction() as session:
            await queue.settle_unlogged(session, result, lease_id=self._lease_id, now=self._clock())
