"""Records of CSV and NDJSON files, one at a time, each with where it stands.

Nothing is held but the record at hand. What can't be read is a record too, with the reason: one bad
line, be it an open quote, costs that line alone.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

MAX_RECORD: Final = 256 * 1024
"""Bytes of one record, and so of one line."""
_DELIMITERS: Final = (",", ";", "\t")
_BOM: Final = b"\xef\xbb\xbf"
_OPEN_QUOTE: Final = "a quote is opened and not closed"
_OTHER_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")


class Place(NamedTuple):
    """Behind which byte and which line reading goes on."""

    position: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One record: `values` as the file spells them, or `problem`, which is why there are none."""

    line: int
    """Where it begins, counted from 1."""
    end: Place
    values: Any = None
    problem: str | None = None
    text: str = ""
    """What could not be read, cut short."""


class UnreadableFile(Exception):
    """The file as a whole can't be imported; the message says what to do."""


class _Line(NamedTuple):
    number: int
    end: int
    data: bytes
    problem: str | None


class _BadLine(csv.Error):
    """Passes through the parser to whoever asked it for a row."""


class _Lines:
    """The lines of a stream from `place` on. One that is too long comes without its rest."""

    def __init__(self, stream: BinaryIO, place: Place) -> None:
        self._stream = stream
        self._position, self._number = place

    def __iter__(self) -> Iterator[_Line]:
        read = self._stream.readline
        while data := read(MAX_RECORD + 1):
            self._number += 1
            self._position += len(data)
            problem = None
            if len(data) > MAX_RECORD:
                problem = f"the line is longer than {MAX_RECORD // 1024} KiB"
                self._skip_rest(data)
            yield _Line(self._number, self._position, data, problem)

    def _skip_rest(self, data: bytes) -> None:
        while data and not data.endswith(b"\n"):
            data = self._stream.readline(MAX_RECORD)
            self._position += len(data)


def _shortened(data: bytes) -> str:
    return data[:1000].decode(errors="replace").strip().replace("\x00", "\ufffd")


class NdjsonRecords:
    """JSON objects, one a line; empty lines are passed over."""

    header: Sequence[str] | None = None

    def __init__(self, stream: BinaryIO) -> None:
        """`stream` stands at its beginning."""
        self._stream = stream
        self._lines = _Lines(stream, Place())

    def go_to(self, place: Place) -> None:
        """Go on from where another import of the same file came to."""
        self._stream.seek(place.position)
        self._lines = _Lines(self._stream, place)

    def __iter__(self) -> Iterator[Record]:
        for line in self._lines:
            if line.number == 1:
                line = line._replace(data=_without_bom(line.data))  # noqa: PLW2901  # as it is meant
            if line.data.strip():
                yield _object(line)


_DECODER: Final = msgspec.json.Decoder(dict[str, Any])


def _object(line: _Line) -> Record:
    place = Place(line.end, line.number)
    problem = line.problem
    if problem is None:
        try:
            return Record(line.number, place, _DECODER.decode(line.data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem = f"the line is no JSON object ({error})"
    return Record(line.number, place, problem=problem, text=_shortened(line.data))


@dataclass(slots=True)
class _Feed:
    """Lines on their way into the CSV parser, which takes one at a time, as many as a row has."""

    lines: Iterator[_Line]
    taken: list[_Line] = field(default_factory=list)
    """The lines of the row at hand."""
    again: deque[_Line] = field(default_factory=deque)
    """Lines that a bad row took with it, to be read once more."""

    def texts(self) -> Iterator[str]:
        """The lines as text, until a bad one, or until a row is too long to be one."""
        size = 0
        while (line := self._next()) is not None:
            size = len(line.data) if not self.taken else size + len(line.data)
            self.taken.append(line)
            if line.problem is not None:
                raise _BadLine(line.problem)
            if size > MAX_RECORD:
                raise _BadLine(_OPEN_QUOTE)
            try:
                yield line.data.decode()
            except UnicodeDecodeError:
                raise _BadLine("the line is not UTF-8") from None

    def _next(self) -> _Line | None:
        return self.again.popleft() if self.again else next(self.lines, None)

    def drop_first(self) -> _Line:
        """Give up the first line of a bad row; the others are read again."""
        first, *others = self.taken
        self.again.extendleft(reversed(others))
        self.taken = []
        return first


class CsvRecords:
    """Rows of a CSV file under its header, RFC 4180; empty lines are passed over."""

    def __init__(self, stream: BinaryIO, delimiter: str | None = None) -> None:
        """Reads the header, and finds the delimiter in it where none is given.

        `stream` stands at its beginning. Raises UnreadableFile without a header.
        """
        self._stream = stream
        self._feed = _Feed(iter(_Lines(stream, Place())))
        self._feed.again.extend(_first_line(self._feed.lines))
        self._delimiter = delimiter or _likely_delimiter(self._feed.again)
        header = next(self._rows(), None)
        if header is None or header.problem is not None:
            reason = f": {header.problem}" if header else ""
            raise UnreadableFile(f"The file has no header in its first line{reason}.")
        self.header: Sequence[str] = [name.strip() for name in header.values]

    def go_to(self, place: Place) -> None:
        """Go on from where another import of the same file came to."""
        self._stream.seek(place.position)
        self._feed = _Feed(iter(_Lines(self._stream, place)))

    def __iter__(self) -> Iterator[Record]:
        width = len(self.header)
        for record in self._rows():
            if record.problem is None and len(record.values) != width:
                cells = len(record.values)
                problem = f"the row has {cells} cells, and the header {width}"
                text = self._delimiter.join(record.values)[:1000]
                yield Record(record.line, record.end, problem=problem, text=text)
            else:
                yield record

    def _rows(self) -> Iterator[Record]:
        feed = self._feed
        while True:
            reader = csv.reader(feed.texts(), delimiter=self._delimiter, strict=True)
            try:
                for cells in reader:
                    taken, feed.taken = feed.taken, []
                    if cells:
                        last = taken[-1]
                        yield Record(taken[0].number, Place(last.end, last.number), cells)
            except csv.Error as error:
                problem = _OPEN_QUOTE if len(feed.taken) > 1 else _reason(error)
                line = feed.drop_first()
                place, text = Place(line.end, line.number), _shortened(line.data)
                yield Record(line.number, place, problem=problem, text=text)
            else:
                return


Records = CsvRecords | NdjsonRecords


def _reason(error: csv.Error) -> str:
    if isinstance(error, _BadLine):
        return str(error)
    if "unexpected end of data" in str(error):
        return _OPEN_QUOTE
    return f"the line is no CSV ({error})"


def _first_line(lines: Iterator[_Line]) -> list[_Line]:
    """The first line without its mark of UTF-8; UnreadableFile where it has that of UTF-16."""
    first = next(lines, None)
    if first is None:
        return []
    return [first._replace(data=_without_bom(first.data))]


def _without_bom(data: bytes) -> bytes:
    if data.startswith(_OTHER_BOMS):
        raise UnreadableFile("The file is UTF-16: save it as UTF-8.")
    return data.removeprefix(_BOM)


def _likely_delimiter(lines: Sequence[_Line]) -> str:
    """What separates most columns of the header; a comma where there is one column."""
    header = lines[0].data.decode(errors="replace") if lines else ""
    unquoted = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=unquoted.count)
