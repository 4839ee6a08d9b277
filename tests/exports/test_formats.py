"""Every format gives each value back as it was kept, read by programs that are not ours."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from flowkick.exports.columns import COLUMNS
from flowkick.exports.parquet import ParquetWriter
from flowkick.exports.rows import Row, TagOfUser
from flowkick.exports.workbooks import LONGEST, XlsxWriter
from flowkick.exports.writers import FORMATS, About
from tests.exports.orders import file_of
from tests.exports.test_files import CELLS, add
from tests.support.server import Api

MOMENT = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
ABOUT = About(exported_at=MOMENT, record_count=1)
TABLE = [column for column in COLUMNS if column.in_tables]
NAMES = [column.name for column in TABLE]
TEXTS = [text for text, _ in CELLS]


def user(number: int, **values: Any) -> Row:
    """A row of the table."""
    given: dict[str, Any] = {
        "id": f"usr_{number}",
        "manychat_id": f"00{number}",
        "phone": "+4915112345678",
        "bookings_count": number,
        "qr_codes_count": 0,
        "conversations_count": 0,
        "export_consent_given": True,
        "opted_in_messenger": False,
        "tags": [TagOfUser("tag_1", "vip", None, MOMENT), TagOfUser("tag_2", "a;b", None, MOMENT)],
        "created_at": MOMENT,
        **values,
    }
    return tuple(given.get(name) for name in NAMES)


def written(writer: Any, sink: io.BytesIO, *batches: list[Row]) -> bytes:
    writer.open(TABLE)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return sink.getvalue()


def xlsx(*batches: list[Row], **options: Any) -> bytes:
    sink = io.BytesIO()
    return written(XlsxWriter(sink, ABOUT, **options), sink, *batches)


def sheets(content: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(content))


async def test_hard_texts_come_back_from_every_format(api: Api, tmp_path: Path) -> None:
    await add(api.http, [{"firstName": t, "customFields": {"x": t}} for t in TEXTS])
    asked = {"fields": ["manychatId", "firstName", "cf_x"]}
    found = {name: await file_of(api.http, name, **asked) for name in FORMATS}
    paths = {name: tmp_path / f"users.{name}" for name in FORMATS}
    for name, content in found.items():
        paths[name].write_bytes(content)
    cells = [(str(n), cell, cell) for n, (_, cell) in enumerate(CELLS)]
    texts = [(str(n), text, text) for n, text in enumerate(TEXTS)]

    def in_order(rows: Any) -> list[Any]:
        return sorted((tuple(row) for row in rows), key=lambda row: int(row[0]))

    text = found["csv"].decode()
    assert in_order(list(csv.reader(io.StringIO(text, newline="")))[1:]) == cells
    query = (
        "SELECT * FROM read_csv(?, header = true, all_varchar = true, quote = '\"', delim = ',')"
    )
    assert in_order(duckdb.execute(query, [str(paths["csv"])]).fetchall()) == cells
    strings = dict.fromkeys(("manychat_id", "first_name", "cf_x"), "string")
    table = arrow_csv.read_csv(
        paths["csv"],
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=strings, strings_can_be_null=False),
    )
    assert in_order(zip(*table.to_pydict().values(), strict=True)) == cells
    query = "SELECT * FROM read_parquet(?)"
    assert in_order(duckdb.execute(query, [str(paths["parquet"])]).fetchall()) == texts
    lines = [json.loads(line) for line in found["ndjson"].decode().split("\n")[:-1]]
    assert lines == json.loads(found["json"])["users"]
    assert in_order(_values(line) for line in lines) == texts
    sheet = sheets(found["xlsx"]).active
    read = in_order(tuple(cell.value for cell in row) for row in sheet.iter_rows(min_row=2))
    # XML knows one line's end; Excel writes the other as a code, which only Excel reads.
    assert [row[1].replace("_x000D_", "\r") for row in read] == TEXTS
    assert {cell.data_type for row in sheet.iter_rows(min_row=2) for cell in row} == {"s"}


def _values(line: dict[str, Any]) -> tuple[str, str, str]:
    return line["manychatId"], line["profile"]["firstName"], line["customFields"]["x"]["value"]


def test_cells_of_a_workbook_have_types() -> None:
    sheet = sheets(xlsx([user(1, last_name="=1+1", email="a\x01b")])).active
    cells = dict(zip(NAMES, next(sheet.iter_rows(min_row=2)), strict=True))
    assert cells["manychat_id"].value == "001"
    assert cells["phone"].value == "+4915112345678"
    assert (cells["bookings_count"].value, cells["bookings_count"].data_type) == (1, "n")
    assert (cells["export_consent_given"].value, cells["opted_in_messenger"].value) == (True, False)
    assert cells["created_at"].value - MOMENT.replace(tzinfo=None) < timedelta(milliseconds=1)
    assert cells["created_at"].number_format == "yyyy-mm-dd hh:mm:ss.000"
    assert (cells["last_name"].value, cells["last_name"].data_type) == ("=1+1", "s")
    assert cells["tags"].value == "vip; a;b"
    assert cells["email"].value == "a_x0001_b"
    assert cells["gender"].value is None
    assert sheet.freeze_panes == "A2"


def test_a_workbook_goes_on_in_further_sheets() -> None:
    rows = [user(n) for n in range(7)]
    book = sheets(xlsx(rows[:5], rows[5:], rows_per_sheet=3))
    assert book.sheetnames == ["Users", "Users 2", "Users 3"]
    assert [sheet.max_row for sheet in book] == [4, 4, 2]
    assert [row[0].value for sheet in book for row in sheet.iter_rows(min_row=2)] == [
        f"usr_{n}" for n in range(7)
    ]
    assert all(sheet["A1"].value == "id" and sheet.freeze_panes == "A2" for sheet in book)


def test_what_no_cell_can_hold_ends_with_an_ellipsis() -> None:
    fits, long = "👍" * (LONGEST // 2), "👍" * LONGEST
    sheet = sheets(xlsx([user(1, first_name=fits, last_name=long)])).active
    row = dict(zip(NAMES, next(sheet.iter_rows(min_row=2, values_only=True)), strict=True))
    assert row["first_name"] == fits
    assert row["last_name"] == fits + "…"


def test_columns_of_parquet_have_types(tmp_path: Path) -> None:
    sink, path = io.BytesIO(), tmp_path / "users.parquet"
    rows = [user(n, gender="f", last_name="a\x00b") for n in range(7)]
    path.write_bytes(
        written(ParquetWriter(sink, ABOUT, rows_per_group=3), sink, rows[:2], rows[2:])
    )
    kept = pq.ParquetFile(path)
    assert [kept.metadata.row_group(n).num_rows for n in range(3)] == [3, 3, 1]
    group = kept.metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    for name, repeats in {"gender": True, "tags.list.element": True, "id": False}.items():
        assert ("RLE_DICTIONARY" in columns[name].encodings) is repeats, name
    described = duckdb.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
    types = {name: type_ for name, type_, *_ in described}
    assert list(types) == NAMES
    assert {name: types[name] for name in TYPES} == TYPES
    query = """
        SELECT id, last_name, bookings_count, export_consent_given, epoch_ms(created_at), tags,
            email
        FROM read_parquet(?) ORDER BY id
    """
    milliseconds = round(MOMENT.timestamp() * 1000)
    first = ("usr_0", "a\x00b", 0, True, milliseconds, ["vip", "a;b"], None)
    assert duckdb.execute(query, [str(path)]).fetchone() == first


TYPES = {
    "id": "VARCHAR",
    "bookings_count": "BIGINT",
    "export_consent_given": "BOOLEAN",
    "created_at": "TIMESTAMP WITH TIME ZONE",
    "tags": "VARCHAR[]",
}


async def test_a_file_is_compressed_where_that_is_asked_for(api: Api) -> None:
    await add(api.http, [{"firstName": text} for text in TEXTS])
    plain = await file_of(api.http, "csv")
    packed = await file_of(api.http, "csv", gzip=True)
    assert gzip.decompress(packed) == plain
    assert packed == await file_of(api.http, "csv", gzip=True)
