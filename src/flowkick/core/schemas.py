"""What all request and response shapes have in common: camelCase outside, strict, closed."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from flowkick.core.clock import isoformat, parse_iso
from flowkick.core.errors import InvalidInput

_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def _storable(value: Any) -> Any:
    # PostgreSQL's text can't hold U+0000; SQLite's can, but tools stop reading at it.
    # JSON can spell half a surrogate pair; neither UTF-8 nor a database can hold one.
    if not isinstance(value, str) or value.isprintable():  # which neither of the two is
        return value
    if "\x00" in value:
        raise ValueError("must not contain the character U+0000")
    if _SURROGATES.search(value):
        raise ValueError("must not contain half of a surrogate pair")
    return value


Storable = BeforeValidator(_storable)
"""Refuses what no database holds. It stands behind constraints on the length: before them, they
would be checked in Python, several times slower."""

Text = Annotated[str, Storable]
"""A string that both databases can hold."""

Name = Annotated[
    str,
    # On `Text`, the length would be taken before the strip, and blanks alone be a name.
    StringConstraints(min_length=1, max_length=255, strip_whitespace=True),
    BeforeValidator(_storable),
]
"""What something is called: 1 to 255 characters, without spaces at its ends."""

_NAME: Final = TypeAdapter(Name)


def checked_name(name: str, of: str) -> str:
    """`name` as `Name` takes it, for what comes by another way than a request.

    Raises InvalidInput where it can't be one.
    """
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise InvalidInput(
            f"The name of {of} has 1 to 255 characters, each of them one that can be stored."
        ) from None


_MAX_JSON_BYTES: Final = 16 * 1024
_MAX_JSON_DEPTH: Final = 10
_MAX_JSON_NUMBER: Final = 2**53 - 1


def _plain_json(value: Any, depth: int = 1) -> None:
    """ValueError for JSON that is not the same again when it comes out of either database."""
    if depth > _MAX_JSON_DEPTH:
        raise ValueError(f"must not be nested more than {_MAX_JSON_DEPTH} deep")
    if isinstance(value, dict):
        for name, inner in value.items():
            _storable(name)
            _plain_json(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _plain_json(inner, depth + 1)
    elif isinstance(value, int | float) and not abs(value) <= _MAX_JSON_NUMBER:  # NaN neither
        raise ValueError("must hold numbers up to 2^53 only: write larger ones as text")
    else:
        _storable(value)


def _kept_json(value: Any) -> Any:
    _plain_json(value)
    if len(json.dumps(value, ensure_ascii=False).encode()) > _MAX_JSON_BYTES:
        raise ValueError(f"must have at most {_MAX_JSON_BYTES // 1024} KiB as JSON")
    return value


JsonObject = Annotated[dict[str, Any], AfterValidator(_kept_json)]
"""Any JSON object of up to 16 KiB that both databases can hold."""

Timestamp = Annotated[
    datetime,
    PlainSerializer(isoformat, return_type=str),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2025-11-06T10:30:00.000Z"]},
        mode="serialization",
    ),
]
"""A moment, written as ``2025-11-06T10:30:00.000Z``."""


class ApiModel(BaseModel):
    """The base of what goes out."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


def shown_as(**example: Any) -> ConfigDict:
    """The configuration of a shape that the OpenAPI document shows with this example."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class ApiInput(BaseModel):
    """The base of what comes in: strict types, and unknown fields are refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, extra="forbid", strict=True
    )

    def sent(self) -> dict[str, Any]:
        """The fields that the caller did send, by their Python names."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def left_out(stand_in: Any) -> Any:
    """The default of a field that stays as it is where it is left out; `given()` leaves it out.

    The OpenAPI document names no default then, which clients made from it would send.
    """
    return Field(default_factory=lambda: stand_in)


class Success(ApiModel):
    """What every successful answer says."""

    success: bool = True


class CursorPagination(ApiModel):
    """Where a page stands that is read on from its cursor."""

    limit: int
    has_more: bool
    next_cursor: str | None


class Done(Success):
    """A success with nothing to show but a sentence."""

    message: str


def _parse_instant(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_iso(value)
    except (ValueError, OverflowError):  # the latter where taking off the zone leaves the years
        raise ValueError(
            "must be an ISO 8601 date or date-time, such as 2025-01-31 or 2025-11-06T10:30:00Z"
        ) from None


def _in_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


_GivenInstant = Annotated[
    datetime,
    BeforeValidator(_parse_instant),
    WithJsonSchema({"type": "string", "examples": ["2025-01-31", "2025-11-06T10:30:00.000Z"]}),
]
Instant = Annotated[_GivenInstant, AfterValidator(_in_milliseconds)]
"""A moment that comes in: ISO 8601; a bare date is its midnight UTC.

In whole milliseconds, as it is kept: one that is sent again is the same one.
"""

InstantQuery = Annotated[_GivenInstant | None, Query()]
"""A query parameter that takes a moment."""
