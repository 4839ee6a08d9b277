"""The shapes of tools on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from flowkick.core.schemas import (
    ApiInput,
    ApiModel,
    CursorPagination,
    Name,
    Storable,
    Success,
    Timestamp,
    left_out,
    shown_as,
)
from flowkick.history.schemas import TOOL

Kind = Annotated[str, StringConstraints(min_length=1, max_length=100), Storable]
Description = Annotated[str, StringConstraints(max_length=10_000), Storable]


class ToolInput(ApiInput):
    """A new tool. Of an `exclusive` one, no two open bookings overlap."""

    model_config = shown_as(name="Table by the window", type="table", exclusive=True)

    name: Name
    type: Kind = "tool"
    description: Description | None = None
    exclusive: bool = False
    active: bool = True


class ToolPatch(ApiInput):
    """Any of a tool's fields; what is left out stays as it is."""

    model_config = shown_as(active=False)

    name: Name = left_out("")
    type: Kind = left_out("")
    description: Description | None = left_out(None)
    exclusive: bool = left_out(False)
    active: bool = left_out(True)


class ToolShown(ApiModel):
    """A tool."""

    model_config = shown_as(
        **TOOL,
        description="Seats four",
        exclusive=True,
        active=True,
        createdAt="2025-11-06T10:30:00.000Z",
        updatedAt="2025-11-06T10:30:00.000Z",
    )

    id: str
    name: str
    type: str
    description: str | None
    exclusive: bool
    active: bool
    created_at: Timestamp
    updated_at: Timestamp


class ToolAnswer(Success):
    """One tool."""

    tool: ToolShown


class ToolsAnswer(Success):
    """A page of tools."""

    tools: list[ToolShown]
    pagination: CursorPagination
