"""`flowkick import users` of made-up people with events, against the same rows written plainly.

The plain rows are those that an import left: users, tags, values, events and deliveries, written to
an empty database of the same schema, in transactions of as many users, by COPY or executemany.
"""

from __future__ import annotations

import asyncio
import csv
import os
import re
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import make_url

from bench.delivery import KEY, open_process, prepare
from flowkick.cli.people import people
from flowkick.importing.service import BATCH
from flowkick.storage import migrate

_PLAIN_USERS: Final = 20_000
_TABLES: Final = {
    "User": "id",
    "ContactTag": '"userId"',
    "CustomFieldValue": '"userId"',
    "WebhookEvent": '"userId"',
    "WebhookDelivery": '(SELECT "userId" FROM "WebhookEvent" e WHERE e.id = "eventId")',
}
_LABELS: Final = ("Admin", "Tag", "CustomField")
"""What those rows point to; written before the clock starts."""
Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Imported:
    """One run of the command: the start of Python is in it."""

    users: int
    seconds: float
    cpu_seconds: float
    peak_mib: float

    @property
    def per_second(self) -> float:
        return self.users / self.seconds


def write_csv(path: Path, users: int, seed: int) -> None:
    """A file of made-up people, as an export would name its columns."""
    plain = ("manychatId", "firstName", "lastName", "igUsername", "email", "phone", "locale")
    custom = ("favorite_drink", "visit_count")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*plain, "opted_in_instagram", "tags", *(f"cf_{name}" for name in custom)])
        for person in people(users, seed):
            writer.writerow(
                [
                    *(person.get(name) for name in plain),
                    "Yes" if person["optedInInstagram"] else "No",
                    "; ".join(person["tags"]),
                    *(person["customFields"].get(name) for name in custom),
                ]
            )


async def prepared(database_url: str) -> str:
    """A migrated database with an admin and a subscription; the admin's id."""
    process = open_process(database_url)
    admin_id = await prepare(process, "https://127.0.0.1:9/hook")
    await process.database.close()
    return admin_id


def run_import(database_url: str, admin_id: str, path: Path, users: int) -> Imported:
    """Run the command, and take its time and its memory."""
    environment = {
        **os.environ,
        "FLOWKICK_DATABASE_URL": database_url,
        "FLOWKICK_SECRET_KEY": KEY,
    }
    command = [sys.executable, "-m", "flowkick", "import", "users", str(path), "--admin", admin_id]
    started, before = time.perf_counter(), _cpu_of_children()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _peak_mib(process.pid))
            time.sleep(0.02)
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise RuntimeError(f"The import ended with {process.returncode}.")
    return Imported(users, seconds, _cpu_of_children() - before, peak)


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _peak_mib(pid: int) -> float:
    """The most memory a process had; what rusage tells of a child is at least its parent's."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it ended just now
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0


async def plain_per_second(imported_url: str, empty_url: str) -> float:
    """How many users a second the driver alone writes, with all that belongs to them."""
    if make_url(imported_url).get_backend_name() == "sqlite":
        return await asyncio.to_thread(_plain_sqlite, imported_url, empty_url)
    return await _plain_postgresql(imported_url, empty_url)


def _selects(table: str) -> str:
    """A table's rows of the users behind a given id, in their order."""
    user = _TABLES[table]
    return f'SELECT * FROM "{table}" WHERE {user} > $1 AND {user} <= $2'  # noqa: S608  # ours


_NEXT: Final = 'SELECT id FROM "User" WHERE id > $1 ORDER BY id LIMIT 1000'


async def _plain_postgresql(imported_url: str, empty_url: str) -> float:
    source, target = await asyncpg.connect(imported_url), await asyncpg.connect(empty_url)
    for table in _LABELS:
        rows = await source.fetch(f'SELECT * FROM "{table}"')  # noqa: S608  # ours
        await target.copy_records_to_table(table, records=rows)
    batches: list[dict[str, Rows]] = []
    last = ""
    for _ in range(_PLAIN_USERS // BATCH):
        first, last = last, (await source.fetch(_NEXT, last))[-1]["id"]
        batches.append({t: await source.fetch(_selects(t), first, last) for t in _TABLES})
    started = time.perf_counter()
    for batch in batches:
        async with target.transaction():
            for table, rows in batch.items():
                await target.copy_records_to_table(table, records=rows)
    seconds = time.perf_counter() - started
    await source.close()
    await target.close()
    return len(batches) * BATCH / seconds


def _plain_sqlite(imported_url: str, empty_url: str) -> float:
    source = sqlite3.connect(str(make_url(imported_url).database))
    target = sqlite3.connect(str(make_url(empty_url).database), isolation_level=None)
    target.execute("PRAGMA synchronous = FULL")
    target.execute("PRAGMA foreign_keys = ON")
    for table in _LABELS:
        _insert(target, table, source.execute(f'SELECT * FROM "{table}"').fetchall())  # noqa: S608
    batches: list[dict[str, Rows]] = []
    last = ""
    for _ in range(_PLAIN_USERS // BATCH):
        ids = source.execute(_NEXT.replace("$1", "?"), [last]).fetchall()
        first, last = last, ids[-1][0]
        batches.append(
            {
                table: source.execute(
                    _selects(table).replace("$1", "?").replace("$2", "?"), [first, last]
                ).fetchall()
                for table in _TABLES
            }
        )
    started = time.perf_counter()
    for batch in batches:
        target.execute("BEGIN IMMEDIATE")
        for table, rows in batch.items():
            _insert(target, table, rows)
        target.execute("COMMIT")
    seconds = time.perf_counter() - started
    source.close()
    target.close()
    return len(batches) * BATCH / seconds


def _insert(target: sqlite3.Connection, table: str, rows: Rows) -> None:
    if rows:
        places = ", ".join("?" * len(rows[0]))
        target.executemany(f'INSERT INTO "{table}" VALUES ({places})', rows)  # noqa: S608


async def measure(
    urls: Sequence[str], folder: Path, users: int
) -> tuple[Imported, Imported, float]:
    """An import of a quarter, one of all, and the rate of the plain rows; three empty databases."""
    small, whole, empty = urls
    imported = []
    for url, count in ((small, users // 4), (whole, users)):
        path = folder / f"{count}.csv"
        if not path.exists():
            write_csv(path, count, 7)
        imported.append(run_import(url, await prepared(url), path, count))
    process = open_process(empty)
    await migrate.upgrade(process.database)
    await process.database.close()
    return imported[0], imported[1], await plain_per_second(whole, empty)
