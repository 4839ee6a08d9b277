"""What documents can include beside a user's own fields: what the user did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from flowkick.core.schemas import shown_as
from flowkick.history import recent
from flowkick.history.recent import ByUser
from flowkick.history.schemas import (
    CONVERSATION,
    MESSAGE,
    BookingOfUser,
    ConversationOfUser,
    InteractionDay,
    MessageShown,
    QRCodeOfUser,
)
from flowkick.storage.tenancy import TenantSession

_ALL: Final = 2**31 - 1


class ConversationExported(ConversationOfUser):
    """A conversation with all that was said in it."""

    model_config = shown_as(**CONVERSATION, messages=[MESSAGE])

    messages: list[MessageShown]


@dataclass(frozen=True, slots=True)
class _History:
    load: Callable[[TenantSession, Sequence[str], int], Awaitable[ByUser]]
    shape: TypeAdapter[Any]


_HISTORY: Final = {
    "bookings": _History(recent.load_recent_bookings, TypeAdapter(list[BookingOfUser])),
    "qrCodes": _History(recent.load_recent_qr_codes, TypeAdapter(list[QRCodeOfUser])),
    "interactionHistory": _History(
        recent.load_recent_interactions, TypeAdapter(list[InteractionDay])
    ),
    "conversations": _History(
        recent.load_recent_conversations, TypeAdapter(list[ConversationExported])
    ),
}


async def load(
    session: TenantSession, names: Sequence[str], user_ids: Sequence[str]
) -> Mapping[str, Mapping[str, Any]]:
    """All of what is named that these users did: lists that JSON can hold, by name and user."""
    return {name: await _load(session, _HISTORY[name], user_ids) for name in names}


async def _load(
    session: TenantSession, history: _History, user_ids: Sequence[str]
) -> Mapping[str, Any]:
    found = await history.load(session, user_ids, _ALL)
    return {
        user_id: history.shape.dump_python(
            history.shape.validate_python(found.get(user_id, [])), mode="json", by_alias=True
        )
        for user_id in user_ids
    }
