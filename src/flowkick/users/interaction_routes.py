"""The route of interactions."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from pydantic import BeforeValidator, Field, WithJsonSchema

from flowkick.core.schemas import ApiInput, ApiModel, Success, shown_as
from flowkick.history.recent import interaction_values
from flowkick.history.schemas import InteractionDay
from flowkick.http.context import InContext, InSession
from flowkick.http.route import ApiRoute
from flowkick.users.interactions import add_interactions
from flowkick.users.payload import load_belongings, payload
from flowkick.users.routes import API, UserId
from flowkick.users.schemas import UserShown, shown

router = APIRouter(prefix="/api/admin", tags=["users"], route_class=ApiRoute)


def _parse_day(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be an ISO 8601 date, such as 2025-11-06") from None


Day = Annotated[
    date,
    BeforeValidator(_parse_day),
    WithJsonSchema({"type": "string", "examples": ["2025-11-06"]}),
]
Added = Annotated[int, Field(ge=0, le=1_000_000)]


class InteractionsInput(ApiInput):
    """How many interactions to add to a day."""

    model_config = shown_as(messagesCount=3, storiesCount=1)

    date: Day | None = Field(None, description="In UTC; today where it is left out.")
    messages_count: Added = 0
    comments_count: Added = 0
    stories_count: Added = 0


class InteractionTotals(ApiModel):
    """A user's interactions in all, of whatever day."""

    model_config = shown_as(messagesCount=25, commentsCount=8, storiesCount=3, totalCount=36)

    messages_count: int
    comments_count: int
    stories_count: int
    total_count: int


class InteractionsAnswer(Success):
    """The user, its day, and its counters."""

    user: UserShown
    interactions: InteractionDay
    totals: InteractionTotals


@router.post(
    "/users/{id}/interactions",
    operation_id="addInteractions",
    status_code=201,
    response_model=InteractionsAnswer,
)
async def add_user_interactions(
    user_id: UserId, body: InteractionsInput, session: InSession, context: InContext
) -> Any:
    """Add messages, comments and story reactions to a user's day, and to its counters."""
    now = context.clock()
    counts = body.sent()
    day = counts.pop("date", None) or now.date()
    user, row = await add_interactions(session, user_id, day, counts, source=API, now=now)
    belongings = await load_belongings(session, [user.id])
    return {
        "user": shown(user, belongings[user.id]),
        "interactions": interaction_values(row),
        "totals": msgspec.structs.asdict(payload(user, belongings[user.id]).interactions),
    }
