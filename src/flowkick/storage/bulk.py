"""Statements over many rows at once, for the paths where thousands pass a second.

Rows travel as one array a column on PostgreSQL, and on SQLite as one JSON document, with all bytes
in one piece beside it: either way one prepared statement serves every number of rows. On SQLite an
executemany would be slower by far: the driver's thread and the event loop's would hand each other
the interpreter lock for every row.

Many rows that are inserted, or left out where they are there already, go to PostgreSQL by COPY in
its binary format. That costs this process a third of what arrays cost, and the server two thirds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from itertools import accumulate, count
from operator import itemgetter
from typing import Any, Final, Self

import msgspec
from sqlalchemy import BigInteger, Boolean, CursorResult, Date, Integer, LargeBinary, Table
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, class_mapper
from sqlalchemy.types import TypeEngine

from flowkick.core.clock import isoformat
from flowkick.storage.base import Base, UtcDateTime
from flowkick.storage.dialects import is_sqlite

Row = Mapping[str, Any]
_Values = tuple[Any, ...]
DO_NOTHING: Final = "DO NOTHING"
_BYTES: Final = "bytea"
_CUT: Final = "substr(?2, json_extract(value, '$[{}]'), json_extract(value, '$[{}]'))"
_COPIED: Final = 20
"""From so many rows on, COPY is worth its additional round trips."""


@dataclass(frozen=True)
class _Destination:
    """Where rows are copied to: a table, and its columns in their order."""

    table: str
    columns: Sequence[str]
    may_conflict: bool


@dataclass(frozen=True)
class BulkStatement:
    """One statement over rows that stand in it as the table ``{given}``.

    `columns` gives the keys of a row and the PostgreSQL type of each; they are the columns of
    ``given``, too. Those that are `often_alike` travel once, where each is the same in all rows:
    a value in an array costs the driver and the database about a microsecond together.
    """

    columns: Mapping[str, str]
    sql: str
    often_alike: tuple[str, ...] = ()
    _destination: _Destination | None = None

    def __post_init__(self) -> None:
        """Refuse a single column, whose values would not be tuples."""
        if len(self.columns) < 2:
            raise ValueError("A bulk statement has two columns or more.")

    @classmethod
    def insert(
        cls,
        model: type[Base],
        *attributes: str,
        on_conflict: str | None = None,
        often_alike: tuple[str, ...] = (),
    ) -> Self:
        """``INSERT`` of these attributes of `model`; `on_conflict` as in ``ON CONFLICT …``."""
        columns = {name: _column(model, name) for name in attributes}
        table, named = _table(model).name, [column.name for column in columns.values()]
        types = {name: _postgres_type(column.type) for name, column in columns.items()}
        names = ", ".join(f'"{name}"' for name in named)
        sql = f'INSERT INTO "{table}" ({names}) SELECT * FROM {{given}}'
        if on_conflict is None:
            return cls(types, sql, often_alike, _Destination(table, named, may_conflict=False))
        # Without WHERE, SQLite would read ON as the condition of a join.
        sql += f" WHERE true ON CONFLICT {on_conflict}"
        copied = _Destination(table, named, may_conflict=True)
        return cls(types, sql, often_alike, copied if on_conflict == DO_NOTHING else None)

    async def run(self, session: AsyncSession, rows: Sequence[Row]) -> int:
        """Run it for all rows, each with every column; how many rows it wrote.

        The rows carry their admin themselves.
        """
        return await self.run_tuples(session, list(map(itemgetter(*self.columns), rows)))

    async def run_tuples(self, session: AsyncSession, values: Sequence[_Values]) -> int:
        """As `run`, of rows that have their values in the order of the columns."""
        if not values:
            return 0
        connection = await session.connection()
        if (
            not is_sqlite(session)
            and len(values) >= _COPIED
            and await self._copied(connection, values)
        ):
            return len(values)
        return (await self._executed(connection, values)).rowcount

    async def fetch(self, session: AsyncSession, values: Sequence[_Values]) -> Sequence[Any]:
        """As `run_tuples`, of a statement that gives rows back; gives those."""
        if not values:
            return []
        return (await self._executed(await session.connection(), values)).all()

    async def _executed(
        self, connection: AsyncConnection, values: Sequence[_Values]
    ) -> CursorResult[Any]:
        columns = dict(zip(self.columns, zip(*values, strict=True), strict=True))
        alike = bool(self.often_alike) and all(
            columns[name].count(columns[name][0]) == len(values) for name in self.often_alike
        )
        shared = {name: columns.pop(name)[0] for name in self.often_alike} if alike else {}
        if connection.dialect.name == "sqlite":
            given = _for_sqlite(columns, self.columns)
            sql, parameters = self._sqlite[alike], (*given, *map(_plain, shared.values()))
        else:
            sql, parameters = self._postgresql[alike], (*columns.values(), *shared.values())
        return await connection.exec_driver_sql(sql, parameters)

    async def _copied(self, connection: AsyncConnection, values: Sequence[_Values]) -> bool:
        """Whether PostgreSQL took the rows by COPY, which fails where one is there already."""
        if self._destination is None:
            return False
        if not self._destination.may_conflict:
            await _copy(connection, self._destination, values)
            return True
        try:
            async with connection.begin_nested():
                await _copy(connection, self._destination, values)
        except IntegrityError:
            return False
        return True

    @cached_property
    def _postgresql(self) -> tuple[str, str]:
        """The statements without columns that are alike, and with them."""
        return self._postgresql_given(()), self._postgresql_given(self.often_alike)

    def _postgresql_given(self, shared: Sequence[str]) -> str:
        listed = [name for name in self.columns if name not in shared]
        numbers = {name: f"${number}" for number, name in enumerate((*listed, *shared), 1)}
        arrays = ", ".join(f"{numbers[name]}::{self.columns[name]}[]" for name in listed)
        each = f"unnest({arrays}) AS given({', '.join(listed)})"
        if shared:
            selected = ", ".join(
                f"{numbers[name]}::{type_} AS {name}" if name in shared else name
                for name, type_ in self.columns.items()
            )
            each = f"(SELECT {selected} FROM {each}) AS given"
        return self.sql.format(given=each)

    @cached_property
    def _sqlite(self) -> tuple[str, str]:
        """The statements without columns that are alike, and with them."""
        return self._sqlite_given(()), self._sqlite_given(self.often_alike)

    def _sqlite_given(self, shared: Sequence[str]) -> str:
        listed = [name for name in self.columns if name not in shared]
        places = count()
        values = {
            name: _CUT.format(next(places), next(places))
            if self.columns[name] == _BYTES
            else f"json_extract(value, '$[{next(places)}]')"
            for name in listed
        }
        first = 3 if _BYTES in self.columns.values() else 2
        values |= {name: f"?{number}" for number, name in enumerate(shared, first)}
        extracted = ", ".join(f"{values[name]} AS {name}" for name in self.columns)
        # json_each writes a row's text anew for every column that asks for it, unless it is kept:
        # of 44 columns, that was four fifths of the time.
        each = "WITH each AS MATERIALIZED (SELECT value FROM json_each(?1))"
        return self.sql.format(given=f"({each} SELECT {extracted} FROM each) AS given")


async def _copy(
    connection: AsyncConnection, destination: _Destination, values: Sequence[_Values]
) -> int:
    """COPY rows into a PostgreSQL table, inside the connection's transaction."""
    import asyncpg  # noqa: PLC0415  # only PostgreSQL needs it

    driver: Any = (await connection.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():  # SQLAlchemy begins one with its first statement
        await connection.exec_driver_sql("SELECT 1")
    try:
        await driver.copy_records_to_table(
            destination.table, columns=destination.columns, records=values
        )
    except asyncpg.UniqueViolationError as error:
        raise IntegrityError("COPY", None, error, hide_parameters=True) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise DBAPIError("COPY", None, error, hide_parameters=True) from error
    return len(values)


def _for_sqlite(columns: Mapping[str, _Values], types: Mapping[str, str]) -> _Values:
    """A document of all rows, and where some are bytes, those of all rows in one piece."""
    listed: list[Iterable[Any]] = []
    pieces = [b"."]  # what is cut from nothing is null
    end = 2
    for name, values in columns.items():
        if types[name] == _BYTES:
            lengths = [len(value or b"") for value in values]
            ends = list(accumulate(lengths, initial=end))
            listed += [ends[:-1], [None if value is None else len(value) for value in values]]
            pieces += filter(None, values)
            end = ends[-1]
        else:
            listed.append(map(_plain, values) if types[name] == "timestamptz" else values)
    document = msgspec.json.encode(list(zip(*listed, strict=True))).decode()
    return (document, b"".join(pieces)) if _BYTES in types.values() else (document,)


def _plain(value: Any) -> Any:
    """A moment as SQLite keeps it."""
    return isoformat(value) if isinstance(value, datetime) else value


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
    Date: "date",
}


def _postgres_type(type_: TypeEngine[Any]) -> str:
    for known, name in _POSTGRES_TYPES.items():
        if isinstance(type_, known):
            return name
    return "text"
