"""The shapes of users on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, core_schema

from flowkick.core.schemas import ApiInput, ApiModel, Instant, Name, Storable, Success, Timestamp
from flowkick.history.schemas import BookingOfUser, InteractionDay, QRCodeOfUser
from flowkick.users.labels import FieldValue
from flowkick.users.models import AnyUser
from flowkick.users.payload import Belongings
from flowkick.users.writing import Desired

Number = Annotated[float, Field(allow_inf_nan=False)]
Line = Annotated[str, StringConstraints(max_length=1000), Storable]
OutsideId = Annotated[str, StringConstraints(min_length=1, max_length=255), Storable]
Email = Annotated[str, StringConstraints(max_length=320, pattern=r"^[^@\s]+@[^@\s]+$"), Storable]
FieldText = Annotated[str, StringConstraints(max_length=10_000), Storable]


class _OneProblem:
    """Refuses a value in one sentence, in place of one for each kind that it might be."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source),
            custom_error_type="no_such_value",
            custom_error_message=self._sentence,
        )


FieldInput = Annotated[
    FieldText | bool | int | Number | None,
    _OneProblem(
        "must be text of up to 10,000 characters that can be stored, a finite number, true, false"
        " or null"
    ),
]
FieldType = Literal["text", "number", "date", "datetime", "boolean"]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


def field_text(value: FieldInput) -> str | None:
    """A custom field's value as it is kept: text, or null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


class UserInput(ApiInput):
    """A user's fields, all of them optional; what is left out stays as it is."""

    manychat_id: OutsideId | None = None
    instagram_id: OutsideId | None = None
    ig_username: Line | None = None
    first_name: Line | None = None
    last_name: Line | None = None
    email: Email | None = None
    phone: Line | None = None
    whatsapp_phone: Line | None = None
    profile_pic: Annotated[str, StringConstraints(max_length=4000), Storable] | None = None
    gender: Line | None = None
    locale: Line | None = None
    timezone: Line | None = None
    subscribed_at: Instant | None = None
    opted_in_messenger: bool = False
    opted_in_instagram: bool = False
    opted_in_whatsapp: bool = False
    opted_in_telegram: bool = False
    export_consent_given: bool = False
    export_consent_at: Instant | None = None
    messages_count: Count = 0
    comments_count: Count = 0
    stories_count: Count = 0
    tags: list[Name] = Field([], max_length=100, description="Tags to put on the user.")
    custom_fields: dict[Name, FieldInput] = Field(
        {}, max_length=200, description="Values to set, by the fields' names; null clears."
    )

    def desired(self) -> Desired:
        """What is to become of the user."""
        values = self.sent()
        tags = values.pop("tags", ())
        custom_fields = values.pop("custom_fields", {})
        return Desired(
            values=values,
            tags=tags,
            custom_fields={name: FieldValue(field_text(v)) for name, v in custom_fields.items()},
        )


class BatchUserInput(UserInput):
    """A user of a batch, found or added by its `manychatId`."""

    manychat_id: OutsideId


class BatchInput(ApiInput):
    """Up to 1,000 users; each is taken or refused by itself."""

    users: list[Any] = Field(
        min_length=1,
        max_length=1000,
        description="Fields as for a single user; `manychatId` is required.",
        json_schema_extra={"items": {"type": "object"}},
    )


class TagInput(ApiInput):
    """A tag to put on a user."""

    name: Name


class FieldValueInput(ApiInput):
    """A value for a custom field; `type` counts where the field is new."""

    value: FieldInput
    type: FieldType | None = None


class AppliedTag(ApiModel):
    """A tag on a user."""

    id: str
    name: str
    applied_at: str


class UserShown(ApiModel):
    """A user with its tags and custom fields."""

    id: str
    manychat_id: str | None
    instagram_id: str | None
    ig_username: str | None
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None
    whatsapp_phone: str | None
    profile_pic: str | None
    gender: str | None
    locale: str | None
    timezone: str | None
    subscribed_at: Timestamp | None
    opted_in_messenger: bool
    opted_in_instagram: bool
    opted_in_whatsapp: bool
    opted_in_telegram: bool
    export_consent_given: bool
    export_consent_at: Timestamp | None
    last_synced_at: Timestamp | None
    bookings_count: int
    qr_codes_count: int
    conversations_count: int
    tags: list[AppliedTag]
    custom_fields: dict[str, str | None]
    created_at: Timestamp
    updated_at: Timestamp


def _without_required(schema: dict[str, Any]) -> None:
    schema.pop("required", None)


class UserListed(UserShown):
    """A user of a list: the fields that were asked for, or all of them, and what is included."""

    model_config = ConfigDict(json_schema_extra=_without_required)

    bookings: list[BookingOfUser]
    qr_codes: list[QRCodeOfUser]
    interaction_history: list[InteractionDay]


def shown(user: AnyUser, belongings: Belongings) -> dict[str, Any]:
    """The values of a `UserShown`."""
    values = {
        name: getattr(user, name)
        for name in UserShown.model_fields
        if name not in {"tags", "custom_fields"}
    }
    return {**values, "tags": belongings.tags, "custom_fields": belongings.custom_fields}


class UserAnswer(Success):
    """One user."""

    user: UserShown


class Pagination(ApiModel):
    """Where a page stands."""

    total: int | None
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None


class UsersAnswer(Success):
    """A page of users; of each, the fields that were asked for."""

    users: list[UserListed]
    pagination: Pagination


class BatchResult(ApiModel):
    """What became of one user of a batch."""

    index: int
    status: Literal["created", "updated", "unchanged", "failed"]
    id: str | None
    error: str | None


class BatchAnswer(Success):
    """What became of each user of a batch, in its order."""

    results: list[BatchResult]
