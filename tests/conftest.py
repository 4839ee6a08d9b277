"""What all tests share: both databases, and servers that are really running."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from flowkick.app import Process
from flowkick.auth.service import create_admin, create_key
from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings, load_settings
from flowkick.storage.database import Database
from tests.support.commands import Machine
from tests.support.databases import MigratedDatabases, MigratedFiles
from tests.support.postgres import Cluster
from tests.support.server import Api, running_server

MASTER_KEY = "0123456789abcdef0123456789abcdef"
# Nothing here speaks TLS, and reading the authorities that are trusted takes longer than a test.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A private PostgreSQL for the whole run."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def migrated_files(tmp_path_factory: pytest.TempPathFactory) -> MigratedFiles:
    return MigratedFiles(tmp_path_factory.mktemp("migrated"))


@pytest.fixture(scope="session")
def migrated_databases(cluster: Cluster) -> MigratedDatabases:
    return MigratedDatabases(cluster)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own for each test, on each engine.

    It is empty, and migrated already where the test asks for the fixture ``database``.
    """
    get, migrated = request.getfixturevalue, "database" in request.fixturenames
    if request.param == "sqlite":
        path = tmp_path / "flowkick.db"
        yield get("migrated_files").copy(path) if migrated else f"sqlite:///{path}"
        return
    if migrated:
        databases: MigratedDatabases = get("migrated_databases")
        yield (url := databases.lend())
        databases.take_back(url)
        return
    cluster: Cluster = get("cluster")
    yield (url := cluster.create_database())
    cluster.drop_database(url)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings as an operator would have them, with loopback allowed as a target."""
    return load_settings(
        _env_file=None,
        database_url=database_url,
        secret_key=MASTER_KEY,
        data_dir=tmp_path / "data",
        port=0,
        allowed_targets="127.0.0.0/8",
        log_level="warning",
    )


@pytest_asyncio.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A migrated database."""
    database = Database(settings)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def process(settings: Settings, database: Database) -> AsyncIterator[Process]:
    """A process over the migrated database; not started."""
    process = Process(settings)
    yield process
    # A test that looks at the database once more has opened connections anew; uvloop may wait for
    # ever for those that are open when it closes.
    await process.database.close()


@pytest_asyncio.fixture
async def api(process: Process, database: Database) -> AsyncIterator[Api]:
    """A running server, its engine included, and a client with the key of a new admin."""
    admin_id, key = await new_admin(database)
    async with running_server(process) as url, client(url, key) as http:
        yield Api(url, admin_id, key, http, database)


@pytest.fixture
def machine(tmp_path: Path, database_url: str) -> Machine:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLOWKICK_")}
    return Machine(
        tmp_path,
        {
            **environment,
            "FLOWKICK_DATABASE_URL": database_url,
            "FLOWKICK_SECRET_KEY": MASTER_KEY,
            "FLOWKICK_ALLOWED_TARGETS": "127.0.0.0/8",
        },
    )


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """A machine with no settings at all: SQLite in the working directory."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLOWKICK_")}
    return Machine(tmp_path, environment)


async def new_admin(database: Database, **key: Any) -> tuple[str, str]:
    """An admin with one API key: (id, key)."""
    now = system_clock()
    async with database.system_transaction() as session:
        admin = await create_admin(session, "A test", now)
    async with database.transaction(admin.id) as session:
        _, token = await create_key(session, now, **key)
    return admin.id, token


@asynccontextmanager
async def client(url: str, key: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client, with an API key where one is given."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=30, verify=NO_AUTHORITIES
    ) as http:
        yield http
