"""Users as documents: nested, with every key in its place, a line each (JSON, NDJSON).

The database makes the JSON of each value; here it is put between the keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Text, case, cast, func, literal, null

from flowkick.exports import included, statements
from flowkick.exports.columns import COLUMNS, CUSTOM_FIELDS, Column, CustomColumn, Kind
from flowkick.exports.rows import BATCH, Lines, Selection, Take, batches, users
from flowkick.storage.copying import copy_out
from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession
from flowkick.users.filters import criteria
from flowkick.users.models import Tag, User

KEYS: Final = (
    "id",
    "manychatId",
    "instagram",
    "profile",
    "optIns",
    "exportConsent",
    "tags",
    CUSTOM_FIELDS,
    "stats",
    "bookings",
    "qrCodes",
    "interactionHistory",
    "conversations",
    "timestamps",
)
"""The order of a document."""
_BATCH_WITH_HISTORY: Final = 100
# JSON holds no control characters: between its cells these need no quotes, and nothing is escaped.
_BETWEEN, _QUOTE = "\x1f", "\x1e"
_SPLIT: Final = _BETWEEN.encode()
_json = msgspec.json.Encoder().encode
_values = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
Cells = Sequence[bytes]
"""JSON of the columns' values, then of those in custom fields, or nothing; and the user's id."""
History = Mapping[str, Mapping[str, Any]]
"""What users did, by its name and the user's id."""


async def read_lines(
    session: TenantSession, columns: Sequence[Column], selection: Selection, take: Take
) -> None:
    """Give `take` the documents of the users of a selection, in their order."""
    documents = Documents(columns)
    wanted = await criteria(session, selection.filters)
    cells = [_cell(session, column) for column in documents.columns]
    custom: Any = statements.custom_values(session) if documents.custom else null()
    select_users = partial(users, session, wanted, selection.limit)
    if not is_sqlite(session) and not documents.histories:
        copied = CopiedCells(documents)
        form = {"delimiter": _BETWEEN, "quote": _QUOTE}
        statement = select_users([*cells, custom, User.id])
        await copy_out(session, statement, lambda part: take(partial(copied, part)), **form)
        return
    statement = select_users([*cells, func.coalesce(custom, literal("", Text)), User.id])
    size = _BATCH_WITH_HISTORY if documents.histories else BATCH
    async for batch in batches(session, statement, size):
        more = await included.load(session, documents.histories, [row[-1] for row in batch])
        await take(partial(_made, documents, batch, more))


def _made(documents: Documents, rows: Sequence[Sequence[str]], more: History) -> Lines:
    return documents.lines([_BETWEEN.join(row).encode() for row in rows], more)


def _cell(session: TenantSession, column: Column) -> Any:
    """The JSON of a column that the database knows."""
    source: Any = column.source
    if column.kind is Kind.TAGS:
        return _tags(session)
    if column.kind is Kind.BOOLEAN:
        return case((source, "true"), else_="false")
    if column.kind is Kind.MOMENT:
        return func.coalesce(_in_quotes(statements.moment(session, source)), "null")
    if column.kind is Kind.NUMBER:
        return cast(source, Text)
    return statements.as_json(session, source)


def _in_quotes(text: Any) -> Any:
    return literal('"', Text).concat(text).concat('"')


def _tags(session: TenantSession) -> Any:
    label: Any = literal("", Text)
    values = {"id": Tag.id, "name": Tag.name, "manychatTagId": Tag.manychat_tag_id}
    for before, (key, value) in zip("{,,", values.items(), strict=True):
        label = label.concat(f'{before}"{key}":').concat(statements.as_json(session, value))
    return statements.tags(
        session,
        label.concat(',"appliedAt":"'),
        ",",
        ending=lambda moment: statements.moment(session, moment).concat('"}'),
        shown=lambda joined: literal("[", Text).concat(func.coalesce(joined, "")).concat("]"),
    )


class Documents:
    """Puts cells of JSON into documents of these columns.

    `customFields` has those fields that the user has a value in. A whole user has it even where the
    admin has defined none.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        under: dict[str, list[Column]] = {key: [] for key in KEYS}
        for column in columns:
            under[column.path[0]].append(column)
        is_whole = {column.name for column in COLUMNS} <= {column.name for column in columns}
        self._has_custom = is_whole or bool(under[CUSTOM_FIELDS])
        self.custom = [_around(item.custom) for item in under[CUSTOM_FIELDS] if item.custom]
        """The id of each custom field, and what is before and after a value of it."""
        self.histories = [item.name for item in columns if item.kind is Kind.HISTORY]
        """What is included of what users did."""
        self.columns: list[Column] = []
        """Whose cells a row begins with. The values of custom fields and the user's id follow."""
        places = []
        for key, found in under.items():
            if key == CUSTOM_FIELDS:
                self._custom_at = len(self.columns)
                places += [f'"{key}":%b'] * self._has_custom
            elif found and found[0].kind is Kind.HISTORY:
                places.append(f'"{key}":%b')
            elif found:
                places.append(f'"{key}":{_template(found)}')
                self.columns += found
            if key == "conversations":
                self._histories_at = len(self.columns)
        self._template = f"{{{','.join(places)}}}".encode()

    def lines(self, rows: Sequence[bytes], more: History) -> Lines:
        """A line for each row, whose cells are joined; `more` is what is included."""
        # As bytes: to encode texts of many letters takes as long as all the rest.
        made = [self._document(row.split(_SPLIT), more) for row in rows]
        return Lines(b"\n".join([*made, b""]), len(rows))

    def _document(self, row: Cells, more: History) -> bytes:
        first, second = self._custom_at, self._histories_at
        cells = [*row[:first]]
        if self._has_custom:
            cells.append(self._custom_fields(row[-2]))
        cells += row[first:second]
        if self.histories:
            user_id = row[-1].decode()
            cells += [_json(more[name][user_id]) for name in self.histories]
        cells += row[second:-2]
        return self._template % tuple(cells)

    def _custom_fields(self, values: bytes) -> bytes:
        given = _values(values) if values and self.custom else {}
        found = [
            b"".join((before, value, after))
            for id_, before, after in self.custom
            if (value := given.get(id_)) is not None
        ]
        return b"{%b}" % b",".join(found)


def _template(columns: Sequence[Column]) -> str:
    """The places of the values under one key."""
    if len(columns[0].path) == 1:
        return "%b"
    return "{" + ",".join(f'"{column.path[1]}":%b' for column in columns) + "}"


def _around(field: CustomColumn) -> tuple[str, bytes, bytes]:
    """The field's id, and what is before and after a value of it."""
    name, type_, id_ = map(_json, (field.name, field.type, field.id))
    return field.id, name + b':{"value":', b',"type":%b,"fieldId":%b}' % (type_, id_)


class CopiedCells:
    """Makes documents of what COPY gives, part by part."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._rest = b""

    def __call__(self, part: bytes) -> Lines:
        """Those that end in the part that follows."""
        whole, end, rest = part.rpartition(b"\n")
        if not end:
            self._rest += part
            return Lines(b"", 0)
        text, self._rest = self._rest + whole, rest
        return self._documents.lines(text.split(b"\n"), {})
