"""When a delivery is tried again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkick.delivery.client import Outcome, OutcomeKind
from flowkick.delivery.retry import Decision, NextState, RetryPolicy, decide

NOW = datetime(2025, 11, 6, 10, 30, tzinfo=UTC)
DAY = 24 * 60 * 60.0

policies = st.builds(RetryPolicy, retry_attempts=st.integers(0, 10), retry_delay=st.floats(1, 3600))
jitters = st.floats(-1, 1)
attempts = st.integers(1, 12)
broken = st.sampled_from([OutcomeKind.TIMEOUT, OutcomeKind.REFUSED, OutcomeKind.FAULT])


def create_outcome(
    status: int | None = None,
    kind: OutcomeKind = OutcomeKind.RESPONSE,
    retry_after: float | None = None,
) -> Outcome:
    return Outcome(
        kind=kind,
        status_code=status,
        response_body=None,
        error_message=None,
        duration_ms=5,
        retry_after=retry_after,
        started_at=NOW,
    )


failures = st.one_of(
    st.builds(
        create_outcome,
        status=st.integers(300, 599).filter(lambda status: status != 410),
        retry_after=st.none() | st.floats(0, 1e12),
    ),
    st.builds(create_outcome, kind=broken, status=st.none() | st.just(200)),
)


def delay(decision: Decision) -> float:
    assert decision.due_at is not None
    return (decision.due_at - NOW).total_seconds()


@pytest.mark.parametrize(("retry", "seconds"), [(1, 60), (2, 120), (3, 240), (4, 480), (10, 30720)])
def test_each_retry_waits_twice_as_long_as_the_one_before(retry: int, seconds: int) -> None:
    decision = decide(
        RetryPolicy(10, 60), attempt=retry, outcome=create_outcome(500), now=NOW, jitter=0
    )
    assert decision == Decision(NextState.RETRYING, NOW + timedelta(seconds=seconds))


def test_the_default_policy_makes_four_attempts() -> None:
    policy = RetryPolicy(retry_attempts=3, retry_delay=60)
    states = [
        decide(policy, attempt=n, outcome=create_outcome(500), now=NOW, jitter=0).state
        for n in (1, 2, 3, 4)
    ]
    assert states == ["retrying", "retrying", "retrying", "failed"]


@given(policies, attempts, st.integers(200, 299), jitters)
def test_any_2xx_is_a_success(
    policy: RetryPolicy, attempt: int, status: int, jitter: float
) -> None:
    outcome = create_outcome(status)
    decision = decide(policy, attempt=attempt, outcome=outcome, now=NOW, jitter=jitter)
    assert decision == Decision(NextState.SUCCESS)


@given(policies, attempts, jitters)
def test_gone_ends_the_delivery_however_many_retries_are_left(
    policy: RetryPolicy, attempt: int, jitter: float
) -> None:
    outcome = create_outcome(410, retry_after=5)
    decision = decide(policy, attempt=attempt, outcome=outcome, now=NOW, jitter=jitter)
    assert decision == Decision(NextState.FAILED, gone=True)


def test_a_410_whose_body_broke_off_is_not_taken_for_gone() -> None:
    outcome = create_outcome(410, kind=OutcomeKind.FAULT)
    decision = decide(RetryPolicy(3, 60), attempt=1, outcome=outcome, now=NOW, jitter=0)
    assert decision.state is NextState.RETRYING


@given(policies, attempts, failures, jitters)
def test_a_failure_is_retried_exactly_while_retries_are_left(
    policy: RetryPolicy, attempt: int, outcome: Outcome, jitter: float
) -> None:
    decision = decide(policy, attempt=attempt, outcome=outcome, now=NOW, jitter=jitter)
    left = attempt <= policy.retry_attempts
    assert decision.state is (NextState.RETRYING if left else NextState.FAILED)
    assert (decision.due_at is not None) is left
    assert not decision.gone


@given(st.integers(1, 10), st.floats(1, 3600), failures, jitters)
def test_a_retry_waits_its_delay_give_or_take_a_tenth_or_what_was_asked_but_at_most_a_day(
    attempt: int, retry_delay: float, outcome: Outcome, jitter: float
) -> None:
    policy = RetryPolicy(10, retry_delay)
    waited = delay(decide(policy, attempt=attempt, outcome=outcome, now=NOW, jitter=jitter))
    plain = retry_delay * 2 ** (attempt - 1)
    asked = outcome.retry_after or 0.0
    rounding = 0.000_002
    assert waited <= DAY
    assert waited >= min(DAY, max(0.9 * plain, asked)) - rounding
    assert waited <= max(1.1 * plain, asked) + rounding


@given(st.integers(1, 9), st.floats(1, 3600), jitters)
def test_waits_never_shrink_from_one_retry_to_the_next(
    attempt: int, retry_delay: float, jitter: float
) -> None:
    policy, outcome = RetryPolicy(10, retry_delay), create_outcome(503)
    first = delay(decide(policy, attempt=attempt, outcome=outcome, now=NOW, jitter=jitter))
    second = delay(decide(policy, attempt=attempt + 1, outcome=outcome, now=NOW, jitter=jitter))
    assert second >= first


def test_jitter_spreads_over_a_tenth_to_both_sides() -> None:
    waits = [
        delay(
            decide(
                RetryPolicy(3, 100), attempt=1, outcome=create_outcome(500), now=NOW, jitter=jitter
            )
        )
        for jitter in (-1, 0, 1)
    ]
    assert waits == pytest.approx([90, 100, 110])


def test_a_shorter_retry_after_does_not_hurry_a_retry() -> None:
    outcome = create_outcome(429, retry_after=5)
    assert delay(decide(RetryPolicy(3, 60), attempt=1, outcome=outcome, now=NOW, jitter=0)) == 60


def test_a_number_of_attempts_beyond_all_reason_does_not_overflow() -> None:
    policy, outcome = RetryPolicy(10**6, 60), create_outcome(500)
    assert delay(decide(policy, attempt=10**6, outcome=outcome, now=NOW, jitter=1)) == DAY
