"""Code that keeps its own tables in the same database emits in its own transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flowkick import emitters
from flowkick.core.errors import NotFound
from flowkick.delivery.models import WebhookDelivery
from flowkick.storage.database import Database
from flowkick.users.models import User
from tests.conftest import new_admin
from tests.support.server import Api
from tests.users.recorded import create, events, names, sequences


class Base(DeclarativeBase):
    """The tables of somebody else's application."""


class Visit(Base):
    __tablename__ = "their_visits"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest_asyncio.fixture
async def theirs(database: Database) -> AsyncIterator[AsyncSession]:
    """A plain session of an engine that Flowkick knows nothing of."""
    driver = "sqlite+aiosqlite" if database.is_sqlite else "postgresql+asyncpg"
    engine = create_async_engine(database.url.set(drivername=driver))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


async def visits(session: AsyncSession) -> int:
    return await session.scalar(select(func.count(Visit.id))) or 0


async def test_each_emitter_tells_in_the_callers_transaction(
    api: Api, theirs: AsyncSession
) -> None:
    user = await create(api.http, manychatId="1", tags=["vip"], customFields={"drink": "tea"})
    hook = {"url": "http://127.0.0.1:9/hook", "events": ["*"], "active": False}
    who = (api.admin_id, user["id"])
    changes: dict[str, dict[str, str | None]] = {
        "email": {"old": None, "new": "a@b.c"},
        "phone": {"old": "1", "new": "1"},
    }
    assert (await api.http.post("/api/admin/webhooks", json=hook)).status_code == 201
    async with theirs.begin():
        theirs.add(Visit(id=1))
        await emitters.emit_user_created(theirs, *who)
        await emitters.emit_user_updated(theirs, *who, changes)
        await emitters.emit_tag_added(theirs, *who, "VIP")
        await emitters.emit_tag_removed(theirs, *who, "vip")
        await emitters.emit_custom_field_updated(theirs, *who, "drink", "tea", None)
        await emitters.emit_user_deleted(theirs, *who)
    told = await events(api.database, user["id"])
    assert [body["event"] for body in told[1:]] == [
        "user.created",
        "user.updated",
        "tag.added",
        "tag.removed",
        "customfield.updated",
        "user.deleted",
    ]
    assert sequences(told) == list(range(1, 8))
    assert {body["metadata"]["source"] for body in told[1:]} == {"app"}
    assert told[2]["data"]["changes"] == {"email": {"old": None, "new": "a@b.c"}}
    assert told[5]["data"]["field"]["oldValue"] == "tea"
    assert await visits(theirs) == 1
    async with api.database.system_reading() as session:
        assert await session.scalar(select(func.count(WebhookDelivery.id))) == 6
    await api.http.patch(f"/api/admin/users/{user['id']}", json={"firstName": "Z"})
    assert sequences(await events(api.database, user["id"]))[-1] == 8


async def test_a_deletion_is_told_of_after_the_row_went_too_but_once(
    api: Api, theirs: AsyncSession
) -> None:
    user = await create(api.http, manychatId="1")
    who = (api.admin_id, user["id"])
    async with theirs.begin():
        await theirs.execute(delete(User).where(User.id == user["id"]))
        await emitters.emit_user_deleted(theirs, *who, manychat_id="1")
        with pytest.raises(NotFound):
            await emitters.emit_user_deleted(theirs, *who, manychat_id="1")
    told = await events(api.database, user["id"])
    assert sequences(told) == [1, 2]
    assert told[1]["data"] == {"user": {"id": user["id"], "manychatId": "1"}}


async def test_what_the_caller_rolls_back_was_never_told(api: Api, theirs: AsyncSession) -> None:
    user = await create(api.http)
    theirs.add(Visit(id=1))
    await emitters.emit_user_created(theirs, api.admin_id, user["id"])
    await theirs.rollback()
    assert await names(api.database) == ["user.created"]
    assert await visits(theirs) == 0
    await theirs.rollback()
    await api.http.patch(f"/api/admin/users/{user['id']}", json={"firstName": "Z"})
    assert sequences(await events(api.database, user["id"])) == [1, 2]


async def test_equal_values_tell_nothing(api: Api, theirs: AsyncSession) -> None:
    user = await create(api.http)
    who = (api.admin_id, user["id"])
    async with theirs.begin():
        assert await emitters.emit_user_updated(theirs, *who, {"a": {"old": 1, "new": 1}}) is None
        assert await emitters.emit_user_updated(theirs, *who, {}) is None
        assert await emitters.emit_custom_field_updated(theirs, *who, "f", "x", "x") is None
    assert await names(api.database) == ["user.created"]


async def test_an_unknown_user_is_refused_and_the_transaction_goes_on(
    api: Api, theirs: AsyncSession
) -> None:
    user = await create(api.http)
    other, _ = await new_admin(api.database)
    async with theirs.begin():
        theirs.add(Visit(id=1))
        for admin_id, user_id in ((api.admin_id, "usr_nobody"), (other, user["id"])):
            with pytest.raises(NotFound):
                await emitters.emit_user_created(theirs, admin_id, user_id)
            with pytest.raises(NotFound):
                await emitters.emit_user_deleted(theirs, admin_id, user_id)
    assert await visits(theirs) == 1
    assert await names(api.database) == ["user.created"]
