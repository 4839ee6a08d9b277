"""The same pages in plain SQL, through the driver alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Protocol

import asyncpg

_TAGS = """SELECT c."userId", t.id, t.name, c."appliedAt" FROM "ContactTag" c
    JOIN "Tag" t ON t.id = c."tagId" WHERE c."userId" {among}"""
_VALUES = """SELECT v."userId", f.name, v.value FROM "CustomFieldValue" v
    JOIN "CustomField" f ON f.id = v."fieldId" WHERE v."userId" {among}"""


class Plain(Protocol):
    """A connection that runs SQL; parameters stand as $1, $2 and so on."""

    async def page(self, sql: str, values: Sequence[Any]) -> list[str]:
        """The ids of a page of users, read with all columns, tags and custom fields."""

    async def close(self) -> None: ...


class PlainSqlite:
    """Through `sqlite3`."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)

    async def page(self, sql: str, values: Sequence[Any]) -> list[str]:
        rows = self._connection.execute(sql.replace("$", "?"), values).fetchall()
        ids = [row[1] for row in rows]
        for statement in (_TAGS, _VALUES):
            listed = statement.format(among="IN (SELECT value FROM json_each(?))")
            self._connection.execute(listed, (json.dumps(ids),)).fetchall()
        return ids

    async def close(self) -> None:
        self._connection.close()


class PlainPostgres:
    """Through asyncpg."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def page(self, sql: str, values: Sequence[Any]) -> list[str]:
        rows = await self._connection.fetch(sql, *values)
        ids = [row["id"] for row in rows]
        for statement in (_TAGS, _VALUES):
            await self._connection.fetch(statement.format(among="= ANY($1)"), ids)
        return ids

    async def close(self) -> None:
        await self._connection.close()


async def open_plain(database_url: str) -> Plain:
    """A connection of its own to a database of ours."""
    if database_url.startswith("sqlite"):
        return PlainSqlite(database_url.removeprefix("sqlite:///"))
    return PlainPostgres(await asyncpg.connect(database_url))
