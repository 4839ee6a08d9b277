"""Where the processor time of a delivery goes: by process, and by part of the sending one.

The interpreter's own profiler counts what each function takes of its thread's processor time, so
that others on the machine don't disturb it. It makes functions that are called often look dearer
than they are: hence the processes are measured without it.
"""

from __future__ import annotations

import asyncio
import cProfile
import multiprocessing
import os
import pstats
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

from bench.delivery import record_and_deliver

# The first that occurs in a function's file or name tells which part it belongs to.
_PARTS: Final = {
    "recording events": ("webhooks/", "msgspec.json.Encoder", "core/ids", "bench/"),
    "signing": ("signing.py", "delivery/requests.py", "hmac", "hashlib", "b2a_base64"),
    "HTTP": ("client.py", "connections.py", "exchange.py", "httptools", "timeouts.py"),
    "lanes and engine": ("lanes.py", "engine.py", "asyncio/queues.py"),
    "claims and outcomes": ("delivery/", "storage/bulk", "msgspec"),
    "metrics and logs": ("prometheus", "structlog", "core/metrics", "core/logs"),
    "database's driver": ("asyncpg", "aiosqlite", "sqlite3", "SimpleQueue", "abc>", "_abc."),
    "SQLAlchemy": ("sqlalchemy", "greenlet"),
}
_PROCESS: Final = "the sending process"
_THREAD: Final = "its event loop's thread"
_OTHER: Final = "everything else in Python"
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def processes(database_url: str, receiver: str, events: int) -> Mapping[str, float]:
    """Microseconds of processor time for each delivery, by process, with no profiler."""
    return _measured(database_url, receiver, events, None)


def parts(database_url: str, receiver: str, events: int) -> Mapping[str, float]:
    """Microseconds of processor time for each delivery in this process, by part."""
    profile = cProfile.Profile(time.thread_time)
    found = _measured(database_url, receiver, events, profile)
    in_python = {
        part: seconds / events * 1e6 for part, seconds in _by_part(profile).items() if seconds
    }
    rest = max(found[_THREAD] - sum(in_python.values()), 0.0)
    threads = found[_PROCESS] - found[_THREAD]
    return {**in_python, "sockets and event loop, not in Python": rest, "other threads": threads}


def _measured(
    database_url: str, receiver: str, events: int, profile: cProfile.Profile | None
) -> Mapping[str, float]:
    beside = {"receiver": _receiver_pid()}
    if not database_url.startswith("sqlite"):
        beside["PostgreSQL"] = asyncio.run(_server_pid(database_url))
    found: dict[str, float] = {}
    around = _watched(found, beside, profile)
    uvloop.run(record_and_deliver(database_url, receiver, events, around))
    return {name: seconds / events * 1e6 for name, seconds in found.items()}


@contextmanager
def _watched(
    found: dict[str, float], beside: Mapping[str, int], profile: cProfile.Profile | None
) -> Iterator[None]:
    """Fill `found` with the seconds that each process takes while the block runs."""
    before = {name: _seconds(pid) for name, pid in beside.items()}
    process, thread = time.process_time(), time.thread_time()
    with profile or nullcontext():
        yield
    found[_PROCESS] = time.process_time() - process
    found[_THREAD] = time.thread_time() - thread
    found |= {name: _seconds(pid) - before[name] for name, pid in beside.items()}


def _by_part(profile: cProfile.Profile) -> dict[str, float]:
    """Seconds by part; what belongs to none, such as built-in functions, goes to its callers."""
    stats: Any = pstats.Stats(profile)
    seconds: dict[str, float] = dict.fromkeys((*_PARTS, _OTHER), 0.0)
    for function, (_calls, _all, own, _whole, callers) in stats.stats.items():
        part = _part_of(function)
        if part != _OTHER or not callers:
            seconds[part] += own
            continue
        for caller, (_calls, _all, own_from_there, _whole) in callers.items():
            seconds[_part_of(caller)] += own_from_there
    return seconds


def _part_of(function: tuple[str, int, str]) -> str:
    file, _line, name = function
    for part, marks in _PARTS.items():
        if any(mark in f"{file} {name}" for mark in marks):
            return part
    return _OTHER


def _receiver_pid() -> int:
    (receiver,) = multiprocessing.active_children()
    return receiver.pid or 0


async def _server_pid(database_url: str) -> int:
    """The first process of a PostgreSQL: all others are its children."""
    connection = await asyncpg.connect(database_url)
    backend: int = await connection.fetchval("SELECT pg_backend_pid()")
    server = _stat(backend).parent
    await connection.close()
    return server


@dataclass(frozen=True)
class _Stat:
    """What the system tells of a process (proc(5)); times with those of children that ended."""

    parent: int
    seconds: float


def _stat(pid: int) -> _Stat:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return _Stat(int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)


def _seconds(pid: int) -> float:
    """Processor time of a process and of its children."""
    total = _stat(pid).seconds
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            stat = _stat(int(path.name))
            total += stat.seconds if stat.parent == pid else 0
    return total
