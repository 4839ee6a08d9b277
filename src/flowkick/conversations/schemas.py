"""The shapes of conversations on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from flowkick.conversations.service import Said
from flowkick.core.schemas import ApiInput, CursorPagination, Storable, Success, shown_as
from flowkick.history.models import Conversation
from flowkick.history.recent import conversation_values
from flowkick.history.schemas import CONVERSATION, MESSAGE, ConversationOfUser, MessageShown

Id = Annotated[str, StringConstraints(min_length=1, max_length=100), Storable]
Title = Annotated[str, StringConstraints(max_length=1000), Storable]
Content = Annotated[str, StringConstraints(min_length=1, max_length=100_000), Storable]

_OWNER = "usr_0199f8d29c3a7d10a6f4"
_SAID: dict[str, Any] = {name: MESSAGE[name] for name in ("role", "content")}


class MessageInput(ApiInput):
    """Something that was said."""

    model_config = shown_as(**_SAID)

    role: Literal["user", "assistant", "system"]
    content: Content

    def said(self) -> Said:
        """The message as it is kept."""
        return Said(self.role, self.content)


class ConversationInput(ApiInput):
    """A new conversation, with what was said in it already."""

    model_config = shown_as(userId=_OWNER, title="A table for two", messages=[_SAID])

    user_id: Id
    title: Title | None = None
    messages: list[MessageInput] = Field([], max_length=100)


class ConversationShown(ConversationOfUser):
    """A conversation, and whose it is."""

    model_config = shown_as(**CONVERSATION, userId=_OWNER)

    user_id: str


class ConversationWithMessages(ConversationShown):
    """A conversation with messages, in the order in which they were said."""

    model_config = shown_as(**CONVERSATION, userId=_OWNER, messages=[MESSAGE])

    messages: list[MessageShown]


class ConversationCreated(Success):
    """A conversation that was begun."""

    conversation: ConversationWithMessages


class ConversationAnswer(Success):
    """One conversation with a page of its messages."""

    conversation: ConversationWithMessages
    pagination: CursorPagination


class ConversationsAnswer(Success):
    """A page of conversations."""

    conversations: list[ConversationShown]
    pagination: CursorPagination


class MessageAnswer(Success):
    """One message."""

    message: MessageShown


def shown(conversation: Conversation, **more: Any) -> dict[str, Any]:
    """The values of a `ConversationShown`."""
    return {**conversation_values(conversation), "user_id": conversation.user_id, **more}
