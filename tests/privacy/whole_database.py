"""Looks through everything that a database holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import TextClause, text

from flowkick.storage.database import Database

_SQLITE_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
_POSTGRES_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


async def all_rows(database: Database) -> dict[str, list[str]]:
    """Every row of every table, shadow tables of indexes included, as text."""
    tables = _SQLITE_TABLES if database.is_sqlite else _POSTGRES_TABLES
    async with database.reader.connect() as connection:
        names = [row[0] for row in await connection.execute(text(tables))]
        return {
            name: [_as_text(row) for row in await connection.execute(_whole(name))]
            for name in names
            if name != "UserSearch"  # a view of its shadow tables, and of "User"
        }


def _whole(table: str) -> TextClause:
    return text(f'SELECT * FROM "{table}"')  # noqa: S608  # the database's own name of it


def _as_text(row: Sequence[Any]) -> str:
    return " | ".join(
        value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else json.dumps(value, ensure_ascii=False, default=str)
        for value in row
    )


def holding(rows: dict[str, list[str]], values: Sequence[str]) -> list[str]:
    """The tables in which one of `values` stands, and which, whatever its case."""
    return [
        f"{table}: {value}"
        for table, lines in rows.items()
        for value in values
        if any(value.casefold() in line.casefold() for line in lines)
    ]
