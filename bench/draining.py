"""How fast worker processes drain a backlog: one and two of them, and beside old rows.

What is waiting is recorded before a worker starts, and how fast it goes is read from the log of
attempts: the time between the first fifth and the last twentieth, so that neither the start of a
process nor its last few requests count.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select, text

from bench.delivery import KEY, draft, open_process, prepare
from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.delivery.models import WebhookAttempt, WebhookDelivery
from flowkick.webhooks import outbox
from tests.support.ports import free_port

_BATCH: Final = 500
_FIRST, _LAST = 0.20, 0.95
_DELIVERIES_AN_EVENT: Final = 5
_FILL_EVENTS: Final = 20_000
"""Events a transaction, with five times as many deliveries and attempts."""

# The two databases count in their own ways; the rows are copies of one that was delivered.
_NUMBERS: Final = {
    False: "SELECT n FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n",
    True: """WITH RECURSIVE number(n) AS (
        SELECT CAST(:first AS bigint) UNION ALL SELECT n + 1 FROM number WHERE n < :last
    ) SELECT n FROM number""",
}
_ID: Final = {False: "'evt_' || lpad(old.n::text, 26, '0')", True: "printf('evt_%026d', old.n)"}
_OLD_EVENTS: Final = """
INSERT INTO "WebhookEvent" (id, "adminId", event, "userId", sequence, body, "createdAt")
SELECT {id}, "adminId", event, "userId", old.n, body, "createdAt"
FROM ({numbers}) AS old CROSS JOIN "WebhookEvent" WHERE "WebhookEvent".id = :event
"""
_OLD_DELIVERIES: Final = """
INSERT INTO "WebhookDelivery" ("adminId", "subscriptionId", "eventId", event, status, attempt,
    "lastAttempt", "createdAt", "finishedAt")
SELECT "adminId", 'whs_old' || copy.n, {id}, event, status, attempt, "lastAttempt", "createdAt",
    "finishedAt"
FROM ({numbers}) AS old CROSS JOIN (
    SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5
) AS copy CROSS JOIN "WebhookDelivery" WHERE "eventId" = :event
"""
_OLD_ATTEMPTS: Final = """
INSERT INTO "WebhookAttempt" ("adminId", "deliveryId", "subscriptionId", attempt, trigger, status,
    "statusCode", "responseBody", "durationMs", "sentAt")
SELECT copied."adminId", delivery.id, delivery."subscriptionId", copied.attempt, copied.trigger,
    copied.status, copied."statusCode", copied."responseBody", copied."durationMs", copied."sentAt"
FROM "WebhookDelivery" AS delivery CROSS JOIN "WebhookAttempt" AS copied
WHERE delivery.id > :above AND copied.id = :attempt
"""


@dataclass(frozen=True)
class Compared:
    """Deliveries a second, the better of the runs of each."""

    before: float
    after: float

    @property
    def ratio(self) -> float:
        return self.after / self.before


async def one_and_two(url: str, receiver: str, events: int, rounds: int = 2) -> Compared:
    """One worker process, and two, one after the other on the same database."""
    process = open_process(url)
    admin_id = await prepare(process, receiver)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for count in [1, 2] * rounds:
        rates[count].append(await _drain(process, admin_id, url, events, workers=count))
    await process.database.close()
    return Compared(max(rates[1]), max(rates[2]))


async def beside_old(
    urls: tuple[str, str], receiver: str, *, events: int, old: int, rounds: int = 2
) -> Compared:
    """One worker process on a database without old rows, and on one with so many deliveries."""
    prepared = []
    for url in urls:
        process = open_process(url)
        prepared.append((process, await prepare(process, receiver), url))
        await _drain(process, prepared[-1][1], url, _BATCH, workers=1)  # what is copied
    await _fill(prepared[1][0], old)
    rates: list[list[float]] = [[], []]
    for _ in range(rounds):
        for found, (process, admin_id, url) in zip(rates, prepared, strict=True):
            found.append(await _drain(process, admin_id, url, events, workers=1))
    for process, *_ in prepared:
        await process.database.close()
    return Compared(max(rates[0]), max(rates[1]))


async def _drain(process: Process, admin_id: str, url: str, events: int, *, workers: int) -> float:
    """Record a backlog, let so many worker processes drain it; deliveries a second."""
    async with process.database.system_reading() as session:
        above = await session.scalar(select(func.max(WebhookAttempt.id))) or 0
    for first in range(0, events, _BATCH):
        async with process.database.transaction(admin_id) as session:
            drafts = [draft(number) for number in range(first, min(first + _BATCH, events))]
            await outbox.emit(session, drafts, source="api", now=system_clock())
    with tempfile.TemporaryDirectory() as folder:
        running = [await _start_worker(url, folder) for _ in range(workers)]
        try:
            await _until_drained(process)
        finally:
            for worker in running:
                worker.terminate()
            await asyncio.gather(*(worker.wait() for worker in running))
    return await _rate(process, above, events)


async def _start_worker(url: str, folder: str) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "FLOWKICK_DATABASE_URL": url,
        "FLOWKICK_SECRET_KEY": KEY,
        "FLOWKICK_ALLOWED_TARGETS": "127.0.0.0/8",
        "FLOWKICK_CONCURRENCY": "100",
        "FLOWKICK_LOG_LEVEL": "error",
        "FLOWKICK_PORT": str(free_port()),
    }
    command = "serve" if url.startswith("sqlite") else "worker"  # SQLite has one process
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "flowkick", command), env=environment, cwd=folder
    )


async def _until_drained(process: Process) -> None:
    waiting = select(WebhookDelivery.id).where(WebhookDelivery.due_at.is_not(None)).limit(1)
    while True:
        async with process.database.system_reading() as session:
            if await session.scalar(waiting) is None:
                return
        await asyncio.sleep(0.2)


async def _rate(process: Process, above: int, events: int) -> float:
    async with process.database.system_reading() as session:
        sent = await session.scalars(
            select(WebhookAttempt.sent_at)
            .where(WebhookAttempt.id > above, WebhookAttempt.status == "success")
            .order_by(WebhookAttempt.sent_at)
        )
        moments = list(sent)
    if len(moments) != events:
        raise RuntimeError(f"{len(moments)} successful attempts were logged for {events} events.")
    first, last = int(events * _FIRST), int(events * _LAST)
    return (last - first) / (moments[last] - moments[first]).total_seconds()


async def _fill(process: Process, deliveries: int) -> None:
    """As many old deliveries, of a fifth as many events, each with its attempt in the log."""
    sqlite = process.database.is_sqlite
    names = {"numbers": _NUMBERS[sqlite], "id": _ID[sqlite]}
    async with process.database.system_reading() as session:
        attempt, event = (
            await session.execute(
                select(WebhookAttempt.id, WebhookDelivery.event_id)
                .join(WebhookDelivery, WebhookDelivery.id == WebhookAttempt.delivery_id)
                .limit(1)
            )
        ).one()
    events = deliveries // _DELIVERIES_AN_EVENT
    for first in range(1, events + 1, _FILL_EVENTS):
        span = {"first": first, "last": min(first + _FILL_EVENTS - 1, events), "event": event}
        async with process.database.system_transaction() as session:
            above = await session.scalar(select(func.max(WebhookDelivery.id)))
            for sql in (_OLD_EVENTS, _OLD_DELIVERIES):
                await session.execute(text(sql.format(**names)), span)
            await session.execute(text(_OLD_ATTEMPTS), {"above": above, "attempt": attempt})
    if process.database.connect is not None:  # or autovacuum would do it while it is measured
        connection = await process.database.connect()
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
