"""Exports of a running server, beside the same table from the database's own shell.

A time is from the request to its headers: the file is complete, hashed and logged by then. Memory
is of the server's process, which does nothing else.
"""

from __future__ import annotations

import asyncio
import csv
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import aiohttp
from sqlalchemy import select

from bench import contacts, equivalent
from bench.delivery import open_process
from bench.serving import Server, serve
from flowkick.users.models import CustomField

FEW: Final = 10_000
GOALS: Final = {"PostgreSQL": "0.70", "SQLite": "0.50"}
_ROUNDS: Final = 2
_COMPARED: Final = 5_000
_PAUSE: Final = 0.02
_LOADED_AT_MOST: Final = 100_000


@dataclass
class Exported:
    """What one database showed; rows a second unless said otherwise."""

    shell: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """In any order, and in that of exports."""
    csv: float = 0
    json: float = 0
    loaded: float = 0
    loaded_users: int = 0
    loaded_mib: float = 0
    mib: dict[str, float] = field(default_factory=dict)
    """The most over idle, by format and number of users."""
    calls: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    """How many other calls, and their p50 and p99 in milliseconds, by what runs beside them."""


async def measure(database_url: str, kind: str, users: int) -> Exported:
    """Fill an empty database, and measure."""
    process = open_process(database_url)
    admin_id, key = await contacts.load(process, users)
    async with process.database.reading(admin_id) as session:
        rows = await session.execute(select(CustomField.id, CustomField.name))
    fields = [id_ for id_, _ in sorted(rows, key=lambda row: row.name)]
    await process.database.close()
    found = Exported()
    queries = [
        equivalent.query(kind, admin_id, fields, users, ordered=ordered)
        for ordered in (False, True)
    ]
    headers = {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "users.csv"
        async with (
            serve(database_url, admin_id, key) as server,
            aiohttp.ClientSession(server.base, headers=headers, timeout=timeout) as http,
        ):
            await _memory(found, server, http, users)
            for _ in range(_ROUNDS):
                for number, sql in enumerate(queries):
                    taken = await asyncio.to_thread(equivalent.shell, database_url, sql, path)
                    found.shell[number] = max(found.shell[number], users / taken)
                found.csv = max(found.csv, users / await _export(http, "csv", users))
                found.json = max(found.json, users / await _export(http, "json", users))
            await _compare(http, path)
            found.calls["nothing"] = await _beside(http, asyncio.sleep(5))
            for format_ in ("csv", "json"):
                found.calls[format_] = await _beside(http, _export(http, format_, users))
    found.loaded_users = min(users, _LOADED_AT_MOST)
    seconds, found.loaded_mib = await asyncio.to_thread(
        equivalent.loaded, database_url, admin_id, found.loaded_users
    )
    found.loaded = found.loaded_users / seconds
    return found


async def _export(http: aiohttp.ClientSession, format_: str, users: int) -> float:
    """The seconds until a file of so many users is complete."""
    started = time.perf_counter()
    async with http.get(f"/api/admin/export/users/{format_}", params={"limit": users}) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["X-Export-Count"] == str(users), answer.headers
        taken = time.perf_counter() - started
        async for _ in answer.content.iter_chunked(1 << 20):
            pass
    return taken


async def _memory(found: Exported, server: Server, http: aiohttp.ClientSession, users: int) -> None:
    """The most memory over that of the idle server: for few users first, then for all."""
    await _call(http)
    idle = server.resident_mib()
    for count in (min(FEW, users), users):
        for format_ in ("csv", "json"):
            _begin_peak(server.pid)
            await _export(http, format_, count)
            found.mib[f"{format_} {count}"] = _peak_mib(server.pid) - idle


def _begin_peak(pid: int) -> None:
    """Let the most memory of a process begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_mib(pid: int) -> float:
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1024


async def _beside(http: aiohttp.ClientSession, work: Any) -> tuple[int, float, float]:
    """How many other calls are answered while `work` runs, and their p50 and p99."""
    task = asyncio.ensure_future(work)
    taken: list[float] = []
    while not task.done():
        started = time.perf_counter()
        await _call(http)
        taken.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(_PAUSE)
    await task
    return len(taken), statistics.median(taken), statistics.quantiles(taken, n=100)[98]


async def _call(http: aiohttp.ClientSession) -> None:
    """Another call: a page of users."""
    async with http.get("/api/admin/users", params={"limit": "50", "count": "none"}) as answer:
        assert answer.status == 200, await answer.text()
        await answer.read()


async def _compare(http: aiohttp.ClientSession, path: Path) -> None:
    """RuntimeError unless the shell's cells are those of the export."""
    params = {"limit": _COMPARED}
    async with http.get("/api/admin/export/users/csv", params=params) as answer:
        ours = list(csv.reader((await answer.text()).splitlines()))[1:]
    with path.open(newline="", encoding="utf-8") as file:
        theirs = list(islice(csv.reader(file), len(ours)))
    if ours != theirs:
        raise RuntimeError("The query of the shell does not make the cells of an export.")


def shown(found: Exported, kind: str) -> Iterator[str]:
    """The table of one database."""
    any_order, same_order = found.shell
    yield f"  its shell, in any order   {any_order:9.0f} users/s"
    yield f"  its shell, in the order   {same_order:9.0f} users/s"
    yield f"  export as CSV             {found.csv:9.0f} users/s"
    yield f"  export as JSON            {found.json:9.0f} users/s"
    ratio = found.json / found.csv
    yield f"  CSV to any order          {found.csv / any_order:9.2f}     goal {GOALS[kind]}"
    yield f"  CSV to the same order     {found.csv / same_order:9.2f}     goal {GOALS[kind]}"
    yield f"  JSON to CSV               {ratio:9.2f}     goal 0.50"
    yield f"  load all, then stringify  {found.loaded:9.0f} users/s, of {found.loaded_users} users"
    yield f"    with memory of          {found.loaded_mib:9.0f} MiB"
    for name, mib in found.mib.items():
        yield f"  memory, {name:17} {mib:9.0f} MiB over idle   goal 150, the same for all"
    for name, (calls, median, p99) in found.calls.items():
        times = f"{median:9.1f} ms p50, {p99:.1f} ms p99"
        yield f"  other calls, beside {name:7}{times} of {calls}   goal 100"
