"""Databases for tests: migrated once in a run, then copied, or emptied and given out again.

A migration takes longer than most tests. What a test gets is as if it had been made for it: a
copy of a migrated file on SQLite; on PostgreSQL a copy of a migrated database, or one that a
former test has left, emptied, if nobody is connected to it and its schema and revision are
unchanged.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final

from flowkick.core.settings import load_settings
from flowkick.storage import migrate
from flowkick.storage.database import Database
from tests.support.postgres import Cluster, PostgresError

# Fails where another test would notice who had the database before. Sessions that were closed a
# moment ago take a moment to end.
_MAKE_AS_NEW: Final = """
DO $$
DECLARE
    filled text;
    tries integer := 0;
BEGIN
    WHILE EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND backend_type = 'client backend'
    ) LOOP
        tries := tries + 1;
        IF tries > 25 THEN RAISE 'somebody is still connected'; END IF;
        PERFORM pg_sleep(0.02);
        PERFORM pg_stat_clear_snapshot();
    END LOOP;
    IF ({fingerprint}) <> '{expected}' THEN RAISE 'the schema was changed'; END IF;
    SELECT string_agg(oid::regclass::text, ', ') INTO filled FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0;
    IF filled IS NOT NULL THEN
        EXECUTE 'TRUNCATE ' || filled || ' RESTART IDENTITY CASCADE';
    END IF;
END $$
"""
# What no test may leave changed: the revision, the columns of every table and index, the triggers
# and the functions.
_FINGERPRINT: Final = """
SELECT concat(
    (SELECT string_agg(version_num, ',') FROM alembic_version),
    (SELECT md5(string_agg(concat_ws(' ', relname, attname, atttypid, attnotnull), ',' ORDER BY
        relname COLLATE "C", attnum))
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND attnum > 0),
    (SELECT string_agg(tgname, ',' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal),
    (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace))
"""


def migrate_now(url: str) -> None:
    """Bring the database to the newest schema, from code that is in no event loop."""

    async def work() -> None:
        database = Database(load_settings(_env_file=None, database_url=url, secret_key="x" * 32))
        await migrate.upgrade(database)
        await database.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(work())


class MigratedFiles:
    """Migrated SQLite databases: the copies of one file."""

    def __init__(self, folder: Path) -> None:
        self._original = folder / "migrated.db"
        migrate_now(f"sqlite:///{self._original}")

    def copy(self, path: Path) -> str:
        """The URL of a new migrated database at the path."""
        shutil.copyfile(self._original, path)
        return f"sqlite:///{path}"


class MigratedDatabases:
    """Migrated PostgreSQL databases of one cluster, each lent to one test at a time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._free: list[str] = []
        migrate_now(cluster.create_database("migrated"))
        self._expected = cluster.execute(_FINGERPRINT, database="migrated")

    def lend(self) -> str:
        """The URL of an empty migrated database."""
        if self._free:
            return self._free.pop()
        return self._cluster.create_database(template="migrated")

    def take_back(self, url: str) -> None:
        """Empty the database for the next test; drop it where that would not make it as new."""
        made_as_new = _MAKE_AS_NEW.format(fingerprint=_FINGERPRINT, expected=self._expected)
        try:
            self._cluster.execute(made_as_new, database=url.rpartition("/")[2])
        except PostgresError:
            self._cluster.drop_database(url)
        else:
            self._free.append(url)
