"""A user as a document: nested, with every key in its place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from flowkick.core.clock import isoformat
from flowkick.exports.columns import COLUMNS, CUSTOM_FIELDS, Column, Kind
from flowkick.exports.rows import Row

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


def in_order(columns: Sequence[Column]) -> list[tuple[str, list[int]]]:
    """The keys of a document, with the numbers of the columns that stand under each.

    A whole user has `customFields` even where the admin has defined none.
    """
    found: dict[str, list[int]] = {key: [] for key in KEYS}
    for number, column in enumerate(columns):
        found[column.path[0]].append(number)
    is_whole = {column.name for column in COLUMNS} <= {column.name for column in columns}
    return [
        (key, numbers)
        for key, numbers in found.items()
        if numbers or (is_whole and key == CUSTOM_FIELDS)
    ]


class Documents:
    """Makes documents of rows. `customFields` has those fields that the user has a value in."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._keys = in_order(columns)

    def __call__(self, row: Row) -> dict[str, Any]:
        """One user."""
        return {key: self._under(numbers, row) for key, numbers in self._keys}

    def _under(self, numbers: Sequence[int], row: Row) -> Any:
        found: dict[str, Any] = {}
        for number in numbers:
            column, value = self._columns[number], row[number]
            if column.custom is not None:
                _add_custom(found, column, value)
            elif len(column.path) == 1:
                return _shown(value, column.kind)
            else:
                found[column.path[1]] = _shown(value, column.kind)
        return found


def _add_custom(fields: dict[str, Any], column: Column, value: str | None) -> None:
    field = column.custom
    if field is not None and value is not None:
        fields[field.name] = {"value": value, "type": field.type, "fieldId": field.id}


def _shown(value: Any, kind: Kind) -> Any:
    if kind is Kind.TAGS:
        return [
            {
                "id": tag.id,
                "name": tag.name,
                "manychatTagId": tag.manychat_tag_id,
                "appliedAt": isoformat(tag.applied_at),
            }
            for tag in value
        ]
    return isoformat(value) if isinstance(value, datetime) else value
