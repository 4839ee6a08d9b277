"""``flowkick doctor`` and ``rekey``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import typer
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from flowkick.cli.common import AsJson, open_database, run, show
from flowkick.core.clock import system_clock
from flowkick.core.encryption import KeyRing
from flowkick.core.errors import FlowkickError, SettingsError
from flowkick.core.settings import Settings, load_settings
from flowkick.delivery.models import WebhookSubscription
from flowkick.delivery.requests import headers_context, secret_context
from flowkick.storage.database import Database
from flowkick.storage.migrate import require_newest

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
        yield Finding("settings", True, "can be used")
        keys = settings.key_ring
        yield Finding("secret key", True, "there is one")
    except (SettingsError, OSError) as error:
        yield Finding("settings", False, str(error))
        return
    if settings.sqlite_path is not None:
        yield _sqlite_release(settings)
    database = Database(settings)
    try:
        async for finding in _examine_database(database, keys):
            yield finding
    except (SQLAlchemyError, OSError, FlowkickError) as error:
        says = error.sentence if isinstance(error, FlowkickError) else type(error).__name__
        yield Finding("database", False, says)
    finally:
        await database.close()


def _sqlite_release(settings: Settings) -> Finding:
    version = sqlite3.sqlite_version_info
    safe = version >= _SAFE_SQLITE[0] or any(
        version[:2] == fixed[:2] and version >= fixed for fixed in _SAFE_SQLITE
    )
    advice = "" if safe else "; keep to one process at a time on this file (3.51.3 lifts this)"
    return Finding("SQLite", True, f"{sqlite3.sqlite_version}, {settings.sqlite_path}{advice}")


async def _examine_database(database: Database, keys: KeyRing) -> AsyncIterator[Finding]:
    await database.check()
    yield Finding("database", True, "answers")
    await require_newest(database)
    yield Finding("migrations", True, "the newest")
    yield await _clock(database)
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


async def _secrets(database: Database, keys: KeyRing) -> Finding:
    outdated = total = 0
    async with database.system_reading() as session:
        for row in await session.scalars(select(WebhookSubscription)):
            for sealed, context in _sealed(row):
                keys.open(sealed, context)
                total += 1
                outdated += not keys.is_current(sealed)
    if outdated:
        return Finding(
            "secrets", True, f"{outdated} of {total} are under a former key: run `flowkick rekey`"
        )
    return Finding("secrets", True, f"{total} can be opened")


def _sealed(row: WebhookSubscription) -> list[tuple[str, str]]:
    found = [(row.secret, secret_context(row.id))]
    if row.previous_secret:
        found.append((row.previous_secret, secret_context(row.id)))
    if row.headers:
        found.append((row.headers, headers_context(row.id)))
    return found


def rekey(as_json: AsJson = False) -> None:
    """Encrypt all stored secrets with the first key of FLOWKICK_SECRET_KEY.

    Then the former keys can be taken out of it.

    Example: FLOWKICK_SECRET_KEY=NEW,OLD flowkick rekey
    """

    async def work() -> dict[str, Any]:
        settings = load_settings()
        keys = settings.key_ring
        changed = 0

        def renew(sealed: str | None, context: str) -> str | None:
            nonlocal changed
            if sealed is None or keys.is_current(sealed):
                return sealed
            changed += 1
            return keys.seal(keys.open(sealed, context), context)

        async with open_database(settings) as database, database.system_transaction() as session:
            statement = select(WebhookSubscription).with_for_update()
            for row in await session.scalars(statement):
                _renew(row, renew)
        return {"reencrypted": changed, "at": system_clock().isoformat()}

    show(run(work()), as_json=as_json)


def _renew(row: WebhookSubscription, renew: Callable[[str | None, str], str | None]) -> None:
    row.secret = renew(row.secret, secret_context(row.id)) or row.secret
    row.previous_secret = renew(row.previous_secret, secret_context(row.id))
    row.headers = renew(row.headers, headers_context(row.id))
