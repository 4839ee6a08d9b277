"""What the columns of a file mean: found by their names, or as `--map` says.

The names of the API, the same in snake_case, and those of the CSV export are known, whatever their
case, spaces and punctuation: ``firstName``, ``first_name``, ``First name``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flowkick.users.schemas import UserInput

CUSTOM_FIELD: Final = "cf_"
ID: Final = "id"
LINE, REASON, RECORD = "rejected_line", "rejected_reason", "rejected_record"
"""The columns that a file of rejected rows has beside those of the import."""
_YES: Final = frozenset({"yes", "true", "1", "y"})
_NO: Final = frozenset({"no", "false", "0", "n"})
_GUARDED: Final = re.compile(r"'[=+\-@\t\r]")


class ColumnError(Exception):
    """The columns can't be understood; the message says what to do."""


class _UnknownColumn(Exception):
    """A column that is neither known nor mapped; the message is its name."""


def _text(value: str) -> Any:
    """Text as it was before an export guarded it from being run as a formula."""
    return value[1:] if value[:1] == "'" and _GUARDED.match(value) else value


def _flag(value: str) -> Any:
    folded = value.casefold()
    if folded in _YES:
        return True
    if folded in _NO:
        return False
    raise ValueError("must be yes or no")


def _count(value: str) -> Any:
    if not value.isdecimal() or len(value) > 10:
        raise ValueError("must be a whole number")
    return int(value)


def _tags(value: str) -> Any:
    return [name for part in _text(value).split(";") if (name := part.strip())]


@dataclass(frozen=True, slots=True)
class Field:
    """Where a column's values go: to a key of `UserInput`, or to a custom field."""

    key: str
    convert: Callable[[str], Any] = _text
    custom: bool = False


def _fields() -> dict[str, Field]:
    converters = {bool: _flag, int: _count}
    fields = {ID: Field(ID), "tags": Field("tags", _tags)}
    for info in UserInput.model_fields.values():
        if info.alias not in {"tags", "customFields", None}:
            convert = converters.get(type(info.default), _text)
            fields[str(info.alias)] = Field(str(info.alias), convert)
    return fields


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


FIELDS: Final = _fields()
_BY_NAME: Final = {
    **{_folded(name): field for name, field in FIELDS.items()},
    "instagramusername": FIELDS["igUsername"],
}
# Flowkick keeps these itself; an export shows them.
_LEFT_OUT: Final = frozenset(
    map(
        _folded,
        (
            "last_synced_at",
            "bookings_count",
            "qr_codes_count",
            "conversations_count",
            "created_at",
            "updated_at",
            LINE,
            REASON,
            RECORD,
        ),
    )
)


def _find_field(name: str) -> Field | None:
    """What a column of this name means; None where it is left out."""
    stripped = name.strip()
    if stripped[: len(CUSTOM_FIELD)].casefold() == CUSTOM_FIELD and len(stripped) > 3:
        return Field(stripped[len(CUSTOM_FIELD) :], custom=True)
    folded = _folded(stripped)
    if folded in _LEFT_OUT:
        return None
    if folded not in _BY_NAME:
        raise _UnknownColumn(name)
    return _BY_NAME[folded]


def read_mapping(pairs: Sequence[str]) -> dict[str, Field | None]:
    """What ``COLUMN=FIELD`` pairs say; an empty FIELD leaves the column out. Or ColumnError."""
    mapping: dict[str, Field | None] = {}
    for pair in pairs:
        name, equals, target = pair.rpartition("=")
        if not equals or not name.strip():
            raise ColumnError(f'Write "COLUMN=FIELD" instead of "{pair}".')
        try:
            mapping[name.strip()] = _find_field(target) if target.strip() else None
        except _UnknownColumn:
            raise ColumnError(
                f'There is no field "{target}": take one of {", ".join(FIELDS)}, or cf_NAME for a'
                " custom field."
            ) from None
    return mapping


@dataclass(slots=True)
class Columns:
    """Turns the values of a record into the keys of a `UserInput`."""

    mapping: Mapping[str, Field | None]
    clear: bool = False
    """Empty cells clear what is there; otherwise they leave it alone."""

    def check(self, header: Sequence[str]) -> list[Field | None]:
        """What each column of a header means. ColumnError where that is not clear."""
        unknown = []
        fields: dict[str, Field | None] = {}
        for name in header:
            try:
                fields[name] = self._field(name)
            except _UnknownColumn:
                unknown.append(f'"{name}"')
        if unknown:
            raise ColumnError(
                f"Nobody knows what these columns mean: {', '.join(unknown)}. Say it with --map"
                ' "COLUMN=FIELD" or --map "COLUMN=cf_NAME", or leave one out with --map "COLUMN=".'
            )
        if missing := self.mapping.keys() - fields.keys():
            raise ColumnError(f"The file has no column {', '.join(sorted(missing))}.")
        found = [(field.custom, field.key) for name in header if (field := fields[name])]
        if twice := {key for custom, key in found if found.count((custom, key)) > 1}:
            raise ColumnError(f"Several columns are {', '.join(sorted(twice))}: leave some out.")
        return [fields[name] for name in header]

    def _field(self, name: str) -> Field | None:
        return self.mapping[name] if name in self.mapping else _find_field(name)

    def of_row(self, fields: Sequence[Field | None], cells: Sequence[str]) -> dict[str, Any]:
        """The input that a CSV row stands for. ValueError names the column and what is wrong."""
        made: dict[str, Any] = {}
        for field, cell in zip(fields, cells, strict=True):
            if field is None:
                continue
            text = cell.strip()
            if text:
                _put(made, field, _converted(field, text))
            elif self.clear:
                _clear(made, field)
        return made

    def of_object(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The input that a JSON object stands for. ValueError names the key and what is wrong."""
        made: dict[str, Any] = {}
        for name, value in values.items():
            if name == "customFields" and isinstance(value, dict):
                made.setdefault("customFields", {}).update(value)
                continue
            try:
                field = self._field(name)
            except _UnknownColumn:
                raise ValueError(f"{name}: unknown field") from None
            if field is not None:
                _put(made, field, _converted(field, value) if isinstance(value, str) else value)
        return made


def _converted(field: Field, text: str) -> Any:
    try:
        return field.convert(text)
    except ValueError as error:
        raise ValueError(f"{field.key}: {error}") from None


def _put(made: dict[str, Any], field: Field, value: Any) -> None:
    if field.custom:
        made.setdefault("customFields", {})[field.key] = value
    else:
        made[field.key] = value


def _clear(made: dict[str, Any], field: Field) -> None:
    if field.custom or (field.convert is _text and field.key not in {ID, "manychatId"}):
        _put(made, field, None)
