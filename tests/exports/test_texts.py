"""Every byte of the formats that are text, beside what the list of users says, on both databases.

What is expected is made here from the API's answers, by Python's csv and json.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from sqlalchemy import update

from flowkick.exports import tables
from flowkick.exports.columns import COLUMNS, Column, CustomColumn, Kind, find_columns
from flowkick.exports.documents import CopiedCells, Documents
from flowkick.exports.rows import Selection
from flowkick.exports.writers import FORMATS, About
from flowkick.exports.writing import write_users
from flowkick.storage.database import Database
from flowkick.users.filters import UserFilters
from flowkick.users.models import User
from tests.exports.test_files import CSV, HEADER, JSON, add, fetch
from tests.support.server import Api

LETTERS = "ab1+-=@.,;\"'\\N\t\n\r %$\x1e\x1f\x7f\x01é漢👍＝＠\u2028"
NAMES = {"instagram_username": "igUsername", "whatsapp_phone": "whatsappPhone"}
FIELDS = ["a", "b,c", '"q"', "$1", "%s", "x\ty"]


def texts(seed: int, count: int) -> list[str]:
    """Short texts of what files give a meaning to."""
    random = Random(seed)
    return ["".join(random.choices(LETTERS, k=random.randrange(1, 6))) for _ in range(count)]


async def hard_users(api: Api, count: int = 120) -> list[dict[str, Any]]:
    """Users full of hard texts, as the list of users has them, in the order of exports."""
    random = Random(count)
    hard = [text for text in texts(1, 2000) if text.strip()]
    chosen = iter(hard)
    given = [
        {
            "firstName": next(chosen),
            "lastName": random.choice([None, next(chosen)]),
            "igUsername": next(chosen),
            "phone": random.choice([None, "+4915112345678", "+49 151"]),
            "gender": random.choice([None, "f"]),
            "optedInWhatsapp": random.random() < 0.5,
            "subscribedAt": random.choice([None, "2026-03-01T12:30:15.250Z", "0999-01-01"]),
            "tags": random.sample(hard[:40], random.randrange(4)),
            "customFields": {
                name: random.choice([None, next(chosen), "7", ""])
                for name in random.sample(FIELDS, random.randrange(6))
            },
        }
        for _ in range(count)
    ]
    await add(api.http, given)
    cleared = dict.fromkeys(FIELDS[:3])
    await add(api.http, [{"customFields": cleared} for _ in range(count // 2)])
    users: list[dict[str, Any]] = []
    cursor = None
    while True:
        asked = {"limit": 1000, **({"cursor": cursor} if cursor else {})}
        answer = (await fetch(api.http, "/api/admin/users", **asked)).json()
        users += answer["users"]
        if (cursor := answer["pagination"]["nextCursor"]) is None:
            return users


def cell(value: Any) -> str:
    """What stands in a table for a value of the API."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    text = str(value)
    number = re.fullmatch(r"[+-]?[0-9]+([.][0-9]+)?", text)
    return f"'{text}" if text and text[0] in "=+-@\t\n\r＝＋－＠" and not number else text


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return NAMES.get(name, first + "".join(word.title() for word in rest))


def table(users: list[dict[str, Any]], header: list[str], fields: list[str]) -> bytes:
    """The users as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*header, *(f"cf_{name}" for name in fields)])
    for user in users:
        tags = "; ".join(tag["name"] for tag in user["tags"])
        writer.writerow(
            [
                *(cell(tags if name == "tags" else user[camel(name)]) for name in header),
                *(cell(user["customFields"].get(name)) for name in fields),
            ]
        )
    return text.getvalue().encode()


async def test_each_byte_of_a_table_is_as_expected(api: Api) -> None:
    users = await hard_users(api)
    by_tag = {user["id"]: sorted(user["tags"], key=lambda tag: tag["id"]) for user in users}
    users = [{**user, "tags": by_tag[user["id"]]} for user in users]
    assert (await fetch(api.http, CSV)).content == table(users, HEADER, sorted(FIELDS))
    some = (await fetch(api.http, CSV, limit=7, fields="phone,tags,cf_$1")).content
    assert some == table(users[:7], ["phone", "tags"], ["$1"])


async def test_each_byte_of_documents_is_as_expected(api: Api) -> None:
    users = await hard_users(api)
    lines = (await fetch(api.http, JSON)).content.split(b"\n")
    found = [line.removesuffix(b",") for line in lines[1:-2]]
    assert len(found) == len(users)
    for user, line in zip(users, found, strict=True):
        document = json.loads(line)
        # Compact, and nothing but control characters, quotes and backslashes is escaped.
        shown = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        assert line.decode() == shown
        profile = document["profile"]
        assert {key: user[key] for key in profile} == profile
        assert {key: user[key] for key in document["timestamps"]} == document["timestamps"]
        tags = [{key: tag[key] for key in ("id", "name", "appliedAt")} for tag in document["tags"]]
        assert tags == sorted(user["tags"], key=lambda tag: tag["id"])
        values = {name: item["value"] for name, item in document["customFields"].items()}
        assert values == {k: v for k, v in user["customFields"].items() if v is not None}
        assert list(values) == sorted(values)


async def test_parts_of_a_millisecond_are_cut_off(api: Api, database: Database) -> None:
    """SQLite keeps whole milliseconds; PostgreSQL keeps what other programs may write."""
    await add(api.http, [{}])
    async with database.transaction(api.admin_id) as session:
        moment = datetime.fromisoformat("1999-12-31T23:59:59.999999+00:00")
        await session.execute(
            update(User).values(subscribed_at=moment),
            execution_options={"synchronize_session": False},
        )
    shown = "1999-12-31T23:59:59.999Z"
    answer = await fetch(api.http, CSV, fields="subscribedAt")
    assert answer.content == f"subscribed_at\r\n{shown}\r\n".encode()
    answer = await fetch(api.http, JSON, fields="subscribedAt")
    assert answer.json()["users"] == [{"timestamps": {"subscribedAt": shown}}]


async def test_a_line_of_one_cell_is_never_passed_over(api: Api) -> None:
    await add(api.http, [{"firstName": "\\."}, {}, {"firstName": "a"}])
    content = (await fetch(api.http, CSV, fields="firstName")).content
    assert sorted(content.split(b"\r\n")) == [b"", b'""', b'"\\."', b"a", b"first_name"]
    assert (await fetch(api.http, CSV, fields="customFields")).content == b'""\r\n' * 4


@pytest.mark.parametrize("fields", [tables.MOST_COPIED, tables.MOST_COPIED + 1, 2100])
async def test_a_table_has_any_number_of_custom_fields(api: Api, fields: int) -> None:
    names = [f"f{number:04}" for number in range(fields)]
    given = {name: f"=v{name}" for name in names}
    parts = [dict(list(given.items())[start : start + 200]) for start in range(0, fields, 200)]
    for part in parts:
        await add(api.http, [{"customFields": part}, {"customFields": {}}])
    content = (await fetch(api.http, CSV, fields="manychatId,customFields")).content.decode()
    rows = list(csv.reader(io.StringIO(content, newline="")))
    assert rows[0] == ["manychat_id", *(f"cf_{name}" for name in names)]
    assert sorted(rows[1:]) == [["0", *(f"'{v}" for v in given.values())], ["1", *[""] * fields]]
    answer = await fetch(api.http, JSON, fields="customFields")
    assert sorted(len(user["customFields"]) for user in answer.json()["users"]) == [0, fields]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_of_copy_end_right_wherever_its_parts_end(size: int) -> None:
    lines = [line_of(texts(seed, 4)) for seed in range(50)]
    content = "".join(f"{line}\n" for line in lines).encode()
    ended = tables.CopiedLines()
    parts = [ended(content[start : start + size]) for start in range(0, len(content), size)]
    assert (
        b"".join(part.text for part in parts) == "".join(f"{line}\r\n" for line in lines).encode()
    )
    assert sum(map(len, parts)) == len(lines)


def line_of(cells: list[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_documents_are_made_wherever_the_parts_of_copy_end(size: int) -> None:
    custom = CustomColumn("cfd_1", "é", "text")
    columns: list[Column] = [
        COLUMNS[0],
        Column("cf_é", "cf_é", Kind.TEXT, ("customFields", "é"), custom=custom),
    ]
    rows = "".join(f'"ü{n}"\x1f{{"cfd_1":"é%s"}}\x1fü{n}\n' for n in range(9)).encode()
    copied = CopiedCells(Documents(columns))
    lines = [copied(rows[start : start + size]) for start in range(0, len(rows), size)]
    made = [json.loads(line) for line in b"".join(line.text for line in lines).splitlines()]
    field = {"é": {"value": "é%s", "type": "text", "fieldId": "cfd_1"}}
    assert made == [{"id": f"ü{n}", "customFields": field} for n in range(9)]
    assert sum(map(len, lines)) == 9


class Broken(io.BytesIO):
    """A file of which the second part can't be written."""

    parts = 0

    def write(self, data: Any, /) -> int:
        self.parts += 1
        if self.parts > 2:  # the first is the header
            raise OSError("The disk is full.")
        return super().write(data)


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
async def test_exports_that_break_off_keep_no_connection(
    api: Api, database: Database, format_: str
) -> None:
    """By an error, or cancelled while the database still sends: more often than there are some."""
    for first in range(0, 4000, 1000):
        names = [{"manychatId": str(first + n), "firstName": "é" * 90} for n in range(1000)]
        await add(api.http, names)

    async def export(sink: Any, progress: Any) -> int:
        about = About(exported_at=datetime.now(UTC), record_count=0)
        async with database.snapshot(api.admin_id) as session:
            columns = await find_columns(session)
            everybody = Selection(UserFilters())
            return await write_users(
                session,
                FORMATS[format_],
                columns,
                everybody,
                sink=sink,
                about=about,
                progress=progress,
            )

    async def cancel(_written: int) -> None:
        raise asyncio.CancelledError

    async def go_on(_written: int) -> None:
        return

    for _ in range(5):
        with pytest.raises(OSError, match="full"):
            await export(Broken(), go_on)
        with pytest.raises(asyncio.CancelledError):
            await export(io.BytesIO(), cancel)
    assert await export(io.BytesIO(), go_on) == 4000
