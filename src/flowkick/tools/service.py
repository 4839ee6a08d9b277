"""Tools: added, changed, found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

from flowkick.core.errors import NotFound
from flowkick.core.ids import new_id
from flowkick.history.models import Tool
from flowkick.storage.dialects import among
from flowkick.storage.keyset import Page, newest_first
from flowkick.storage.tenancy import TenantSession


async def create_tool(session: TenantSession, values: Mapping[str, Any], now: datetime) -> Tool:
    """Add a tool."""
    tool = Tool(id=new_id("tol"), **values, created_at=now, updated_at=now)
    session.add(tool)
    await session.flush()
    return tool


async def find_tool(session: TenantSession, tool_id: str, *, lock: bool = False) -> Tool:
    """One tool; NotFound where the admin has none with this id.

    With `lock`, nobody else books or changes it before the end of the transaction. The lock lets
    rows that point to the tool be written (PostgreSQL's FOR NO KEY UPDATE).
    """
    statement = select(Tool).where(Tool.id == tool_id)
    if lock:
        statement = statement.with_for_update(key_share=True)
    tool = await session.scalar(statement, execution_options={"populate_existing": True})
    if tool is None:
        raise NotFound(f"There is no tool {tool_id}.")
    return tool


async def find_tools(session: TenantSession, tool_ids: Iterable[str]) -> dict[str, Tool]:
    """The tools of these ids that there are, by id."""
    wanted = sorted(set(tool_ids))
    if not wanted:
        return {}
    rows = await session.scalars(select(Tool).where(among(session, Tool.id, wanted)))
    return {row.id: row for row in rows}


async def change_tool(
    session: TenantSession, tool_id: str, values: Mapping[str, Any], now: datetime
) -> Tool:
    """Change a tool's fields. What is booked already stays, even where it overlaps."""
    tool = await find_tool(session, tool_id, lock=True)
    different = {name: new for name, new in values.items() if getattr(tool, name) != new}
    for name, new in different.items():
        setattr(tool, name, new)
    if different:
        tool.updated_at = now
        await session.flush()
    return tool


async def list_tools(session: TenantSession, *, limit: int, cursor: str | None) -> Page[Tool]:
    """A page of tools, the newest first."""
    return await newest_first(
        session, select(Tool), Tool.created_at, Tool.id, limit=limit, cursor=cursor
    )
