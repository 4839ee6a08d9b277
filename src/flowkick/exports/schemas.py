"""The shapes of exports on the wire: the log, and the document of users."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from flowkick.core.schemas import (
    ApiInput,
    ApiModel,
    CursorPagination,
    Success,
    Text,
    Timestamp,
    shown_as,
)
from flowkick.exports.included import ConversationExported
from flowkick.exports.models import ExportStatus
from flowkick.history.schemas import BookingOfUser, InteractionDay, QRCodeOfUser
from flowkick.users.filters import UserFilters

FormatName = Literal["csv", "json", "ndjson", "xlsx", "parquet"]
Include = Literal["bookings", "qrCodes", "interactionHistory", "conversations"]


def _once(names: list[Include]) -> list[Include]:
    return list(dict.fromkeys(names))


class ExportInput(ApiInput):
    """A file that a job is to make."""

    model_config = shown_as(format="xlsx", filters={"hasTag": ["vip"]}, gzip=False)

    format: FormatName
    filters: UserFilters = Field(
        UserFilters(), description="Which users, as in the list; without them, all."
    )
    fields: Annotated[list[Text], Field(min_length=1, max_length=500)] | None = Field(
        None, description="Only these, by their names in the API or in the CSV; null for all."
    )
    limit: int | None = Field(
        None, ge=1, le=2**31 - 1, description="The newest so many; null for all."
    )
    includes: Annotated[list[Include], AfterValidator(_once)] = Field(
        [], max_length=4, description="What json and ndjson have beside the fields of users."
    )
    gzip: bool = Field(default=False, description="Compress the file.")
    bom: bool = Field(default=False, description="Begin a csv with a byte order mark, for Excel.")


class ExportShown(ApiModel):
    """One export, as the log tells it."""

    id: str
    status: ExportStatus
    error: str | None
    export_type: str
    record_type: str
    record_count: int
    fields: list[str]
    filters: dict[str, Any] | None = Field(
        description="null where it was removed, because it named somebody who was erased."
    )
    date_range_start: Timestamp | None
    date_range_end: Timestamp | None
    file_hash: str | None = Field(description="SHA-256 of the file's bytes.")
    file_size_bytes: int | None
    file_removed_at: Timestamp | None
    destination_url: str | None
    download_count: int
    includes_without_consent: bool
    initiated_by: str
    ip_address: str | None
    metadata: dict[str, Any] = Field(validation_alias="details")
    created_at: Timestamp
    finished_at: Timestamp | None
    expires_at: Timestamp | None
    chain_number: int | None = Field(description="Its place in the log's chain of hashes.")
    previous_hash: str | None
    chain_hash: str | None


class ExportProgress(ApiModel):
    """How far the job of an export is."""

    job_status: Literal["queued", "running", "completed", "failed", "cancelled"]
    written: int = Field(description="Users that are written.")
    total: int | None = Field(description="Users there are; null until they are counted.")


class ExportAnswer(Success):
    """One export."""

    export: ExportShown
    progress: ExportProgress | None = Field(
        description="null where it was fetched at once, or its job is not kept any longer."
    )


class ExportStarted(ExportAnswer):
    """An export that was queued."""

    message: str


class ExportDeleted(Success):
    """An export whose file was removed, or whose job was ended."""

    export: ExportShown
    message: str


class ExportsAnswer(Success):
    """A page of the log of exports."""

    exports: list[ExportShown]
    pagination: CursorPagination


def _closed(schema: dict[str, Any]) -> None:
    """`fields` selects: none of the keys has to be there, and there are no others."""
    schema.pop("required", None)


class _Part(ApiModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra=_closed)


class ExportedInstagram(_Part):
    """Who a user is on Instagram."""

    id: str | None
    username: str | None


class ExportedProfile(_Part):
    """What is known of a user."""

    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None
    whatsapp_phone: str | None
    gender: str | None
    locale: str | None
    timezone: str | None
    profile_pic: str | None


class ExportedOptIns(_Part):
    """Where a user has opted in."""

    messenger: bool
    instagram: bool
    whatsapp: bool
    telegram: bool


class ExportedConsent(_Part):
    """Whether a user has consented to exports, and when."""

    given: bool
    at: Timestamp | None


class ExportedTag(ApiModel):
    """A tag on a user."""

    model_config = ConfigDict(extra="forbid")

    id: str
    name: str
    manychat_tag_id: str | None
    applied_at: Timestamp


class ExportedField(ApiModel):
    """The value that a user has in a custom field."""

    model_config = ConfigDict(extra="forbid")

    value: str
    type: str
    field_id: str


class ExportedStats(_Part):
    """How much a user has."""

    bookings_count: int
    qr_codes_count: int
    conversations_count: int


class ExportedTimestamps(_Part):
    """When what became of a user."""

    subscribed_at: Timestamp | None
    last_synced_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class ExportedUser(_Part):
    """A user: what `fields` selected, or all, and what was included."""

    id: str
    manychat_id: str | None
    instagram: ExportedInstagram
    profile: ExportedProfile
    opt_ins: ExportedOptIns
    export_consent: ExportedConsent
    tags: list[ExportedTag]
    custom_fields: dict[str, ExportedField]
    stats: ExportedStats
    bookings: list[BookingOfUser]
    qr_codes: list[QRCodeOfUser]
    interaction_history: list[InteractionDay]
    conversations: list[ConversationExported]
    timestamps: ExportedTimestamps


class ExportMetadata(ApiModel):
    """What a document of users is."""

    model_config = ConfigDict(extra="forbid")

    exported_at: Timestamp
    record_count: int
    filters: dict[str, Any]
    includes: list[str]


class ExportDocument(ApiModel):
    """A JSON export of users."""

    model_config = ConfigDict(extra="forbid")

    metadata: ExportMetadata
    users: list[ExportedUser]
