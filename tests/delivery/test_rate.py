"""When requests of a subscription with a limit may be sent; the arithmetic alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from flowkick.core.clock import isoformat, parse_iso
from flowkick.delivery import rate

NOW = datetime(2025, 11, 6, 10, 30, tzinfo=UTC)
WINDOW = timedelta(seconds=10)


def seconds(moments: list[datetime]) -> list[float]:
    return [(moment - NOW).total_seconds() for moment in moments]


def test_moments_are_evenly_apart() -> None:
    moments, next_at = rate.reserve(10, None, NOW, 3)
    assert seconds([*moments, next_at]) == [0, 0.1, 0.2, 0.3]
    assert seconds(rate.reserve(10, next_at, NOW, 2)[0]) == [0.3, 0.4]


def test_only_the_near_future_is_given_away() -> None:
    assert rate.most(10, None, NOW) == 6
    assert rate.most(10, NOW + timedelta(seconds=0.6), NOW) == 0
    assert rate.most(0.5, NOW, NOW) == 1


def test_little_of_the_time_that_passed_unused_is_made_up_for() -> None:
    assert seconds(rate.reserve(10, NOW - timedelta(hours=1), NOW, 4)[0]) == [-0.2, -0.1, 0, 0.1]


@given(st.floats(0.01, 10_000), st.integers(1, 50))
def test_what_sqlite_keeps_lets_no_request_come_sooner(limit: float, count: int) -> None:
    _, next_at = rate.reserve(limit, None, NOW, count)
    assert parse_iso(isoformat(next_at)) == next_at
    beyond = next_at - NOW - timedelta(seconds=count / limit)
    assert timedelta(0) <= beyond < timedelta(milliseconds=1)


def test_a_claim_is_due_again_before_the_next_request_is() -> None:
    next_at = NOW + timedelta(seconds=5)
    assert NOW < rate.due_at(next_at) < next_at
    assert rate.most(1000, next_at, rate.due_at(next_at)) > 50


@given(
    st.floats(0.01, 1000),
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 50)), max_size=60),
)
def test_no_ten_seconds_have_more_requests_than_the_limit_and_five_percent(
    limit: float, claims: list[tuple[float, int]]
) -> None:
    """Whenever claims come: each request leaves at its moment, or at once where that has passed."""
    now, next_at, sent = NOW, None, list[datetime]()
    for pause, wanted in claims:
        now += timedelta(seconds=pause)
        count = min(wanted, rate.most(limit, next_at, now))
        moments, next_at = rate.reserve(limit, next_at, now, count)
        sent += [max(moment, now) for moment in moments]
    assert sent == sorted(sent)
    for place, first in enumerate(sent):
        within = sum(moment < first + WINDOW for moment in sent[place:])
        assert within <= limit * 10 * 1.05 + 1


@given(st.floats(0.01, 1000), st.floats(-10, 10), st.integers(1, 50))
def test_what_is_offered_lies_in_the_near_future(limit: float, at: float, wanted: int) -> None:
    next_at = NOW + timedelta(seconds=at)
    count = min(wanted, rate.most(limit, next_at, NOW))
    assume(count > 0)
    moments, _ = rate.reserve(limit, next_at, NOW, count)
    tolerance = timedelta(microseconds=10)
    assert NOW - rate.LATE - tolerance <= moments[0]
    assert moments[-1] <= NOW + rate.AHEAD + tolerance
