"""Export files in an object store: the same promises, with nothing left on the machine."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.core.errors import SettingsError, Unavailable
from flowkick.core.settings import Settings
from flowkick.exports import objects
from flowkick.exports.files import FileStore
from flowkick.exports.tidying import Tidying
from flowkick.storage.database import Database
from tests.conftest import client, new_admin
from tests.exports.orders import EXPORTS, download, ended, order
from tests.exports.test_files import add
from tests.support.s3 import ObjectStore
from tests.support.server import Api, running_server


@pytest_asyncio.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ObjectStore]:
    async with ObjectStore() as store:
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        yield store


@pytest_asyncio.fixture
async def away(store: ObjectStore, settings: Settings, database: Database) -> AsyncIterator[Api]:
    """A server whose export files lie in the object store."""
    url = store.environment()["FLOWKICK_EXPORTS_URL"]
    process = Process(settings.model_copy(update={"exports_url": url}))
    admin_id, key = await new_admin(database)
    async with running_server(process) as url, client(url, key) as http:
        yield Api(url, admin_id, key, http, database)


def here_in(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def here(settings: Settings) -> list[Path]:
    return here_in(settings.data_folder / "exports")


async def test_a_file_goes_to_the_store_and_comes_from_there(
    away: Api, store: ObjectStore, settings: Settings
) -> None:
    await add(away.http, [{"firstName": f"P{n}"} for n in range(40)])
    export_id = await order(away.http, "csv", gzip=True)
    export = (await ended(away.http, export_id))["export"]
    ((key, content),) = store.objects.items()
    assert key.startswith(f"kept/{export_id}/{export_id}-")
    assert hashlib.sha256(content).hexdigest() == export["fileHash"]
    assert here(settings) == []
    answer = await download(away.http, export_id)
    assert answer.content == content
    assert gzip.decompress(content).count(b"\r\n") == 41
    ranged = {"Range": "bytes=10-19", "If-Range": answer.headers["etag"]}
    part = await away.http.get(f"{EXPORTS}/{export_id}/download", headers=ranged)
    assert (part.status_code, part.content) == (206, content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"


async def test_a_file_that_is_waited_for_comes_from_the_store_too(
    away: Api, store: ObjectStore, settings: Settings
) -> None:
    await add(away.http, [{"firstName": "Ada"}])
    answer = await away.http.get("/api/admin/export/users/csv")
    assert answer.status_code == 200
    assert list(store.objects.values()) == [answer.content]
    assert here(settings) == []


async def test_large_files_are_uploaded_in_parts(store: ObjectStore, tmp_path: Path) -> None:
    files = FileStore(tmp_path, objects.ObjectShelf(store.environment()["FLOWKICK_EXPORTS_URL"]))
    file = files.begin("exp_1.csv")
    for number in range(20):
        file.write(bytes([number]) * (1 << 20))
    await files.keep(file.finish())
    assert store.requests == ["POST uploads", *["PUT partNumber&uploadId"] * 3, "POST uploadId"]
    assert store.objects["kept/exp_1/exp_1.csv"][5 << 20] == 5
    read = b"".join([part async for part in files.shelf.read("exp_1.csv", 1 << 20, 9 << 20)])
    assert read == store.objects["kept/exp_1/exp_1.csv"][1 << 20 : 9 << 20]
    assert store.requests[5:] == ["GET", "GET"]  # short ones, however slow who reads them is
    assert await files.shelf.has("exp_1.csv")
    await files.remove_all("exp_1")
    assert not store.objects
    assert not await files.shelf.has("exp_1.csv")
    assert here_in(tmp_path) == []


async def test_deleted_and_expired_files_leave_the_store(
    away: Api, store: ObjectStore, settings: Settings, database: Database
) -> None:
    await add(away.http, [{"firstName": "Ada"}])
    first, second = [await order(away.http, format_) for format_ in ("csv", "json")]
    for export_id in (first, second):
        await ended(away.http, export_id)
    assert len(store.objects) == 2
    await away.http.delete(f"{EXPORTS}/{first}")
    assert len(store.objects) == 1
    assert (await away.http.get(f"{EXPORTS}/{first}/download")).status_code == 410
    shelf = objects.ObjectShelf(store.environment()["FLOWKICK_EXPORTS_URL"])
    files = FileStore(settings.data_folder, shelf)
    await Tidying(database, files, lambda: system_clock() + timedelta(days=8)).tidy()
    assert not store.objects


async def test_the_files_of_an_erased_person_leave_the_store(away: Api, store: ObjectStore) -> None:
    await add(away.http, [{"firstName": "Zaphod"}])
    await ended(away.http, await order(away.http, "csv"))
    user = (await away.http.get("/api/admin/users")).json()["users"][0]
    assert any(b"Zaphod" in content for content in store.objects.values())
    await away.http.delete(f"/api/admin/users/{user['id']}")
    assert not store.objects


async def test_what_can_not_be_removed_at_once_is_removed_later(
    away: Api, store: ObjectStore, settings: Settings, database: Database
) -> None:
    await add(away.http, [{"firstName": "Ada"}])
    export_id = await order(away.http, "csv")
    await ended(away.http, export_id)
    store.failing = True
    assert (await away.http.delete(f"{EXPORTS}/{export_id}")).status_code == 200
    store.failing = False
    assert len(store.objects) == 1
    assert (await away.http.get(f"{EXPORTS}/{export_id}/download")).status_code == 410
    shelf = objects.ObjectShelf(store.environment()["FLOWKICK_EXPORTS_URL"])
    await Tidying(database, FileStore(settings.data_folder, shelf), system_clock).tidy()
    assert not store.objects


async def test_a_store_that_refuses_gives_a_failed_export_and_leaves_nothing(
    away: Api, store: ObjectStore, settings: Settings
) -> None:
    await add(away.http, [{"firstName": "Ada"}])
    store.failing = True
    answer = await away.http.get("/api/admin/export/users/csv")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    export = (await ended(away.http, await order(away.http, "csv")))["export"]
    assert export["status"] == "failed"
    assert "store" in export["error"]
    store.failing = False
    assert not store.objects
    assert here(settings) == []


async def test_a_wrong_secret_and_a_url_that_is_none_are_told(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    shelf = objects.ObjectShelf(store.environment()["FLOWKICK_EXPORTS_URL"])
    with pytest.raises(Unavailable, match="try again"):
        await shelf.has("exp_1.csv")
    with pytest.raises(SettingsError, match="FLOWKICK_EXPORTS_URL"):
        objects.ObjectShelf("nonsense")
