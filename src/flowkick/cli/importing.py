"""``flowkick import users``: contacts from a CSV or NDJSON file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from flowkick.app import quieten_collector
from flowkick.cli.common import AdminOption, AsJson, find_admin_id, open_database, run, show
from flowkick.cli.progress import Advance, progress
from flowkick.importing.columns import ColumnError, Columns, read_mapping
from flowkick.importing.items import Match
from flowkick.importing.records import UnreadableFile
from flowkick.importing.service import Plan, Progress, import_users

importing = typer.Typer(help="Bring data in from files.", no_args_is_help=True)

_STDIN: Final = "-"


class Format(StrEnum):
    """How a file is written."""

    CSV = "csv"
    NDJSON = "ndjson"


_SUFFIXES: Final = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".txt": Format.CSV,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
}
_Mapping = Annotated[
    list[str] | None,
    typer.Option("--map", help='"COLUMN=FIELD", "COLUMN=cf_NAME", or "COLUMN=" to leave it out.'),
]


@importing.command("users")
def import_users_command(
    file: Annotated[str, typer.Argument(help="A CSV or NDJSON file; - is standard input.")],
    admin_name: AdminOption,
    mapping: _Mapping = None,
    match: Annotated[
        Match | None,
        typer.Option(help="What rows with neither manychatId nor id are matched by; new adds all."),
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="Instead of going by the file's name.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Between CSV columns; found in the header otherwise.")
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Empty CSV cells clear what is there.")
    ] = False,
    silent: Annotated[
        bool, typer.Option("--silent", help="Send no webhooks: no event tells of it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row, and keep nothing.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew instead of going on.")
    ] = False,
    rejects: Annotated[
        Path | None, typer.Option(help="Where rejected rows go.  [default: FILE.rejected.csv]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add or change users from a file, with the events that tell of it.

    One that was killed goes on when it is run again. Ends with 1 where rows were rejected.

    Example: flowkick import users contacts.csv --admin "Café Luna"

    Example: flowkick import users x.csv --admin A --map "E-Mail=email" --match email --dry-run
    """
    path = None if file == _STDIN else Path(file)
    plan = Plan(
        path=path,
        rejects=_rejects(path, rejects),
        format=form or _format(path),
        delimiter=_delimiter(delimiter),
        columns=_columns(mapping or (), clear=clear),
        match=match,
        silent=silent,
        dry_run=dry_run,
        restart=restart,
    )
    done = _run(plan, admin_name)
    shown = {name: getattr(done, name) for name in _SHOWN}
    show({**shown, "rejects": str(plan.rejects) if done.rejected else None}, as_json=as_json)
    if done.rejected:
        raise typer.Exit(1)


_SHOWN: Final = ("read", "created", "updated", "unchanged", "rejected")


def _run(plan: Plan, admin_name: str) -> Progress:
    async def work(stream: BinaryIO) -> Progress:
        async with open_database() as database:
            admin_id = await find_admin_id(database, admin_name)
            quieten_collector()
            return await import_users(database, admin_id, plan, stream, show=_progress_of(plan))

    try:
        if plan.path is None:
            return run(work(sys.stdin.buffer))
        with plan.path.open("rb") as stream:
            return run(work(stream))
    except (ColumnError, UnreadableFile) as error:
        raise typer.BadParameter(str(error)) from None


def _progress_of(plan: Plan) -> Any:
    size = None if plan.path is None else plan.path.stat().st_size

    @contextmanager
    def shown(start: Progress) -> Iterator[Any]:
        if start.line:
            typer.echo(f"Going on behind line {start.line}.", err=True)
        with progress("Importing", size, start.position) as advance:
            yield lambda now: _advance(advance, now, size)

    return shown


def _advance(advance: Advance, now: Progress, size: int | None) -> None:
    share = f", {100 * now.position // size} %" if size else ""
    advance(now.position, f"{now.read} rows{share}, {now.rejected} rejected")


def _format(path: Path | None) -> Format:
    if path is None:
        raise typer.BadParameter("Say what standard input is: --format csv or --format ndjson.")
    if path.suffix.lower() not in _SUFFIXES:
        raise typer.BadParameter(
            f"The name {path.name} does not tell the format: add --format csv or --format ndjson."
        )
    return _SUFFIXES[path.suffix.lower()]


def _rejects(path: Path | None, given: Path | None) -> Path:
    if given is None:
        return Path(f"{path or 'stdin'}.rejected.csv")
    if path is not None and given.resolve() == path.resolve():
        raise typer.BadParameter("--rejects names the file that is imported: take another.")
    return given


def _delimiter(given: str | None) -> str | None:
    made = {"tab": "\t", "\\t": "\t"}.get(given or "", given)
    if made is not None and (len(made) != 1 or made in '"\r\n' or not made.isascii()):
        raise typer.BadParameter("--delimiter takes one character, or tab.")
    return made


def _columns(pairs: list[str] | tuple[str, ...], *, clear: bool) -> Columns:
    try:
        return Columns(read_mapping(pairs), clear)
    except ColumnError as error:
        raise typer.BadParameter(str(error)) from None
