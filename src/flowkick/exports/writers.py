"""Writers: batches of users go in, the bytes of a format come out.

Tables of text and documents come as lines that are made already, the other formats' users as rows.
A writer is made with the `Sink` that takes its bytes and what the file is `About`. It is used from
one thread at a time, away from the event loop: `open` once, `write` for each batch, `close` once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from flowkick.core.clock import isoformat
from flowkick.exports import documents, tables
from flowkick.exports.cells import line
from flowkick.exports.columns import Column
from flowkick.exports.rows import Lines, Row, Selection, Take, read_rows
from flowkick.storage.tenancy import TenantSession

BOM: Final = b"\xef\xbb\xbf"
_B_contra = TypeVar("_B_contra", contravariant=True)
Read = Callable[[TenantSession, Sequence[Column], Selection, Take], Awaitable[None]]
"""Gives a format's batches of the users of a selection."""


class Sink(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> Any:
        """Take them all."""


class Writer(Protocol[_B_contra]):
    """Writes one file."""

    def open(self, columns: Sequence[Column]) -> None:
        """Write what comes before the users."""

    def write(self, batch: _B_contra, /) -> None:
        """Write some users."""

    def close(self) -> None:
        """Write what comes after the users. The sink stays open."""


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

    def open(self, columns: Sequence[Column]) -> None:
        """Write the byte order mark where one is asked for, and the header."""
        if self._about.bom:
            self._sink.write(BOM)
        header = line([column.name for column in columns])
        self._sink.write(header.encode() + tables.LINE_END)

    def write(self, lines: Lines) -> None:
        """Write them as they are."""
        self._sink.write(lines.text)

    def close(self) -> None:
        """Nothing follows the rows."""


class JsonWriter:
    """One document: metadata, and then the users."""

    def __init__(self, sink: Sink, about: About) -> None:
        self._sink = sink
        self._about = about
        self._before = b""

    def open(self, _columns: Sequence[Column]) -> None:
        """Write the metadata."""
        metadata = msgspec.json.encode(self._about.metadata())
        self._sink.write(b'{"metadata":' + metadata + b',"users":[')

    def write(self, lines: Lines) -> None:
        """Write the users, still a line each."""
        if lines.text:
            self._sink.write(self._before + b"\n" + lines.text[:-1].replace(b"\n", b",\n"))
            self._before = b","

    def close(self) -> None:
        """End the document."""
        self._sink.write(b"\n]}\n")


class NdjsonWriter:
    """A document a line, each a user."""

    def __init__(self, sink: Sink, _about: About) -> None:
        self._sink = sink

    def open(self, _columns: Sequence[Column]) -> None:
        """Nothing precedes the users."""

    def write(self, lines: Lines) -> None:
        """Write them as they are."""
        self._sink.write(lines.text)

    def close(self) -> None:
        """Nothing follows the users."""


def _xlsx(sink: Sink, about: About) -> Writer[Sequence[Row]]:
    from flowkick.exports.workbooks import XlsxWriter  # noqa: PLC0415  # only where it is asked for

    return XlsxWriter(sink, about)


def _parquet(sink: Sink, about: About) -> Writer[Sequence[Row]]:
    from flowkick.exports.parquet import ParquetWriter  # noqa: PLC0415  # it takes 50 MB of memory

    return ParquetWriter(sink, about)


@dataclass(frozen=True, slots=True)
class Format:
    """A format that exports can have."""

    name: str
    """Also the ending of its files."""
    media_type: str
    writer: Callable[[Sink, About], Writer[Any]]
    read: Read = read_rows
    """What `writer` is given."""
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
        Format("csv", "text/csv; charset=utf-8", CsvWriter, tables.read_lines),
        Format("json", "application/json", JsonWriter, documents.read_lines, nested=True),
        Format("ndjson", "application/x-ndjson", NdjsonWriter, documents.read_lines, nested=True),
        Format("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", _xlsx),
        Format("parquet", "application/vnd.apache.parquet", _parquet, needs="pyarrow"),
    )
}
