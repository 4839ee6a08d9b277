"""The routes of conversations."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from flowkick.conversations import schemas, service
from flowkick.http.context import InContext, InSession
from flowkick.http.pages import Cursor, IdFilter, Limit
from flowkick.http.route import ApiRoute
from flowkick.storage.keyset import pagination

router = APIRouter(prefix="/api/admin", tags=["conversations"], route_class=ApiRoute)

ConversationId = Annotated[str, Path(alias="id", max_length=100)]


@router.get(
    "/conversations",
    operation_id="listConversations",
    response_model=schemas.ConversationsAnswer,
)
async def list_conversations(
    session: InSession,
    user_id: Annotated[IdFilter, Query(alias="userId")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """A page of conversations without their messages, the newest first."""
    page = await service.list_conversations(session, user_id, limit=limit, cursor=cursor)
    shown = [schemas.shown(row) for row in page.rows]
    return {"conversations": shown, "pagination": pagination(page, limit)}


@router.post(
    "/conversations",
    operation_id="createConversation",
    status_code=201,
    response_model=schemas.ConversationCreated,
)
async def create_conversation(
    body: schemas.ConversationInput, session: InSession, context: InContext
) -> Any:
    """Begin a conversation of a user."""
    said = [message.said() for message in body.messages]
    made, messages = await service.create_conversation(
        session, body.user_id, body.title, said, context.clock()
    )
    return {"conversation": schemas.shown(made, messages=messages)}


@router.get(
    "/conversations/{id}",
    operation_id="getConversation",
    response_model=schemas.ConversationAnswer,
)
async def get_conversation(
    conversation_id: ConversationId, session: InSession, limit: Limit = 50, cursor: Cursor = None
) -> Any:
    """One conversation with a page of its messages, in the order in which they were said."""
    found = await service.find_conversation(session, conversation_id)
    page = await service.list_messages(session, conversation_id, limit=limit, cursor=cursor)
    return {
        "conversation": schemas.shown(found, messages=page.rows),
        "pagination": pagination(page, limit),
    }


@router.post(
    "/conversations/{id}/messages",
    operation_id="addMessage",
    status_code=201,
    response_model=schemas.MessageAnswer,
)
async def add_message(
    conversation_id: ConversationId,
    body: schemas.MessageInput,
    session: InSession,
    context: InContext,
) -> Any:
    """Add a message to a conversation."""
    message = await service.add_message(session, conversation_id, body.said(), context.clock())
    return {"message": message}
