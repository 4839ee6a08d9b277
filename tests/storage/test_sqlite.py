"""A statement on SQLite is one trip to its connection's thread, and gives what others would."""

from __future__ import annotations

from typing import Any

import pytest
from aiosqlite import Connection
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from flowkick.auth.models import Admin
from flowkick.core.clock import system_clock
from flowkick.storage.database import Database

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was done in the threads of connections."""
    made: list[Any] = []
    execute: Any = Connection._execute  # noqa: SLF001  # every way to the thread

    async def counted(self: Connection, *work: Any, **options: Any) -> Any:
        made.append(work)
        return await execute(self, *work, **options)

    monkeypatch.setattr(Connection, "_execute", counted)
    return made


async def test_a_statement_is_one_trip(database: Database, trips: list[Any]) -> None:
    async with database.writer.begin() as connection:
        await connection.execute(text("SELECT 1"))
        trips.clear()
        rows = (await connection.execute(text("SELECT 1 AS a, 'x' AS b UNION SELECT 2, 'y'"))).all()
        assert len(trips) == 1
    assert [row._asdict() for row in rows] == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


async def test_what_a_statement_wrote_is_told(database: Database) -> None:
    now = system_clock()
    rows = [{"id": f"adm_{n}", "name": "Example", "created_at": now} for n in range(3)]
    async with database.system_transaction() as session:
        await session.execute(insert(Admin), rows)
        renamed: Any = await session.execute(text("""UPDATE "Admin" SET name = 'Other'"""))
        assert renamed.rowcount == 3
        connection = await session.connection()
        many = await connection.exec_driver_sql(
            'UPDATE "Admin" SET name = ? WHERE id = ?', [("A", "adm_0"), ("B", "adm_1")]
        )
        assert many.rowcount == 2
        names = await session.scalars(select(Admin.name).order_by(Admin.id))
        assert names.all() == ["A", "B", "Other"]


async def test_what_fails_is_told_and_leaves_the_connection_in_order(database: Database) -> None:
    row = {"id": "adm_1", "name": "Example", "created_at": system_clock()}
    for statement, error in (
        (insert(Admin).values([row, row]), IntegrityError),
        (text("SELECT nothing FROM nowhere"), OperationalError),
    ):
        with pytest.raises(error):
            async with database.system_transaction() as session:
                await session.execute(statement)
    async with database.system_transaction() as session:
        assert (await session.scalars(select(Admin.id))).all() == []


async def test_rows_can_be_read_a_few_at_a_time(database: Database) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    async with database.snapshots.connect() as connection:
        endless = await connection.stream(text(numbers), execution_options={"yield_per": 10})
        seen = []
        async for (number,) in endless:
            seen.append(number)
            if number == 25:
                break
        await endless.close()
    assert seen == list(range(1, 26))
