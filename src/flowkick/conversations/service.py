"""Conversations: begun, gone on with, read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from flowkick.core.errors import Conflict, InvalidInput, NotFound
from flowkick.core.ids import new_id
from flowkick.history.models import AIMessage, Conversation
from flowkick.storage.keyset import Page, newest_first
from flowkick.storage.tenancy import TenantSession
from flowkick.users.counters import recount_conversations
from flowkick.users.service import find_user

LONGEST = 2**31 - 1


class Said(NamedTuple):
    """What somebody said."""

    role: str
    content: str


async def create_conversation(
    session: TenantSession, user_id: str, title: str | None, said: Sequence[Said], now: datetime
) -> tuple[Conversation, Sequence[AIMessage]]:
    """Begin a conversation of a user, with what was said in it already."""
    user = await find_user(session, user_id, lock=True)
    conversation = Conversation(
        id=new_id("cnv"),
        user_id=user_id,
        title=title,
        messages_count=0,
        created_at=now,
        updated_at=now,
    )
    session.add(conversation)
    await session.flush()
    messages = await _add(session, conversation, said, now)
    await recount_conversations(session, user, now)
    return conversation, messages


async def find_conversation(
    session: TenantSession, conversation_id: str, *, lock: bool = False
) -> Conversation:
    """One conversation; NotFound where the admin has none with this id."""
    statement = select(Conversation).where(Conversation.id == conversation_id)
    conversation = await session.scalar(
        statement.with_for_update(key_share=True) if lock else statement
    )
    if conversation is None:
        raise NotFound(f"There is no conversation {conversation_id}.")
    return conversation


async def add_message(
    session: TenantSession, conversation_id: str, said: Said, now: datetime
) -> AIMessage:
    """Add a message to a conversation; those that are added at once follow one another."""
    conversation = await find_conversation(session, conversation_id, lock=True)
    (message,) = await _add(session, conversation, [said], now)
    return message


async def _add(
    session: TenantSession, conversation: Conversation, said: Sequence[Said], now: datetime
) -> Sequence[AIMessage]:
    """Add messages to a conversation whose row is locked, numbered on from its last one."""
    first = conversation.messages_count + 1
    if first + len(said) > LONGEST:
        raise Conflict(f"The conversation {conversation.id} is full: begin another.")
    messages = [
        AIMessage(
            id=new_id("msg"),
            conversation_id=conversation.id,
            number=number,
            role=role,
            content=content,
            created_at=now,
        )
        for number, (role, content) in enumerate(said, first)
    ]
    session.add_all(messages)
    if messages:
        conversation.messages_count += len(messages)
        conversation.last_message_at = conversation.updated_at = now
    await session.flush()
    return messages


async def list_conversations(
    session: TenantSession, user_id: str | None, *, limit: int, cursor: str | None
) -> Page[Conversation]:
    """A page of conversations, the newest first."""
    statement = select(Conversation)
    if user_id is not None:
        statement = statement.where(Conversation.user_id == user_id)
    model = Conversation
    return await newest_first(
        session, statement, model.created_at, model.id, limit=limit, cursor=cursor
    )


async def list_messages(
    session: TenantSession, conversation_id: str, *, limit: int, cursor: str | None
) -> Page[AIMessage]:
    """A page of a conversation's messages, in the order in which they were said."""
    statement = select(AIMessage).where(AIMessage.conversation_id == conversation_id)
    if cursor is not None:
        statement = statement.where(AIMessage.number > _parse_cursor(cursor))
    rows = (await session.scalars(statement.order_by(AIMessage.number).limit(limit + 1))).all()
    page = rows[:limit]
    return Page(page, str(page[-1].number) if len(rows) > limit else None)


def _parse_cursor(cursor: str) -> int:
    if cursor.isascii() and cursor.isdigit() and len(cursor) <= 10 and int(cursor) <= LONGEST:
        return int(cursor)
    raise InvalidInput("cursor: pass what nextCursor gave, unchanged.")
