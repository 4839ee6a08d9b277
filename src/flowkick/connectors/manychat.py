"""Reads a contact as ManyChat sends it, in any of the shapes that are met.

ManyChat's External Request sends "Full Contact Data" (custom fields as an object by name, no tags);
its API's ``getInfo`` gives custom fields as a list, and tags. People nest either under ``data``, or
send no more than ``subscriber_id``. Ids may be numbers beyond 2^53: they are kept as strings. What
can't be understood is left out, since ManyChat sends a contact once and never again; a list of tags
of which something was left out is not taken for all that there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from flowkick.core.clock import parse_iso
from flowkick.core.errors import InvalidInput
from flowkick.users.labels import MAX_NAME, FieldValue, tag_key
from flowkick.users.writing import Desired

_ID_KEYS: Final = ("subscriber_id", "id", "user_id", "contact_id")
_KEY: Final = "key"  # of Full Contact Data: "user:" and the id
_TEXTS: Final = {
    "ig_id": "instagram_id",
    "ig_username": "ig_username",
    "first_name": "first_name",
    "last_name": "last_name",
    "email": "email",
    "phone": "phone",
    "whatsapp_phone": "whatsapp_phone",
    "profile_pic": "profile_pic",
    "gender": "gender",
    "locale": "locale",
    "timezone": "timezone",
}
_FLAGS: Final = {
    "optin_messenger": "opted_in_messenger",
    "optin_instagram": "opted_in_instagram",
    "optin_whatsapp": "opted_in_whatsapp",
    "optin_telegram": "opted_in_telegram",
}
_COUNTERS: Final = {
    "messagescountinsta": "messages_count",
    "commentcountinsta": "comments_count",
    "storiescountinsta": "stories_count",
}
_TYPES: Final = frozenset({"text", "number", "date", "datetime", "boolean"})
_TRUE: Final = frozenset({"true", "yes", "1", "on"})
_MAX_TEXT: Final = 4000
_MAX_VALUE: Final = 10_000
_MAX_COUNT: Final = 2**31 - 1
_MAX_LABELS: Final = 5000
"""Tags, and custom fields, of one contact: ten times what anybody was seen to have."""
# U+0000 fits no database's text; a lone surrogate is no character and fits no UTF-8.
_UNUSABLE: Final = re.compile("[\x00\ud800-\udfff]")


def read_contact(body: Any) -> Desired:
    """What is to become of the user that `body` tells of.

    Raises InvalidInput where it holds no id, or more tags or custom fields than are taken.
    """
    contact = _unwrap(body)
    manychat_id = _contact_id(contact)
    if manychat_id is None:
        keys = ", ".join((*_ID_KEYS, _KEY))
        raise InvalidInput(f"There is no contact id: send one of {keys}, at the top or under data.")
    desired = Desired(values={"manychat_id": manychat_id, **_values(contact)})
    _read_custom_fields(contact.get("custom_fields"), desired)
    _read_tags(contact.get("tags"), desired)
    return desired


def only_id(body: Any) -> str | None:
    """The contact's id where `body` tells nothing else that is kept; None where it does."""
    try:
        desired = read_contact(body)
    except InvalidInput:
        return None
    tells = len(desired.values) > 1 or desired.custom_fields or desired.tags_are_complete
    return None if tells or desired.tags else desired.values["manychat_id"]


def _unwrap(body: Any) -> Mapping[str, Any]:
    """The contact itself: the body, or what is nested in it under ``data`` or the like."""
    for _ in range(3):
        if not isinstance(body, dict):
            break
        inner = next((body[k] for k in ("data", "contact", "subscriber") if k in body), None)
        inner = _parsed(inner) if isinstance(inner, str) else inner
        if not isinstance(inner, dict) or _contact_id(body):
            return body
        body = inner
    if isinstance(body, dict):
        return body
    raise InvalidInput("Send the contact as a JSON object.")


def _parsed(text: str) -> Any:
    """What was nested as JSON text, as templates easily make it; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _contact_id(contact: Mapping[str, Any]) -> str | None:
    found = next((found for key in _ID_KEYS if (found := _id(contact.get(key)))), None)
    key = contact.get(_KEY)
    if found is None and isinstance(key, str):
        return _id(key.rpartition(":")[2])
    return found


def _id(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if isinstance(value, int) and value.bit_length() > 256:
        return None
    text = _clean(str(value))
    return text if text and len(text) <= MAX_NAME else None


def _values(contact: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, name in _TEXTS.items():
        if key in contact:
            value = contact[key]
            text = _text(value)
            if value is None or text is not None:
                values[name] = text or None
    for key, name in _FLAGS.items():
        if (flag := _flag(contact.get(key))) is not None:
            values[name] = flag
    if (subscribed := _moment(contact.get("subscribed"))) is not None:
        values["subscribed_at"] = subscribed
    return values


def _text(value: Any) -> str | None:
    """A scalar as text; None for what is no text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 256:
        return None
    return _clean(str(value))[:_MAX_TEXT] if isinstance(value, str | int | float) else None


def _clean(text: str) -> str:
    return _UNUSABLE.sub("", text).strip()


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int) and len(text := str(value)[:10]):
        return text.strip().lower() in _TRUE
    return None


def _moment(value: Any) -> datetime | None:
    """ISO 8601 with or without a zone, or seconds since 1970."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        return parse_iso(value) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None


def _read_custom_fields(given: Any, desired: Desired) -> None:
    """Custom fields by name, or as a list of {id, name, type, value}; counters are told apart."""
    values = dict(desired.values)
    fields: dict[str, FieldValue] = {}
    for name, value in _custom_fields(given).items():
        counter = _COUNTERS.get(name.lower())
        count = _count(value.value) if counter else None
        if counter and count is not None:
            values[counter] = count
        else:
            fields[name] = value
    desired.values, desired.custom_fields = values, fields


def _custom_fields(given: Any) -> dict[str, FieldValue]:
    if isinstance(given, dict):
        given = [{"name": name, "value": value} for name, value in given.items()]
    found: dict[str, FieldValue] = {}
    for item in _bounded(given, "custom_fields") if isinstance(given, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            continue
        name = _clean(item["name"])
        value = item.get("value")
        text = None if value is None else _field_text(value)
        if 1 <= len(name) <= MAX_NAME and (value is None or text is not None):
            type_ = item.get("type")
            known = type_ if isinstance(type_, str) and type_ in _TYPES else None
            found[name] = FieldValue(text, known, _id(item.get("id")))
    return found


def _field_text(value: Any) -> str | None:
    if isinstance(value, list | dict):
        return None
    text = _text(value)
    return None if text is None else text[:_MAX_VALUE]


def _count(value: str | None) -> int | None:
    if value is not None and value.isascii() and value.isdigit() and len(value) <= 10:
        return min(int(value), _MAX_COUNT)
    return None


def _read_tags(given: Any, desired: Desired) -> None:
    """Tags as {id, name} or as names; where all can be read, they are all that there are."""
    if not isinstance(given, list):
        return
    names: dict[str, str] = {}
    ids: dict[str, str] = {}
    desired.tags_are_complete = True
    for item in _bounded(given, "tags"):
        name = item.get("name") if isinstance(item, dict) else item
        if not isinstance(name, str) or not 1 <= len(clean := _clean(name)) <= MAX_NAME:
            desired.tags_are_complete = False
            continue
        names[tag_key(clean)] = clean
        if isinstance(item, dict) and (tag_id := _id(item.get("id"))):
            ids[tag_key(clean)] = tag_id
    desired.tags, desired.manychat_tag_ids = list(names.values()), ids


def _bounded(given: list[Any], name: str) -> list[Any]:
    if len(given) > _MAX_LABELS:
        problem = f"there are {len(given)}, and at most {_MAX_LABELS} are taken"
        raise InvalidInput(f"{name}: {problem}.", details=[{"field": name, "problem": problem}])
    return given
