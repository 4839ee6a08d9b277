"""Bulk statements write what they are given, whether or not rows have values in common."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from flowkick.delivery.attempts import LOG_ATTEMPTS
from flowkick.delivery.models import WebhookAttempt
from flowkick.storage.database import Database

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = tuple(LOG_ATTEMPTS.columns)


def _attempt(number: int, **values: Any) -> dict[str, Any]:
    return {
        "admin_id": "adm_1",
        "delivery_id": number,
        "subscription_id": "whs_1",
        "attempt": 1,
        "trigger": "automatic",
        "status": "success",
        "status_code": 200,
        "response_body": 'He said "ok" \u2013 €',
        "error_message": None,
        "duration_ms": number % 7,
        "sent_at": NOON + timedelta(milliseconds=number),
        **values,
    }


@pytest.mark.parametrize("count", [1, 3, 30])
@pytest.mark.parametrize(
    "different",
    [{}, {"status_code": None, "error_message": "No answer.", "status": "failed"}, {"attempt": 2}],
    ids=["alike", "some differ", "one differs"],
)
async def test_rows_are_written_as_given(
    database: Database, count: int, different: dict[str, Any]
) -> None:
    rows = [_attempt(number) for number in range(count)]
    rows.append(_attempt(count, **different))
    async with database.system_transaction() as session:
        assert await LOG_ATTEMPTS.run(session, rows) == count + 1
        written = await session.scalars(select(WebhookAttempt).order_by(WebhookAttempt.id))
        found = [{name: getattr(row, name) for name in COLUMNS} for row in written]
    assert sorted(found, key=lambda row: row["delivery_id"]) == rows
