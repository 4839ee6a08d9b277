"""Writers: rows go in, the bytes of a format come out.

A writer is made with the `Sink` that takes its bytes and what the file is `About`. It is used from
one thread at a time, away from the event loop: `open` once, `write` for each batch, `close` once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from flowkick.core.clock import isoformat
from flowkick.exports.cells import cell
from flowkick.exports.columns import Column
from flowkick.exports.documents import Documents
from flowkick.exports.rows import Row

BOM: Final = b"\xef\xbb\xbf"


class Sink(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> Any:
        """Take them all."""


class Writer(Protocol):
    """Writes one file."""

    def open(self, columns: Sequence[Column]) -> None:
        """Write what comes before the rows."""

    def write(self, batch: Sequence[Row]) -> None:
        """Write some rows."""

    def close(self) -> None:
        """Write what comes after the rows. The sink stays open."""


@dataclass(frozen=True, slots=True)
class About:
    """What a file is, for the formats that say so inside of it."""

    exported_at: datetime
    record_count: int
    filters: Mapping[str, Any] = field(default_factory=dict)
    includes: Sequence[str] = ()
    bom: bool = False
    """Whether a CSV begins with a byte order mark, by which Excel knows UTF-8."""
    scratch: Path | None = None
    """A folder, not made yet, for what can't be written in order; None for the system's own."""

    def metadata(self) -> dict[str, Any]:
        """As documents show it."""
        return {
            "exportedAt": isoformat(self.exported_at),
            "recordCount": self.record_count,
            "filters": self.filters,
            "includes": list(self.includes),
        }


class CsvWriter:
    """RFC 4180: commas, CRLF, quotes where they are needed; UTF-8."""

    def __init__(self, sink: Sink, about: About) -> None:
        self._sink = sink
        self._about = about
        self._columns: Sequence[Column] = ()

    def open(self, columns: Sequence[Column]) -> None:
        """Write the byte order mark where one is asked for, and the header."""
        self._columns = columns
        if self._about.bom:
            self._sink.write(BOM)
        self._lines([[column.name for column in columns]])

    def write(self, batch: Sequence[Row]) -> None:
        """Write a line for each row."""
        kinds = [column.kind for column in self._columns]
        self._lines([list(map(cell, row, kinds)) for row in batch])

    def close(self) -> None:
        """Nothing follows the rows."""

    def _lines(self, lines: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        for line in lines:
            # By hand, since the module's own choice of what to quote differs between releases.
            # A line of one empty cell would be an empty line, which readers pass over.
            text.write(",".join(map(quoted, line)) or '""')
            text.write("\r\n")
        self._sink.write(text.getvalue().encode())


def quoted(text: str) -> str:
    """A cell as RFC 4180 writes it: in quotes where it holds a comma, a quote or a line's end."""
    if '"' in text or "," in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


class JsonWriter:
    """One document: metadata, and then the users."""

    def __init__(self, sink: Sink, about: About) -> None:
        self._sink = sink
        self._about = about
        self._documents = Documents(())
        self._before = b""

    def open(self, columns: Sequence[Column]) -> None:
        """Write the metadata."""
        self._documents = Documents(columns)
        metadata = msgspec.json.encode(self._about.metadata())
        self._sink.write(b'{"metadata":' + metadata + b',"users":[')

    def write(self, batch: Sequence[Row]) -> None:
        """Write the users of a batch, a line each."""
        encode = msgspec.json.Encoder().encode
        users = b",\n".join([encode(self._documents(row)) for row in batch])
        if users:
            self._sink.write(self._before + b"\n" + users)
            self._before = b","

    def close(self) -> None:
        """End the document."""
        self._sink.write(b"\n]}\n")


class NdjsonWriter:
    """A document a line, each a user."""

    def __init__(self, sink: Sink, _about: About) -> None:
        self._sink = sink
        self._documents = Documents(())

    def open(self, columns: Sequence[Column]) -> None:
        """Nothing precedes the rows."""
        self._documents = Documents(columns)

    def write(self, batch: Sequence[Row]) -> None:
        """Write a line for each row."""
        encode = msgspec.json.Encoder().encode
        self._sink.write(b"".join([encode(self._documents(row)) + b"\n" for row in batch]))

    def close(self) -> None:
        """Nothing follows the rows."""


def _xlsx(sink: Sink, about: About) -> Writer:
    from flowkick.exports.workbooks import XlsxWriter  # noqa: PLC0415  # only where it is asked for

    return XlsxWriter(sink, about)


def _parquet(sink: Sink, about: About) -> Writer:
    from flowkick.exports.parquet import ParquetWriter  # noqa: PLC0415  # it takes 50 MB of memory

    return ParquetWriter(sink, about)


@dataclass(frozen=True, slots=True)
class Format:
    """A format that exports can have."""

    name: str
    """Also the ending of its files."""
    media_type: str
    writer: Callable[[Sink, About], Writer]
    nested: bool = False
    """Whether it is of documents, which can include more than tables."""
    needs: str | None = None
    """A package that an extra of the format's name installs."""

    @property
    def is_installed(self) -> bool:
        """Whether this process can write it."""
        return self.needs is None or find_spec(self.needs) is not None


FORMATS: Final = {
    item.name: item
    for item in (
        Format("csv", "text/csv; charset=utf-8", CsvWriter),
        Format("json", "application/json", JsonWriter, nested=True),
        Format("ndjson", "application/x-ndjson", NdjsonWriter, nested=True),
        Format("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", _xlsx),
        Format("parquet", "application/vnd.apache.parquet", _parquet, needs="pyarrow"),
    )
}
