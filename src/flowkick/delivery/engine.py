"""The delivery engine: claim, send, record, joined by in-process queues.

    database ──claim──▶ lanes ──send──▶ outcomes ──record──▶ database

Three kinds of tasks, each with one duty: one claimer, `concurrency` senders, one recorder. The
database is the truth: what is lost on the way is a lease that ends.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeVar

from flowkick.core import metrics
from flowkick.core.clock import Clock
from flowkick.core.errors import SettingsError
from flowkick.core.ids import new_id
from flowkick.core.logs import get_logger
from flowkick.delivery import gates, leases, nets, sql
from flowkick.delivery.breaker import is_overloaded
from flowkick.delivery.claimed import Claimed
from flowkick.delivery.client import Request, Sender
from flowkick.delivery.held import Held, moment_of
from flowkick.delivery.hooks import Hooks
from flowkick.delivery.lanes import Lanes
from flowkick.delivery.leases import Lease
from flowkick.delivery.outcomes import Recorder
from flowkick.delivery.patience import until_it_works
from flowkick.delivery.queue import Recorded, Result
from flowkick.delivery.requests import RequestBuilder
from flowkick.delivery.states import DeliveryState
from flowkick.storage.database import DATABASE_ERRORS, Database

_log = get_logger(__name__)
_T = TypeVar("_T")

POLL_SECONDS: Final = 1.0
"""The net below the wake-ups: how long an idle engine goes without looking."""
HELD_SECONDS: Final = 5.0
STALLED_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 15.0
_MOST_HELD: Final = 15
"""Deliveries claimed and not recorded, for each request that may be in flight."""
_BUSY_SECONDS: Final = 0.05
"""How long it goes without looking what is due while there is more to send."""
_SHORTEST_SLEEP: Final = 0.02


class Engine:
    """Delivers from one database in this process, until it is told to stop."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        builder: RequestBuilder,
        clock: Clock,
        *,
        concurrency: int,
        lease_seconds: float,
        hooks: Hooks,
        jitter: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311
    ) -> None:
        self.database = database
        self.lease_id = new_id("wrk")
        self._sender = sender
        self._builder = builder
        self._clock = clock
        self._hooks = hooks
        self._concurrency = concurrency
        self._lease = lease_seconds
        self._lanes: Lanes[Held] = Lanes(concurrency, self.wake)
        self._held: dict[int, Held] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._recorder = Recorder(
            database,
            self.lease_id,
            lease_seconds,
            clock,
            hooks,
            jitter=jitter,
            stopping=self._stopping,
            is_busy=lambda: self._lanes.waiting > 0,
            on_recorded=self._recorded,
            on_done=self._done,
        )
        self._failure: BaseException | None = None
        database.on_queued(self.wake)

    def wake(self) -> None:
        """Look for due deliveries now: something was committed, or room was made."""
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing more; `run` returns once what is in flight has ended."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop`; then finish what is in flight and lease back the rest.

        Raises what a task of the engine failed with, if one did.
        """
        if self.database.is_sqlite:
            await self._until_it_works(self._end_former_leases)
        senders = [self._task(self._send()) for _ in range(self._concurrency)]
        recorder = self._task(self._recorder.run())
        keepers = [
            self._task(self._every(self._lease / 3, self._extend)),
            self._task(self._every(HELD_SECONDS, partial(self._catch, nets.catch_held))),
            self._task(self._every(STALLED_SECONDS, partial(self._catch, nets.catch_stalled))),
            self._task(self._every(POLL_SECONDS, self._show_lanes)),
        ]
        try:
            await self._claim()
            await self._drain()
        finally:
            await _cancel(*senders)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._recorder.finish(), GRACE_SECONDS)
            await _cancel(recorder, *keepers)
            await self._lease_back([held.claimed.id for held in self._held.values()])
        if self._failure is not None:
            raise self._failure

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._notice_failure)
        return task

    def _notice_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = failure
            self.stop()

    # Claim

    async def _claim(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if not await self._until_it_works(self._claim_batch):
                    await self._sleep_until_due()
            except DATABASE_ERRORS:
                return  # told to stop while the database was away

    async def _claim_batch(self) -> bool:
        """Claim what the lanes have room for; returns whether more may be due."""
        await self._give_back_surplus()
        if self._is_full():
            return False  # what was sent is recorded first
        now = self._clock()
        until = asyncio.get_running_loop().time() + self._lease
        async with self.database.system_reading() as session:  # which takes no lock
            lanes = await sql.lanes(session)
        self._rest(lanes, now)
        rooms = self._lanes.rooms([id_ for id_, lane in lanes.items() if lane.due_at <= now])
        if not rooms:
            return False
        async with self.database.system_transaction() as session:
            claims = await gates.claim(
                session,
                rooms,
                lanes,
                lease=Lease(self.lease_id, now + timedelta(seconds=self._lease)),
                now=now,
                merger=self._hooks.merger,
            )
        self._lanes.claimed(rooms, claims.taken)
        if claims.superseded:
            metrics.DELIVERIES.labels(DeliveryState.SUPERSEDED.value).inc(claims.superseded)
        self._hold(claims.deliveries, until)
        return any(
            self._lanes.wants(id_) and claims.taken.get(id_, 0) >= room
            for id_, room in rooms.items()
        )

    def _hold(self, deliveries: Sequence[Claimed], until: float) -> None:
        """Hand on what is leased until then, by the event loop's clock."""
        by_lane: dict[str, list[Held]] = {}
        for claimed in deliveries:
            held = self._held[claimed.id] = Held(claimed, until)
            by_lane.setdefault(claimed.endpoint.subscription_id, []).append(held)
        for id_, together in by_lane.items():
            self._put(id_, together)
        metrics.CLAIMED.set(len(self._held))

    def _is_full(self) -> bool:
        return len(self._held) >= _MOST_HELD * self._concurrency

    def _rest(self, lanes: Mapping[str, sql.Lane], now: datetime) -> None:
        for id_, lane in lanes.items():
            if lane.rests_until is not None and lane.rests_until > now:
                self._lanes.rest(id_)

    def _put(self, id_: str, held: list[Held]) -> None:
        """Hand claimed deliveries to their lane, each at its moment, however long it took."""
        loop, now = asyncio.get_running_loop(), self._clock()
        for moment, together in groupby(held, key=moment_of):
            if moment is None or moment <= now:
                self._lanes.put(id_, together)
            else:
                wait = (moment - now).total_seconds()
                loop.call_later(wait, self._lanes.put, id_, list(together))

    async def _give_back_surplus(self) -> None:
        surplus = [*self._lanes.surplus]
        if not surplus:
            return
        ids = [held.claimed.id for held in surplus]
        async with self.database.system_transaction() as session:
            await leases.give_back(session, ids, lease_id=self.lease_id, now=self._clock())
        del self._lanes.surplus[: len(surplus)]
        for id_ in ids:
            self._held.pop(id_, None)

    async def _sleep_until_due(self) -> None:
        if self._wake.is_set():
            return
        if self._lanes.is_busy:  # who runs out of what there is to send wakes
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _BUSY_SECONDS)
            return
        due = await self._until_it_works(self._next_due)
        wait = POLL_SECONDS
        if due is not None:
            wait = min(wait, max((due - self._clock()).total_seconds(), _SHORTEST_SLEEP))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait)

    async def _next_due(self) -> datetime | None:
        """When the next delivery is due that a lane wants."""
        async with self.database.system_reading() as session:
            due = await sql.lanes(session)
        return min(
            (lane.due_at for id_, lane in due.items() if self._lanes.wants(id_)), default=None
        )

    # Send

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            ticket = await self._lanes.get()
            held, failed = ticket.item, False
            try:
                if self._stopping.is_set():
                    continue  # leased back in the end
                if loop.time() >= held.until:
                    self._held.pop(held.claimed.id, None)
                    continue
                if (request := self._request(held.claimed)) is not None:
                    outcome = await self._sender.send(request)
                    failed = is_overloaded(outcome)
                    self._recorder.put(Result(held.claimed, outcome))
            finally:
                self._lanes.done(ticket, failed=failed)

    def _request(self, claimed: Claimed) -> Request | None:
        """The request that is to be made; None where there is to be none."""
        try:
            # What is unsettled is claimed again and again, whenever its lease ends.
            if claimed.id not in self._recorder.unsettled:
                return self._builder.build(
                    claimed.endpoint, claimed.message, attempt=claimed.attempt, at=self._clock()
                )
        except SettingsError as error:
            # Not the receiver's fault: nothing is sent or counted, and the lease ends by itself.
            _log.error("secret_unreadable", delivery_id=claimed.id, reason=error.sentence)
        self._held.pop(claimed.id, None)
        return None

    # Record

    def _recorded(self, recorded: Recorded, began: float) -> None:
        self._hold(recorded.claimed, began + self._lease)
        for id_ in (id_ for id_, paused in recorded.breakers.items() if paused):
            self._lanes.rest(id_)
        if recorded.promoted or recorded.breakers:
            self.wake()
        metrics.IN_FLIGHT.set(self._lanes.in_flight)

    def _done(self, results: Sequence[Result]) -> None:
        if self._is_full():
            self.wake()
        for result in results:
            self._held.pop(result.claimed.id, None)
        metrics.CLAIMED.set(len(self._held))

    # Keep

    async def _extend(self) -> None:
        """Extend the leases that have run for a third of their time."""
        now = asyncio.get_running_loop().time()
        old = [held for held in self._held.values() if held.until - now < self._lease * 2 / 3]
        if not old:
            return
        async with self.database.system_transaction() as session:
            await leases.extend(
                session,
                [held.claimed.id for held in old],
                lease_id=self.lease_id,
                until=self._clock() + timedelta(seconds=self._lease),
            )
        for held in old:
            held.until = now + self._lease

    async def _catch(self, net: Callable[[Database, datetime], Awaitable[int]]) -> None:
        if await net(self.database, self._clock()):
            self.wake()

    async def _show_lanes(self) -> None:
        self._lanes.hand_out()
        for pace, count in self._lanes.by_pace().items():
            metrics.LANES.labels(pace).set(count)

    async def _end_former_leases(self) -> None:
        async with self.database.system_transaction() as session:
            await leases.end_all(session, self._clock())

    async def _every(self, seconds: float, duty: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await duty()
            except DATABASE_ERRORS as error:
                _log.warning("engine_database_failed", error=type(error).__name__)

    # Stop

    async def _drain(self) -> None:
        """Wait until what is in flight has ended, for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                while self._lanes.in_flight:  # noqa: ASYNC110  # rare, short, at the end
                    await asyncio.sleep(_SHORTEST_SLEEP)

    async def _lease_back(self, ids: list[int]) -> None:
        if not ids:
            return
        try:
            async with self.database.system_transaction() as session:
                await leases.give_back(session, ids, lease_id=self.lease_id, now=self._clock())
        except DATABASE_ERRORS as error:  # their leases end by themselves
            _log.warning("lease_back_failed", error=type(error).__name__, deliveries=len(ids))

    async def _until_it_works(
        self, work: Callable[[], Awaitable[_T]], *, give_up: bool = True
    ) -> _T:
        return await until_it_works(work, self._stopping, give_up=give_up)


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
