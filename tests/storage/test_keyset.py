"""Pages by keyset neither skip nor repeat, however close to one another their rows were made."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select

from flowkick.history.models import Tool
from flowkick.storage.database import Database
from flowkick.storage.keyset import newest_first
from tests.conftest import new_admin

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _tool(number: int, moment: datetime) -> Tool:
    return Tool(id=f"tol_{number:03}", name="Table", created_at=moment, updated_at=moment)


async def test_rows_of_one_millisecond_are_all_seen_once(database: Database) -> None:
    admin_id, _ = await new_admin(database)
    other, _ = await new_admin(database)
    chance = random.Random(1)
    moments = [NOON + timedelta(microseconds=chance.randrange(3_000)) for _ in range(60)]
    async with database.transaction(admin_id) as session:
        session.add_all(_tool(number, moment) for number, moment in enumerate(moments))
    async with database.transaction(other) as session:
        session.add(_tool(999, NOON))
    seen: list[str] = []
    cursor: str | None = None
    for page_number in range(100):
        async with database.reading(admin_id) as session:
            page = await newest_first(
                session, select(Tool), Tool.created_at, Tool.id, limit=7, cursor=cursor
            )
        seen += [row.id for row in page.rows]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        async with database.transaction(admin_id) as session:  # what comes and goes meanwhile
            session.add(_tool(100 + page_number, NOON + timedelta(seconds=1)))
            await session.execute(delete(Tool).where(Tool.id == seen[-1]))
    assert sorted(seen) == [f"tol_{number:03}" for number in range(60)]
