"""What all tests share: both databases, and servers that are really running."""

from __future__ import annotations

import secrets
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
from flowkick.storage import migrate
from flowkick.storage.database import Database
from tests.support.postgres import Cluster
from tests.support.server import Api, running_server

MASTER_KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A private PostgreSQL for the whole run."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of its own for each test, on each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/flowkick.db"
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    name = f"test_{secrets.token_hex(6)}"
    yield cluster.create_database(name)
    cluster.drop_database(name)


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Settings as an operator would have them, with loopback allowed as a target."""
    return load_settings(
        _env_file=None,
        database_url=database_url,
        secret_key=MASTER_KEY,
        port=0,
        allowed_targets="127.0.0.0/8",
        log_level="warning",
    )


@pytest_asyncio.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A migrated database."""
    database = Database(settings)
    await migrate.upgrade(database)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def process(settings: Settings, database: Database) -> Process:
    """A process over the migrated database; not started."""
    return Process(settings)


@pytest_asyncio.fixture
async def api(process: Process, database: Database) -> AsyncIterator[Api]:
    """A running server, its engine included, and a client with the key of a new admin."""
    admin_id, key = await new_admin(database)
    async with running_server(process) as url, client(url, key) as http:
        yield Api(url, admin_id, key, http, database)


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
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        yield http
