"""What a batch of attempts makes of a subscription: told once, and never too often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flowkick.delivery.health import QUIET, Health, Turn

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def turn(
    health: Health,
    failures: int,
    at: datetime = NOON,
    *,
    active: bool = True,
    disabled_now: bool = False,
) -> Turn | None:
    return health.turn(active=active, disabled_now=disabled_now, failures=failures, limit=5, now=at)


def test_failing_and_recovering_are_told_once_each() -> None:
    health = Health(None, None)
    assert [turn(health, failures) for failures in (0, 1, 4, 5, 6, 60)] == [
        *(None, None, None, Turn.FAILING),
        *(None, None),
    ]
    assert health.failing_since == NOON
    assert [turn(health, failures) for failures in (0, 0, 1)] == [Turn.RECOVERED, None, None]
    assert health == Health(None, NOON)


def test_a_batch_that_ends_with_failures_is_no_recovery() -> None:
    health = Health(NOON, None)
    assert turn(health, 1) is None
    assert health.failing_since == NOON


def test_what_fails_and_works_by_turns_is_not_told_of_again_at_once() -> None:
    health = Health(None, NOON)
    assert turn(health, 5, NOON + QUIET - timedelta(seconds=1)) is None
    assert turn(health, 7, NOON + QUIET) is Turn.FAILING


def test_disabled_is_told_whether_failing_was_or_not_and_the_next_success_after_it() -> None:
    for health in (Health(None, None), Health(NOON, None), Health(None, NOON)):
        assert turn(health, 3, disabled_now=True) is Turn.DISABLED
        assert health.failing_since == NOON
        assert turn(health, 4, active=False) is None
        assert turn(health, 0, active=False) is None, "what was under way changes nothing"
        assert turn(health, 0) is Turn.RECOVERED
