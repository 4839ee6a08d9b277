"""The registry of a user's fields: their names in Python, in the API, and in events' `changes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flowkick.core.clock import isoformat
from flowkick.users.models import AnyUser
from flowkick.webhooks.payloads import Change


@dataclass(frozen=True, slots=True)
class UserField:
    """One field that can be written."""

    name: str
    """The attribute of `User`."""
    path: str
    """Where the value stands inside an event's ``data.user``."""


WRITABLE: Final = (
    UserField("manychat_id", "manychatId"),
    UserField("instagram_id", "instagramId"),
    UserField("ig_username", "instagramUsername"),
    UserField("first_name", "firstName"),
    UserField("last_name", "lastName"),
    UserField("email", "email"),
    UserField("phone", "phone"),
    UserField("whatsapp_phone", "whatsappPhone"),
    UserField("profile_pic", "profilePic"),
    UserField("gender", "gender"),
    UserField("locale", "locale"),
    UserField("timezone", "timezone"),
    UserField("subscribed_at", "timestamps.subscribedAt"),
    UserField("opted_in_messenger", "optIns.messenger"),
    UserField("opted_in_instagram", "optIns.instagram"),
    UserField("opted_in_whatsapp", "optIns.whatsapp"),
    UserField("opted_in_telegram", "optIns.telegram"),
    UserField("export_consent_given", "exportConsent.given"),
    UserField("export_consent_at", "exportConsent.at"),
    UserField("messages_count", "interactions.messagesCount"),
    UserField("comments_count", "interactions.commentsCount"),
    UserField("stories_count", "interactions.storiesCount"),
)
COUNTERS: Final = frozenset({"messages_count", "comments_count", "stories_count"})


def apply(user: AnyUser, values: Mapping[str, Any], now: datetime) -> dict[str, Change]:
    """Set what differs on `user`; the changes, by their paths in events, in a fixed order."""
    changes: dict[str, Change] = {}
    for field in WRITABLE:
        if field.name not in values:
            continue
        old, new = getattr(user, field.name), values[field.name]
        if old != new:
            setattr(user, field.name, new)
            changes[field.path] = Change(_plain(old), _plain(new))
            if field.name in COUNTERS:
                user.interactions_updated_at = now
    if changes:
        user.updated_at = now
    return changes


def with_consent_date(values: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Values in which a consent that is given has a date, and one that is withdrawn has none."""
    given = dict(values)
    if "export_consent_given" in given and "export_consent_at" not in given:
        given["export_consent_at"] = now if given["export_consent_given"] else None
    return given


def _plain(value: Any) -> Any:
    return isoformat(value) if isinstance(value, datetime) else value
