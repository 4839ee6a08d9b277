"""LibreOffice without a desktop: opens a file as a person would, and tells what stands in cells."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

SECONDS: Final = 120
# Where it lies when it is not on PATH: Debian, macOS.
PROGRAMS: Final = (
    Path("/usr/lib/libreoffice/program/soffice"),
    Path("/Applications/LibreOffice.app/Contents/MacOS/soffice"),
)
_NAMESPACE: Final = "{{urn:oasis:names:tc:opendocument:xmlns:{}:1.0}}"
_OFFICE, _TABLE, _TEXT = (_NAMESPACE.format(name) for name in ("office", "table", "text"))


class LibreOfficeError(RuntimeError):
    """It did not open the file; the message is what it printed."""


@dataclass(frozen=True)
class Cell:
    """What stands in a cell."""

    type: str | None
    """``string``, ``float``, ``boolean``, ``date``; None where it is empty."""
    text: str
    """As it is seen."""
    formula: str | None = None


@dataclass(frozen=True)
class Sheet:
    """The name of a sheet, and its rows without what is empty at their ends."""

    name: str
    rows: list[list[Cell]]


def find_libreoffice() -> str | None:
    """The program; None where there is none."""
    found = shutil.which("soffice") or shutil.which("libreoffice")
    return found or next((str(path) for path in PROGRAMS if path.exists()), None)


def opened(path: Path, *, import_as: str | None = None) -> list[Sheet]:
    """The sheets of a file; `import_as` says how it is taken (``CSV:…``).

    It is saved once more as one flat XML file (OpenDocument 1.2), which holds types, formulas and
    texts. LibreOfficeError where it can't be opened.
    """
    program, folder = find_libreoffice(), path.parent / f"opened-{path.name}"
    if program is None:
        raise LibreOfficeError("There is no LibreOffice: `make test` installs it on Debian.")
    command = [program, "--headless", f"-env:UserInstallation={(folder / 'profile').as_uri()}"]
    command += ["--convert-to", "fods", "--outdir", str(folder)]
    command += [f"--infilter={import_as}"] if import_as else []
    ended = subprocess.run(
        [*command, str(path)], capture_output=True, check=False, text=True, timeout=SECONDS
    )
    saved = folder / f"{path.stem}.fods"
    if not saved.exists():
        raise LibreOfficeError(f"{ended.stdout}{ended.stderr}")
    tables = ET.parse(saved).iter(f"{_TABLE}table")  # noqa: S314  # it is our own file
    return [Sheet(table.get(f"{_TABLE}name", ""), list(_rows(table))) for table in tables]


def _rows(table: ET.Element) -> Iterator[list[Cell]]:
    for row in table.iter(f"{_TABLE}table-row"):
        cells: list[Cell] = []
        for found in row.iter(f"{_TABLE}table-cell"):
            lines = ["".join(_texts(line)) for line in found.iter(f"{_TEXT}p")]
            kind, formula = found.get(f"{_OFFICE}value-type"), found.get(f"{_TABLE}formula")
            times = int(found.get(f"{_TABLE}number-columns-repeated", "1"))
            cells += [Cell(kind, "\n".join(lines), formula)] * times
        while cells and cells[-1].type is None:
            cells.pop()
        if cells:
            for _ in range(int(row.get(f"{_TABLE}number-rows-repeated", "1"))):
                yield cells


def _texts(element: ET.Element) -> Iterator[str]:
    """Its text, with the blanks that OpenDocument writes as elements."""
    yield element.text or ""
    for inner in element:
        if inner.tag == f"{_TEXT}s":
            yield " " * int(inner.get(f"{_TEXT}c", "1"))
        elif inner.tag == f"{_TEXT}tab":
            yield "\t"
        elif inner.tag == f"{_TEXT}line-break":
            yield "\n"
        else:
            yield from _texts(inner)
        yield inner.tail or ""
