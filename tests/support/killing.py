"""Processes of the product that are killed at random, and others started in their places."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import update

from flowkick.core.clock import system_clock
from flowkick.jobs.models import Job
from flowkick.storage.database import Database
from tests.conftest import MASTER_KEY, client
from tests.support.commands import Machine
from tests.support.ports import free_port


def environment(database_url: str, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "FLOWKICK_DATABASE_URL": database_url,
        "FLOWKICK_SECRET_KEY": MASTER_KEY,
        "FLOWKICK_ALLOWED_TARGETS": "127.0.0.0/8",
        "FLOWKICK_LEASE_SECONDS": "2",
        "FLOWKICK_LOG_LEVEL": "error",
        **more,
    }


async def start(command: str, given: dict[str, str], folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "flowkick", command, env=given, cwd=folder
    )


async def kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    await process.wait()


@asynccontextmanager
async def killed_at_random(
    command: str,
    given: dict[str, str],
    folder: Path,
    *,
    count: int,
    every: float,
    progress: Callable[[], int],
) -> AsyncIterator[list[int]]:
    """Run `count` processes; kill one of them again and again, and start another in its place.

    Each kill waits for progress after the last one: where starting Python takes longer than a
    process has to live, nothing would ever be done.
    """
    chance = random.Random(3)
    running = [await start(command, given, folder) for _ in range(count)]
    kills = [0]

    async def kill_again_and_again() -> None:
        while True:
            before = progress()
            await asyncio.sleep(every * chance.uniform(0.5, 1.5))
            while progress() == before:
                await asyncio.sleep(0.05)
                for place, process in enumerate(running):
                    if process.returncode is not None:  # it met the database shutting down
                        running[place] = await start(command, given, folder)
            victim = chance.randrange(count)
            await kill(running[victim])
            kills[0] += 1
            running[victim] = await start(command, given, folder)

    killer = asyncio.create_task(kill_again_and_again())
    try:
        yield kills
    finally:
        killer.cancel()
        with suppress(asyncio.CancelledError):
            await killer
        for process in running:
            await kill(process)


@dataclass
class Served:
    """A server that runs as a process of its own."""

    http: httpx.AsyncClient
    process: asyncio.subprocess.Process
    logged: str = ""
    """What it wrote; known once it has ended."""


@asynccontextmanager
async def served_until_killed(machine: Machine, key: str) -> AsyncIterator[Served]:
    """A server on a port of its own; it is killed when the block ends, unless it was before."""
    port = free_port()
    process = await machine.start("serve", "--port", str(port))
    reading = asyncio.create_task(process.communicate())
    try:
        async with client(f"http://127.0.0.1:{port}", key) as http:
            async with asyncio.timeout(60):
                while not await _is_ready(http):
                    await asyncio.sleep(0.05)
            served = Served(http, process)
            yield served
    finally:
        await kill(process)
        out, err = await reading
    served.logged = (out + err).decode()


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def let_leases_end(database: Database, admin_id: str) -> None:
    """As if the minute had passed for which a job stays with a silent worker."""
    async with database.transaction(admin_id) as session:
        await session.execute(
            update(Job).where(Job.status == "running").values(due_at=system_clock()),
            execution_options={"synchronize_session": False},
        )
