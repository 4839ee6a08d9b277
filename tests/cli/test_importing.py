"""`flowkick import users` as people run it: killed, beside a server, from a pipe, and wrongly."""

from __future__ import annotations

import asyncio
import csv
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select
from typer.testing import CliRunner

from flowkick.cli.main import app
from flowkick.core.settings import Settings
from flowkick.importing.models import UserImport
from flowkick.storage.database import Database
from tests.support.commands import Machine
from tests.support.server import Api
from tests.users.recorded import events, names

ROWS = 20_000


@pytest_asyncio.fixture
async def admin(machine: Machine) -> dict[str, Any]:
    await machine.run("migrate")
    made: dict[str, Any] = (await machine.run("admin", "create", "A", "--json")).json()
    return made


def _write(machine: Machine, name: str, rows: int) -> None:
    with (machine.folder / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["manychat_id", "first_name", "email", "tags", "cf_n"])
        for n in range(rows):
            email = "wrong" if n % 100 == 99 else f"{n}@b.c"
            writer.writerow([n, f"Zoë {n}", email, f"t{n % 7}; u{n % 3}", n])


async def _position(database: Database) -> int:
    async with database.system_reading() as session:
        return await session.scalar(select(func.max(UserImport.position))) or 0


async def test_an_import_that_is_killed_ends_equal_when_it_is_run_again(
    machine: Machine, admin: dict[str, Any], settings: Settings
) -> None:
    _write(machine, "people.csv", ROWS)
    command = ("import", "users", "people.csv", "--admin", "A", "--json")
    database = Database(settings)
    killed = await machine.start(*command)
    async with asyncio.timeout(60):
        while await _position(database) == 0:
            await asyncio.sleep(0.005)
    killed.kill()
    assert await killed.wait() == -9
    ended = await machine.run(*command)
    assert ended.code == 1, ended.err
    assert "Going on behind line" in ended.err
    good = ROWS - ROWS // 100
    assert ended.json() == {
        "read": ROWS,
        "created": good,
        "updated": 0,
        "unchanged": 0,
        "rejected": ROWS // 100,
        "rejects": "people.csv.rejected.csv",
    }
    told = [body["data"]["user"]["manychatId"] for body in await events(database)]
    assert sorted(told, key=int) == [str(n) for n in range(ROWS) if n % 100 != 99]
    with (machine.folder / "people.csv.rejected.csv").open(newline="") as file:
        lines = [row[0] for row in csv.reader(file)]
    assert lines == ["rejected_line", *(str(n + 2) for n in range(99, ROWS, 100))]
    await database.close()


async def test_a_pipe_is_read_and_what_nobody_knows_is_told(
    machine: Machine, admin: dict[str, Any]
) -> None:
    start = ("import", "users", "-", "--admin", "A", "--json")
    piped, unknown, missing = await asyncio.gather(
        machine.run(*start, "--format", "ndjson", stdin=b'{"manychatId": "1"}\n{"id": "2"}'),
        machine.run(*start, "--format", "csv", stdin=b"manychatId,Age\n1,2\n"),
        machine.run("import", "users", "nobody.csv", "--admin", "A"),
    )
    assert (piped.code, piped.json()["created"]) == (1, 1)
    assert piped.json()["rejects"] == "stdin.rejected.csv"
    assert "2 rows, 1 rejected" in piped.err
    assert (unknown.code, unknown.out) == (2, "")
    assert '"Age"' in unknown.err
    assert (missing.code, missing.err.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-"], "--format"),
        (["-", "--format", "xml"], "xml"),
        (["-", "--format", "csv", "--match", "name"], "match"),
        (["a.csv.gz"], "--format"),
        (["a.csv", "--map", "x"], "COLUMN=FIELD"),
        (["a.csv", "--map", "Mail=x"], '"x"'),
        (["a.csv", "--rejects", "a.csv"], "--rejects"),
        (["a.csv", "--delimiter", "ab"], "--delimiter"),
    ],
)
def test_misuse_is_told_before_anything_is_opened(arguments: list[str], told: str) -> None:
    ended = CliRunner().invoke(app, ["import", "users", "--admin", "A", *arguments])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert told in ended.stderr


async def test_users_are_imported_beside_a_running_server(machine: Machine, api: Api) -> None:
    _write(machine, "people.csv", 3000)
    importing = asyncio.create_task(
        machine.run("import", "users", "people.csv", "--admin", api.admin_id, "--json")
    )
    added = 0
    while not importing.done():
        answer = await api.http.post("/api/admin/users", json={"firstName": "Ada"})
        assert answer.status_code == 201
        added += 1
    assert (await importing).json()["created"] == 2970
    assert (await names(api.database)).count("user.created") == 2970 + added
