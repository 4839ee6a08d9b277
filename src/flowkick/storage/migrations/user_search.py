"""What the first revision makes beside tables: the search of users, and the count of them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from flowkick.core.errors import SettingsError

_SQLITE: Final = (
    # An entry is a user's row number; the text itself is in "User". detail=none: which trigrams a
    # row has, not where; who searches compares the text anyway.
    """CREATE VIRTUAL TABLE "UserSearch" USING fts5(
        "searchText", content="User", tokenize="trigram", detail=none, columnsize=0)""",
    """CREATE TRIGGER "User_inserted" AFTER INSERT ON "User" BEGIN
        INSERT INTO "UserSearch"(rowid, "searchText") VALUES (new.rowid, new."searchText");
        INSERT INTO "UserCount"("adminId", share, users) VALUES (new."adminId", 0, 1)
            ON CONFLICT ("adminId", share) DO UPDATE SET users = users + 1;
    END""",
    """CREATE TRIGGER "User_deleted" AFTER DELETE ON "User" BEGIN
        INSERT INTO "UserSearch"("UserSearch", rowid, "searchText")
            VALUES ('delete', old.rowid, old."searchText");
        UPDATE "UserCount" SET users = users - 1 WHERE "adminId" = old."adminId";
    END""",
    """CREATE TRIGGER "User_searchText_updated" AFTER UPDATE OF "searchText" ON "User"
        WHEN old."searchText" <> new."searchText" BEGIN
        INSERT INTO "UserSearch"("UserSearch", rowid, "searchText")
            VALUES ('delete', old.rowid, old."searchText");
        INSERT INTO "UserSearch"(rowid, "searchText") VALUES (new.rowid, new."searchText");
    END""",
)
_POSTGRESQL: Final = (
    'CREATE INDEX "ix_User_searchText" ON "User" USING gin ("searchText" gin_trgm_ops)',
    """CREATE FUNCTION flowkick_count_users() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO "UserCount" ("adminId", share, users)
            SELECT "adminId", pg_backend_pid() % 1024,
                CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
            FROM changed GROUP BY "adminId"
            ON CONFLICT ("adminId", share)
            DO UPDATE SET users = "UserCount".users + excluded.users;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER "User_inserted" AFTER INSERT ON "User"
        REFERENCING NEW TABLE AS changed EXECUTE FUNCTION flowkick_count_users()""",
    """CREATE TRIGGER "User_deleted" AFTER DELETE ON "User"
        REFERENCING OLD TABLE AS changed EXECUTE FUNCTION flowkick_count_users()""",
)


def create(connection: Connection) -> None:
    """Make the index of trigrams, and the triggers that keep it and the count of users.

    Raises SettingsError where the database lacks what that takes.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        _make_extension(connection)
    for statement in _SQLITE if is_sqlite else _POSTGRESQL:
        try:
            connection.exec_driver_sql(statement)
        except DBAPIError as error:
            if "fts5" not in statement:
                raise
            raise SettingsError(
                "This SQLite lacks the trigram index of FTS5, which search needs: use Python with"
                " SQLite 3.35 or newer."
            ) from error


def _make_extension(connection: Connection) -> None:
    if connection.exec_driver_sql("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'").scalar():
        return
    available = "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"
    if not connection.exec_driver_sql(available).scalar():
        raise SettingsError(
            "PostgreSQL lacks the extension pg_trgm, which search needs: install its contrib"
            " package (postgresql-contrib)."
        )
    try:
        connection.exec_driver_sql("CREATE EXTENSION pg_trgm")
    except DBAPIError as error:
        raise SettingsError(
            "The database's user may not make the extension pg_trgm, which search needs: let the"
            " owner of the database run `CREATE EXTENSION pg_trgm`, then try again."
        ) from error
