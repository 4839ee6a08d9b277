"""A million users with three tags and five custom fields each, written by the database itself."""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import text

from bench.people import CITIES, FIELDS, FIRST, LAST, START, TAGS
from flowkick.app import Process
from flowkick.auth.service import create_admin, create_key
from flowkick.core.clock import system_clock
from flowkick.storage import migrate
from flowkick.users.labels import FieldValue, ensure_custom_fields, ensure_tags, tag_key

_BATCH: Final = 50_000
_USER: Final = {
    "id": "'usr_' || {n}",
    "adminId": ":admin",
    "manychatId": "'10' || {n}",
    "igUsername": "CASE WHEN n % 10 > 0 THEN 'contact.' || {n} END",
    "firstName": "{first}",
    "lastName": "CASE WHEN n % 7 > 0 THEN {last} END",
    "email": "CASE WHEN n % 5 > 1 THEN 'contact' || n || '@example.com' END",
    "phone": "CASE WHEN n % 5 > 2 THEN '+49151' || {n} END",
    "locale": "'en_US'",
    "subscribedAt": "{moment}",
    "optedInMessenger": "n % 2 = 0",
    "optedInInstagram": "n % 3 > 0",
    "optedInWhatsapp": "n % 5 = 0",
    "optedInTelegram": "n % 50 = 0",
    "exportConsentGiven": "n % 2 = 1",
    **dict.fromkeys(("messagesCount", "commentsCount", "storiesCount", "sequence"), "1"),
    **dict.fromkeys(("bookingsCount", "qrCodesCount", "qrScansCount"), "n % 4"),
    "conversationsCount": "n % 3",
    "createdAt": "{moment}",
    "updatedAt": "{moment}",
    **dict.fromkeys(("firstNameKey", "lastNameKey", "searchText"), "''"),
}
_TAG: Final = {
    "id": "'ctg_' || {n} || item",
    "adminId": ":admin",
    "userId": "'usr_' || {n}",
    "tagId": "{tag}",
    "source": "'api'",
    "appliedAt": "{moment}",
}
_VALUE: Final = {
    "id": "'cfv_' || {n} || item",
    "adminId": ":admin",
    "userId": "'usr_' || {n}",
    "fieldId": "{field}",
    "value": "{value}",
    "valueKey": "lower({value})",
    "updatedAt": "{moment}",
}
_SQLITE: Final = {
    "n": "printf('%08d', n)",
    "moment": "strftime('%Y-%m-%dT%H:%M:%S.000Z', :start + n * 30, 'unixepoch')",
    "pick": "json_extract(:{list}, '$[' || ({place}) || ']')",
    "series": "WITH RECURSIVE series(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM series"
    " WHERE n + 1 < :behind)",
    "items": "json_each(:items) i",
    "item": "i.value",
}
_POSTGRESQL: Final = {
    "n": "to_char(n, 'FM00000000')",
    "moment": "to_timestamp(:start + n * 30)",
    "pick": "(CAST(:{list} AS jsonb) ->> CAST({place} AS integer))",
    "series": "WITH series(n) AS (SELECT generate_series(CAST(:first AS integer),"
    " CAST(:behind AS integer) - 1))",
    "items": "jsonb_array_elements_text(CAST(:items AS jsonb)) i",
    "item": "CAST(i.value AS integer)",
}
_LISTS: Final = {
    "first": ("first_names", f"n % {len(FIRST)}"),
    "last": ("last_names", f"n % {len(LAST)}"),
    "tag": ("tags", f"(n * 7 + item * 3) % {len(TAGS)}"),
    "field": ("fields", "item"),
    "value": ("values", f"(n * 3 + item * 41) % {len(CITIES)}"),
}


async def load(process: Process, users: int) -> tuple[str, str]:
    """Fill an empty database; the id and a key of the admin who has the users."""
    await migrate.upgrade(process.database)
    async with process.database.system_transaction() as session:
        admin = await create_admin(session, "Admin", system_clock())
    async with process.database.transaction(admin.id) as session:
        _, key = await create_key(session, system_clock())
        tags = await ensure_tags(session, [name for name, _ in TAGS], START)
        wanted = {name: FieldValue("x") for name in FIELDS}
        fields = await ensure_custom_fields(session, FIELDS, wanted, START)
    spelling = _SQLITE if process.database.is_sqlite else _POSTGRESQL
    given = {
        "admin": admin.id,
        "start": int(START.timestamp()),
        "first_names": json.dumps(FIRST),
        "last_names": json.dumps(LAST),
        "tags": json.dumps([tags[tag_key(name)].id for name, _ in TAGS]),
        "fields": json.dumps([field.id for field in fields.values()]),
        "values": json.dumps(CITIES),
    }
    for first in range(0, users, _BATCH):
        part = {**given, "first": first, "behind": min(first + _BATCH, users)}
        async with process.database.system_transaction() as session:
            for table, columns, items in (
                ("User", _USER, 1),
                ("ContactTag", _TAG, 3),
                ("CustomFieldValue", _VALUE, len(FIELDS)),
            ):
                statement = _statement(spelling, table, columns)
                each = {**part, "items": json.dumps(list(range(items)))}
                named = {name: value for name, value in each.items() if f":{name}" in statement}
                await session.execute(text(statement), named)
    # As autovacuum would do within its minute.
    async with process.database.writer.connect() as connection:
        outside = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await outside.execute(text("ANALYZE" if process.database.is_sqlite else "VACUUM ANALYZE"))
    return admin.id, key


def _statement(spelling: dict[str, str], table: str, columns: dict[str, str]) -> str:
    """The INSERT of a part of a table's rows."""
    spelt = dict(spelling)
    for name, (list_, place) in _LISTS.items():
        spelt[name] = spelt["pick"].format(list=list_, place=place)
    values = ", ".join(value.format(**spelt) for value in columns.values())
    names = ", ".join(f'"{name}"' for name in columns)
    rows = f"SELECT n, {spelt['item']} AS item FROM series, {spelt['items']}"  # noqa: S608
    return (
        f'INSERT INTO "{table}" ({names}) {spelt["series"]}'  # noqa: S608  # ours
        f" SELECT {values} FROM ({rows}) AS made ORDER BY n, item"
    )
