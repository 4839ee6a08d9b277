"""The routes of tools."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from flowkick.http.context import InContext, InSession
from flowkick.http.pages import Cursor, Limit
from flowkick.http.route import ApiRoute
from flowkick.storage.keyset import pagination
from flowkick.tools import schemas, service

router = APIRouter(prefix="/api/admin", tags=["tools"], route_class=ApiRoute)

ToolId = Annotated[str, Path(alias="id", max_length=100)]


@router.get("/tools", operation_id="listTools", response_model=schemas.ToolsAnswer)
async def list_tools(session: InSession, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """A page of tools, the newest first."""
    page = await service.list_tools(session, limit=limit, cursor=cursor)
    return {"tools": page.rows, "pagination": pagination(page, limit)}


@router.post(
    "/tools", operation_id="createTool", status_code=201, response_model=schemas.ToolAnswer
)
async def create_tool(body: schemas.ToolInput, session: InSession, context: InContext) -> Any:
    """Add a tool: what users book or redeem."""
    return {"tool": await service.create_tool(session, body.model_dump(), context.clock())}


@router.get("/tools/{id}", operation_id="getTool", response_model=schemas.ToolAnswer)
async def get_tool(tool_id: ToolId, session: InSession) -> Any:
    """One tool."""
    return {"tool": await service.find_tool(session, tool_id)}


@router.patch("/tools/{id}", operation_id="updateTool", response_model=schemas.ToolAnswer)
async def update_tool(
    tool_id: ToolId, body: schemas.ToolPatch, session: InSession, context: InContext
) -> Any:
    """Change a tool; an inactive one takes no new bookings."""
    return {"tool": await service.change_tool(session, tool_id, body.sent(), context.clock())}
