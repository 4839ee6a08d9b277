"""The search of users by parts of words, in the SQL of both databases side by side.

Words come in the letters of `folding`, which are ASCII letters and digits alone: nothing in them
means anything to LIKE, to FTS5 or to a quoted literal.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, select, text, true
from sqlalchemy.orm import InstrumentedAttribute

from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession
from flowkick.users.folding import fold, letters
from flowkick.users.models import User

MAX_WORDS: Final = 20
INDEXED_LENGTH: Final = 3
"""Shorter words have no trigram: they only narrow what else is asked for."""
_MOST_TRIGRAMS: Final = 60
_LOOKED_UP: Final = 40
"""The index is asked for this much of a word; the text itself is compared with all of it."""


def search_words(asked: str) -> list[str]:
    """The words to find; without those that others of them hold."""
    found = dict.fromkeys(letters(fold(asked)))
    return [word for word in found if not any(word in other for other in found if other != word)]


def holds_words(
    session: TenantSession, words: Sequence[str], column: Any = User.search_text
) -> ColumnElement[bool]:
    """Whether a user's text holds each of the words, found without an index."""
    position = func.instr if is_sqlite(session) else func.strpos
    return and_(true(), *(position(column, word) > 0 for word in words))


def member(session: TenantSession) -> ColumnElement[Any] | InstrumentedAttribute[str]:
    """What of a user is among `matches`."""
    return literal_column('"User".rowid') if is_sqlite(session) else User.id


def matches(session: TenantSession, words: Sequence[str]) -> Select[Any] | None:
    """The users who may have these words, by the index; None where no word is long enough.

    On SQLite they are row numbers of users of all admins, and some may not have the words: for
    either, the rows themselves have to be looked at.
    """
    indexed = [word[:_LOOKED_UP] for word in words if len(word) >= INDEXED_LENGTH]
    if not indexed:
        return None
    if is_sqlite(session):
        trigrams = dict.fromkeys(
            word[start : start + 3] for word in indexed for start in range(len(word) - 2)
        )
        quoted = " ".join(f'"{trigram}"' for trigram in islice(trigrams, _MOST_TRIGRAMS))
        table = text('"UserSearch"')
        found = literal_column('"UserSearch"').op("MATCH")(quoted)
        return select(literal_column("rowid")).select_from(table).where(found)
    return select(User.id).where(
        User.admin_id == session.admin_id,
        *(User.search_text.like(f"%{word}%") for word in indexed),
        holds_words(session, [word for word in words if word not in indexed]),
    )


_EXAMINED: Final = 20
REBUILD: Final = """INSERT INTO "UserSearch"("UserSearch") VALUES ('rebuild')"""


async def is_in_step(session: TenantSession) -> bool:
    """Whether the index knows a few users, the first and the last of the table.

    On SQLite it knows them by the numbers of their rows, which a restore from SQL text may change.
    PostgreSQL keeps its index in step by itself.
    """
    if not is_sqlite(session):
        return True
    number = member(session)
    for end in (number.asc(), number.desc()):
        users = select(number, User.search_text).order_by(end).limit(_EXAMINED)
        for row, kept in (await session.execute(users)).all():
            indexed = matches(session, kept.split())
            if indexed is None:
                continue
            known = indexed.where(literal_column("rowid") == row).limit(1)
            if await session.scalar(known, execution_options={"scoped_by_hand": True}) is None:
                return False
    return True
