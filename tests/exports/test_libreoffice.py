"""LibreOffice opens what we export, cell by cell, and runs nothing of it.

Each of its runs takes seconds, so there are two: the other tests of formats show that both
databases give the same cells.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from flowkick.exports.cells import PLAIN_NUMBER
from tests.exports.orders import file_of
from tests.exports.test_files import CELLS, add
from tests.support.libreoffice import Cell, opened
from tests.support.server import Api

FIELDS: Final = ["manychatId", "firstName", "phone", "optedInWhatsapp", "bookingsCount", "cf_x"]
PHONE: Final = "+4915112345678"
_STANDARD, _TEXT = "1", "2"
# Separator, quote, UTF-8, from line 1; then the type of each column; and the worst that a person
# can ask for: numbers and dates are looked for, and formulas are run. (Token 13 does that.)
_TYPES: Final = "/".join(
    f"{number}/{kind}" for number, kind in enumerate([_TEXT] * 5 + [_STANDARD], start=1)
)
IMPORT: Final = f"CSV:44,34,76,1,{_TYPES},0,false,true,false,false,false,1,true"


def shown(text: str) -> str:
    """A text as a cell shows it: any end of a line is a new line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


async def export(api: Api, format_: str, folder: Path) -> Path:
    path = folder / f"users.{format_}"
    path.write_bytes(await file_of(api.http, format_, fields=FIELDS))
    return path


async def add_users(api: Api) -> None:
    texts = [text for text, _ in CELLS]
    users = [
        {
            "manychatId": f"00{number}",
            "firstName": text,
            "phone": PHONE,
            "optedInWhatsapp": True,
            "customFields": {"x": text},
        }
        for number, text in enumerate(texts)
    ]
    await add(api.http, users)


def by_number(rows: list[list[Cell]]) -> list[list[Cell]]:
    """The rows of users, in the order in which they were added, as they are shown."""
    seen = [[replace(cell, text=shown(cell.text)) for cell in row] for row in rows]
    return sorted(seen, key=lambda row: int(row[0].text))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_csv_shows_what_is_in_it(api: Api, tmp_path: Path) -> None:
    await add_users(api)
    path = await export(api, "csv", tmp_path)
    path.write_bytes(path.read_bytes() + b"999,,,,,=1+1\r\n")
    (sheet,) = await asyncio.to_thread(opened, path, import_as=IMPORT)
    assert sheet.rows.pop()[-1] == Cell("float", "2", "of:=1+1")  # not ours: so it would run
    assert len(sheet.rows) == 1 + len(CELLS)
    for number, ((_, cell), row) in enumerate(zip(CELLS, by_number(sheet.rows[1:]), strict=True)):
        assert {found.formula for found in row} == {None}
        as_text = [Cell("string", text) for text in (f"00{number}", shown(cell), PHONE, "Yes", "0")]
        assert row[:5] == as_text
        assert row[5] == taken(cell)


def taken(cell: str) -> Cell:
    """What becomes of a cell whose column was not declared to be of text."""
    if re.fullmatch(PLAIN_NUMBER, cell):
        return Cell("float", cell.removeprefix("+").lstrip("0"))
    return Cell("string", shown(cell))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_workbook_shows_what_was_kept(api: Api, tmp_path: Path) -> None:
    await add_users(api)
    path = await export(api, "xlsx", tmp_path)
    (sheet,) = await asyncio.to_thread(opened, path)
    assert sheet.name == "Users"
    header = ["manychat_id", "first_name", "phone", "opted_in_whatsapp", "bookings_count", "cf_x"]
    assert [cell.text for cell in sheet.rows[0]] == header
    assert len(sheet.rows) == 1 + len(CELLS)
    for number, ((text, _), row) in enumerate(zip(CELLS, by_number(sheet.rows[1:]), strict=True)):
        assert row == [
            Cell("string", f"00{number}"),
            Cell("string", shown(text)),
            Cell("string", PHONE),
            Cell("float", "TRUE", "of:=TRUE()"),  # which is how it takes Excel's booleans
            Cell("float", "0"),
            Cell("string", shown(text)),
        ]
