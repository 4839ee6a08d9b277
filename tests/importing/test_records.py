"""Records of files as they are in the world: each is read or refused by itself, with its place."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkick.importing.records import (
    MAX_RECORD,
    CsvRecords,
    NdjsonRecords,
    Record,
    Records,
    UnreadableFile,
)


def csv_of(data: bytes) -> CsvRecords:
    return CsvRecords(io.BytesIO(data))


def told(records: Iterable[Record]) -> list[object]:
    return [(record.line, record.problem or record.values) for record in records]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_delimiter_is_found_in_the_header(delimiter: str, mark: bytes, end: str) -> None:
    text = end.join([f'first name{delimiter}"a,b;c"', f"Zoë{delimiter}x", "", f"{delimiter}y"])
    records = csv_of(mark + text.encode())
    assert list(records.header) == ["first name", "a,b;c"]
    assert told(records) == [(2, ["Zoë", "x"]), (4, ["", "y"])]


def test_a_quoted_cell_may_hold_lines() -> None:
    records = csv_of(b'a,b\n"x\r\ny","say ""hi"""\n1,2\n')
    assert told(records) == [(2, ["x\r\ny", 'say "hi"']), (4, ["1", "2"])]


def test_a_bad_line_costs_that_line_alone() -> None:
    records = csv_of(
        b'a,b\n1,2\n"open,3\n4,5\nonly one\n6,7,8\n\xff,9\n"x"y,1\n'
        + b"z" * MAX_RECORD
        + b",1\n8,9"
    )
    assert told(records) == [
        (2, ["1", "2"]),
        (3, "a quote is opened and not closed"),
        (4, ["4", "5"]),
        (5, "the row has 1 cells, and the header 2"),
        (6, "the row has 3 cells, and the header 2"),
        (7, "the line is not UTF-8"),
        (8, "the line is no CSV (',' expected after '\"')"),
        (9, "the line is longer than 256 KiB"),
        (10, ["8", "9"]),
    ]


def test_an_open_quote_before_a_long_file_costs_its_line_alone() -> None:
    rows = MAX_RECORD // 4
    records = csv_of(b'a,b\n"open,1\n' + b"1,2\n" * rows)
    found = told(records)
    assert found[0] == (2, "a quote is opened and not closed")
    assert found[1:] == [(number, ["1", "2"]) for number in range(3, rows + 3)]


@pytest.mark.parametrize("data", [b"", b"\xff\xfea\x00,\x00", b'"a,b\n', b"\xff\n1\n"])
def test_a_file_without_a_header_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableFile):
        csv_of(data)


def test_lines_that_are_no_objects_are_refused_one_by_one() -> None:
    lines = [b'\xef\xbb\xbf{"a": 1}', b"", b"[1]", b'{"a": ', b'{"a": "\xff"}', b"{" * 900, b"{}"]
    records = NdjsonRecords(io.BytesIO(b"\n".join(lines)))
    found = list(records)
    assert [(record.line, record.values) for record in found if not record.problem] == [
        (1, {"a": 1}),
        (7, {}),
    ]
    assert [record.line for record in found if record.problem] == [3, 4, 5, 6]


def _again(data: bytes, after: Record, *, ndjson: bool) -> Records:
    records: Records = NdjsonRecords(io.BytesIO(data)) if ndjson else csv_of(data)
    records.go_to(after.end)
    return records


@given(
    st.lists(st.sampled_from(['a,"b', "1,2", '"x\ny",z', "", '"q",', "é,ü", '"bad"x,1', "1"])),
    st.sampled_from(["\n", "\r\n"]),
)
def test_reading_on_from_any_record_gives_the_rest(lines: list[str], end: str) -> None:
    data = end.join(["h,i", *lines]).encode()
    whole = list(csv_of(data))
    for number, record in enumerate(whole, 1):
        rest = list(_again(data, record, ndjson=False))
        assert rest == whole[number:]


def test_reading_on_from_any_object_gives_the_rest() -> None:
    data = b'{"a": 1}\r\n\n{"b": 2}\nx\n{"c": 3}'
    whole = list(NdjsonRecords(io.BytesIO(data)))
    assert len(whole) == 4
    for number, record in enumerate(whole, 1):
        assert list(_again(data, record, ndjson=True)) == whole[number:]
