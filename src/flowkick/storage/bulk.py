"""Statements over many rows at once, for the paths where thousands pass a second.

Rows travel as one array a column on PostgreSQL, and as one JSON document on SQLite: either way one
prepared statement serves every number of rows. On SQLite an executemany would be slower by far: the
driver's thread and the event loop's would hand each other the interpreter lock for every row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import Any, Self

import msgspec
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
    """One statement over rows that stand in it as the table ``{given}``.

    `columns` gives the keys of a row and the PostgreSQL type of each; they are the columns of
    ``given``, too.
    """

    columns: Mapping[str, str]
    sql: str

    @classmethod
    def insert(cls, model: type[Base], *attributes: str, on_conflict: str | None = None) -> Self:
        """``INSERT`` of these attributes of `model`; `on_conflict` as in ``ON CONFLICT …``."""
        columns = {name: _column(model, name) for name in attributes}
        names = ", ".join(f'"{column.name}"' for column in columns.values())
        types = {name: _postgres_type(column.type) for name, column in columns.items()}
        sql = f'INSERT INTO "{_table(model).name}" ({names}) SELECT * FROM {{given}}'
        if on_conflict is not None:
            # Without WHERE, SQLite would read ON as the condition of a join.
            sql += f" WHERE true ON CONFLICT {on_conflict}"
        return cls(types, sql)

    async def run(self, session: AsyncSession, rows: Sequence[Row]) -> None:
        """Run it for all rows, each with every column. The rows carry their admin themselves."""
        if not rows:
            return
        connection = await session.connection()
        if is_sqlite(session):
            values = [[_plain(row[name]) for name in self.columns] for row in rows]
            document = msgspec.json.encode(values).decode()
            await connection.exec_driver_sql(self._sqlite, (document,))
            return
        arrays = tuple([row[name] for row in rows] for name in self.columns)
        await connection.exec_driver_sql(self._postgresql, arrays)

    @cached_property
    def _postgresql(self) -> str:
        arrays = ", ".join(
            f"${number}::{type_}[]" for number, type_ in enumerate(self.columns.values(), 1)
        )
        names = ", ".join(self.columns)
        return self.sql.format(given=f"unnest({arrays}) AS given({names})")

    @cached_property
    def _sqlite(self) -> str:
        extracted = ", ".join(
            f"CAST({value} AS BLOB) AS {name}" if type_ == "bytea" else f"{value} AS {name}"
            for number, (name, type_) in enumerate(self.columns.items())
            if (value := f"json_extract(value, '$[{number}]')")
        )
        return self.sql.format(given=f"(SELECT {extracted} FROM json_each(?1)) AS given")


def _plain(value: Any) -> Any:
    """A value as JSON carries it to SQLite."""
    if isinstance(value, datetime):
        return isoformat(value)
    if isinstance(value, bytes):
        return value.decode()
    return value


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
