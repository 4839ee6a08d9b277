"""The file of rejected rows: mended, it can be imported itself."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from flowkick.importing.columns import LINE, REASON, RECORD
from flowkick.importing.writing import Rejection

_RUN_AS_FORMULA: Final = re.compile(r"[=+\-@\t\r](?!\d[\d .]*$)")


class Rejects:
    """Rows with the line and the reason, under the header of the file they come from.

    The file is made with the first row, readable by its owner alone: it holds people's data.
    """

    def __init__(self, path: Path, header: Sequence[str], size: int = 0) -> None:
        """With `size`, goes on behind so many bytes of a file that is there."""
        self.path = path
        self._header = [name for name in header if name not in {LINE, REASON, RECORD}]
        self._kept = [number for number, name in enumerate(header) if name in self._header]
        self.size = min(size, path.stat().st_size) if size and path.exists() else 0
        if self.size:
            os.truncate(path, self.size)  # what a killed process wrote of a batch it did not keep

    def write(self, rejections: Sequence[Rejection], size: int) -> int:
        """Write rows behind the first `size` bytes, dropping what came after; the new size."""
        if not rejections:
            return size
        text = io.StringIO()
        writer = csv.writer(text)
        if size == 0:
            writer.writerow([LINE, REASON, *self._header, RECORD])
        writer.writerows(map(self._row, rejections))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate(size)
            file.seek(size)
            file.write(text.getvalue().encode(errors="replace"))
            return file.tell()

    def _row(self, rejection: Rejection) -> list[str]:
        record = rejection.item.record
        cells = [""] * len(self._kept)
        if isinstance(record.values, list):
            cells = [record.values[number] for number in self._kept]
        text = record.text
        if isinstance(record.values, dict):
            text = msgspec.json.encode(record.values).decode()
        return [str(record.line), *map(_guarded, (rejection.reason, *cells, text))]


def _guarded(text: str) -> str:
    """What a spreadsheet would run as a formula, with an apostrophe before it."""
    return f"'{text}" if _RUN_AS_FORMULA.match(text) else text
