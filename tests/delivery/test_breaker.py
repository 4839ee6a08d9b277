"""When a breaker opens, probes and closes; its policy alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkick.delivery.breaker import (
    JITTER,
    Breaker,
    BreakerPolicy,
    BreakerState,
    advance,
    is_overloaded,
)
from flowkick.delivery.client import Outcome, OutcomeKind

NOW = datetime(2025, 11, 6, 10, 30, tzinfo=UTC)
POLICY = BreakerPolicy(failures=3, first_pause=5.0, longest_pause=60.0)
OPEN = Breaker(BreakerState.OPEN, 0, 1, NOW - timedelta(seconds=1))


def answered(status: int, retry_after: float | None = None) -> Outcome:
    return Outcome(OutcomeKind.RESPONSE, status, None, None, 5, retry_after, NOW)


def unanswered(kind: OutcomeKind) -> Outcome:
    return Outcome(kind, None, None, None, 5, None, NOW)


def after(
    breaker: Breaker,
    *outcomes: Outcome,
    probe: bool = False,
    now: datetime = NOW,
    jitter: float = 0.0,
) -> Breaker:
    for outcome in outcomes:
        breaker = advance(breaker, outcome, POLICY, probe=probe, now=now, jitter=lambda: jitter)
    return breaker


def pause(breaker: Breaker, now: datetime = NOW) -> float:
    assert breaker.paused_until is not None
    return (breaker.paused_until - now).total_seconds()


DOWN = answered(503)
WELL = answered(200)
outcomes = st.one_of(
    st.builds(answered, st.integers(200, 599), st.none() | st.floats(0, 86_400)),
    st.builds(unanswered, st.sampled_from(OutcomeKind).filter(lambda kind: kind != "response")),
)


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 404, 410, 422])
def test_an_answer_shows_that_an_endpoint_works_even_where_it_refuses(status: int) -> None:
    assert not is_overloaded(answered(status))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_overloaded_answer_shows_the_opposite(status: int) -> None:
    assert is_overloaded(answered(status))


@pytest.mark.parametrize("kind", [OutcomeKind.TIMEOUT, OutcomeKind.REFUSED, OutcomeKind.FAULT])
def test_so_does_no_answer(kind: OutcomeKind) -> None:
    assert is_overloaded(unanswered(kind))


def test_it_opens_with_so_many_failures_in_a_row() -> None:
    assert after(Breaker(), DOWN, DOWN).state == "closed"
    assert after(Breaker(), DOWN, DOWN, answered(404), DOWN, DOWN).state == "closed"
    opened = after(Breaker(), DOWN, DOWN, DOWN)
    assert opened.state == "open"
    assert pause(opened) == 5.0


def test_while_it_is_open_only_its_probe_decides() -> None:
    assert after(OPEN, DOWN, WELL) == OPEN
    assert after(OPEN, WELL, probe=True) == Breaker(openings=1)
    assert after(OPEN.probing(NOW), WELL) == OPEN.probing(NOW)


def test_pauses_grow_while_probes_fail_and_after_a_probe_that_was_a_fluke() -> None:
    pauses = []
    breaker = after(Breaker(), DOWN, DOWN, DOWN)
    for _ in range(6):
        pauses.append(pause(breaker))
        breaker = after(breaker.probing(NOW), DOWN, probe=True)
    assert pauses == [5, 10, 20, 40, 60, 60]
    fluke = after(breaker.probing(NOW), WELL, probe=True)
    assert pause(after(fluke, DOWN, DOWN, DOWN)) == 60
    assert after(fluke, WELL) == Breaker()


def test_a_retry_after_pauses_the_whole_subscription_but_not_for_longer_than_is_set() -> None:
    assert pause(after(Breaker(), answered(429, 30))) == 30
    assert pause(after(Breaker(), answered(503, 3600))) == 60
    assert pause(after(Breaker(), answered(429, 30), answered(429, 10), WELL)) == 30


def test_a_pause_that_is_over_is_forgotten() -> None:
    paused = after(Breaker(), answered(429, 30))
    assert after(paused, WELL, now=NOW + timedelta(seconds=31)) == Breaker()


def test_a_probe_under_way_is_not_put_off_by_stragglers() -> None:
    probing = OPEN.probing(NOW + timedelta(seconds=10))
    assert after(probing, answered(429, 50)) == probing


def test_a_healthy_breaker_stays_the_same_object() -> None:
    breaker = Breaker()
    assert after(breaker, WELL) is breaker


@given(st.lists(st.tuples(outcomes, st.booleans()), max_size=40), st.floats(-1, 1))
def test_no_pause_is_longer_than_is_set_and_open_means_paused(
    attempts: list[tuple[Outcome, bool]], jitter: float
) -> None:
    breaker = Breaker()
    for outcome, probe in attempts:
        if breaker.state is BreakerState.OPEN and probe:
            breaker = breaker.probing(NOW + timedelta(seconds=30))
        breaker = after(breaker, outcome, probe=probe, jitter=jitter)
        if breaker.state is not BreakerState.CLOSED:
            assert breaker.is_paused(NOW)
            assert breaker.openings > 0
        if breaker.paused_until is not None:
            assert 0 <= pause(breaker) <= POLICY.longest_pause * (1 + JITTER)


@given(st.integers(0, 1000), st.floats(-1, 1))
def test_any_number_of_openings_gives_a_bounded_pause(openings: int, jitter: float) -> None:
    opened = after(replace(OPEN, openings=openings), DOWN, probe=True, jitter=jitter)
    assert 4.5 <= pause(opened) <= 66
