"""`flowkick export users` as people run it: into files, into a pipe, killed, and wrongly."""

from __future__ import annotations

import asyncio
import csv
import gzip
import hashlib
import io
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.exports.files import FileStore
from flowkick.exports.models import DataExport
from flowkick.exports.tidying import Tidying
from flowkick.storage.database import Database
from tests.support.commands import Machine

USERS = 3000


@pytest_asyncio.fixture
async def full(machine: Machine) -> Machine:
    """A machine whose admin A has users."""
    await machine.run("migrate")
    await machine.run("admin", "create", "A")
    seeded = await machine.run("seed", "--admin", "A", "--users", str(USERS), "--silent")
    assert seeded.code == 0, seeded.err
    return machine


async def _log(database: Database) -> list[tuple[Any, ...]]:
    async with database.system_reading() as session:
        rows = await session.execute(
            select(
                DataExport.status,
                DataExport.record_count,
                DataExport.initiated_by,
                DataExport.destination_url,
                DataExport.file_hash,
            ).order_by(DataExport.id)
        )
        return [tuple(row) for row in rows]


@pytest.mark.parametrize("name", ["users.csv", "users.ndjson", "users.json", "users.xlsx"])
async def test_users_are_written_and_logged(full: Machine, settings: Settings, name: str) -> None:
    ended = await full.run("export", "users", "--admin", "A", "--out", name, "--json")
    assert ended.code == 0, ended.err
    shown, content = ended.json(), (full.folder / name).read_bytes()
    assert shown["recordCount"] == USERS
    assert shown["fileHash"] == hashlib.sha256(content).hexdigest()
    assert f"of {USERS} users" in ended.err
    database = Database(settings)
    url = (full.folder / name).resolve().as_uri()
    assert await _log(database) == [("completed", USERS, "cli", url, shown["fileHash"])]
    await Tidying(database, FileStore.of(settings), _in_a_year).tidy()
    await database.close()
    assert (full.folder / name).read_bytes() == content
    assert (await full.run("audit", "verify")).code == 0
    assert not list(full.folder.glob("*.part"))


def _in_a_year() -> Any:
    return system_clock() + timedelta(days=365)


async def test_filters_fields_and_a_pipe(full: Machine) -> None:
    wanted = ("--filter", "optedIn=whatsapp", "--fields", "id,email", "--limit", "7")
    base = ("export", "users", "--admin", "A", "--format", "csv", "--out", "-", "--gzip", *wanted)
    process = await full.start(*base)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err
    rows = list(csv.reader(io.StringIO(gzip.decompress(out).decode(), newline="")))
    assert rows[0] == ["id", "email"]
    assert len(rows) == 8


async def test_a_killed_export_leaves_no_file_and_a_failed_entry(
    full: Machine, settings: Settings
) -> None:
    database = Database(settings)
    process = await full.start(
        "export", "users", "--admin", "A", "--out", "users.ndjson",
        "--include", "bookings,qrCodes", FLOWKICK_LEASE_SECONDS="1",
    )  # fmt: skip
    async with asyncio.timeout(60):
        while not await _log(database) or not any(
            path.stat().st_size for path in full.folder.glob("*.part")
        ):
            await asyncio.sleep(0.001)
    process.kill()
    assert await process.wait() == -9
    assert not (full.folder / "users.ndjson").exists()
    later = Tidying(database, FileStore.of(settings), _in_a_year)
    assert (await later.tidy())[1] == 1
    assert [row[0] for row in await _log(database)] == ["failed"]
    await database.close()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--out", "users.doc"), "does not tell the format"),
        (("--out", "nowhere/users.csv"), "can't be written"),
        (("--out", "users.csv", "--include", "bookings"), "no place for --include"),
        (("--out", "users.json", "--include", "nothing"), "--include takes"),
        (("--out", "users.json", "--bom"), "--bom goes with csv"),
        (("--out", "users.csv", "--filter", "hasTag"), "NAME=VALUE"),
        (("--out", "users.csv", "--filter", "nonsense=1"), "nonsense"),
        (("--out", "users.csv", "--filter", "createdAfter=never"), "createdAfter"),
    ],
)
async def test_misuse_is_told(machine: Machine, arguments: tuple[str, ...], told: str) -> None:
    ended = await machine.run("export", "users", "--admin", "A", *arguments)
    assert ended.code == 2
    assert told in " ".join(ended.err.replace("│", " ").split())
    assert not list(machine.folder.glob("users*"))
