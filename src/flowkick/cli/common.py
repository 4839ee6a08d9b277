"""What commands share: settings, a database, output for people and for programs."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from flowkick.auth.models import Admin
from flowkick.core.errors import NotFound, SettingsError
from flowkick.core.settings import Settings, load_settings
from flowkick.storage import migrate
from flowkick.storage.database import Database

_T = TypeVar("_T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
AdminOption = Annotated[str, typer.Option("--admin", help="The admin's id or name.")]


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a command's work to its end."""
    return asyncio.run(work)


@asynccontextmanager
async def open_database(settings: Settings | None = None) -> AsyncIterator[Database]:
    """The database of the settings, at the newest revision; an empty SQLite one is migrated."""
    settings = settings or load_settings()
    check_folder(settings)
    database = Database(settings)
    try:
        with telling_of_database():
            if database.is_sqlite:
                await migrate.upgrade(database)
            await migrate.require_newest(database)
        yield database
    finally:
        await database.close()


def check_folder(settings: Settings) -> None:
    """Raise SettingsError where a SQLite database can't be kept where the settings say."""
    path = settings.sqlite_path
    if path is None:
        return
    if path.name == "" or path.is_dir():
        raise SettingsError(
            f"FLOWKICK_DATABASE_URL names no file ({path}): write sqlite:///flowkick.db, or"
            " sqlite:////var/lib/flowkick/flowkick.db for a whole path."
        )
    if not path.parent.is_dir():
        raise SettingsError(f"There is no folder {path.parent} for the database: make it first.")
    for place in (path.parent, *([path] if path.exists() else [])):
        if not os.access(place, os.R_OK | os.W_OK):
            raise SettingsError(f"{place} can't be written: SQLite needs the file and its folder.")


@contextmanager
def telling_of_database() -> Iterator[None]:
    """Raise what goes wrong on the way to the database as a SettingsError."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise SettingsError(database_problem(error)) from None


def database_problem(error: Exception) -> str:
    """What is wrong with the database, as a sentence. It tells no parameters."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    # PostgreSQL adds lines with the values of the row; the first has none.
    reason = (str(cause) or type(cause).__name__).splitlines()[0]
    return (
        f"The database can't be used ({reason}): check FLOWKICK_DATABASE_URL, and that it runs"
        " and lets this user in."
    )


async def find_admin_id(database: Database, name_or_id: str) -> str:
    """The id of the admin with this id, or with this name where only one has it."""
    async with database.system_reading() as session:
        found = (
            await session.scalars(
                select(Admin.id).where((Admin.id == name_or_id) | (Admin.name == name_or_id))
            )
        ).all()
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(f"There is no admin {name_or_id}: see `flowkick admin list`.")
    raise NotFound(f"{len(found)} admins are named {name_or_id}: give the id.")


def show(values: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing."""
    if as_json:
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    width = max(map(len, values), default=0)
    for name, value in values.items():
        typer.echo(f"{name:<{width}}  {_text(value)}")


def show_table(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print several things of one kind."""
    if as_json:
        typer.echo(json.dumps(list(rows), ensure_ascii=False))
        return
    if not rows:
        typer.echo("(none)")
        return
    texts = [[_text(value) for value in row.values()] for row in rows]
    lines = [list(rows[0]), *texts]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        typer.echo("  ".join(f"{text:<{w}}" for text, w in zip(line, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
