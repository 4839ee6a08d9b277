"""A session sees and writes the rows of its admin only, and says so where it can't tell."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.orm import aliased

from flowkick.core.clock import system_clock
from flowkick.core.ids import new_id
from flowkick.storage.database import Database
from flowkick.storage.tenancy import ScopeError
from flowkick.users.models import Tag, User
from tests.conftest import new_admin


def _user(name: str) -> User:
    now = system_clock()
    return User(id=new_id("usr"), first_name=name, created_at=now, updated_at=now)


async def _two_admins(database: Database) -> tuple[str, str]:
    (mine, _), (other, _) = await new_admin(database), await new_admin(database)
    for admin_id in (mine, other):
        async with database.transaction(admin_id) as session:
            session.add(_user(admin_id))
    return mine, other


async def test_a_session_that_reads_refuses_to_write(database: Database) -> None:
    mine, _ = await _two_admins(database)
    async with database.reading(mine) as session:
        session.add(_user("new"))
        with pytest.raises(ScopeError):
            await session.flush()
        session.expunge_all()
        for statement in (update(User).values(first_name="x"), delete(User)):
            with pytest.raises(ScopeError):
                await session.execute(statement)
    async with database.system_reading() as session:
        with pytest.raises(ScopeError):
            await session.execute(delete(User))
        assert await session.scalar(select(func.count(User.id))) == 2


async def test_selects_joins_subqueries_and_counts_are_scoped(database: Database) -> None:
    mine, _ = await _two_admins(database)
    async with database.reading(mine) as session:
        assert (await session.scalars(select(User.first_name))).all() == [mine]
        assert await session.scalar(select(func.count(User.id))) == 1
        other = aliased(User)
        pairs = await session.execute(select(User.id, other.id).join(other, User.id != other.id))
        assert pairs.all() == []
        inside = select(User.id).where(User.first_name != mine)
        assert (await session.scalars(select(User).where(User.id.in_(inside)))).all() == []


async def test_updates_and_deletes_are_scoped(database: Database) -> None:
    mine, other = await _two_admins(database)
    async with database.transaction(mine) as session:
        await session.execute(update(User).values(first_name="changed"))
    async with database.transaction(mine) as session:
        await session.execute(delete(User))
    async with database.reading(other) as session:
        assert (await session.scalars(select(User.first_name))).all() == [other]


async def test_rows_of_another_admin_cannot_be_written(database: Database) -> None:
    mine, other = await _two_admins(database)
    now = system_clock()
    row = {"id": "tag_1", "admin_id": other, "name": "x", "name_key": "x", "created_at": now}
    async with database.reading(mine) as session:
        session.add(Tag(**row))
        with pytest.raises(ScopeError):
            await session.flush()
    async with database.reading(mine) as session:
        with pytest.raises(ScopeError):
            await session.execute(insert(Tag), [row])


async def test_what_cannot_be_scoped_is_refused(database: Database) -> None:
    mine, _ = await _two_admins(database)
    async with database.reading(mine) as session:
        with pytest.raises(ScopeError):
            await session.execute(text('SELECT * FROM "User"'))
        with pytest.raises(ScopeError):
            await session.execute(select(User.__table__))
    async with database.system_reading() as session:
        with pytest.raises(ScopeError):
            _ = session.admin_id
