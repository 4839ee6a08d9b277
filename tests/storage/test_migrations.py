"""Migrations and models tell of the same schema, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from flowkick import models
from flowkick.core.errors import SettingsError
from flowkick.core.settings import Settings, load_settings
from flowkick.storage import migrate
from flowkick.storage.database import Database
from tests.support.postgres import SUPERUSER, Cluster


def _differences(connection: Connection) -> list[object]:
    included = migrate.compared_on(connection.dialect.name)
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "include_object": included}
    )
    return list(compare_metadata(context, models.metadata))


async def test_migrations_from_empty_equal_the_models(settings: Settings) -> None:
    database = Database(settings)
    await migrate.upgrade(database)
    async with database.writer.begin() as connection:
        assert await connection.run_sync(_differences) == []
    await database.close()


async def test_an_empty_database_is_refused_with_the_command_to_run(settings: Settings) -> None:
    database = Database(settings)
    with pytest.raises(SettingsError, match="flowkick migrate"):
        await migrate.require_newest(database)
    await database.close()


async def test_processes_that_migrate_at_once_do_not_disturb_each_other(settings: Settings) -> None:
    databases = [Database(settings) for _ in range(4)]
    await asyncio.gather(*(migrate.upgrade(database) for database in databases))
    await migrate.require_newest(databases[0])
    for database in databases:
        await database.close()


async def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    for attempt in range(15):
        settings = load_settings(
            _env_file=None, database_url=f"sqlite:///{tmp_path}/{attempt}.db", secret_key="x" * 32
        )
        databases = [Database(settings) for _ in range(8)]
        await asyncio.gather(*(migrate.upgrade(database) for database in databases))
        for database in databases:
            await database.close()


def _owned_by(cluster: Cluster, role: str) -> str:
    """A database of a role that is no superuser."""
    url = cluster.create_database()
    cluster.execute(
        f'CREATE ROLE {role} LOGIN; ALTER DATABASE "{url.rpartition("/")[2]}" OWNER TO {role}'
    )
    return url.replace(f"{SUPERUSER}@", f"{role}@")


async def test_an_owner_who_is_no_superuser_can_migrate(cluster: Cluster) -> None:
    url = _owned_by(cluster, "plain_owner")
    database = Database(load_settings(_env_file=None, database_url=url, secret_key="x" * 32))
    await migrate.upgrade(database)
    await migrate.require_newest(database)
    await database.close()
    cluster.drop_database(url)


async def test_a_role_that_may_not_make_the_extension_is_told_who_may(cluster: Cluster) -> None:
    url = cluster.create_database()
    name = url.rpartition("/")[2]
    cluster.execute("CREATE ROLE plain_user LOGIN")
    cluster.execute("GRANT CREATE ON SCHEMA public TO plain_user", database=name)
    mine = url.replace(f"{SUPERUSER}@", "plain_user@")
    settings = load_settings(_env_file=None, database_url=mine, secret_key="x" * 32)
    database = Database(settings)
    with pytest.raises(SettingsError, match="CREATE EXTENSION pg_trgm"):
        await migrate.upgrade(database)
    cluster.execute("CREATE EXTENSION pg_trgm", database=name)
    await migrate.upgrade(database)
    await database.close()
    cluster.drop_database(url)
