"""What order costs, and whether it holds: receivers that fail at random, workers that are killed.

Four worker processes on PostgreSQL drain what was recorded before. Each event's user and number are
known by its id, so the receiver only keeps in which order events came for the first time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

import aiohttp
from sqlalchemy import func, select, update

from bench.delivery import KEY, open_process, prepare
from bench.receiver import ANSWER, Receiver, beside
from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.delivery.models import WebhookDelivery, WebhookSubscription
from flowkick.webhooks import outbox, payloads, samples
from flowkick.webhooks.outbox import Draft

USERS = 500
WORKERS = 4
FAILING = 0.2
_BATCH = 500
_KILL_SECONDS = 2.0


@dataclass(frozen=True)
class Drained:
    """How a run ended."""

    per_second: float
    lost: int
    out_of_order: int
    kills: int


class _Failing(Receiver):
    """Answers one request in five with an error; keeps when each event came first."""

    failing = FAILING

    def answer(self, event_id: str) -> bytes:
        self.arrivals.setdefault(event_id, time.time())
        if random.random() < self.failing:
            return b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"
        return ANSWER


class _Reliable(_Failing):
    """As that, without the errors."""

    failing = 0.0


async def _serve(kind: type[_Failing], pipe: Connection) -> None:
    arrivals: dict[str, float] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: kind(arrivals), "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, pipe.recv)


def receiver(*, failing: bool) -> AbstractContextManager[str]:
    """A running receiver, which may fail at random; gives its URL."""
    return beside(partial(_serve, _Failing if failing else _Reliable))


async def drain(
    database_url: str, receiver_url: str, events: int, *, ordering: str, killing: bool
) -> Drained:
    """Let four workers drain `events` events of 500 users that were recorded before."""
    process = open_process(database_url)
    admin_id = await prepare(process, receiver_url)
    async with process.database.transaction(admin_id) as session:
        await session.execute(
            update(WebhookSubscription).values(
                ordering=ordering, retry_attempts=10, retry_delay=1, auto_disable_after=None
            )
        )
    place = await _record(process, admin_id, events)
    started = time.perf_counter()
    async with _workers(database_url, killing=killing) as kills:
        await _until_drained(process)
        seconds = time.perf_counter() - started
    await process.database.close()
    async with aiohttp.ClientSession() as http, http.get(f"{receiver_url}/arrivals") as response:
        first = json.loads(await response.read())
    lost, wrong = _judge(place, list(first))
    return Drained(events / seconds, lost, wrong, kills())


async def _record(process: Process, admin_id: str, events: int) -> dict[str, tuple[int, int]]:
    place: dict[str, tuple[int, int]] = {}
    for first in range(0, events, _BATCH):
        numbers = range(first, min(first + _BATCH, events))
        drafts = [_draft(number % USERS, number // USERS + 1) for number in numbers]
        async with process.database.transaction(admin_id) as session:
            ids = await outbox.emit(session, drafts, source="api", now=system_clock())
        for number, event_id in zip(numbers, ids, strict=True):
            place[event_id] = (number % USERS, number // USERS + 1)
    return place


def _draft(user: int, number: int) -> Draft:
    return Draft("user.created", payloads.UserCreated(samples.USER), f"usr_{user}", number)


async def _until_drained(process: Process) -> None:
    waiting = select(func.count(WebhookDelivery.id)).where(
        WebhookDelivery.status.in_(("pending", "retrying"))
    )
    while True:
        async with process.database.system_reading() as session:
            if not await session.scalar(waiting):
                return
        await asyncio.sleep(0.2)


def _judge(place: dict[str, tuple[int, int]], first: list[str]) -> tuple[int, int]:
    """How many events never came, and how many came behind a later one of their user."""
    highest: dict[int, int] = {}
    wrong = 0
    for event_id in first:
        user, number = place[event_id]
        wrong += number < highest.get(user, 0)
        highest[user] = max(number, highest.get(user, 0))
    return len(set(place) - set(first)), wrong


@asynccontextmanager
async def _workers(database_url: str, *, killing: bool) -> AsyncIterator[Callable[[], int]]:
    """Four workers; with `killing`, one of them after the other is killed and replaced."""
    environment = {
        **os.environ,
        "FLOWKICK_DATABASE_URL": database_url,
        "FLOWKICK_SECRET_KEY": KEY,
        "FLOWKICK_ALLOWED_TARGETS": "127.0.0.0/8",
        "FLOWKICK_LOG_LEVEL": "error",
        "FLOWKICK_LEASE_SECONDS": "5",
    }
    kills = 0

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flowkick", "worker", env=environment, cwd=folder
        )

    async def kill_at_random() -> None:
        nonlocal kills
        while True:
            await asyncio.sleep(random.uniform(0.5, 1.5) * _KILL_SECONDS)
            victim = random.randrange(WORKERS)
            running[victim].kill()
            await running[victim].wait()
            kills += 1
            running[victim] = await start()

    with tempfile.TemporaryDirectory() as folder:
        running = [await start() for _ in range(WORKERS)]
        killer = asyncio.create_task(kill_at_random()) if killing else None
        try:
            yield lambda: kills
        finally:
            if killer is not None:
                killer.cancel()
            for worker in running:
                if worker.returncode is None:
                    worker.send_signal(signal.SIGTERM)
                await worker.wait()
