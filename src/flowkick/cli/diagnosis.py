"""``flowkick doctor``."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from flowkick.cli.common import AsJson, check_folder, database_problem, run
from flowkick.cli.sealed import stored_seals
from flowkick.core.encryption import KeyRing
from flowkick.core.errors import SettingsError
from flowkick.core.settings import Settings, load_settings
from flowkick.storage.database import Database
from flowkick.storage.migrate import require_newest
from flowkick.users import search

_MOST_SKEW_SECONDS: Final = 5
_SAFE_SQLITE: Final = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to."""

    check: str
    ok: bool
    says: str


def doctor(as_json: AsJson = False) -> None:
    """Check settings, database, migrations, clock and keys, and say what is wrong.

    Example: flowkick doctor
    """

    async def work() -> list[Finding]:
        return [finding async for finding in _examine()]

    findings = run(work())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        for finding in findings:
            typer.echo(f"{'✓' if finding.ok else '✗'} {finding.check}: {finding.says}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


async def _examine() -> AsyncIterator[Finding]:
    try:
        settings = load_settings()
        settings.check_trust()
        check_folder(settings)
    except SettingsError as error:
        yield Finding("settings", False, error.sentence)
        return
    yield Finding("settings", True, "can be used")
    keys, finding = _key_ring(settings)
    yield finding
    if settings.sqlite_path is not None:
        yield _sqlite_release(settings)
        if not settings.sqlite_path.exists():  # opening it would make it
            yield Finding("database", True, "none yet; the first `flowkick serve` makes it")
            return
        yield _worker_lock(settings.sqlite_path)
    try:
        database = Database(settings)
    except SettingsError as error:
        yield Finding("database", False, error.sentence)
        return
    try:
        async for finding in _examine_database(database, keys):
            yield finding
    except (SQLAlchemyError, OSError) as error:
        yield Finding("database", False, database_problem(error))
    finally:
        await database.close()


def _key_ring(settings: Settings) -> tuple[KeyRing | None, Finding]:
    """The keys, without making any: a doctor changes nothing."""
    check = "secret key"
    try:
        file = None if settings.secret_key or settings.sqlite_path is None else settings.key_file
        if file is not None and not file.exists():
            return None, Finding(check, True, f"none yet; {file} is made when it is first needed")
        if file is not None and file.stat().st_mode & 0o077:
            return settings.key_ring, Finding(
                check, False, f"others may read {file}: run `chmod 600 {file}`"
            )
        return settings.key_ring, Finding(check, True, "there is one")
    except SettingsError as error:
        return None, Finding(check, False, error.sentence)
    except OSError as error:
        return None, Finding(check, False, str(error))


def _sqlite_release(settings: Settings) -> Finding:
    version = sqlite3.sqlite_version_info
    safe = version >= _SAFE_SQLITE[0] or any(
        version[:2] == fixed[:2] and version >= fixed for fixed in _SAFE_SQLITE
    )
    advice = "" if safe else "; keep to one process at a time on this file (3.51.3 lifts this)"
    return Finding("SQLite", True, f"{sqlite3.sqlite_version}, {settings.sqlite_path}{advice}")


def _worker_lock(path: Path) -> Finding:
    """Whether a process delivers from this database just now; either is well."""
    try:
        with Path(f"{path}.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return Finding("worker", True, "none has run yet: start `flowkick serve`")
    except BlockingIOError:
        return Finding("worker", True, "a process delivers from this database")
    except OSError as error:
        return Finding("worker", False, f"{path}.lock can't be opened ({error.strerror})")
    return Finding("worker", True, "none runs: start `flowkick serve`")


async def _examine_database(database: Database, keys: KeyRing | None) -> AsyncIterator[Finding]:
    await database.check()
    yield Finding("database", True, "answers")
    yield await _clock(database)
    try:
        await require_newest(database)
    except SettingsError as error:
        yield Finding("migrations", False, error.sentence)
        return
    yield Finding("migrations", True, "the newest")
    yield await _search(database)
    yield await _secrets(database, keys)


async def _clock(database: Database) -> Finding:
    sql = (
        "SELECT strftime('%s', 'now')" if database.is_sqlite else "SELECT extract(epoch FROM now())"
    )
    async with database.reader.connect() as connection:
        theirs = float((await connection.execute(text(sql))).scalar_one())
    skew = abs(datetime.now(UTC).timestamp() - theirs)
    if skew <= _MOST_SKEW_SECONDS:
        return Finding("clock", True, "agrees with the database's")
    return Finding("clock", False, f"{skew:.0f} s from the database's: set both by NTP")


async def _search(database: Database) -> Finding:
    async with database.system_reading() as session:
        if await search.is_in_step(session):
            return Finding("search", True, "its index knows the users")
    advice = f"run `{search.REBUILD};` with sqlite3, as after each restore from SQL text"
    return Finding("search", False, f"its index does not know the users: {advice}")


async def _secrets(database: Database, keys: KeyRing | None) -> Finding:
    """Whether every stored secret opens, and how many still need a former key."""
    outdated = total = 0
    problems: Counter[str] = Counter()
    async with database.system_reading() as session:
        async for sealed, context in stored_seals(session):
            total += 1
            if keys is None:
                problems["There is no key for them: restore the former one."] += 1
                continue
            try:
                keys.open(sealed, context)
            except SettingsError as error:
                problems[error.sentence] += 1
            else:
                outdated += not keys.is_current(sealed)
    if problems:
        says = f"{problems.total()} of {total} can't be opened. {' '.join(problems)}"
        return Finding("secrets", False, says)
    if outdated:
        return Finding(
            "secrets", True, f"{outdated} of {total} are under a former key: run `flowkick rekey`"
        )
    return Finding("secrets", True, f"{total} can be opened")
