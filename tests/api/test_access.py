"""Who may ask, and in whose name."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from flowkick.app import Process
from flowkick.core.errors import SettingsError
from flowkick.core.settings import Settings, load_settings
from flowkick.storage.database import Database
from tests.conftest import MASTER_KEY, new_admin
from tests.support.server import Api, running_server


def _settings(base: Settings, **changes: object) -> Settings:
    return base.model_copy(update=changes)


@pytest_asyncio.fixture
async def trusting(settings: Settings, database: Database) -> AsyncIterator[str]:
    async with running_server(Process(_settings(settings, trust_admin_header=True))) as url:
        yield url


async def test_a_key_works_alone_and_with_its_own_admin_id(api: Api) -> None:
    assert (await api.http.get("/api/admin/webhooks")).status_code == 200
    own = await api.http.get("/api/admin/webhooks", headers={"X-Admin-ID": api.admin_id})
    assert own.status_code == 200


async def test_a_key_with_another_admin_id_is_forbidden(api: Api) -> None:
    answer = await api.http.get("/api/admin/webhooks", headers={"X-Admin-ID": "adm_other"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_trusted_header_names_the_admin(trusting: str, database: Database) -> None:
    admin_id, _ = await new_admin(database)
    async with httpx.AsyncClient(base_url=trusting) as http:
        for given, status in ((admin_id, 200), ("adm_unknown", 401), ("", 401)):
            headers = {"X-Admin-ID": given}
            answer = await http.get("/api/admin/webhooks", headers=headers)
            assert answer.status_code == status, given


async def test_a_forwarded_address_makes_nobody_trusted(
    settings: Settings, database: Database
) -> None:
    admin_id, _ = await new_admin(database)
    elsewhere = load_settings(
        _env_file=None,
        database_url=settings.database_url,
        secret_key=MASTER_KEY,
        trust_admin_header=True,
        trusted_proxies="10.1.2.0/24",
    )
    async with running_server(Process(elsewhere)) as url, httpx.AsyncClient(base_url=url) as http:
        for forwarded in ({}, {"X-Forwarded-For": "10.1.2.3"}, {"Forwarded": "for=10.1.2.3"}):
            headers = {"X-Admin-ID": admin_id, **forwarded}
            answer = await http.get("/api/admin/webhooks", headers=headers)
            assert answer.status_code == 401


@pytest.mark.parametrize(
    ("peer", "proxies", "status"),
    [
        ("127.0.0.1", "", 200),
        ("::1", "", 200),
        ("192.0.2.5", "", 401),
        ("::ffff:192.0.2.5", "", 401),
        ("testclient", "", 401),
        ("10.1.2.3", "10.1.2.0/24", 200),
        ("::ffff:10.1.2.3", "10.1.2.0/24", 200),
        ("10.1.3.3", "10.1.2.0/24", 401),
        ("127.0.0.1", "10.1.2.0/24", 401),
        ("2001:db8::1", "10.1.2.0/24,2001:db8::/64", 200),
        ("2001:db8:1::1", "10.1.2.0/24,2001:db8::/64", 401),
    ],
)
async def test_only_a_trusted_peer_names_an_admin_without_a_key(
    settings: Settings, database: Database, peer: str, proxies: str, status: int
) -> None:
    admin_id, _ = await new_admin(database)
    trusting = load_settings(
        _env_file=None,
        database_url=settings.database_url,
        secret_key=MASTER_KEY,
        trust_admin_header=True,
        trusted_proxies=proxies,
    )
    process = Process(trusting)
    transport = httpx.ASGITransport(process.application(), client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        answer = await http.get("/api/admin/webhooks", headers={"X-Admin-ID": admin_id})
    await process.database.close()
    assert answer.status_code == status, answer.text


async def test_the_header_alone_counts_for_nothing_unless_trusted(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.url) as http:
        answer = await http.get("/api/admin/webhooks", headers={"X-Admin-ID": api.admin_id})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "flowkick.example.com"])
def test_an_open_address_that_trusts_the_header_is_refused_at_start(host: str) -> None:
    settings = load_settings(
        _env_file=None, host=host, trust_admin_header=True, secret_key=MASTER_KEY
    )
    with pytest.raises(SettingsError, match="FLOWKICK_TRUSTED_PROXIES"):
        Process(settings)
