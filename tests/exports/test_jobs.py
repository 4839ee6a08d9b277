"""Exports in the background: ordered, watched, fetched in parts, ended, and killed half-way."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.exports.background import ExportJobs
from flowkick.exports.files import FileStore
from flowkick.exports.models import DataExport
from flowkick.exports.tidying import Tidying
from flowkick.jobs.models import Job
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.exports.orders import EXPORTS, download, ended, order
from tests.exports.test_files import add, rows
from tests.support.commands import Machine
from tests.support.killing import environment, let_leases_end, served_until_killed
from tests.support.server import Api

USERS = 12_000


async def test_an_export_is_made_and_fetched(api: Api) -> None:
    await add(api.http, [{"firstName": f"P{n}", "tags": ["vip"] * (n % 2)} for n in range(40)])
    key = {"Idempotency-Key": "once"}
    asked = {"format": "csv", "filters": {"hasTag": ["VIP"]}, "fields": ["firstName"], "limit": 9}
    begun = await api.http.post(EXPORTS, json=asked, headers=key)
    assert begun.status_code == 202, begun.text
    again = await api.http.post(EXPORTS, json=asked, headers=key)
    export_id = begun.json()["export"]["id"]
    assert again.json()["export"]["id"] == export_id
    shown = await ended(api.http, export_id)
    export = shown["export"]
    assert (export["status"], export["recordCount"]) == ("completed", 9)
    assert (shown["progress"]["written"], shown["progress"]["total"]) == (9, 9)
    assert export["filters"] == {"hasTag": ["VIP"], "limit": 9}
    answer = await download(api.http, export_id)
    assert len(rows(answer.content)) == 9
    assert hashlib.sha256(answer.content).hexdigest() == export["fileHash"]
    assert answer.headers["x-file-hash"] == export["fileHash"]
    assert answer.headers["etag"] == f'"{export["fileHash"]}"'
    assert answer.headers["x-export-count"] == "9"
    rest = await api.http.get(
        f"{EXPORTS}/{export_id}/download",
        headers={"Range": "bytes=5-", "If-Range": answer.headers["etag"]},
    )
    assert (rest.status_code, rest.content) == (206, answer.content[5:])
    counted = (await ended(api.http, export_id))["export"]["downloadCount"]
    assert counted == 2


async def test_a_deleted_export_leaves_its_entry(api: Api, settings: Settings) -> None:
    export_id = await order(api.http, "ndjson", gzip=True)
    await ended(api.http, export_id)
    name = (await download(api.http, export_id)).headers["content-disposition"]
    assert name.endswith('.ndjson.gz"')
    deleted = await api.http.delete(f"{EXPORTS}/{export_id}")
    assert deleted.json()["export"]["fileRemovedAt"] is not None
    assert not list((settings.data_folder / "exports").iterdir())
    assert (await api.http.get(f"{EXPORTS}/{export_id}/download")).status_code == 410
    assert (await ended(api.http, export_id))["export"]["status"] == "completed"


async def test_what_is_included_twice_is_there_once(api: Api) -> None:
    await add(api.http, [{"firstName": "Ann"}])
    export_id = await order(api.http, "json", includes=["qrCodes", "bookings", "qrCodes"])
    await ended(api.http, export_id)
    document = (await download(api.http, export_id)).json()
    assert document["metadata"]["includes"] == ["qrCodes", "bookings"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"format": "xls"}, "format"),
        ({"format": "csv", "fields": ["nonsense"]}, "fields"),
        ({"format": "csv", "includes": ["bookings"]}, "includes"),
        ({"format": "xlsx", "bom": True}, "bom"),
        ({"format": "csv", "filters": {"color": "red"}}, "filters.color"),
    ],
)
async def test_what_no_file_can_be_is_refused(
    api: Api, asked: dict[str, object], field: str
) -> None:
    answer = await api.http.post(EXPORTS, json=asked)
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"][0]["field"] == field


async def test_an_admin_has_so_many_exports_at_once(database: Database, api: Api) -> None:
    async with database.transaction(api.admin_id) as session:
        far = system_clock() + timedelta(days=1)
        for number in range(3):
            session.add(
                Job(
                    id=f"job_{number}",
                    kind="export",
                    status="queued",
                    input={},
                    progress={},
                    attempts=0,
                    due_at=far,
                    created_at=far,
                )
            )
    answer = await api.http.post(EXPORTS, json={"format": "csv"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


async def test_files_go_when_they_expire_and_dead_exports_fail(
    process: Process, api: Api, database: Database
) -> None:
    export_id = await order(api.http, "csv")
    await ended(api.http, export_id)
    files = FileStore.of(process.settings)
    later = Tidying(database, files, lambda: system_clock() + timedelta(days=8))
    assert await Tidying(database, files, system_clock).tidy() == (0, 0)
    assert await later.tidy() == (1, 0)
    assert (await api.http.get(f"{EXPORTS}/{export_id}/download")).status_code == 410
    async with database.transaction(api.admin_id) as session:
        await session.execute(
            update(DataExport).values(
                status="running", lease_until=system_clock(), job_id=None, chain_number=None
            ),
            execution_options={"synchronize_session": False},
        )
    assert await later.tidy() == (0, 1)
    assert (await ended(api.http, export_id))["export"]["status"] == "failed"


async def test_no_file_is_completed_that_has_somebody_who_was_erased(
    process: Process, api: Api, database: Database
) -> None:
    """Somebody is erased when their file is written, and not complete."""
    await add(api.http, [{"firstName": "Zaphod"}, {"firstName": "Trillian"}])
    erased = (await api.http.get("/api/admin/users?search=Zaphod")).json()["users"][0]["id"]
    runs: list[str] = []

    class Interrupted(FileStore):
        def begin(self, name: str) -> Any:
            runs.append(name)
            return _Held(super().begin(name), first=len(runs) == 1)

    class _Held:
        def __init__(self, file: Any, *, first: bool) -> None:
            self._file, self._first = file, first

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def finish(self) -> Any:
            if self._first:
                assert httpx.delete(
                    f"{api.url}/api/admin/users/{erased}",
                    headers={"Authorization": f"Bearer {api.key}"},
                    timeout=30,
                ).is_success
            return self._file.finish()

    files = Interrupted(process.settings.data_folder / "exports")
    process.jobs._handlers["export"] = ExportJobs(files).run  # type: ignore[index]  # noqa: SLF001
    export_id = await order(api.http, "ndjson")
    assert (await ended(api.http, export_id))["export"]["recordCount"] == 1
    assert b"Zaphod" not in (await download(api.http, export_id)).content
    assert len(runs) == 2
    assert len(list((process.settings.data_folder / "exports").iterdir())) == 1


async def test_a_killed_export_is_made_anew_and_is_the_same(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    """The first worker is killed with half a file; the next one makes it, and another beside it."""
    given = environment(settings.database_url, FLOWKICK_DATA_DIR=str(tmp_path / "data"))
    machine = Machine(tmp_path, given)
    admin_id, key = await new_admin(database)
    folder = tmp_path / "data" / "exports"
    async with served_until_killed(machine, key) as served:
        http = served.http
        for first in range(0, USERS, 1000):
            people = [{"manychatId": str(first + n), "firstName": "é" * 50} for n in range(1000)]
            await http.post("/api/admin/users/batch", json={"users": people})
        export_id = await order(http, "csv", gzip=True)
        async with asyncio.timeout(60):
            while not any(path.stat().st_size for path in folder.glob("*.part")):
                await asyncio.sleep(0.001)
    left = [path.name for path in folder.iterdir()]
    assert [name.rpartition(".")[2] for name in left] == ["part"]
    await let_leases_end(database, admin_id)
    async with served_until_killed(machine, key) as served:
        http = served.http
        export = (await ended(http, export_id))["export"]
        assert (export["status"], export["recordCount"]) == ("completed", USERS)
        undisturbed = (await ended(http, await order(http, "csv", gzip=True)))["export"]
        assert export["fileHash"] == undisturbed["fileHash"]
        content = (await download(http, export_id)).content
        assert hashlib.sha256(content).hexdigest() == export["fileHash"]
    assert not set(left) & {path.name for path in folder.iterdir()}
