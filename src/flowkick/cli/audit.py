"""``flowkick audit``: proves that the log of exports is as it was written."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from sqlalchemy import select

from flowkick.auth.models import Admin
from flowkick.cli.common import AsJson, find_admin_id, open_database, run, show, show_table
from flowkick.core.errors import InvalidInput
from flowkick.exports import chain
from flowkick.exports.chain import Anchor, Verdict
from flowkick.storage.database import Database

audit = typer.Typer(no_args_is_help=True, help="Prove that the log of exports was not changed.")
AdminName = Annotated[
    str | None, typer.Option("--admin", help="The admin's id or name; all of them without.")
]


@audit.command("verify")
def verify_command(
    admin_name: AdminName = None,
    anchors: Annotated[
        list[str] | None,
        typer.Option("--anchor", help="A line of `flowkick audit anchor` that was kept elsewhere."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the chain of each admin's exports, and name the first row that is not as written.

    An anchor that was kept elsewhere proves, too, that the end of its admin's chain was not cut
    off. Exit code 1 says that something is wrong.

    Example: flowkick audit verify --anchor "$(cat anchor.txt)"
    """
    kept = {anchor.admin_id: anchor for anchor in map(Anchor.parse, _lines(anchors or []))}

    async def work() -> list[dict[str, Any]]:
        async with open_database() as database:
            ids = await _admin_ids(database, admin_name)
            if strangers := sorted(set(kept) - set(ids)):
                raise InvalidInput(f"The anchor of {strangers[0]} is of an admin that is not here.")
            return [_shown(await _verdict(database, id_, kept.get(id_))) for id_ in ids]

    found = run(work())
    show_table(found, as_json=as_json)
    if any(row["broken"] is not None for row in found):
        raise typer.Exit(1)


@audit.command("anchor")
def anchor_command(admin_name: AdminName = None, as_json: AsJson = False) -> None:
    """Print a line for each admin that proves, kept elsewhere, how far its log has come.

    Example: flowkick audit anchor >> /mnt/elsewhere/anchors.txt
    """

    async def work() -> list[str]:
        async with open_database() as database:
            lines = []
            for admin_id in await _admin_ids(database, admin_name):
                async with database.reading(admin_id) as session:
                    lines.append(str(await chain.anchor(session)))
            return lines

    lines = run(work())
    if as_json:
        show({"anchors": lines}, as_json=True)
    else:
        for line in lines:
            typer.echo(line)


def _lines(given: list[str]) -> list[str]:
    """Anchors; a whole file of them may be given as one."""
    return [line for text in given for line in text.splitlines() if line.strip()]


async def _admin_ids(database: Database, name: str | None) -> list[str]:
    if name is not None:
        return [await find_admin_id(database, name)]
    async with database.system_reading() as session:
        return list(await session.scalars(select(Admin.id).order_by(Admin.id)))


async def _verdict(database: Database, admin_id: str, kept: Anchor | None) -> Verdict:
    async with database.reading(admin_id) as session:
        return await chain.verify(session, kept)


def _shown(verdict: Verdict) -> dict[str, Any]:
    broken = verdict.broken
    return {
        "admin": verdict.anchor.admin_id,
        "rows": verdict.anchor.count,
        "broken": None if broken is None else broken.number,
        "export": None if broken is None else broken.export_id,
        "problem": None if broken is None else broken.problem,
    }
