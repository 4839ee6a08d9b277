"""``flowkick export users``: users as a file, logged like every export."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from flowkick.app import quieten_collector
from flowkick.cli.common import AdminOption, AsJson, find_admin_id, open_database, run, show
from flowkick.cli.progress import Advance, progress
from flowkick.core.clock import system_clock
from flowkick.core.settings import load_settings
from flowkick.exports.columns import INCLUDES
from flowkick.exports.files import FileStore
from flowkick.exports.making import Exporter, Wanted
from flowkick.exports.models import DataExport
from flowkick.exports.query import ExportQuery
from flowkick.exports.rows import Selection
from flowkick.exports.service import By
from flowkick.exports.shelves import FolderShelf
from flowkick.exports.writers import FORMATS
from flowkick.users.query import parse_query

exporting = typer.Typer(help="Take data out into files.", no_args_is_help=True)

_STDOUT: Final = "-"
_Format = Literal["csv", "json", "ndjson", "xlsx", "parquet"]
_BY: Final = By("cli")


@exporting.command("users")
def export_users_command(
    admin_name: AdminOption,
    out: Annotated[
        str, typer.Option(help="The file to write; - is standard output.", show_default=False)
    ],
    form: Annotated[
        _Format | None, typer.Option("--format", help="Instead of going by the file's name.")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help='"NAME=VALUE" as in the list of users; may be repeated.'),
    ] = None,
    fields: Annotated[str | None, typer.Option(help="Only these, separated by commas.")] = None,
    include: Annotated[
        str | None,
        typer.Option(help=f"For json and ndjson, separated by commas: {', '.join(INCLUDES)}."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest so many.")] = None,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compress it.")] = False,
    bom: Annotated[bool, typer.Option("--bom", help="Begin a csv as Excel likes it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write users into a file, which is there as a whole or not at all, and log that.

    Example: flowkick export users --admin "Café Luna" --out users.csv

    Example: flowkick export users --admin A --out vips.xlsx --filter hasTag=vip

    Example: flowkick export users --admin A --format ndjson --gzip --out - > users.ndjson.gz
    """
    name = form or _format(out, gzip=gzip)
    format_ = FORMATS[name]
    if not format_.is_installed:
        raise typer.BadParameter(f"{name} needs `pip install 'flowkick[{name}]'`.")
    includes = _names(include)
    if includes and not format_.nested:
        raise typer.BadParameter(f"A {name} file has no place for --include; json and ndjson have.")
    if unknown := set(includes) - set(INCLUDES):
        raise typer.BadParameter(f"--include takes {', '.join(INCLUDES)}, not {min(unknown)}.")
    if bom and name != "csv":
        raise typer.BadParameter("--bom goes with csv alone.")
    selection = _selection(filters or (), fields, limit, includes)
    wanted = Wanted(format_, selection, _BY, bom=bom, gzip=gzip, destination=_url(out))
    with _place(out) as path:
        made = run(_export(admin_name, wanted, path))
        if out == _STDOUT:
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
    summary = {"exportId": made.id, "recordCount": made.record_count, "out": out}
    summary |= {"fileSizeBytes": made.file_size_bytes, "fileHash": made.file_hash}
    if out != _STDOUT:
        show(summary, as_json=as_json)


async def _export(admin_name: str, wanted: Wanted, path: Path) -> DataExport:
    settings = load_settings()
    async with open_database(settings) as database:
        admin_id = await find_admin_id(database, admin_name)
        quieten_collector()
        files = FileStore(path.parent, _Named(path))
        lease = settings.lease_seconds
        exporter = Exporter(database, files, system_clock, lease_seconds=lease)
        return await _shown(exporter, admin_id, wanted)


async def _shown(exporter: Exporter, admin_id: str, wanted: Wanted) -> DataExport:
    """Export, with a bar from the moment on when it is known how many users there are."""
    advance: Advance | None = None

    def tell(written: int, total: int) -> None:
        nonlocal advance
        advance = advance or stack.enter_context(progress("Exporting", total))
        advance(written, f"{written} of {total} users")

    with ExitStack() as stack:
        return await exporter.export(admin_id, wanted, tell)


class _Named(FolderShelf):
    """Puts the one file where it was asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self._name = path.name

    async def put(self, path: Path, _name: str) -> None:
        """Move it there."""
        await super().put(path, self._name)


@contextmanager
def _place(out: str) -> Iterator[Path]:
    """Where the file is made: for standard output, in a folder that goes again."""
    if out != _STDOUT:
        path = Path(out)
        if path.is_dir() or not path.parent.is_dir():
            raise typer.BadParameter(
                f"{out} can't be written: name a file in a folder that is there."
            )
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="flowkick-export-") as folder:
        yield Path(folder) / "users"


def _url(out: str) -> str:
    return "stdout:" if out == _STDOUT else Path(out).resolve().as_uri()


def _format(out: str, *, gzip: bool) -> _Format:
    name = out.removesuffix(".gz") if gzip else out
    ending: Any = Path(name).suffix.removeprefix(".").lower()
    if ending not in FORMATS:
        raise typer.BadParameter(f"The name {out} does not tell the format: add --format csv.")
    return ending  # type: ignore[no-any-return]


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _selection(
    filters: Sequence[str], fields: str | None, limit: int | None, includes: Sequence[str]
) -> Selection:
    given: Mapping[str, Any] = {"fields": fields, "limit": limit}
    items = [(name, value) for name, value in map(_pair, filters)]
    items += [(name, str(value)) for name, value in given.items() if value is not None]
    try:
        selection = parse_query(items, ExportQuery).selection()
    except (RequestValidationError, ValidationError) as error:
        wrong = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
        raise typer.BadParameter(wrong) from None
    return Selection(selection.filters, selection.fields, selection.limit, includes)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"--filter takes NAME=VALUE, not {text}.")
    return name, value
