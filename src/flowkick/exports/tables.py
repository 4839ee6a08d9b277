"""Users as the lines of a table (CSV).

PostgreSQL makes the whole lines by COPY, which nothing is faster than. SQLite's rows are made into
lines here, and so are PostgreSQL's where there are many custom fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Select, Text, case, cast, func, literal, true

from flowkick.exports import statements
from flowkick.exports.cells import TAG_SEPARATOR, guarded, line
from flowkick.exports.columns import Column, Kind
from flowkick.exports.rows import BATCH, Lines, Selection, Take, batches, users
from flowkick.storage.copying import copy_out
from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession
from flowkick.users.filters import criteria
from flowkick.users.models import Tag

MOST_COPIED: Final = 50
"""Custom fields. PostgreSQL's time grows with their square, and it has 1,664 columns at most."""
LINE_END: Final = b"\r\n"
_values = msgspec.json.Decoder(dict[str, str]).decode


async def read_lines(
    session: TenantSession, columns: Sequence[Column], selection: Selection, take: Take
) -> None:
    """Give `take` the lines of the users of a selection, in their order."""
    wanted = await criteria(session, selection.filters)
    select_users = partial(users, session, wanted, selection.limit)
    if is_sqlite(session) or len(_custom_ids(columns)) > MOST_COPIED:
        await _read_rows(session, columns, select_users, take)
    else:
        await _copy_lines(session, columns, select_users, take)


def _custom_ids(columns: Sequence[Column]) -> list[str]:
    return [column.custom.id for column in columns if column.custom is not None]


async def _copy_lines(
    session: TenantSession,
    columns: Sequence[Column],
    select_users: Callable[[Sequence[Any]], Select[Any]],
    take: Take,
) -> None:
    ids = _custom_ids(columns)
    values = statements.values_by_column(ids) if ids else None
    cells = _cells(session, columns, statements.guarded)
    cells += [] if values is None else map(statements.guarded, values.c)
    if len(cells) <= 1:  # NULL would be an empty line, and empty text is in quotes
        cells = [func.coalesce(cell, "") for cell in cells] or [literal("")]
    statement = select_users(cells)
    if values is not None:
        statement = statement.outerjoin(values, true())
    ended = CopiedLines()
    await copy_out(session, statement, lambda part: take(partial(ended, part)))


async def _read_rows(
    session: TenantSession,
    columns: Sequence[Column],
    select_users: Callable[[Sequence[Any]], Select[Any]],
    take: Take,
) -> None:
    ids = _custom_ids(columns)
    cells = [func.coalesce(cell, "") for cell in _cells(session, columns, lambda text: text)]
    values: Any = statements.custom_values(session) if ids else literal(None, Text)
    statement = select_users([*cells, values])
    async for batch in batches(session, statement, BATCH):
        await take(partial(_joined, batch, ids))


def _cells(
    session: TenantSession, columns: Sequence[Column], text: Callable[[Any], Any]
) -> list[Any]:
    """The cells of columns that are no custom fields; `text` is what becomes of texts."""
    return [_cell(session, column, text) for column in columns if column.custom is None]


def _cell(session: TenantSession, column: Column, text: Callable[[Any], Any]) -> Any:
    source: Any = column.source
    if column.kind is Kind.TAGS:
        return statements.tags(session, Tag.name.expression, TAG_SEPARATOR, shown=text)
    if column.kind is Kind.BOOLEAN:
        return case((source, "Yes"), else_="No")
    if column.kind is Kind.MOMENT:
        return statements.moment(session, source)
    return cast(source, Text) if column.kind is Kind.NUMBER else text(source)


def _joined(rows: Sequence[Any], custom: Sequence[str]) -> Lines:
    """Rows of cells, whose last holds the values of all custom fields, as lines."""
    lines = []
    for *cells, values in rows:
        if custom:
            given: Mapping[str, str] = _values(values) if values else {}
            cells += [given.get(id_, "") for id_ in custom]
        lines.append(line(guarded(cells)).encode())
    lines.append(b"")
    return Lines(LINE_END.join(lines), len(rows))


class CopiedLines:
    """Ends the lines of COPY with CRLF, part by part, and counts them.

    COPY ends them with LF, and quotes just what `cells.line` does. An LF inside of quotes is of a
    cell: a quote in a cell is two, so the quotes before it tell where it is.
    """

    def __init__(self) -> None:
        self._in_quotes = False

    def __call__(self, part: bytes) -> Lines:
        """The part that follows."""
        pieces = part.split(b'"')
        first = int(self._in_quotes)
        outside = pieces[first::2]
        pieces[first::2] = [piece.replace(b"\n", b"\r\n") for piece in outside]
        self._in_quotes ^= len(pieces) % 2 == 0
        return Lines(b'"'.join(pieces), sum(piece.count(b"\n") for piece in outside))
