"""What endpoints that hang, with long queues, cost healthy ones: time from commit to arrival."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass

import aiohttp

from bench.delivery import draft, open_process, prepare
from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.core.logs import configure_logs
from flowkick.webhooks import outbox

HEALTHY = 10
HANGING = 10
QUEUED = 5_000
_TICK = 0.05
_EVENTS_A_TICK = 5


@dataclass(frozen=True)
class Waits:
    """Milliseconds from commit to arrival."""

    median: float
    p99: float


async def measure(database_url: str, receiver: str, seconds: float) -> tuple[Waits, Waits]:
    """100 events a second to each of ten healthy endpoints: alone, then beside ten that hang."""
    process = open_process(database_url)
    configure_logs(process.settings.model_copy(update={"log_level": "error"}))
    hanging = await asyncio.start_server(_say_nothing, "127.0.0.1", 0)
    async with hanging:
        port = hanging.sockets[0].getsockname()[1]
        healthy = [await prepare(process, receiver) for _ in range(HEALTHY)]
        noisy = [await prepare(process, f"http://127.0.0.1:{port}/") for _ in range(HANGING)]
        async with process.running(deliver=True):
            alone = await _waits(process, healthy, receiver, seconds)
            for admin_id in noisy:
                await _emit(process, admin_id, QUEUED)
            beside = await _waits(process, healthy, receiver, seconds)
            hanging.close()
    return alone, beside


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.read(65536):
            pass
    finally:
        writer.close()


async def _emit(process: Process, admin_id: str, count: int) -> list[str]:
    async with process.database.transaction(admin_id) as session:
        drafts = [draft(number) for number in range(count)]
        return await outbox.emit(session, drafts, source="api", now=system_clock())


async def _waits(process: Process, admins: list[str], receiver: str, seconds: float) -> Waits:
    committed: dict[str, float] = {}

    async def write(admin_id: str) -> None:
        end = time.time() + seconds
        while (began := time.time()) < end:
            ids = await _emit(process, admin_id, _EVENTS_A_TICK)
            committed.update(dict.fromkeys(ids, time.time()))
            await asyncio.sleep(max(_TICK - (time.time() - began), 0))

    async with aiohttp.ClientSession() as http:
        async with http.get(f"{receiver}/arrivals") as response:
            await response.read()
        await asyncio.gather(*(write(admin_id) for admin_id in admins))
        await asyncio.sleep(5)
        async with http.get(f"{receiver}/arrivals") as response:
            arrived = await response.json(content_type=None)
    # One that did not arrive in time counts with all the time that it had.
    last = time.time()
    waits = [max(arrived.get(id_, last) - at, 0) * 1000 for id_, at in committed.items()]
    return Waits(statistics.median(waits), statistics.quantiles(waits, n=100)[98])
