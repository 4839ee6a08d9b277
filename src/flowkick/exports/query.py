"""What a caller asks of an export, as a query string says it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Request
from pydantic import BeforeValidator, Field

from flowkick.core.schemas import Text
from flowkick.exports.rows import Selection
from flowkick.users.filters import UserFilters
from flowkick.users.query import parse_query

_MOST: Final = 2**31 - 1
_INCLUDES: Final = {
    "include_bookings": "bookings",
    "include_qr_codes": "qrCodes",
    "include_interactions": "interactionHistory",
    "include_conversations": "conversations",
}


def _names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.split(",") if name.strip()]


class ExportQuery(UserFilters):
    """Which users, and what of them."""

    limit: int | None = Field(
        None, ge=1, le=_MOST, description="The newest so many; without it, all."
    )
    fields: Annotated[list[Text], BeforeValidator(_names), Field(max_length=500)] | None = Field(
        None,
        min_length=1,
        description="Only these, separated by commas, by their names in the API or in the CSV;"
        " `customFields` are all custom fields, `cf_<name>` is one.",
        examples=["id,email,tags"],
        json_schema_extra={"type": "string"},
    )

    def selection(self) -> Selection:
        """The users that are asked for."""
        given = {name: getattr(self, name) for name in UserFilters.model_fields}
        filters = UserFilters.model_construct(**given)
        return Selection(filters, self.fields, self.limit, self.included())

    def included(self) -> list[str]:
        """What is to stand in each user beside its own fields."""
        return []


class CsvQuery(ExportQuery):
    """Users as a table."""

    bom: bool = Field(
        default=False,
        description="Begin with a byte order mark, by which Excel knows that it is UTF-8.",
    )


class JsonQuery(ExportQuery):
    """Users as a document."""

    include_bookings: bool = Field(default=False, description="All `bookings` of each user.")
    include_qr_codes: bool = Field(
        default=False, alias="includeQRCodes", description="All `qrCodes` of each user."
    )
    include_interactions: bool = Field(
        default=False, description="The whole `interactionHistory` of each user, day by day."
    )
    include_conversations: bool = Field(
        default=False, description="All `conversations` of each user, with their messages."
    )

    def included(self) -> list[str]:
        """What is to stand in each user beside its own fields."""
        return [name for asked_by, name in _INCLUDES.items() if getattr(self, asked_by)]


def csv_query(request: Request) -> CsvQuery:
    """The query of a request; RequestValidationError where a part of it can't be."""
    return parse_query(request.query_params.multi_items(), CsvQuery)


def json_query(request: Request) -> JsonQuery:
    """The query of a request; RequestValidationError where a part of it can't be."""
    return parse_query(request.query_params.multi_items(), JsonQuery)
