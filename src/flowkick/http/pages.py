"""The query parameters of lists that are read page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import StringConstraints

from flowkick.storage.keyset import MAX_CURSOR

MAX_LIMIT = 200

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows of a page.")]
Cursor = Annotated[
    str | None,
    StringConstraints(max_length=MAX_CURSOR),
    Query(description="What `nextCursor` of the page before gave."),
]
IdFilter = Annotated[str | None, StringConstraints(max_length=100)]
"""A query parameter that takes an id."""
