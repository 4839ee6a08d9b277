"""What removing old rows costs live traffic: users upserted and delivered meanwhile, and alone."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bench.delivery import KEY, example_body, open_process
from bench.serving import Server, serving, users_per_second
from flowkick.core.clock import system_clock
from flowkick.core.ids import new_id
from flowkick.delivery.models import WebhookAttempt, WebhookDelivery, WebhookEvent
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.database import Database

_BATCH: Final = 5000
_USERS: Final = 20_000
_AGE: Final = timedelta(days=200)
_EVENT: Final = BulkStatement.insert(
    WebhookEvent, "id", "admin_id", "event", "user_id", "sequence", "body", "created_at"
)
_DELIVERY: Final = BulkStatement.insert(
    WebhookDelivery,
    *("id", "admin_id", "subscription_id", "event_id", "event", "status", "attempt"),
    *("last_attempt", "created_at", "finished_at"),
)
_ATTEMPT: Final = BulkStatement.insert(
    WebhookAttempt,
    *("admin_id", "delivery_id", "subscription_id", "attempt", "trigger", "status"),
    *("status_code", "response_body", "duration_ms", "sent_at"),
)


@dataclass(frozen=True)
class Pruned:
    """Users a second alone and meanwhile, and how fast the old rows went."""

    alone: float
    beside: float
    rows_per_second: float


async def measure(database_url: str, receiver: str, rows: int) -> Pruned:
    """Fill, measure live traffic alone, and beside `flowkick prune`."""
    async with serving(database_url, receiver) as server:
        process = open_process(database_url)
        await _fill(process.database, server.admin_id, rows)
        await process.database.close()
        alone = await _traffic(server, 0)
        started = time.perf_counter()
        pruning = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flowkick", "prune", "--json"),
            env={
                **os.environ,
                "FLOWKICK_DATABASE_URL": database_url,
                "FLOWKICK_SECRET_KEY": KEY,
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await asyncio.sleep(3)  # Python starts
        beside = await _traffic(server, 1)
        if pruning.returncode is not None:
            raise RuntimeError("The old rows were gone too soon: take more of them.")
        if await pruning.wait() != 0:
            raise RuntimeError("Pruning failed.")
        return Pruned(alone, beside, rows / (time.perf_counter() - started))


async def _traffic(server: Server, part: int) -> float:
    """Users a second, written as new ones and delivered; the better of two runs."""
    first = part * 2 * _USERS
    return max([await users_per_second(server, _USERS, first=first + n * _USERS) for n in range(2)])


async def _fill(database: Database, admin_id: str, rows: int) -> None:
    """As many old rows: a third of them events, with a delivery and an attempt each."""
    body, made_at = example_body(), system_clock() - _AGE
    events = rows // 3
    for first in range(0, events, _BATCH):
        numbers = range(first, min(first + _BATCH, events))
        batch = [_event(admin_id, number, made_at, body) for number in numbers]
        # Below zero are numbers that the database never hands out.
        numbered = [(row, -number - 1) for number, row in zip(numbers, batch, strict=True)]
        async with database.system_transaction() as session:
            await _EVENT.run(session, batch)
            await _DELIVERY.run(session, [_delivery(*pair) for pair in numbered])
            await _ATTEMPT.run(session, [_attempt(*pair) for pair in numbered])


def _event(admin_id: str, number: int, made_at: datetime, body: bytes) -> dict[str, Any]:
    at = made_at + timedelta(milliseconds=number)
    return {
        "id": f"evt_{int(at.timestamp() * 1000):012x}{new_id('evt')[-20:]}",
        "admin_id": admin_id,
        "event": "user.created",
        "user_id": "usr_old",
        "sequence": number,
        "body": body,
        "created_at": at,
    }


def _delivery(event: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "id": number,
        "admin_id": event["admin_id"],
        "subscription_id": "whs_old",
        "event_id": event["id"],
        "event": event["event"],
        "status": "success",
        "attempt": 1,
        "last_attempt": 1,
        "created_at": event["created_at"],
        "finished_at": event["created_at"],
    }


def _attempt(event: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "admin_id": event["admin_id"],
        "delivery_id": number,
        "subscription_id": "whs_old",
        "attempt": 1,
        "trigger": "schedule",
        "status": "success",
        "status_code": 200,
        "response_body": "OK",
        "duration_ms": 3,
        "sent_at": event["created_at"],
    }
