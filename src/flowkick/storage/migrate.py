"""Migrations: bring a database to the newest schema, or tell how far it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from flowkick.core.errors import SettingsError
from flowkick.storage.database import Database
from flowkick.storage.migrations.restored import settle_positions

_SCRIPTS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 7_035_021_178  # any number that nothing else in the database locks on


def compared_on(dialect: str) -> Callable[..., bool]:
    """What of a database is compared with the models: Alembic's `include_object`.

    The index of trigrams is an index on PostgreSQL, and on SQLite a virtual table with its parts.
    """

    def include(_item: object, name: str | None, kind: str, *_: object) -> bool:
        if dialect != "sqlite" or name is None:
            return True
        return name != "ix_User_searchText" and not (
            kind == "table" and name.startswith("UserSearch")
        )

    return include


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's settings for the scripts that ship with Flowkick."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str | None:
    """The revision that this release of Flowkick needs."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


async def current_revision(database: Database) -> str | None:
    """The revision that the database is at; None where it is empty."""
    async with database.reader.connect() as connection:
        return await connection.run_sync(
            lambda sync: MigrationContext.configure(sync).get_current_revision()
        )


async def upgrade(database: Database) -> None:
    """Run every outstanding migration in one transaction; safe to call from many processes."""

    def run(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _MIGRATION_LOCK})
        command.upgrade(alembic_config(connection), "head")
        if connection.dialect.name == "postgresql":
            settle_positions(connection)

    async with database.writer.begin() as connection:
        await connection.run_sync(run)


async def require_newest(database: Database) -> None:
    """Raise SettingsError unless the database is at the newest revision."""
    current = await current_revision(database)
    newest = newest_revision()
    if current != newest:
        raise SettingsError(
            f"The database is at revision {current or 'none'}, this release needs {newest}:"
            " run `flowkick migrate`."
        )
