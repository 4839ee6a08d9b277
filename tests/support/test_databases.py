"""A database that is given out again is as new, or it is not given out again."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.support.databases import MigratedDatabases
from tests.support.postgres import Cluster, PostgresError

ADMIN = """INSERT INTO "Admin" (id, name, "createdAt") VALUES ('adm_1', 'A', now())"""


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def test_what_a_test_has_written_is_gone_for_the_next(
    cluster: Cluster, migrated_databases: MigratedDatabases
) -> None:
    url = migrated_databases.lend()
    cluster.execute(ADMIN, database=_name(url))
    migrated_databases.take_back(url)
    again = migrated_databases.lend()
    assert again == url
    assert cluster.execute('SELECT count(*) FROM "Admin"', database=_name(again)) == "0"
    assert cluster.execute("SELECT count(*) FROM alembic_version", database=_name(again)) == "1"
    migrated_databases.take_back(again)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE theirs (id integer)",
        'ALTER TABLE "Admin" ADD COLUMN more text',
        'CREATE INDEX theirs ON "Admin" (name)',
        "DELETE FROM alembic_version",
        "UPDATE alembic_version SET version_num = '0000'",
    ],
)
def test_a_changed_database_is_given_to_nobody_else(
    cluster: Cluster, migrated_databases: MigratedDatabases, change: str
) -> None:
    url = migrated_databases.lend()
    cluster.execute(change, database=_name(url))
    migrated_databases.take_back(url)
    with pytest.raises(PostgresError, match="does not exist"):
        cluster.execute("SELECT 1", database=_name(url))


async def test_a_database_that_somebody_still_uses_is_given_to_nobody_else(
    migrated_databases: MigratedDatabases,
) -> None:
    url = migrated_databases.lend()
    connection = await asyncpg.connect(url)
    await asyncio.to_thread(migrated_databases.take_back, url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)
    connection.terminate()
