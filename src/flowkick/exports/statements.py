"""What users are in SQL, as text that a file can take: both databases, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Text,
    and_,
    case,
    cast,
    func,
    literal_column,
    not_,
    select,
    type_coerce,
)
from sqlalchemy.sql.selectable import LateralFromClause

from flowkick.exports.cells import FORMULA_STARTS, PLAIN_NUMBER
from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import ContactTag, CustomFieldValue, Tag

_MOMENT: Final = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
"""As `isoformat` writes moments: parts of a millisecond are cut off."""
# Of the user whose row is being made.
_USER_ID: Final[ColumnElement[str]] = literal_column('"User".id')


def moment(session: TenantSession, column: Any) -> Any:
    """A moment as answers show it, or NULL."""
    if is_sqlite(session):
        return type_coerce(column, Text)
    return func.to_char(func.timezone("UTC", column), _MOMENT)


def as_json(session: TenantSession, text: Any) -> ColumnElement[str]:
    """A text as JSON, or ``null``; escaped as msgspec does it, by either database."""
    if is_sqlite(session):
        return func.json_quote(text, type_=Text)
    return func.coalesce(cast(func.to_json(text), Text), "null")


def tags(
    session: TenantSession,
    label: ColumnElement[str],
    separator: str,
    *,
    ending: Callable[[Any], Any] | None = None,
    shown: Callable[[Any], Any],
) -> ColumnElement[str]:
    """The `label` of each of a user's tags, with the `ending` of when it was applied.

    They are in the order of their index; `shown` is what becomes of the whole, which is NULL where
    there is none.
    """
    # Without the moments, all of it is in an index.
    moments = [] if ending is None else [ContactTag.applied_at]
    rows = select(*moments).where(ContactTag.user_id == _USER_ID).order_by(ContactTag.tag_id)
    each: Any
    if is_sqlite(session):
        mine = rows.add_columns(label.label("label"))
        mine = mine.join_from(ContactTag, Tag, Tag.id == ContactTag.tag_id)
        mine = mine.where(Tag.admin_id == session.admin_id)
        each = (found := mine.subquery()).c.label
    else:
        # Each label is made once. To join the table to every user's tags takes a third longer.
        labels = select(func.jsonb_object_agg(Tag.id, label)).where(
            Tag.admin_id == session.admin_id
        )
        found = rows.add_columns(ContactTag.tag_id).subquery()
        each = labels.scalar_subquery().op("->>", return_type=Text())(found.c.tag_id)
    if ending is not None:
        each = each.concat(ending(found.c.applied_at))
    joined = select(func.aggregate_strings(each, separator).label("joined")).subquery()
    return select(shown(joined.c.joined)).scalar_subquery()


def custom_values(session: TenantSession) -> ColumnElement[str]:
    """A user's values in all custom fields, as a JSON object by the ids of these; or NULL."""
    pair = (CustomFieldValue.field_id, CustomFieldValue.value)
    values: ColumnElement[str]
    if is_sqlite(session):
        values = func.json_group_object(*pair, type_=Text)
    else:
        values = cast(func.json_object_agg(*pair), Text)
    there = (CustomFieldValue.user_id == _USER_ID, CustomFieldValue.value.is_not(None))
    return select(values).where(*there).scalar_subquery()


def values_by_column(field_ids: Sequence[str]) -> LateralFromClause:
    """A user's values in these custom fields, a column each; on PostgreSQL.

    Each value is held against each field, so this is for few of them.
    """
    of = CustomFieldValue
    columns = (
        func.max(of.value).filter(of.field_id == id_).label(f"value_{number}")
        for number, id_ in enumerate(field_ids)
    )
    return select(*columns).where(of.user_id == _USER_ID).lateral("custom")


def guarded(text: Any) -> ColumnElement[str]:
    """`cells.guarded` of a text, and NULL for one that is empty; on PostgreSQL."""
    runs = and_(
        func.ascii(text).in_([ord(letter) for letter in FORMULA_STARTS]),
        not_(text.regexp_match(f"^{PLAIN_NUMBER}$")),
    )
    return case((runs, func.concat("'", text)), else_=func.nullif(text, ""))
