"""What gives a person away where it stands in a log: what they are called, and once were."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import msgspec
from sqlalchemy import select

from flowkick.delivery.models import WebhookEvent
from flowkick.history.models import AIMessage, Booking, Conversation, QRCode
from flowkick.storage.tenancy import TenantSession
from flowkick.users.folding import fold
from flowkick.users.models import User

_SHORTEST: Final = 3
"""Shorter values are no trace of anybody."""
_LONG: Final = 8
"""So long, they are found inside of words, too. Ids and times hold any few digits."""
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.+Z-]+")
_DISTINCTIVE: Final = {
    "manychatId": "manychat_id",
    "instagramId": "instagram_id",
    "instagramUsername": "ig_username",
    "email": "email",
    "phone": "phone",
    "whatsappPhone": "whatsapp_phone",
}
"""By their paths in events' `changes`, the attributes that no two people share."""
_SEARCHED: Final = {"firstName": "first_name", "lastName": "last_name"}


class _Change(msgspec.Struct):
    old: Any
    new: Any


class _Data(msgspec.Struct):
    changes: dict[str, _Change]


class _Update(msgspec.Struct):
    data: _Data


_DECODE: Final = msgspec.json.Decoder(_Update).decode


@dataclass(frozen=True)
class Identity:
    """A person, as logs may name them."""

    ids: Sequence[str]
    """Of the user, and of what is theirs."""
    values: Sequence[str]
    """What nobody else is called."""
    names: Sequence[str]
    """What searches find them by, folded: names, and what stands before the @ of an address."""

    @classmethod
    async def of(cls, session: TenantSession, user: User, theirs: Sequence[str]) -> Identity:
        """Of a user whose events still tell what they were called before."""
        known = {
            path: {getattr(user, name)} for path, name in {**_DISTINCTIVE, **_SEARCHED}.items()
        }
        for body in await _updates(session, user.id):
            for path, change in _DECODE(body).data.changes.items():
                if path in known:
                    known[path] |= {change.old, change.new}
        whole = " ".join(name for name in (user.first_name, user.last_name) if name)
        values = [whole, *_texts(known, _DISTINCTIVE)]
        names = [*_texts(known, _SEARCHED), *_texts(known, ("instagramUsername",))]
        names += [email.partition("@")[0] for email in _texts(known, ("email",))]
        return cls(
            [user.id, *theirs],
            sorted({value for value in values if len(value) >= _SHORTEST}),
            sorted({fold(name) for name in names if len(name) >= _SHORTEST}),
        )

    @cached_property
    def _finder(self) -> Finder:
        return Finder(self.values)

    def stands_in(self, document: Any) -> bool:
        """Whether filters name the person, or search for a part of what they are called."""
        if any(map(self._finder.finds, _texts_in(document))):
            return True
        words = [word for search in _searches(document) for word in fold(search).split()]
        long = [word for word in words if len(word) >= _SHORTEST]
        return any(word in name for word in long for name in self.names)


class Finder:
    """Finds some texts in others, whatever the case; short ones only as words of their own."""

    def __init__(self, texts: Iterable[str]) -> None:
        folded = [text.casefold() for text in texts]
        alternatives = [
            re.escape(text) if len(text) >= _LONG else rf"(?<!\w){re.escape(text)}(?!\w)"
            for text in folded
        ]
        self._pattern = re.compile("|".join(alternatives) or "(?!)")

    def finds(self, text: str) -> bool:
        """Whether one of them is there, moments left aside."""
        return self._pattern.search(_MOMENT.sub("", text).casefold()) is not None


def as_json(text: str) -> str:
    """A text as it stands inside of JSON."""
    return msgspec.json.encode(text).decode()[1:-1]


async def belongings(session: TenantSession, user_id: str, since: datetime) -> list[str]:
    """The ids of what is a user's; answers that tell of it need not name the user.

    Messages are those of `since` or later: there may be many, and answers are not kept for long.
    """
    found: list[str] = []
    for model in (Booking, QRCode, Conversation):
        found += await session.scalars(select(model.id).where(model.user_id == user_id))
    said = select(AIMessage.id).join(Conversation, Conversation.id == AIMessage.conversation_id)
    theirs = said.where(Conversation.user_id == user_id, AIMessage.created_at >= since)
    return [*found, *await session.scalars(theirs)]


async def _updates(session: TenantSession, user_id: str) -> Iterable[bytes]:
    event = WebhookEvent
    bodies = await session.scalars(
        select(event.body).where(event.user_id == user_id, event.event == "user.updated")
    )
    return [body for body in bodies if body]


def _texts(known: dict[str, set[Any]], paths: Iterable[str]) -> list[str]:
    return [value for path in paths for value in known[path] if isinstance(value, str) and value]


def _texts_in(document: Any) -> Iterator[str]:
    """All texts of a document, keys included."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield name
            yield from _texts_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from _texts_in(value)
    elif isinstance(document, str):
        yield document


def _searches(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for name, value in document.items():
            if name == "search" and isinstance(value, str):
                yield value
            else:
                yield from _searches(value)
