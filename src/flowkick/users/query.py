"""What a caller asks of the list of users, as a query string says it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
)

from flowkick.core.schemas import Storable
from flowkick.users.cursors import Order, SortBy, SortOrder
from flowkick.users.filters import UserFilters
from flowkick.users.shown import SELECTABLE

_Q = TypeVar("_Q", bound=UserFilters)
MAX_LIMIT: Final = 1000
MAX_OFFSET: Final = 2**31 - 1
_DEEP: Final = re.compile(r"(\w+)\[(.*)\]", re.DOTALL)
_FIELD: Final = "customField"
_REPEATED: Final = frozenset({"hasTag", "optedIn"})


def _names(value: Any) -> Any:
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def _known(names: list[str]) -> list[str]:
    unknown = [name for name in names if name not in SELECTABLE]
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}; there are {', '.join(SELECTABLE)}")
    return list(dict.fromkeys(names))


def _cut(limit: int) -> int:
    return min(limit, MAX_LIMIT)


class UsersQuery(UserFilters):
    """A page of users: which, in what order, and what of them."""

    limit: Annotated[int, AfterValidator(_cut)] = Field(
        50, ge=1, description="More than 1,000 is cut to 1,000."
    )
    offset: int = Field(
        0, ge=0, le=MAX_OFFSET, description="Skip so many; far in, a cursor is much faster."
    )
    cursor: Annotated[str, StringConstraints(max_length=2000), Storable] | None = Field(
        None,
        description="What `nextCursor` gave, with the same sort; or a user's id.",
    )
    sort_by: SortBy = Field(
        "createdAt",
        description="Names sort without case and accents; users without the name come before all.",
    )
    sort_order: SortOrder = Field(
        "desc", description="Users who are equal by the sort are sorted by their ids, likewise."
    )
    fields: Annotated[list[str], AfterValidator(_known), BeforeValidator(_names)] | None = Field(
        None,
        description="Show only these, separated by commas.",
        examples=["id,email,tags"],
        json_schema_extra={"type": "string"},
    )
    count: Literal["exact", "estimated", "none"] = Field(
        "exact", description="How `total` is found; with `none` it is null, and costs nothing."
    )
    include_bookings: bool = Field(
        default=False, description="Show the last 10 `bookings` of each user."
    )
    include_qr_codes: bool = Field(
        default=False,
        alias="includeQRCodes",
        description="Show the last 10 `qrCodes` of each user.",
    )
    include_interactions: bool = Field(
        default=False, description="Show the last 30 days of `interactionHistory` of each user."
    )

    @property
    def order(self) -> Order:
        """The order of the list."""
        return Order(self.sort_by, self.sort_order)


def users_query(request: Request) -> UsersQuery:
    """The query of a request; RequestValidationError where a part of it can't be."""
    return parse_query(request.query_params.multi_items(), UsersQuery)


def parse_query(items: Iterable[tuple[str, str]], model: type[_Q]) -> _Q:
    """The query that these names and values make."""
    try:
        return model.model_validate(_gathered(items))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**problem, "loc": ("query", *_place(problem["loc"]))} for problem in problems]
        ) from None


def _gathered(items: Iterable[tuple[str, str]]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for name, value in items:
        if name in _REPEATED:
            found.setdefault(name, []).append(value)
            continue
        where, key = found, name
        if (deep := _DEEP.fullmatch(name)) and deep[1] == _FIELD:
            where, key = found.setdefault(_FIELD, {}), deep[2]
        if key in where:
            problem = {"type": "repeated", "loc": ("query", name), "msg": "is given twice"}
            raise RequestValidationError([problem])
        where[key] = value
    return found


def _place(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where a problem is, as the caller wrote it."""
    if len(location) > 1 and location[0] == _FIELD:
        return (f"{_FIELD}[{location[1]}]",)
    return location


def query_names(model: type[BaseModel]) -> frozenset[str]:
    """The names that a query string may hold; `customField[name]` stands for any name."""
    return frozenset(
        f"{parameter['name']}[name]"
        if parameter["schema"]["type"] == "object"
        else parameter["name"]
        for parameter in query_parameters(model)
    )


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The parameters of a query as OpenAPI describes them."""
    schemas = model.model_json_schema()["properties"]
    return [_parameter(name, schema) for name, schema in schemas.items()]


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    given = dict(schema)
    given.pop("title", None)
    described: dict[str, Any] = {
        "name": name,
        "in": "query",
        "required": False,
        "description": given.pop("description", ""),
    }
    examples = given.pop("examples", None)
    if (either := given.pop("anyOf", None)) is not None:  # or null, which is to leave it out
        given = {**either[0], **given}
    if given.get("default", ...) in (None, [], {}):
        given.pop("default", None)
    if examples:
        described["example"] = examples[0]
    if given.get("type") == "string":
        given.pop("items", None)  # a list, written as one text
    if given.get("type") == "object":
        given.pop("propertyNames", None)
        described.update(style="deepObject", explode=True)
    return {**described, "schema": given}
