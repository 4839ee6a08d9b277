"""Fairness: who may send next, and how many requests each subscription may have in flight.

Every subscription with work has a lane. A lane's window grows while its endpoint answers fast and
shrinks while it is slow or fails, and what is free bounds every lane (the dynamic thresholds of
Choudhury and Hahne, 1998): however many endpoints hang, slots stay free for those that do not.
Nothing here does I/O or knows the database.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import IntEnum, auto
from time import monotonic
from typing import Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")

START_WINDOW: Final = 8.0
"""The requests in flight of a lane about which nothing is known."""

SLOW_SECONDS: Final = 1.0
"""An endpoint that takes longer may not have the slots that fast ones need."""

_ALPHA: Final = {True: 4.0, False: 0.25}
"""Slots that a lane may have for each slot that is free: a fast one, and any other."""

_RESERVE: Final = 0.1
"""The part of the slots that fast lanes leave to others, and others to them."""

_SLOW_SHARE: Final = 0.5
"""The part of the slots that all slow lanes together may have."""

_A_ROUND: Final = 16
"""Requests begun in one round of the event loop. Endpoints that answer at once have as many answers
ready as may be in flight, and the commit or the API request behind them would wait for them all."""

_REMEMBERED: Final = 4096
"""Lanes without work whose windows are remembered."""


class Pace(IntEnum):
    """How the endpoint of a lane answered of late. A number, since those are hashed fast."""

    NEW = auto()
    FAST = auto()
    SLOW = auto()


_AHEAD: Final = {Pace.FAST: 6, Pace.NEW: 1, Pace.SLOW: 1}
"""Deliveries claimed ahead for each slot, by the pace of their lanes. What a fast lane has while it
waits for a claim lasts for one and a commit."""


class Ticket(NamedTuple, Generic[T]):
    """A delivery that was handed out; to be given back to `Lanes.done`."""

    number: int
    lane: str
    item: T


class _Lane(Generic[T]):
    """The deliveries of one subscription that this process has claimed."""

    __slots__ = ("is_ready", "more", "pace", "started", "waiting", "window")

    def __init__(self) -> None:
        self.waiting: deque[T] = deque()
        self.started: dict[int, float] = {}
        """When each request in flight began, by its ticket; the oldest comes first."""
        self.window = START_WINDOW
        self.pace = Pace.NEW
        self.more = False
        """Whether the database probably has more that is due than was claimed."""
        self.is_ready = False
        """Whether it stands in the row of those that send in turn."""

    @property
    def is_fast(self) -> bool:
        """Whether it may have much in flight, and claimed ahead."""
        return self.pace is Pace.FAST

    def room(self) -> int:
        """How many more deliveries to claim."""
        if self.is_fast:
            return int(self.window) * _AHEAD[self.pace] - len(self.waiting)
        return int(self.window) - len(self.started) - len(self.waiting)

    def is_worth_a_claim(self) -> bool:
        """Whether there is room for more than what still waits."""
        return self.room() > len(self.waiting)

    def is_hungry(self) -> bool:
        """Whether to claim, once what waits has become less."""
        return self.more and self.is_worth_a_claim()


class Lanes(Generic[T]):
    """Hands out claimed deliveries, one subscription after the other.

    `slots` is how many requests may be in flight at once. `on_hungry` is called when a lane that
    had more in the database has room again.
    """

    def __init__(
        self,
        slots: int,
        on_hungry: Callable[[], None],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._slots = slots
        self._on_hungry = on_hungry
        self._clock = clock
        self._lanes: dict[str, _Lane[T]] = {}
        self._ready: deque[str] = deque()
        self._idle: deque[asyncio.Future[Ticket[T]]] = deque()
        self._begun = 0
        self.surplus: list[T] = []
        """Deliveries claimed for endpoints that became slow or are paused: to be leased back, and
        then to be removed from here."""
        self._last_granted = dict.fromkeys(Pace, "")
        self._numbers = 0
        self._in_flight = dict.fromkeys(Pace, 0)
        self.in_flight = 0
        """Requests handed out and not ended."""

    # What the claimer asks

    def rooms(self, ids: Sequence[str]) -> dict[str, int]:
        """How many deliveries to claim for each of these subscriptions.

        What waits is bounded, however long the queues in the database are, and for each pace by
        itself, so that none takes another's place. Where the bound does not do for all, whoever
        came after the last one served comes first. Who has room for little asks again later: a
        claim costs as much for one delivery as for fifty.
        """
        due = set(ids)
        if len(self._lanes) + len(due) > _REMEMBERED:
            self._forget(due)
        for id_, lane in self._lanes.items():
            self._check_pace(lane)
            lane.more &= id_ in due
        self.hand_out()  # what was found slow just now may have made room for others
        lanes = [(id_, self._lane(id_)) for id_ in sorted(ids)]
        rooms: dict[str, int] = {}
        for pace, ahead in _AHEAD.items():
            waiting = sum(len(one.waiting) for one in self._lanes.values() if one.pace is pace)
            ids = [id_ for id_, lane in lanes if lane.pace is pace]
            rooms |= self._grant(pace, ids, ahead * self._slots - waiting)
        return rooms

    def _grant(self, pace: Pace, ids: list[str], budget: int) -> dict[str, int]:
        last = self._last_granted[pace]
        later = [id_ for id_ in ids if id_ > last]
        rotated = later + ids[: len(ids) - len(later)]
        wanted = {id_: self._lanes[id_].room() for id_ in rotated if self.wants(id_)}
        for id_ in rotated:
            self._lanes[id_].more |= id_ not in wanted
        share = max(budget // len(wanted), 1) if wanted else 0
        rooms: dict[str, int] = {}
        for id_, room in wanted.items():
            if budget <= 0:
                break
            rooms[id_] = min(room, share)
            self._lanes[id_].more = False  # until it is known what the claim found
            budget -= rooms[id_]
            self._last_granted[pace] = id_
        return rooms

    def wants(self, id_: str) -> bool:
        """Whether what is due of this subscription is to be claimed now."""
        lane = self._lanes.get(id_)
        return lane is None or lane.is_worth_a_claim()

    @property
    def is_busy(self) -> bool:
        """Whether a lane has more to send, and will tell when it has not."""
        return any(lane.is_fast and lane.waiting for lane in self._lanes.values())

    @property
    def waiting(self) -> int:
        """Deliveries claimed and not handed out."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def by_pace(self) -> dict[str, int]:
        """How many lanes with work there are of each pace."""
        counts = {pace.name.lower(): 0 for pace in Pace}
        for lane in self._lanes.values():
            if lane.waiting or lane.started:
                counts[lane.pace.name.lower()] += 1
        return counts

    def put(self, id_: str, items: Iterable[T]) -> None:
        """Add claimed deliveries of a subscription, the first to be sent first."""
        lane = self._lane(id_)
        lane.waiting.extend(items)
        if not lane.is_ready:
            self._queue_up(id_, lane)
        self.hand_out()

    def claimed(self, rooms: Mapping[str, int], counts: Mapping[str, int]) -> None:
        """Note which lanes took all that they had room for, and so have more in the database."""
        for id_, room in rooms.items():
            self._lane(id_).more = counts.get(id_, 0) >= room

    def rest(self, id_: str) -> None:
        """Send nothing more of a subscription that is paused, and begin small when it goes on."""
        lane = self._lanes.get(id_)
        if lane is None:
            return
        lane.window = 1.0
        if lane.is_fast:
            self._set_pace(lane, Pace.NEW)
        if lane.waiting:
            self.surplus.extend(lane.waiting)
            lane.waiting.clear()
            self._on_hungry()

    # What senders ask

    async def get(self) -> Ticket[T]:
        """The next delivery to send; waits for one."""
        if (ticket := self._next()) is None:
            turn: asyncio.Future[Ticket[T]] = asyncio.get_running_loop().create_future()
            self._idle.append(turn)
            return await turn
        self.hand_out()  # who asks has mostly ended one, which may have made room for two
        return ticket

    def done(self, ticket: Ticket[T], *, failed: bool) -> None:
        """A request has ended; `failed` where the endpoint could not or would not take more.

        Who had it asks for the next one: nobody else is woken.
        """
        lane = self._lanes[ticket.lane]
        seconds = self._clock() - lane.started.pop(ticket.number)
        self.in_flight -= 1
        self._in_flight[lane.pace] -= 1
        if seconds >= SLOW_SECONDS:
            self._found_slow(lane)
        if failed:
            lane.window = max(lane.window / 2, 1.0)
        elif seconds < SLOW_SECONDS:
            if lane.window < self._slots:
                lane.window += 1.0
            if lane.pace is not Pace.FAST:
                self._set_pace(lane, Pace.FAST)
        if lane.is_hungry() and not (lane.is_fast and lane.waiting):
            self._on_hungry()

    def _end_round(self) -> None:
        self._begun = 0
        self.hand_out()

    def hand_out(self) -> None:
        """Give those who wait what may be sent.

        Most of this comes about by itself; who calls it now and then lets what became possible by
        time alone, such as that an endpoint was found slow, be noticed.
        """
        while self._idle:
            if self._idle[0].done():  # it was cancelled
                self._idle.popleft()
            elif (ticket := self._next()) is not None:
                self._idle.popleft().set_result(ticket)
            else:
                return

    def _next(self) -> Ticket[T] | None:
        """The next delivery that may be sent, in this round of the event loop."""
        if self._begun >= _A_ROUND:
            return None
        for _ in range(len(self._ready)):
            id_ = self._ready.popleft()
            lane = self._lanes[id_]
            lane.is_ready = False
            if not self._may_start(lane):
                self._queue_up(id_, lane)
                continue
            return self._start(id_, lane)
        return None

    def _start(self, id_: str, lane: _Lane[T]) -> Ticket[T]:
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._end_round)
        self._begun += 1
        item = lane.waiting.popleft()
        self._queue_up(id_, lane)
        self._numbers += 1
        lane.started[self._numbers] = self._clock()
        self.in_flight += 1
        self._in_flight[lane.pace] += 1
        if lane.is_fast and lane.is_hungry():
            self._on_hungry()
        return Ticket(self._numbers, id_, item)

    def _queue_up(self, id_: str, lane: _Lane[T]) -> None:
        if lane.waiting:
            lane.is_ready = True
            self._ready.append(id_)

    def _may_start(self, lane: _Lane[T]) -> bool:
        self._check_pace(lane)
        if not lane.waiting:  # it became slow or is paused, and they are leased back
            return False
        fast = self._in_flight[Pace.FAST]
        of_its_kind = fast if lane.is_fast else self.in_flight - fast
        if of_its_kind >= self._slots - int(self._slots * _RESERVE):
            return False
        if lane.pace is Pace.SLOW and self._in_flight[Pace.SLOW] >= self._slots * _SLOW_SHARE:
            return False
        free = self._slots - self.in_flight
        return len(lane.started) < min(lane.window, _ALPHA[lane.is_fast] * free)

    def _check_pace(self, lane: _Lane[T]) -> None:
        oldest = next(iter(lane.started.values()), None)
        if oldest is not None and self._clock() - oldest >= SLOW_SECONDS:
            self._found_slow(lane)

    def _set_pace(self, lane: _Lane[T], pace: Pace) -> None:
        self._in_flight[lane.pace] -= len(lane.started)
        self._in_flight[pace] += len(lane.started)
        lane.pace = pace

    def _found_slow(self, lane: _Lane[T]) -> None:
        """Take back what was claimed ahead for an endpoint that has become slow."""
        if lane.pace is Pace.SLOW:
            return
        self._set_pace(lane, Pace.SLOW)
        lane.window = max(lane.window / 2, 1.0)
        keep = max(int(lane.window) - len(lane.started), 0)
        while len(lane.waiting) > keep:
            self.surplus.append(lane.waiting.pop())
            lane.more = True

    def _lane(self, id_: str) -> _Lane[T]:
        lane = self._lanes.get(id_)
        if lane is None:
            lane = self._lanes[id_] = _Lane()
        return lane

    def _forget(self, due: Collection[str]) -> None:
        """Forget the lanes without work."""
        self._lanes = {
            id_: lane
            for id_, lane in self._lanes.items()
            if lane.waiting or lane.started or lane.is_ready or id_ in due
        }
