"""Users as Parquet: typed columns, written in row groups, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from flowkick.exports.columns import Column, Kind
from flowkick.exports.rows import Row
from flowkick.exports.writers import About, Sink

ROWS_PER_GROUP: Final = 20_000
_TEXT: Final = pa.string()
_TYPES: Final = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.MOMENT: pa.timestamp("ms", tz="UTC"),
    Kind.NUMBER: pa.int64(),
    Kind.TAGS: pa.list_(_TEXT),
}
_UNIQUE: Final = frozenset({"instagram_username", "email", "profile_pic"})
"""Texts that hardly repeat: a dictionary of them would only take room."""


class ParquetWriter:
    """Timestamps are in UTC, in milliseconds; tags are a list of names; the rest is text."""

    def __init__(self, sink: Sink, _about: About, rows_per_group: int = ROWS_PER_GROUP) -> None:
        self._out = pa.PythonFile(_File(sink), mode="w")
        self._most = rows_per_group
        self._columns: Sequence[Column] = ()
        self._rows: list[Row] = []

    def open(self, columns: Sequence[Column]) -> None:
        """Write what a file begins with."""
        self._columns = columns
        self._schema = pa.schema(
            [(column.name, _TYPES.get(column.kind, _TEXT)) for column in columns]
        )
        self._writer = pq.ParquetWriter(
            self._out,
            self._schema,
            compression="zstd",
            use_dictionary=[_path(column) for column in columns if _repeats(column)],
        )

    def write(self, batch: Sequence[Row]) -> None:
        """Write the groups that are full."""
        self._rows.extend(batch)
        while len(self._rows) >= self._most:
            self._write_group(self._rows[: self._most])
            del self._rows[: self._most]

    def close(self) -> None:
        """Write the last group, and where everything lies."""
        if self._rows:
            self._write_group(self._rows)
        self._writer.close()
        self._out.flush()

    def _write_group(self, rows: Sequence[Row]) -> None:
        values = [
            pa.array([_value(row[number], column.kind) for row in rows], type_.type)
            for number, (column, type_) in enumerate(zip(self._columns, self._schema, strict=True))
        ]
        self._writer.write_table(pa.Table.from_arrays(values, schema=self._schema), len(rows))


def _value(value: Any, kind: Kind) -> Any:
    return [tag.name for tag in value] if kind is Kind.TAGS else value


def _repeats(column: Column) -> bool:
    return column.kind in {Kind.TEXT, Kind.TAGS} and column.name not in _UNIQUE


def _path(column: Column) -> str:
    """Where its texts are, as Parquet names it."""
    return f"{column.name}.list.element" if column.kind is Kind.TAGS else column.name


class _File:
    """A sink as pyarrow wants it: one that knows how far it is."""

    closed = False

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._size = 0

    def write(self, data: bytes) -> int:
        """Take them all."""
        self._sink.write(bytes(data))
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """How many bytes there are."""
        return self._size

    def flush(self) -> None:
        """There is nothing in between."""

    def close(self) -> None:
        """The sink stays open."""
