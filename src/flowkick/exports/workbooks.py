"""Users as an Excel workbook: typed cells, and text that is never a formula."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import xlsxwriter

from flowkick.core.clock import isoformat
from flowkick.exports.cells import TAG_SEPARATOR
from flowkick.exports.columns import Column, Kind
from flowkick.exports.rows import Row
from flowkick.exports.writers import About, Sink

ROWS_PER_SHEET: Final = 1_048_575
"""Excel's 1,048,576, without the header."""
LONGEST: Final = 32_767
"""Characters of a cell (UTF-16 units, in Excel); what is longer ends with an ellipsis."""
_MOMENT: Final = "yyyy-mm-dd hh:mm:ss.000"
_FIRST_YEAR: Final = 1900
_COPIED: Final = 1 << 20


class XlsxWriter:
    """A sheet of users after another, each with its header in a frozen first row.

    Rows go to a scratch folder as they come, so memory stays flat; the workbook is a zip archive,
    and is put together at the end.
    """

    def __init__(self, sink: Sink, about: About, rows_per_sheet: int = ROWS_PER_SHEET) -> None:
        self._sink = sink
        self._about = about
        self._most = rows_per_sheet
        self._columns: Sequence[Column] = ()
        self._sheets = 0
        self._row = 0

    def open(self, columns: Sequence[Column]) -> None:
        """Begin the workbook and its first sheet."""
        self._columns = columns
        self._folder = self._about.scratch or Path(tempfile.mkdtemp())
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._path = self._folder / "users.xlsx"
        self._book = xlsxwriter.Workbook(
            self._path, {"constant_memory": True, "tmpdir": str(self._folder)}
        )
        self._book.set_properties({"created": _naive(self._about.exported_at)})
        self._bold = self._book.add_format({"bold": True})
        self._moment = self._book.add_format({"num_format": _MOMENT})
        self._next_sheet()

    def write(self, batch: Sequence[Row]) -> None:
        """Write a row for each user."""
        for row in batch:
            if self._row > self._most:
                self._next_sheet()
            for number, (put, value) in enumerate(zip(self._puts, row, strict=True)):
                if value is not None:
                    put(self._row, number, value)
            self._row += 1

    def close(self) -> None:
        """Put the workbook together."""
        try:
            self._book.close()
            with self._path.open("rb") as made:
                while part := made.read(_COPIED):
                    self._sink.write(part)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _next_sheet(self) -> None:
        self._sheets += 1
        name = "Users" if self._sheets == 1 else f"Users {self._sheets}"
        sheet = self._sheet = self._book.add_worksheet(name)
        sheet.freeze_panes(1, 0)
        for number, column in enumerate(self._columns):
            sheet.write_string(0, number, _fitting(column.name), self._bold)
        self._puts = [self._put(column.kind) for column in self._columns]
        self._row = 1

    def _put(self, kind: Kind) -> Callable[[int, int, Any], Any]:
        """What writes a cell of a kind."""
        sheet = self._sheet
        if kind is Kind.BOOLEAN:
            return partial(_call, sheet.write_boolean)
        if kind is Kind.NUMBER:
            return partial(_call, sheet.write_number)
        if kind is Kind.MOMENT:
            return partial(_put_moment, sheet, self._moment)
        if kind is Kind.TAGS:
            return partial(_put_tags, sheet)
        return partial(_put_text, sheet)


def _call(put: Callable[[int, int, Any], Any], row: int, column: int, value: Any) -> None:
    put(row, column, value)


def _put_moment(sheet: Any, style: Any, row: int, column: int, moment: datetime) -> None:
    if moment.year < _FIRST_YEAR:  # which Excel has no days of
        sheet.write_string(row, column, isoformat(moment))
    else:
        sheet.write_datetime(row, column, _naive(moment), style)


def _put_tags(sheet: Any, row: int, column: int, tags: Any) -> None:
    _put_text(sheet, row, column, TAG_SEPARATOR.join(tag.name for tag in tags))


def _put_text(sheet: Any, row: int, column: int, text: str) -> None:
    if text:
        sheet.write_string(row, column, _fitting(text))


def _fitting(text: str) -> str:
    if len(text) <= LONGEST // 2 or len(text.encode("utf-16-le")) // 2 <= LONGEST:
        return text
    units = text.encode("utf-16-le")[: 2 * (LONGEST - 1)]
    return units.decode("utf-16-le", "ignore") + "…"


def _naive(moment: datetime) -> datetime:
    """The moment in UTC, without saying so, as Excel knows no time zones."""
    return moment.astimezone(UTC).replace(tzinfo=None)
