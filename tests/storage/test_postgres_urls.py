"""libpq's parameters in the database's URL are followed, by the pool and by LISTEN, or refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from flowkick.core.errors import SettingsError
from flowkick.core.settings import load_settings
from flowkick.storage.database import Database
from flowkick.storage.dialects import DELIVERIES_CHANNEL
from flowkick.storage.wakeup import listen
from tests.conftest import MASTER_KEY
from tests.support import lacking
from tests.support.certificates import Certificate, self_signed
from tests.support.postgres import Cluster, find_binaries

_ABOUT_US = """
SELECT application_name, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
WHERE pid = pg_backend_pid()
"""
_LISTENERS = """
SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
WHERE ssl AND query LIKE 'LISTEN%' AND application_name = 'of-the-test'
"""


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return self_signed()


@pytest.fixture(scope="module")
def tls_cluster(certificate: Certificate) -> Iterator[Cluster]:
    if find_binaries() is None:
        lacking("PostgreSQL")
    with Cluster(tls=certificate) as cluster:
        yield cluster


@pytest.fixture
def authority(tmp_path: Path, certificate: Certificate) -> Path:
    path = tmp_path / "an authority.pem"
    path.write_bytes(certificate.certificate)
    return path


async def test_plans_are_not_compiled(tls_cluster: Cluster) -> None:
    tls_cluster.execute("ALTER DATABASE postgres SET jit = on")
    url = tls_cluster.url("postgres")
    async with opened(url) as database, database.reader.connect() as connection:
        assert (await connection.execute(text("SHOW jit"))).scalar_one() == "off"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(load_settings(_env_file=None, database_url=url, secret_key=MASTER_KEY))
    try:
        yield database
    finally:
        await database.close()


async def about(url: str) -> tuple[str, bool]:
    """The name under which the server knows a connection of the pool, and whether it has TLS."""
    async with opened(url) as database, database.reader.connect() as connection:
        name, tls = (await connection.execute(text(_ABOUT_US))).one()
    return name, tls


async def test_tls_is_what_the_url_says(tls_cluster: Cluster, authority: Path) -> None:
    url = tls_cluster.url("postgres")
    assert await about(f"{url}?sslmode=disable") == ("flowkick", False)
    assert await about(f"{url}?sslmode=require") == ("flowkick", True)
    trusted = f"sslmode=verify-full&sslrootcert={authority}".replace(" ", "%20")
    named = f"{url}?{trusted}&application_name=crm&connect_timeout=5&options=-c%20jit%3Doff"
    assert await about(named) == ("crm", True)


async def test_a_server_that_is_not_who_it_should_be_is_not_spoken_to(
    tls_cluster: Cluster, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(self_signed().certificate)
    url = f"{tls_cluster.url('postgres')}?sslmode=verify-full&sslrootcert={stranger}"
    with pytest.raises((OSError, SQLAlchemyError), match="certificate verify failed"):
        await about(url)


async def test_who_listens_does_so_as_the_url_says(tls_cluster: Cluster, authority: Path) -> None:
    trusted = f"sslmode=verify-full&sslrootcert={authority}".replace(" ", "%20")
    url = f"{tls_cluster.url('postgres')}?{trusted}&application_name=of-the-test"
    woken = asyncio.Event()
    async with opened(url) as database:
        listening = asyncio.create_task(listen(database, woken.set))
        async with asyncio.timeout(20):
            await woken.wait()  # as it does when it begins to listen
            woken.clear()
            assert tls_cluster.execute(_LISTENERS) == "1"
            tls_cluster.execute(f"NOTIFY {DELIVERIES_CHANNEL}")
            await woken.wait()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ("sslmod=require", "has sslmod,"),
        ("channel_binding=require", "has channel_binding,"),
        ("sslmode=on", "sslmode is one of"),
        ("sslmode=verify-full&sslrootcert=/no/such/file.pem", "/no/such/file.pem"),
        ("sslmode=require&sslmode=disable", "sslmode more than once"),
        ("connect_timeout=soon", "connect_timeout is a number of seconds"),
    ],
)
async def test_what_can_not_be_followed_is_refused_at_the_start(parameters: str, says: str) -> None:
    url = f"postgresql://flowkick:hush@127.0.0.1:9/flowkick?{parameters}"
    with pytest.raises(SettingsError) as refused:
        async with opened(url):
            pass
    assert "FLOWKICK_DATABASE_URL" in refused.value.sentence
    assert says in refused.value.sentence
    assert "hush" not in refused.value.sentence


async def test_what_only_the_driver_understands_is_told_by_it() -> None:
    url = "postgresql://flowkick@127.0.0.1:9/flowkick?target_session_attrs=sometimes"
    with pytest.raises(SettingsError, match="target_session_attrs"):
        await about(url)
