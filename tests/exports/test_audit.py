"""Whatever is done to the log of exports, `flowkick audit verify` finds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from flowkick.core.errors import InvalidInput
from flowkick.exports import chain
from flowkick.exports.chain import Anchor, Verdict
from flowkick.exports.models import DataExport, DataExportDownload
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.history.made import post
from tests.support.commands import Machine
from tests.support.server import Api

Tamper = Callable[[Sequence[str]], list[Any]]
_OTHER = "0" * 64


async def five_exports(api: Api) -> list[str]:
    """The ids of five exports, in the order of the chain."""
    await post(api.http, "/users", {"firstName": "Ada"})
    ids = []
    for number in range(5):
        kind = "csv" if number % 2 else "json"
        answer = await api.http.get(f"/api/admin/export/users/{kind}", params={"search": "Ada"})
        assert answer.status_code == 200
        ids.append(answer.headers["X-Export-ID"])
    return ids


async def verdict(api: Api, kept: Anchor | None = None) -> Verdict:
    async with api.database.reading(api.admin_id) as session:
        return await chain.verify(session, kept)


async def anchor(api: Api) -> Anchor:
    async with api.database.reading(api.admin_id) as session:
        return await chain.anchor(session)


async def tamper(database: Database, statements: Sequence[Any]) -> None:
    """What somebody with the database's password could do."""
    async with database.system_transaction() as session:
        for statement in statements:
            await session.execute(statement, execution_options={"synchronize_session": False})


def change(export_id: str, **values: Any) -> Any:
    return update(DataExport).where(DataExport.id == export_id).values(**values)


TAMPERED: dict[str, tuple[Tamper, int]] = {
    "a count was changed": (lambda ids: [change(ids[1], record_count=7)], 2),
    "who took it was changed": (lambda ids: [change(ids[0], initiated_by="nobody")], 1),
    "the hash of the file was changed": (lambda ids: [change(ids[4], file_hash=_OTHER)], 5),
    "a filter was changed": (lambda ids: [change(ids[2], filters={"search": "Bob"})], 3),
    "the first was removed": (lambda ids: [delete(DataExport).where(DataExport.id == ids[0])], 1),
    "one was removed": (lambda ids: [delete(DataExport).where(DataExport.id == ids[2])], 3),
    "two were swapped": (
        lambda ids: [
            change(ids[1], chain_number=99),
            change(ids[2], chain_number=2),
            change(ids[1], chain_number=3),
        ],
        2,
    ),
    "one was removed and the rest moved up": (
        lambda ids: [
            delete(DataExport).where(DataExport.id == ids[1]),
            change(ids[2], chain_number=2),
            change(ids[3], chain_number=3),
            change(ids[4], chain_number=4),
        ],
        2,
    ),
    "one was made to fit anew, and those behind it not": (
        lambda ids: [change(ids[1], record_count=7, chain_hash=_OTHER)],
        2,
    ),
    "a download was forgotten": (
        lambda ids: [delete(DataExportDownload).where(DataExportDownload.export_id == ids[3])],
        4,
    ),
    "a download was counted that never was": (lambda ids: [change(ids[3], download_count=9)], 4),
}


async def test_a_log_that_nobody_touched_is_whole(api: Api) -> None:
    await five_exports(api)
    found = await verdict(api)
    assert (found.broken, found.anchor.count) == (None, 5)
    assert found.anchor == await anchor(api)
    assert (await verdict(api, found.anchor)).broken is None


@pytest.mark.parametrize("name", TAMPERED)
async def test_the_first_row_that_is_not_as_written_is_named(api: Api, name: str) -> None:
    ids = await five_exports(api)
    do, number = TAMPERED[name]
    await tamper(api.database, do(ids))
    broken = (await verdict(api)).broken
    assert broken is not None, name
    assert broken.number == number, broken


REMOVABLE = {"file_removed_at"}
"""That a file was removed is not proven, as every admin may do that at any time."""


def forged(key: str, value: Any) -> Any:
    """Another value for a column, of the type that it holds."""
    if key.endswith(("_at", "_until", "_start", "_end")):
        return datetime(2020, 1, 1, tzinfo=UTC)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 100  # beyond all places of the chain
    if isinstance(value, dict):
        return {**value, "x": "y"}
    return [*value, "x"] if isinstance(value, list) else f"{value or ''}0"


async def test_a_change_of_any_column_is_found(api: Api) -> None:
    await five_exports(api)
    async with api.database.reading(api.admin_id) as session:
        rows = await session.scalars(select(DataExport).order_by(DataExport.chain_number))
        row = rows.all()[2]
    columns = {attribute.key for attribute in DataExport.__mapper__.column_attrs}
    another, _ = await new_admin(api.database)
    for key in sorted(columns - REMOVABLE):
        kept = getattr(row, key)
        value = another if key == "admin_id" else forged(key, kept)
        await tamper(api.database, [change(row.id, **{key: value})])
        broken = (await verdict(api)).broken
        assert broken is not None, key
        now = forged(key, kept) if key == "id" else row.id
        await tamper(api.database, [change(now, **{key: kept})])
        assert (await verdict(api)).broken is None, key


@pytest.mark.parametrize("left", range(5))
async def test_an_end_of_any_length_is_missed_with_an_anchor(api: Api, left: int) -> None:
    ids = await five_exports(api)
    kept = await anchor(api)
    await tamper(api.database, [delete(DataExport).where(DataExport.id.in_(ids[left:]))])
    broken = (await verdict(api, kept)).broken
    assert broken is not None
    assert (broken.number, broken.export_id) == (left + 1, None)


@pytest.mark.parametrize("second", range(1, 5))
async def test_a_swap_of_any_two_is_found(api: Api, second: int) -> None:
    ids = await five_exports(api)
    swap = [
        change(ids[0], chain_number=99),
        change(ids[second], chain_number=1),
        change(ids[0], chain_number=second + 1),
    ]
    await tamper(api.database, swap)
    broken = (await verdict(api)).broken
    assert broken is not None
    assert broken.number == 1


async def test_a_row_that_was_inserted_is_found(api: Api) -> None:
    (_, second, *_) = await five_exports(api)
    async with api.database.system_transaction() as session:
        row = (await session.scalars(select(DataExport).where(DataExport.id == second))).one()
        values = {a.key: getattr(row, a.key) for a in DataExport.__mapper__.column_attrs}
        copy = {**values, "id": "exp_forged", "chain_number": None, "download_count": 0}
        session.add(DataExport(**copy))
    broken = (await verdict(api)).broken
    assert broken is not None
    assert broken.export_id == "exp_forged"


async def test_an_end_that_was_cut_off_is_found_with_an_anchor(api: Api) -> None:
    ids = await five_exports(api)
    kept = Anchor.parse(str(await anchor(api)))
    last = [DataExport.id.in_(ids[3:])]
    await tamper(api.database, [delete(DataExport).where(*last)])
    assert (await verdict(api)).broken is None  # without it, nobody could know
    broken = (await verdict(api, kept)).broken
    assert broken is not None
    assert broken.number == 4


async def test_a_chain_that_was_made_anew_does_not_fit_its_anchor(api: Api) -> None:
    await five_exports(api)
    kept = await anchor(api)
    async with api.database.transaction(api.admin_id) as session:
        before = chain.GENESIS
        rows = await session.scalars(select(DataExport).order_by(DataExport.chain_number))
        for row in rows.all():
            row.record_count, row.previous_hash = 0, before
            row.chain_hash = before = chain.chain_hash(row)
    assert (await verdict(api)).broken is None
    broken = (await verdict(api, kept)).broken
    assert broken is not None
    assert broken.number == 5


async def test_chains_of_two_admins_are_their_own(api: Api) -> None:
    await five_exports(api)
    admin_id, _ = await new_admin(api.database)
    async with api.database.reading(admin_id) as session:
        assert (await chain.verify(session)).anchor.count == 0
    async with api.database.system_reading() as session:
        assert await session.scalar(select(func.count()).select_from(DataExport)) == 5


@pytest.mark.parametrize("line", ["", "flowkick-anchor v1 adm_1 5", "flowkick-anchor v2 a 1 b"])
def test_a_line_that_is_no_anchor_is_refused(line: str) -> None:
    with pytest.raises(InvalidInput):
        Anchor.parse(line)


async def test_the_command_says_whether_the_log_is_whole(api: Api, machine: Machine) -> None:
    ids = await five_exports(api)
    whole = await machine.run("audit", "verify", "--json")
    assert whole.code == 0, whole.err
    (row,) = [row for row in whole.json() if row["admin"] == api.admin_id]
    assert (row["rows"], row["broken"]) == (5, None)
    line = (await machine.run("audit", "anchor", "--admin", api.admin_id)).out.strip()
    assert (await machine.run("audit", "verify", "--anchor", line)).code == 0
    await tamper(api.database, [delete(DataExport).where(DataExport.id == ids[4])])
    cut = await machine.run("audit", "verify", "--anchor", line)
    assert cut.code == 1
    assert "were removed" in cut.out
    assert (await machine.run("audit", "verify", "--anchor", "nonsense")).code == 1
