"""Statements over many rows at once, for the paths where thousands pass a second.

Rows travel as one array a column on PostgreSQL and as one executemany on SQLite: either way a single
prepared statement serves every number of rows, with no work by the ORM for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Self

from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, Table
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, class_mapper
from sqlalchemy.types import TypeEngine

from flowkick.core.clock import isoformat
from flowkick.storage.base import Base, UtcDateTime
from flowkick.storage.dialects import is_sqlite

Row = Mapping[str, Any]


@dataclass(frozen=True)
class BulkStatement:
    """One statement in both spellings.

    `columns` gives the keys of a row, in the order of the parameters (``?1``, ``$1``), and the
    PostgreSQL type of each.
    """

    columns: Mapping[str, str]
    sqlite: str
    postgresql: str

    @classmethod
    def insert(cls, model: type[Base], *attributes: str) -> Self:
        """``INSERT`` of these attributes of `model`."""
        columns = {name: _column(model, name) for name in attributes}
        names = ", ".join(f'"{column.name}"' for column in columns.values())
        target = f'INSERT INTO "{_table(model).name}" ({names})'
        numbers = range(1, len(columns) + 1)
        types = {name: _postgres_type(column.type) for name, column in columns.items()}
        arrays = ", ".join(
            f"${number}::{type_}[]" for number, type_ in zip(numbers, types.values(), strict=True)
        )
        values = ", ".join(f"?{number}" for number in numbers)
        return cls(types, f"{target} VALUES ({values})", f"{target} SELECT * FROM unnest({arrays})")

    async def run(self, session: AsyncSession, rows: Sequence[Row]) -> None:
        """Run it for all rows, each with every column. The rows carry their admin themselves."""
        if not rows:
            return
        connection = await session.connection()
        if is_sqlite(session):
            moments = [name for name, type_ in self.columns.items() if type_ == "timestamptz"]
            await connection.exec_driver_sql(
                self.sqlite, [self._values(row, moments) for row in rows]
            )
            return
        arrays = tuple([row[name] for row in rows] for name in self.columns)
        await connection.exec_driver_sql(self.postgresql, arrays)

    def _values(self, row: Row, moments: Sequence[str]) -> tuple[Any, ...]:
        if not moments:
            return tuple(row[name] for name in self.columns)
        return tuple(
            isoformat(value) if isinstance(value := row[name], datetime) else value
            for name in self.columns
        )


def _table(model: type[Base]) -> Table:
    table: Any = model.__table__
    return table  # type: ignore[no-any-return]


@cache
def _column(model: type[Base], attribute: str) -> Any:
    found: InstrumentedAttribute[Any] = getattr(model, attribute)
    return class_mapper(model).columns[found.key]


_POSTGRES_TYPES: Mapping[type[TypeEngine[Any]], str] = {
    UtcDateTime: "timestamptz",
    BigInteger: "bigint",
    Integer: "integer",
    Boolean: "boolean",
    LargeBinary: "bytea",
}


def _postgres_type(type_: TypeEngine[Any]) -> str:
    for known, name in _POSTGRES_TYPES.items():
        if isinstance(type_, known):
            return name
    return "text"
