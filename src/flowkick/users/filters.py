"""Which users: the filters that lists and exports share, and what they are in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.alias_generators import to_camel
from sqlalchemy import ColumnElement, Select, and_, false, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute

from flowkick.core.schemas import Instant, Name, Storable
from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession
from flowkick.users import search
from flowkick.users.folding import value_key
from flowkick.users.labels import find_tags, tag_key
from flowkick.users.models import ContactTag, CustomField, CustomFieldValue, User

Member = ColumnElement[Any] | InstrumentedAttribute[Any]
_MOST: Final = 20
_OPT_INS: Final = {
    "messenger": User.opted_in_messenger,
    "instagram": User.opted_in_instagram,
    "whatsapp": User.opted_in_whatsapp,
    "telegram": User.opted_in_telegram,
}


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _few_words(value: str) -> str:
    if len(search.search_words(value)) > search.MAX_WORDS:
        raise ValueError(f"has more than {search.MAX_WORDS} words: leave some out")
    return value


Platform = Literal["messenger", "instagram", "whatsapp", "telegram"]
FieldValueText = Annotated[str, StringConstraints(max_length=10_000), Storable]
SearchText = Annotated[
    str, StringConstraints(max_length=10_000), Storable, AfterValidator(_few_words)
]


class UserFilters(BaseModel):
    """Conditions on users; those that are given must all hold."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    created_after: Instant | None = Field(
        None, description="Created at this moment or later; a bare date is its midnight UTC."
    )
    created_before: Instant | None = Field(
        None, description="Created at this moment or earlier; a bare date is its midnight UTC."
    )
    updated_after: Instant | None = Field(
        None, description="Changed at this moment or later; a bare date is its midnight UTC."
    )
    has_tag: Annotated[list[Name], BeforeValidator(_listed)] = Field(
        [],
        max_length=_MOST,
        description="Has this tag, whatever its case; repeated, has all of them.",
        examples=[["vip"]],
    )
    custom_field: dict[Name, FieldValueText] = Field(
        {},
        max_length=_MOST,
        description="Has this value in this custom field, as `customField[name]=value`: the whole"
        " value; names and values ignore case. Several must all match.",
        examples=[{"favorite_drink": "latte"}],
    )
    opted_in: Annotated[list[Platform], BeforeValidator(_listed)] = Field(
        [],
        max_length=_MOST,
        description="Has opted in to this platform; repeated, to all of them.",
        examples=[["whatsapp"]],
    )
    export_consent_only: bool = Field(
        default=False, description="Only users who have consented to exports."
    )
    search: SearchText | None = Field(
        None,
        description="Each word occurs in firstName, lastName, igUsername or email, anywhere, in any"
        f" case, with or without accents; at most {search.MAX_WORDS} words.",
        examples=["john"],
    )


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition, in the forms that different ways to find users need."""

    condition: ColumnElement[bool]
    """For a database that chooses its way itself."""
    test: ColumnElement[bool]
    """Of one row at a time: no database turns it into a way to find rows."""
    probe: Callable[[Any], ColumnElement[bool]] | None = None
    """`test`, of a user's id alone: an index answers it without the user's row."""
    candidates: Select[Any] | None = None
    """All who may meet it, found by an index; None where no index knows."""
    exact: bool = False
    """Each of `candidates` meets it, and is there once."""
    member: Member | None = None
    """What of a user is among `candidates`."""
    column: InstrumentedAttribute[datetime] | None = None
    """What a range of moments is of: a list in its order finds the range by itself."""
    words: Sequence[str] = ()
    """What is searched for."""


_NOBODY: Final = Criterion(condition=false(), test=false())


async def criteria(session: TenantSession, filters: UserFilters) -> list[Criterion]:
    """What users have to meet, all of it."""
    flags = [_OPT_INS[name] for name in dict.fromkeys(filters.opted_in)]
    if filters.export_consent_only:
        flags.append(User.export_consent_given)
    found = [Criterion(condition=flag.is_(True), test=flag.is_(True)) for flag in flags]
    if filters.created_after is not None or filters.created_before is not None:
        created = (filters.created_after, filters.created_before)
        found.append(_range(session, User.created_at, *created))
    if filters.updated_after is not None:
        found.append(_range(session, User.updated_at, filters.updated_after, None))
    if filters.has_tag:
        found += await _tags(session, filters.has_tag)
    if filters.custom_field:
        found += await _custom_fields(session, filters.custom_field)
    if filters.search and (words := search.search_words(filters.search)):
        found.append(_search(session, words))
    return found


def _not_before(session: TenantSession, moment: datetime) -> datetime:
    """`moment`, rounded up to what SQLite stores: its parameter would be rounded down."""
    rest = moment.microsecond % 1000
    if not rest or not is_sqlite(session):
        return moment
    try:
        return moment + timedelta(microseconds=1000 - rest)
    except OverflowError:  # the last millisecond that there is
        return moment


def _range(
    session: TenantSession,
    column: InstrumentedAttribute[datetime],
    first: datetime | None,
    last: datetime | None,
) -> Criterion:
    def within(moment: Any) -> ColumnElement[bool]:
        bounds = [] if last is None else [moment <= literal(last, column.type)]
        if first is not None:
            bounds.append(moment >= literal(_not_before(session, first), column.type))
        return and_(*bounds)

    return Criterion(
        condition=within(column),
        test=within(func.coalesce(column, column)),  # which no index knows
        candidates=select(User.id).where(User.admin_id == session.admin_id, within(column)),
        exact=True,
        member=User.id,
        column=column,
    )


async def _tags(session: TenantSession, names: Sequence[str]) -> list[Criterion]:
    tags = await find_tags(session, names)
    if any(tag_key(name) not in tags for name in names):
        return [_NOBODY]
    return [_having(ContactTag, ContactTag.tag_id == tag.id) for tag in tags.values()]


async def _custom_fields(session: TenantSession, wanted: dict[str, str]) -> list[Criterion]:
    """Fields are told apart by exact letters: each of a name in any case may have the value."""
    ids: dict[str, list[str]] = {name.casefold(): [] for name in wanted}
    rows = await session.execute(select(CustomField.id, CustomField.name))
    for field_id, name in rows:
        if (same := ids.get(name.casefold())) is not None:
            same.append(field_id)
    found = []
    for name, value in wanted.items():
        same = ids[name.casefold()]
        if not same:
            return [_NOBODY]
        model = CustomFieldValue
        one = model.field_id == same[0] if len(same) == 1 else model.field_id.in_(same)
        having = and_(one, model.value_key == value_key(value))
        found.append(_having(model, having, exact=len(same) == 1))
    return found


def _having(
    model: type[ContactTag | CustomFieldValue], which: ColumnElement[bool], *, exact: bool = True
) -> Criterion:
    """Users to whom a row of `model` belongs."""
    candidates = select(model.user_id).where(which)

    def probe(user_id: Any) -> ColumnElement[bool]:
        one = select(model.user_id).where(model.user_id == user_id, which).limit(1)
        return one.correlate_except(model).scalar_subquery().is_not(None)

    return Criterion(
        condition=User.id.in_(candidates),
        test=probe(User.id),
        probe=probe,
        candidates=candidates,
        exact=exact,
        member=User.id,
    )


def _search(session: TenantSession, words: Sequence[str]) -> Criterion:
    test = search.holds_words(session, words)
    candidates = search.matches(session, words)
    member = search.member(session)
    return Criterion(
        condition=test if candidates is None else and_(member.in_(candidates), test),
        test=test,
        candidates=candidates,
        member=member,
        words=words,
    )
