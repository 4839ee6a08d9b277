"""Tools as events show them."""

from __future__ import annotations

from flowkick.history.models import Tool
from flowkick.webhooks.payloads import ToolPayload


def tool_payload(tool: Tool) -> ToolPayload:
    """A tool inside of what was booked or redeemed."""
    return ToolPayload(id=tool.id, name=tool.name, type=tool.type)
