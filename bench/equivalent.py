"""The table of an export as each database's own shell makes it, and the way that loads all first.

The query makes the same cells: booleans as words, moments as text, tags joined,
a column for each custom field, formulas guarded. It is written here by hand.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import make_url

_TEXTS: Final = (
    *("id", "manychatId", "instagramId", "igUsername", "firstName", "lastName", "email", "phone"),
    *("whatsappPhone", "gender", "locale", "timezone"),
)
_FLAGS: Final = (
    *("optedInMessenger", "optedInInstagram", "optedInWhatsapp", "optedInTelegram"),
    "exportConsentGiven",
)
_MOMENTS: Final = ("exportConsentAt", "subscribedAt", "lastSyncedAt")
_COUNTS: Final = ("bookingsCount", "qrCodesCount", "conversationsCount")
_LAST: Final = ("createdAt", "updatedAt")
_GUARD: Final = {
    "PostgreSQL": r"CASE WHEN {0} ~ '^[=+@\t\n\r＝＋－＠-]' AND {0} !~ '^[+-]?[0-9]+(\.[0-9]+)?$'"  # noqa: RUF001
    " THEN '''' || {0} ELSE nullif({0}, '') END",
    "SQLite": "CASE WHEN unicode({0}) IN (9, 10, 13, 43, 45, 61, 64, 65291, 65293, 65309, 65312)"
    " AND NOT ({0} GLOB '[+-][0-9]*' AND {0} NOT GLOB '?*[^0-9.]*') THEN '''' || {0} ELSE {0} END",
}
_MOMENT: Final = {
    "PostgreSQL": """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
    "SQLite": "{0}",
}
_VALUE: Final = {
    "PostgreSQL": 'v."{0}"',
    "SQLite": """(SELECT value FROM "CustomFieldValue" WHERE "userId" = u.id
        AND "fieldId" = '{0}')""",
}
_TAGS: Final = {
    "PostgreSQL": "t.tags",
    "SQLite": """(SELECT group_concat(name, '; ') FROM (SELECT name FROM "ContactTag"
        JOIN "Tag" ON "Tag".id = "tagId" WHERE "userId" = u.id ORDER BY "tagId"))""",
}
_GROUPED: Final = """LEFT JOIN (SELECT "userId", string_agg(name, '; ' ORDER BY "tagId") AS tags
        FROM "ContactTag" JOIN "Tag" ON "Tag".id = "tagId" GROUP BY "userId") t
        ON t."userId" = u.id
    LEFT JOIN (SELECT "userId", {values} FROM "CustomFieldValue" GROUP BY "userId") v
        ON v."userId" = u.id"""
_PIVOTED: Final = """max(value) FILTER (WHERE "fieldId" = '{0}') AS "{0}\""""


def query(kind: str, admin_id: str, fields: list[str], limit: int, *, ordered: bool) -> str:
    """The SQL of the table; `fields` are the ids of the custom fields, in their order."""
    columns = [
        *((f'u."{name}"', True) for name in _TEXTS),
        *((f"CASE WHEN u.\"{name}\" THEN 'Yes' ELSE 'No' END", False) for name in _FLAGS),
        *((_MOMENT[kind].format(f'u."{name}"'), False) for name in _MOMENTS),
        *((f'u."{name}"', False) for name in _COUNTS),
        (_TAGS[kind], True),
        *((_MOMENT[kind].format(f'u."{name}"'), False) for name in _LAST),
        *((_VALUE[kind].format(id_), True) for id_ in fields),
    ]
    raw = ", ".join(f"{text} AS c{number}" for number, (text, _) in enumerate(columns))
    cells = ", ".join(
        _GUARD[kind].format(f"c{number}") if guarded else f"c{number}"
        for number, (_, guarded) in enumerate(columns)
    )
    values = ", ".join(_PIVOTED.format(id_) for id_ in fields)
    joined = _GROUPED.format(values=values) if kind == "PostgreSQL" else ""
    order = 'ORDER BY u."createdAt" DESC, u.id DESC' if ordered else ""
    rows = f'SELECT {raw} FROM "User" u {joined} WHERE u."adminId" = \'{admin_id}\' {order}'  # noqa: S608
    # By the limit and the condition, SQLite makes each value once, however often it is looked at.
    return f"SELECT {cells} FROM ({rows} LIMIT {limit}) AS made WHERE c0 IS NOT NULL"  # noqa: S608


def shell(database_url: str, sql: str, path: Path) -> float:
    """The seconds that the database's shell takes to write the query's CSV.

    RuntimeError where the shell is not installed.
    """
    if database_url.startswith("sqlite"):
        database = str(make_url(database_url).database)
        command = [_program("sqlite3", "sqlite3"), "-readonly", database, ".mode csv", sql]
    else:
        copy = f"COPY ({sql}) TO STDOUT WITH CSV"
        command = [_program("psql", "postgresql-client"), "-XqAt", database_url, "-c", copy]
    started = time.perf_counter()
    with path.open("wb") as file:
        subprocess.run(command, stdout=file, check=True)
    return time.perf_counter() - started


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing: apt-get install {package}, and measure again.")
    return found


def loaded(database_url: str, admin_id: str, limit: int) -> tuple[float, float]:
    """The seconds, and the MiB at their most, of a process that loads all and then stringifies."""
    command = [sys.executable, "-m", "bench.equivalent", database_url, admin_id, str(limit)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, mib = map(float, printed.split())
    return seconds, mib


async def _fetch(database_url: str, sql: str, admin_id: str) -> list[Any]:
    if database_url.startswith("sqlite"):
        connection = sqlite3.connect(str(make_url(database_url).database))
        connection.row_factory = sqlite3.Row
        return connection.execute(sql.replace("$1", "?1"), [admin_id]).fetchall()
    driver = await asyncpg.connect(database_url)
    try:
        return list(await driver.fetch(sql, admin_id))
    finally:
        await driver.close()


async def _load_all(database_url: str, admin_id: str, limit: int) -> str:
    users = 'SELECT * FROM "User" WHERE "adminId" = $1 ORDER BY "createdAt" DESC, id DESC'
    users += f" LIMIT {limit}"
    mine = f'"userId" IN (SELECT id FROM ({users}) AS mine)'  # noqa: S608
    tags: dict[str, list[str]] = defaultdict(list)
    for row in await _fetch(
        database_url,
        f'SELECT "userId", name FROM "ContactTag" JOIN "Tag" ON "Tag".id = "tagId" WHERE {mine}',  # noqa: S608
        admin_id,
    ):
        tags[row["userId"]].append(row["name"])
    values: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in await _fetch(
        database_url,
        f'SELECT "userId", "fieldId", value FROM "CustomFieldValue" WHERE {mine}',  # noqa: S608
        admin_id,
    ):
        values[row["userId"]][row["fieldId"]] = row["value"]
    fields = await _fetch(
        database_url, 'SELECT id FROM "CustomField" WHERE "adminId" = $1', admin_id
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for user in await _fetch(database_url, users, admin_id):
        own = [*(user[name] for name in _TEXTS), *("Yes" if user[n] else "No" for n in _FLAGS)]
        own += [str(user[name] or "") for name in (*_MOMENTS, *_COUNTS, *_LAST)]
        custom = [values[user["id"]].get(field["id"]) for field in fields]
        writer.writerow([*own, "; ".join(tags[user["id"]]), *custom])
    return text.getvalue()


def _main() -> None:
    database_url, admin_id, limit = sys.argv[1:]
    started = time.perf_counter()
    asyncio.run(_load_all(database_url, admin_id, int(limit)))
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    kib = int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(time.perf_counter() - started, kib / 1024)


if __name__ == "__main__":
    _main()
