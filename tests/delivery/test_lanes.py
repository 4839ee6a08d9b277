"""Slots are shared so that no subscription's trouble is another's."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkick.delivery.lanes import SLOW_SECONDS, START_WINDOW, Lanes, Ticket


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Sending:
    """Lanes with work without end, and the requests that are in flight."""

    def __init__(self, slots: int, *ids: str) -> None:
        self.clock = Clock()
        self.hungry = 0
        self.lanes: Lanes[str] = Lanes(slots, self._on_hungry, clock=self.clock)
        self.ids = ids
        self.in_flight: list[Ticket[str]] = []

    def _on_hungry(self) -> None:
        self.hungry += 1

    def claim(self) -> dict[str, int]:
        rooms = self.lanes.rooms(self.ids)
        for id_, room in rooms.items():
            self.lanes.put(id_, [id_] * room)
        self.lanes.claimed(rooms, rooms)
        return rooms

    async def start(self) -> Counter[str]:
        """Start all that may start; how many of each subscription are in flight then."""
        while True:
            getting = asyncio.create_task(self.lanes.get())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not getting.done():
                getting.cancel()
                return Counter(ticket.item for ticket in self.in_flight)
            self.in_flight.append(getting.result())

    def end(self, *ids: str, failed: bool = False) -> None:
        """End the requests in flight of these subscriptions."""
        ended = [ticket for ticket in self.in_flight if ticket.item in ids]
        self.in_flight = [ticket for ticket in self.in_flight if ticket.item not in ids]
        for ticket in ended:
            self.lanes.done(ticket, failed=failed)

    async def run_fast(self, rounds: int) -> None:
        for _ in range(rounds):
            self.claim()
            await self.start()
            self.end(*self.ids)


async def test_one_subscription_alone_gets_nearly_all_slots_once_it_is_fast() -> None:
    sending = Sending(100, "a")
    sending.claim()
    assert await sending.start() == {"a": START_WINDOW}
    sending.end("a")
    await sending.run_fast(20)
    sending.claim()
    assert (await sending.start())["a"] == 80


async def test_what_else_waits_gets_its_turn_between_a_few_requests() -> None:
    lanes: Lanes[int] = Lanes(100, lambda: None)
    lanes.put("a", range(1000))
    for _ in range(50):  # it is found to be fast
        lanes.done(await lanes.get(), failed=False)
    order: list[str] = []

    async def send() -> None:
        await lanes.get()
        order.append("request")

    sending = [asyncio.create_task(send()) for _ in range(40)]
    asyncio.get_running_loop().call_soon(lambda: order.append("commit"))
    async with asyncio.timeout(10):
        await asyncio.gather(*sending)
    assert order.count("request") == 40
    assert order.index("commit") <= 16


async def test_slots_are_shared_evenly_by_fast_subscriptions() -> None:
    sending = Sending(100, *"abcde")
    await sending.run_fast(40)
    sending.claim()
    shares = await sending.start()
    assert max(shares.values()) - min(shares.values()) <= 1


async def test_endpoints_that_hang_leave_slots_to_the_others() -> None:
    sending = Sending(100, "fast")
    await sending.run_fast(10)
    sending.ids = ("fast", *(f"h{number}" for number in range(200)))
    sending.claim()
    in_flight = await sending.start()
    assert sum(count for id_, count in in_flight.items() if id_ != "fast") <= 90
    assert in_flight["fast"] >= 8
    sending.clock.now += SLOW_SECONDS
    hanging = [ticket.item for ticket in sending.in_flight if ticket.item != "fast"]
    sending.end(*hanging, failed=True)  # their timeouts; now it is known that they hang
    sending.claim()
    in_flight = await sending.start()
    known = sum(count for id_, count in in_flight.items() if id_ in hanging)
    assert known <= 50


async def test_an_endpoint_that_begins_to_hang_leaves_slots_and_gives_back_what_waits() -> None:
    sending = Sending(100, "a")
    await sending.run_fast(40)
    sending.claim()
    assert (await sending.start())["a"] == 80
    sending.clock.now += SLOW_SECONDS
    sending.ids = ("b",)
    sending.claim()
    assert (await sending.start())["b"] == 4  # a quarter of what is free, again and again
    assert sending.lanes.surplus
    sending.end("a", failed=True)
    sending.ids = ("a",)
    assert sending.claim() == {"a": 1}


async def test_a_window_shrinks_with_failures_and_grows_again() -> None:
    sending = Sending(100, "a")
    for _ in range(6):
        sending.claim()
        await sending.start()
        sending.end("a", failed=True)
    sending.claim()
    assert await sending.start() == {"a": 1}
    sending.end("a")
    await sending.run_fast(3)
    sending.claim()
    assert (await sending.start())["a"] > 8


async def test_there_may_be_more_subscriptions_than_are_remembered() -> None:
    lanes: Lanes[str] = Lanes(100, lambda: None)
    ids = [f"s{number:05}" for number in range(6000)]
    for start in range(0, 6000, 40):
        some = ids[start : start + 40]
        assert set(lanes.rooms(some)) == set(some)
        lanes.claimed({}, {})
    assert 0 < len(lanes.rooms(ids)) <= 100


async def test_one_that_waits_behind_many_that_hang_is_served_once_they_are_found_slow() -> None:
    sending = Sending(40, *"abcd")
    sending.lanes.put("e", ["e"])
    sending.lanes.done(await sending.lanes.get(), failed=False)  # it is fast
    await sending.run_fast(20)
    for _ in range(5):
        sending.claim()
        await sending.start()  # and nothing of it ends any more
    sending.lanes.put("e", ["e"])
    waiting = asyncio.create_task(sending.lanes.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    sending.clock.now += SLOW_SECONDS
    sending.lanes.rooms("abcd")
    await asyncio.sleep(0)
    assert waiting.done()


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_few_slots_still_serve_everybody(slots: int) -> None:
    sending = Sending(slots, *"abcdef")
    served: Counter[str] = Counter()
    for _ in range(40):
        sending.claim()
        served += await sending.start()
        sending.end(*"abcdef")
    assert min(served.values()) > 0
    assert set(served) == set("abcdef")


async def test_claims_go_round_where_there_is_not_room_for_all() -> None:
    ids = [f"s{number:04}" for number in range(400)]
    sending = Sending(10, *ids)
    served: Counter[str] = Counter()
    for _ in range(500):
        sending.claim()
        served += await sending.start()
        sending.end(*ids)
    assert set(served) == set(ids)


async def test_what_waits_is_bounded_however_much_is_due() -> None:
    sending = Sending(10, *(f"s{number}" for number in range(500)))
    for _ in range(50):
        sending.claim()
        await sending.start()
        sending.end(*sending.ids)
        assert sending.lanes.waiting <= 70


async def test_a_lane_that_had_more_asks_for_it_when_it_has_room() -> None:
    sending = Sending(100, "a")
    sending.claim()
    await sending.start()
    assert sending.hungry == 0
    sending.end("a")
    assert sending.hungry > 0


@given(
    slots=st.integers(1, 20),
    steps=st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["fast", "slow", "failed"])),
        max_size=60,
    ),
)
def test_whatever_happens_no_more_than_the_slots_are_in_flight_and_somebody_is(
    slots: int, steps: list[tuple[str, str]]
) -> None:
    async def run() -> None:
        sending = Sending(slots, *"abcd")
        for id_, how in steps:
            sending.claim()
            in_flight = await sending.start()
            assert 1 <= sum(in_flight.values()) == sending.lanes.in_flight <= slots
            sending.clock.now += SLOW_SECONDS * 2 if how == "slow" else 0.01
            sending.end(id_, failed=how == "failed")
        sending.end(*"abcd")
        assert sending.lanes.in_flight == 0
        for _ in range(8 * slots + 8):  # and none is lost or left behind
            await sending.start()
            sending.end(*"abcd")
        assert sending.lanes.waiting == 0

    asyncio.run(run())


async def test_a_claim_waits_until_it_is_worth_its_cost() -> None:
    sending = Sending(10, "a")
    await sending.run_fast(20)
    sending.claim()
    full = sending.lanes.waiting
    assert full > 30
    assert not sending.lanes.wants("a")
    sending.hungry = 0
    while not sending.hungry:
        assert sending.claim() == {}
        await sending.start()
        sending.end("a")
    assert sending.lanes.waiting < 30
    assert sending.claim()["a"] >= 30
