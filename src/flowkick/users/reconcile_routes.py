"""The route of the states of users, for receivers that look for what they miss."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints

from flowkick.core.schemas import ApiModel, CursorPagination, Success, shown_as
from flowkick.http.context import InSession
from flowkick.http.route import ApiRoute
from flowkick.users import reconciling

router = APIRouter(prefix="/api/admin", tags=["users"], route_class=ApiRoute)


class UserStateShown(ApiModel):
    """The present state of one user in short."""

    id: str
    sequence: int = Field(description="The number of the user's last event; 0 where none told.")
    hash: str = Field(description="SHA-256 of the canonical JSON of `data.user`, in hex.")


class ReconcileAnswer(Success):
    """A page of states."""

    model_config = shown_as(
        success=True,
        users=[
            {"id": "usr_0199f8d29c3a7d10a6f4", "sequence": 7, "hash": "9f86d081884c7d65" * 4},
        ],
        pagination={"limit": 500, "hasMore": True, "nextCursor": "c1.WyJjcmVhdGVkQXQiXQ"},
    )

    users: list[UserStateShown]
    pagination: CursorPagination


@router.get("/reconcile", operation_id="reconcileUsers", response_model=ReconcileAnswer)
async def reconcile_users(
    session: InSession,
    limit: Annotated[int, Query(ge=1, le=1000, description="Users of a page.")] = 500,
    cursor: Annotated[
        str | None,
        StringConstraints(max_length=2000),
        Query(description="What `nextCursor` of the page before gave."),
    ] = None,
) -> Any:
    """The present state of each user in short, those created first coming first."""
    states, next_cursor = await reconciling.list_states(session, limit=limit, cursor=cursor)
    more = next_cursor is not None
    pagination = {"limit": limit, "has_more": more, "next_cursor": next_cursor}
    return {"users": states, "pagination": pagination}
