"""The service that the docs show, run as it is printed: what it does arrives at a receiver."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from flowkick.storage.database import Database
from tests.history import made
from tests.support.endpoint import Endpoint
from tests.support.server import Api
from tests.users.recorded import create, events, sequences

PAGE = Path(__file__).parents[2] / "docs" / "own-service.md"
START = datetime(2026, 3, 1, 18, tzinfo=UTC)


@pytest.fixture(scope="module")
def service() -> SimpleNamespace:
    """What the page's code defines."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "own_service"}
    exec(compile(code, PAGE, "exec", dont_inherit=True), names)  # noqa: S102  # the docs' own lines
    return SimpleNamespace(**names)


@pytest_asyncio.fixture
async def session(database: Database, service: SimpleNamespace) -> AsyncIterator[AsyncSession]:
    """A session of the service's own engine, which made the service's own tables."""
    driver = "sqlite+aiosqlite" if database.is_sqlite else "postgresql+asyncpg"
    engine = create_async_engine(database.url.set(drivername=driver))
    async with engine.begin() as connection:
        await connection.run_sync(service.Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


ALONE = """
import asyncio, sys
from pathlib import Path
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

page, url, *who = sys.argv[1:]
code = Path(page).read_text().partition("```python\\n")[2].partition("```")[0]
exec(code)

async def book():
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        print(await book_table(session, *who, datetime(2026, 3, 1, 18, tzinfo=UTC)))
    await engine.dispose()

asyncio.run(book())
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_service_needs_nothing_but_what_it_imports(api: Api) -> None:
    user, tool = await create(api.http), await made.tool(api.http)
    url = api.database.url.set(drivername="sqlite+aiosqlite").render_as_string()
    arguments = [str(PAGE), url, api.admin_id, user["id"], tool["id"]]
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", "-c", ALONE, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    told = (await events(api.database, user["id"]))[-1]
    assert told["event"] == "booking.created"
    assert told["data"]["booking"]["id"] == ran.stdout.strip()


async def test_what_the_service_does_arrives(
    api: Api, service: SimpleNamespace, session: AsyncSession
) -> None:
    user = await create(api.http, firstName="Ada", tags=["vip"])
    newcomer = await create(api.http, tags=["newcomer"])
    tool = await made.tool(api.http)
    code = await made.qr_code(api.http, userId=user["id"])
    who = (api.admin_id, user["id"])
    async with Endpoint() as endpoint:
        hook = {"url": endpoint.url, "events": ["*"]}
        assert (await api.http.post("/api/admin/webhooks", json=hook)).status_code == 201
        booking_id = await service.book_table(session, *who, tool["id"], START)
        await service.cancel_table(session, api.admin_id, booking_id)
        await service.cancel_table(session, api.admin_id, booking_id)
        assert await service.scan_voucher(session, api.admin_id, code["code"], "front-desk")
        assert not await service.scan_voucher(session, api.admin_id, code["code"], "bar")
        await service.add_tag(session, *who, "Newcomer")
        await service.remove_tag(session, *who, "vip")
        await service.remove_tag(session, api.admin_id, newcomer["id"], "vip")
        await endpoint.wait_for(5)
        arrived = {arrival.event: arrival.json()["data"] for arrival in endpoint.arrivals}
    assert len(endpoint.arrivals) == 5
    assert arrived["booking.created"]["booking"]["tool"]["name"] == "Table"
    assert arrived["booking.created"]["booking"]["endTime"] == "2026-03-01T20:00:00.000Z"
    assert arrived["booking.created"]["user"]["stats"]["bookingsCount"] == 1
    assert arrived["booking.cancelled"]["booking"]["status"] == "cancelled"
    assert arrived["qr.scanned"]["scannedBy"] == "front-desk"
    assert arrived["qr.scanned"]["user"]["stats"]["qrScansCount"] == 1
    assert [tag["name"] for tag in arrived["tag.added"]["user"]["tags"]] == ["vip", "newcomer"]
    assert arrived["tag.removed"]["tag"]["name"] == "vip"
    assert sequences(await events(api.database, user["id"])) == list(range(1, 8))
    assert await session.scalar(select(func.count(service.LogEntry.id))) == 2
    shown = (await made.get(api.http, f"/users/{user['id']}"))["user"]
    assert shown["bookingsCount"] == 1
