"""A file becomes users and the events that tell of them; each row is taken or refused alone."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from flowkick.core.errors import Conflict
from flowkick.importing.columns import Columns, read_mapping
from flowkick.importing.items import Match
from flowkick.importing.service import Plan, Progress, import_users
from flowkick.storage.database import Database
from flowkick.users.models import ContactTag, CustomFieldValue, User
from tests.conftest import new_admin
from tests.users.recorded import events, names, sequences


def unseen(_progress: Progress) -> None:
    """Tell nobody how far an import has come."""


class Importer:
    """Imports files for one admin."""

    def __init__(self, database: Database, folder: Path, admin_id: str) -> None:
        self.database = database
        self.folder = folder
        self.admin_id = admin_id

    async def bring(
        self,
        text: str,
        name: str = "a.csv",
        advance: Callable[[Progress], None] = unseen,
        **options: Any,
    ) -> Progress:
        path = self.folder / name
        path.write_bytes(text.encode())
        form = "ndjson" if name.endswith("ndjson") else "csv"
        options = {"rejects": self.folder / "rejected.csv", "format": form, **options}

        @contextmanager
        def show(_start: Progress) -> Iterator[Callable[[Progress], None]]:
            yield advance

        with path.open("rb") as stream:
            plan = Plan(path=path, **options)
            return await import_users(self.database, self.admin_id, plan, stream, show=show)

    async def users(self) -> list[User]:
        async with self.database.reading(self.admin_id) as session:
            rows = await session.scalars(select(User).order_by(User.manychat_id, User.id))
            return list(rows.all())

    def rejected(self) -> list[list[str]]:
        with (self.folder / "rejected.csv").open(newline="") as file:
            return list(csv.reader(file))


@pytest_asyncio.fixture
async def importer(database: Database, tmp_path: Path) -> Importer:
    return Importer(database, tmp_path, (await new_admin(database))[0])


def counts(progress: Progress) -> tuple[int, ...]:
    return (progress.created, progress.updated, progress.unchanged, progress.rejected)


async def test_rows_are_added_changed_and_left_alone_by_their_manychat_id(
    importer: Importer,
) -> None:
    first = "manychat_id,first_name,tags,cf_drink\n1,Zoë,vip; new,Chai\n2,李,,\n"
    assert counts(await importer.bring(first)) == (2, 0, 0, 0)
    assert counts(await importer.bring(first)) == (0, 0, 2, 0)
    assert counts(await importer.bring("manychat_id,first_name,tags\n1,Zoe,VIP\n3,,\n")) == (
        1,
        1,
        0,
        0,
    )
    assert [user.first_name for user in await importer.users()] == ["Zoe", "李", None]
    one = (await importer.users())[0]
    told = await events(importer.database, one.id)
    assert [body["event"] for body in told] == ["user.created", "user.updated"]
    assert [tag["name"] for tag in told[0]["data"]["user"]["tags"]] == ["new", "vip"]
    assert told[0]["data"]["user"]["customFields"] == {"drink": "Chai"}
    assert {body["metadata"]["source"] for body in told} == {"import"}


async def test_a_user_who_stands_in_many_rows_is_changed_in_their_order(
    importer: Importer,
) -> None:
    rows = "".join(f"1,{name}\n2,x\n" for name in "ABBC")
    assert counts(await importer.bring("manychatId,firstName\n" + rows)) == (2, 2, 4, 0)
    one = (await importer.users())[0]
    told = await events(importer.database, one.id)
    assert sequences(told) == [1, 2, 3]
    assert [body["data"]["changes"]["firstName"]["new"] for body in told[1:]] == ["B", "C"]


async def test_rows_without_a_manychat_id_go_by_id_or_by_what_is_asked_for(
    importer: Importer,
) -> None:
    text = "id,email,phone,firstName\n,A@b.c,1,A\n,x@y.z,2,X\n"
    assert counts(await importer.bring(text)) == (0, 0, 0, 2)
    assert "neither manychatId nor id" in importer.rejected()[1][1]
    assert counts(await importer.bring(text, match=Match.EMAIL)) == (2, 0, 0, 0)
    assert counts(await importer.bring(text, match=Match.EMAIL)) == (0, 0, 2, 0)
    again = text.replace("A@b", "a@B").replace(",X", ",Y")
    assert counts(await importer.bring(again, match=Match.EMAIL)) == (0, 2, 0, 0)
    assert counts(await importer.bring(text, match=Match.PHONE)) == (0, 2, 0, 0)
    known = next(user for user in await importer.users() if user.phone == "2")
    by_id = f"id,firstName\n{known.id},Z\nusr_nobody,Q\n"
    assert counts(await importer.bring(by_id)) == (0, 1, 0, 1)
    assert importer.rejected()[1][:2] == ["3", "There is no user usr_nobody."]
    assert counts(await importer.bring(text, match=Match.NEW)) == (2, 0, 0, 0)
    assert counts(await importer.bring(text, match=Match.EMAIL)) == (0, 0, 0, 2)
    assert "2 users have this email" in importer.rejected()[1][1]
    told = await events(importer.database, known.id)
    assert sequences(told) == list(range(1, len(told) + 1))


async def test_what_is_rejected_can_be_mended_and_imported(importer: Importer) -> None:
    text = 'manychatId;E-Mail;Name\n1;nonsense;=A1\n2;a@b.c;-B\n3;x\n"4;a@b.c;D\n;;\n'
    columns = Columns(read_mapping(["Name=firstName"]))
    assert counts(await importer.bring(text, columns=columns)) == (1, 0, 0, 4)
    header, *rows = importer.rejected()
    assert header == [
        "rejected_line",
        "rejected_reason",
        "manychatId",
        "E-Mail",
        "Name",
        "rejected_record",
    ]
    assert [row[0] for row in rows] == ["2", "4", "5", "6"]
    assert rows[0][2:] == ["1", "nonsense", "'=A1", ""]
    assert rows[0][1].startswith("email: ")
    assert rows[1][-1] == "3;x"
    mended = (importer.folder / "rejected.csv").read_text().replace("nonsense", "n@b.c")
    assert (await importer.bring(mended, columns=columns)).created == 1
    assert [user.first_name for user in await importer.users()] == ["=A1", "-B"]


async def test_json_lines_take_the_keys_of_the_api(importer: Importer) -> None:
    lines = [
        {"manychatId": "1", "tags": ["a"], "customFields": {"n": 1, "on": True}},
        {"manychat_id": "2", "cf_n": "2", "tags": "a; b", "optedInWhatsapp": "yes"},
        {"manychatId": 3},
        {"manychatId": "4", "wrong": 1},
        {"manychatId": "5", "optedInWhatsapp": True, "createdAt": "2025-01-01"},
    ]
    text = "\n".join(msgspec.json.encode(line).decode() for line in lines)
    assert counts(await importer.bring(text, "a.ndjson")) == (3, 0, 0, 2)
    assert [row[0] for row in importer.rejected()[1:]] == ["3", "4"]
    assert importer.rejected()[2][1:] == ["wrong: unknown field", '{"manychatId":"4","wrong":1}']
    assert [user.opted_in_whatsapp for user in await importer.users()] == [False, True, True]


async def test_nothing_is_kept_of_a_dry_run(importer: Importer) -> None:
    text = "manychatId,email\n1,a@b.c\n2,x\n"
    assert counts(await importer.bring(text, dry_run=True)) == (1, 0, 0, 1)
    assert await importer.users() == []
    assert await names(importer.database) == []
    assert len(importer.rejected()) == 2
    assert counts(await importer.bring(text)) == (1, 0, 0, 1)


async def test_a_silent_import_tells_nothing_and_takes_no_numbers(importer: Importer) -> None:
    text = "manychatId,firstName,tags,cf_x\n1,A,t,1\n2,B,,\n"
    assert counts(await importer.bring(text, silent=True)) == (2, 0, 0, 0)
    assert counts(await importer.bring(text.replace("A", "C"), silent=True)) == (0, 1, 1, 0)
    assert await names(importer.database) == []
    assert counts(await importer.bring(text)) == (0, 1, 1, 0)
    told = await events(importer.database)
    assert [body["event"] for body in told] == ["user.updated"]
    assert sequences(told) == [1]


async def _state(importer: Importer) -> dict[str, Any]:
    async with importer.database.reading(importer.admin_id) as session:
        tables = (User, ContactTag, CustomFieldValue)
        sizes = [await session.scalar(select(func.count(table.id))) for table in tables]
    told = await events(importer.database)
    return {
        "users": [(user.manychat_id, user.sequence) for user in await importer.users()],
        "sizes": sizes,
        "events": sorted((b["event"], b["data"]["user"]["manychatId"]) for b in told),
        "rejected": importer.rejected(),
    }


def _many(rows: int) -> str:
    lines = (f"{n},{'x' if n % 10 == 9 else f'{n}@b.c'},t{n % 5},{n}\n" for n in range(rows))
    return "manychatId,email,tags,cf_n\n" + "".join(lines)


class Killed(BaseException):
    """Ends an import as abruptly as a test can from within."""


@pytest.mark.parametrize("batches", [1, 2])
async def test_an_import_that_ended_abruptly_goes_on_as_if_it_had_not(
    importer: Importer, batches: int
) -> None:
    text = _many(100)
    seen: list[Progress] = []

    def advance(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == batches:
            raise Killed

    with pytest.raises(Killed):
        await importer.bring(text, advance=advance, batch=40)
    with (importer.folder / "rejected.csv").open("a") as file:  # of a batch that was not kept
        file.write("999,torn")
    assert seen[-1].read == 40 * batches
    assert counts(await importer.bring(text)) == (90, 0, 0, 10)
    state = await _state(importer)
    assert state["sizes"] == [90, 90, 90]
    assert state["events"] == sorted(("user.created", str(n)) for n in range(100) if n % 10 != 9)
    assert {number for _, number in state["users"]} == {1}
    assert [row[0] for row in state["rejected"][1:]] == [str(n + 2) for n in range(9, 100, 10)]
    assert counts(await importer.bring(text)) == (0, 0, 90, 10)


async def test_one_who_takes_an_import_over_ends_the_other(importer: Importer) -> None:
    text = _many(2000)
    begun = asyncio.Event()
    first = asyncio.create_task(importer.bring(text, batch=20, advance=lambda _: begun.set()))
    await begun.wait()
    assert counts(await importer.bring(text)) == (1800, 0, 0, 200)
    with pytest.raises(Conflict, match="Another process"):
        await first
    assert await names(importer.database) == ["user.created"] * 1800


async def test_an_import_that_is_to_begin_anew_does(importer: Importer) -> None:
    text = _many(100)

    def killed(_progress: Progress) -> None:
        raise Killed

    with pytest.raises(Killed):
        await importer.bring(text, advance=killed, batch=40)
    assert counts(await importer.bring(text, restart=True)) == (54, 0, 36, 10)
    assert len(importer.rejected()) == 11
