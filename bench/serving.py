"""Measurements on a real `flowkick serve`: users a second, time to arrival, memory."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.delivery import KEY, draft, open_process, prepare
from flowkick.auth.service import create_key
from flowkick.core.clock import system_clock
from flowkick.webhooks import outbox
from tests.support.ports import free_port


@dataclass(frozen=True)
class Server:
    """A running server, and how to speak to it."""

    base: str
    admin_id: str
    key: str
    pid: int
    database_url: str

    def resident_mib(self) -> float:
        """Memory of the server's process that is in RAM."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@asynccontextmanager
async def serving(database_url: str, receiver: str) -> AsyncIterator[Server]:
    """A server on a new database with one admin, whose every event goes to the receiver."""
    process = open_process(database_url)
    admin_id = await prepare(process, receiver)
    async with process.database.transaction(admin_id) as session:
        _, key = await create_key(session, system_clock())
    await process.database.close()
    async with serve(database_url, admin_id, key) as server:
        yield server


@asynccontextmanager
async def serve(database_url: str, admin_id: str, key: str) -> AsyncIterator[Server]:
    """A server on a database that is there."""
    port = free_port()
    environment = {
        **os.environ,
        "FLOWKICK_DATABASE_URL": database_url,
        "FLOWKICK_SECRET_KEY": KEY,
        "FLOWKICK_ALLOWED_TARGETS": "127.0.0.0/8",
        "FLOWKICK_PORT": str(port),
        "FLOWKICK_LOG_LEVEL": "error",
    }
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flowkick", "serve", env=environment, cwd=folder
        )
        try:
            await _until_it_answers(f"http://127.0.0.1:{port}/readyz")
            yield Server(f"http://127.0.0.1:{port}", admin_id, key, server.pid, database_url)
        finally:
            server.send_signal(signal.SIGTERM)
            await server.wait()


async def _until_it_answers(url: str) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(30):
        while True:
            try:
                async with http.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


async def users_per_second(server: Server, users: int, first: int = 0) -> float:
    """New users with their events, numbered from `first`, in batches of 1,000 over HTTP."""
    headers = {"Authorization": f"Bearer {server.key}"}
    async with aiohttp.ClientSession(server.base, headers=headers) as http:
        started = time.perf_counter()
        for start in range(first, first + users, 1000):
            batch = [
                {"manychatId": str(n), "firstName": "Ada", "email": f"ada{n}@example.com"}
                for n in range(start, start + 1000)
            ]
            async with http.post("/api/admin/users/batch", json={"users": batch}) as response:
                response.raise_for_status()
        return users / (time.perf_counter() - started)


async def idle_latency(server: Server, receiver: str, events: int) -> tuple[float, float]:
    """Milliseconds from the answer of a change to the webhook's arrival: median and p99."""
    headers = {"Authorization": f"Bearer {server.key}"}
    sent: list[float] = []
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.get(f"{receiver}/arrivals") as response:
            await response.read()
        for number in range(events):
            person = {"firstName": f"Ada {number}"}
            async with http.post(f"{server.base}/api/admin/users", json=person) as response:
                response.raise_for_status()
            sent.append(time.time())
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        async with http.get(f"{receiver}/arrivals") as response:
            arrived = sorted((await response.json(content_type=None)).values())
    if len(arrived) != events:
        raise RuntimeError(f"{len(arrived)} of {events} webhooks arrived.")
    waits = [max(there - here, 0) * 1000 for here, there in zip(sent, arrived, strict=True)]
    return statistics.median(waits), statistics.quantiles(waits, n=100)[98]


async def memory_while_draining(server: Server, events: int) -> tuple[float, float]:
    """The most and the least MiB of the server while it delivers a backlog."""
    process = open_process(server.database_url)
    for first in range(0, events, 1000):
        async with process.database.transaction(server.admin_id) as session:
            drafts = [draft(number) for number in range(first, first + 1000)]
            await outbox.emit(session, drafts, source="api", now=system_clock())
    await process.database.close()
    seen: list[float] = []
    async with aiohttp.ClientSession() as http:
        while True:
            seen.append(server.resident_mib())
            async with http.get(f"{server.base}/metrics") as response:
                text = await response.text()
            if _gauge(text, 'queue_depth{status="pending"}') == 0 and _gauge(text, "claimed") == 0:
                return max(seen), min(seen)
            await asyncio.sleep(0.5)


def _gauge(text: str, name: str) -> float:
    for line in text.splitlines():
        if line.startswith(f"flowkick_delivery_{name} "):
            return float(line.split()[-1])
    raise RuntimeError(f"There is no metric {name}.")
