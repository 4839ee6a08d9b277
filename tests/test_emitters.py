"""Emitters in transactions of every kind that somebody else's code opens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from flowkick import emitters
from flowkick.storage.database import Database
from tests.support.endpoint import Endpoint
from tests.support.server import Api
from tests.users.recorded import create, events, names, sequences


@pytest_asyncio.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    """An engine of somebody else's, with its driver's defaults, and a table of theirs."""
    driver = "sqlite+aiosqlite" if database.is_sqlite else "postgresql+asyncpg"
    engine = create_async_engine(database.url.set(drivername=driver))
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE their_orders (id integer PRIMARY KEY)"))
    yield engine
    await engine.dispose()


async def orders(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return await connection.scalar(text("SELECT count(*) FROM their_orders")) or 0


async def place(session: AsyncSession, number: int) -> None:
    await session.execute(text("INSERT INTO their_orders VALUES (:id)"), {"id": number})


async def test_what_is_committed_arrives(api: Api, engine: AsyncEngine) -> None:
    user = await create(api.http, manychatId="1")
    async with Endpoint() as endpoint:
        hook = {"url": endpoint.url, "events": ["user.updated"]}
        assert (await api.http.post("/api/admin/webhooks", json=hook)).status_code == 201
        async with AsyncSession(engine) as session, session.begin():
            await place(session, 1)
            changes = {"email": {"old": None, "new": "a@b.c"}}
            event_id = await emitters.emit_user_updated(session, api.admin_id, user["id"], changes)
        (arrival,) = await endpoint.wait_for(1)
    assert arrival.event_id == event_id
    assert arrival.json()["data"]["changes"] == changes
    assert arrival.json()["metadata"] == {
        "source": "app",
        "action": "updated",
        "eventId": event_id,
        "sequence": 2,
    }
    assert await orders(engine) == 1


@pytest.mark.parametrize("first", ["order", "event"])
async def test_an_error_takes_the_event_and_the_order_with_it(
    api: Api, engine: AsyncEngine, first: str
) -> None:
    user = await create(api.http)

    async def fail() -> None:
        async with AsyncSession(engine) as session, session.begin():
            if first == "order":
                await place(session, 1)
            await emitters.emit_user_created(session, api.admin_id, user["id"])
            if first == "event":
                await place(session, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await orders(engine) == 0
    assert await names(api.database) == ["user.created"]


async def test_a_savepoint_keeps_or_takes_back_its_own_events(
    api: Api, engine: AsyncEngine
) -> None:
    user = await create(api.http, tags=["vip"])
    who = (api.admin_id, user["id"])
    async with AsyncSession(engine) as session, session.begin():
        await place(session, 1)
        await emitters.emit_user_created(session, *who)
        async with session.begin_nested():
            await emitters.emit_tag_added(session, *who, "vip")
        async with session.begin_nested() as savepoint:
            await place(session, 2)
            await emitters.emit_user_created(session, *who)
            await savepoint.rollback()
        await emitters.emit_tag_removed(session, *who, "vip")
    told = await events(api.database)
    assert [body["event"] for body in told] == [
        "user.created",
        "user.created",
        "tag.added",
        "tag.removed",
    ]
    assert sequences(told) == [1, 2, 3, 4]
    assert await orders(engine) == 1


async def test_emitters_and_the_api_at_once_number_without_gaps(
    api: Api, engine: AsyncEngine
) -> None:
    user = await create(api.http, firstName="start")

    async def tell(number: int) -> None:
        async with AsyncSession(engine) as session, session.begin():
            changes = {"email": {"old": None, "new": str(number)}}
            await emitters.emit_user_updated(session, api.admin_id, user["id"], changes)

    async def patch(number: int) -> None:
        path = f"/api/admin/users/{user['id']}"
        answer = await api.http.patch(path, json={"firstName": str(number)})
        assert answer.status_code == 200

    await asyncio.gather(*(act(number) for number in range(20) for act in (tell, patch)))
    assert sequences(await events(api.database, user["id"])) == list(range(1, 42))
