"""Where a list stands: its order, and the place in it after which the next page begins."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Select, Tuple, UnaryExpression, literal, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from flowkick.core.clock import parse_iso
from flowkick.core.errors import InvalidInput
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import User

SortBy = Literal["createdAt", "updatedAt", "firstName", "lastName"]
SortOrder = Literal["desc", "asc"]
_COLUMNS: Final[dict[str, InstrumentedAttribute[Any]]] = {
    "createdAt": User.created_at,
    "updatedAt": User.updated_at,
    "firstName": User.first_name_key,
    "lastName": User.last_name_key,
}
_MARK: Final = "c1."
"""What cursors begin with, and ids of users do not."""
_ADVICE: Final = "pass what nextCursor gave, or the id of a user"


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted; users who are equal by that are sorted by their ids."""

    by: SortBy
    order: SortOrder

    @property
    def column(self) -> InstrumentedAttribute[Any]:
        """The column that is sorted by."""
        return _COLUMNS[self.by]

    @property
    def expressions(self) -> list[UnaryExpression[Any]]:
        """For ORDER BY."""
        columns = (self.column, User.id)
        return [c.desc() if self.order == "desc" else c.asc() for c in columns]

    def places(self) -> Select[Any]:
        """All places of the list, in their order."""
        return select(self.column, User.id).order_by(*self.expressions)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an order: what the user there is sorted by, and its id."""

    key: datetime | str
    id: str

    def beyond(self, order: Order) -> ColumnElement[bool]:
        """What comes after this place."""
        there, here = self._sides(order)
        return there < here if order.order == "desc" else there > here

    def not_beyond(self, order: Order) -> ColumnElement[bool]:
        """What comes up to this place, and this place itself."""
        there, here = self._sides(order)
        return there >= here if order.order == "desc" else there <= here

    def _sides(self, order: Order) -> tuple[Tuple, Tuple]:
        # With their types: in another format, SQLite would compare moments wrongly.
        here = tuple_(literal(self.key, order.column.type), literal(self.id, User.id.type))
        return tuple_(order.column, User.id), here


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    by: str
    order: str
    key: str
    id: str


def encode(order: Order, position: Position) -> str:
    """What `nextCursor` gives: opaque, and good for this order alone."""
    key = position.key
    text = key if isinstance(key, str) else key.isoformat()  # to the microsecond
    packed = msgspec.json.encode(_Cursor(order.by, order.order, text, position.id))
    return _MARK + base64.urlsafe_b64encode(packed).decode().rstrip("=")


async def find_position(session: TenantSession, order: Order, cursor: str) -> Position:
    """The place that `cursor` names; InvalidInput where it names none."""
    if cursor.startswith(_MARK):
        return _decode(order, cursor.removeprefix(_MARK))
    row = (await session.execute(order.places().where(User.id == cursor))).one_or_none()
    if row is None:
        raise _wrong(_ADVICE)
    return Position(row[0], row[1])


def _decode(order: Order, packed: str) -> Position:
    try:
        plain = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        given = msgspec.json.decode(plain, type=_Cursor)
        if (given.by, given.order) != (order.by, order.order):
            raise _wrong("it is of a list in another order; keep sortBy and sortOrder as they were")
        key = parse_iso(given.key) if order.by in {"createdAt", "updatedAt"} else given.key
    except (binascii.Error, msgspec.MsgspecError, ValueError, OverflowError):
        raise _wrong(_ADVICE) from None
    if "\x00" in given.key + given.id:
        raise _wrong(_ADVICE)
    return Position(key, given.id)


def _wrong(advice: str) -> InvalidInput:
    details = [{"field": "cursor", "problem": advice}]
    return InvalidInput(f"The cursor can't be used: {advice}.", details=details)
