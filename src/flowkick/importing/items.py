"""What an import makes of a record: whom it is about, and what is to become of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError

from flowkick.importing.columns import Columns
from flowkick.importing.records import CsvRecords, Record, Records
from flowkick.users.batch import problems
from flowkick.users.matching import Matched, match_key
from flowkick.users.schemas import OutsideId, UserInput
from flowkick.users.writing import Desired


class Kind(StrEnum):
    """What a row's user is found by."""

    MANYCHAT_ID = "manychatId"
    ID = "id"
    EMAIL = "email"
    PHONE = "phone"
    NEW = "new"


class Match(StrEnum):
    """What rows with neither manychatId nor id are matched by."""

    EMAIL = "email"
    PHONE = "phone"
    NEW = "new"


class ImportedUser(UserInput):
    """A user as a file tells of it: `id` names one who is there already."""

    id: OutsideId | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A row to be written, or `problem`, which is why it is not."""

    record: Record
    kind: Kind = Kind.NEW
    key: str | None = None
    desired: Desired | None = None
    problem: str | None = None


def items(records: Records, columns: Columns, match: Match | None) -> Iterator[Item]:
    """What each record asks for, checked. ColumnError where the header is not understood."""
    read: Callable[[Any], dict[str, Any]] = columns.of_object
    if isinstance(records, CsvRecords):
        fields = columns.check(records.header)
        read = lambda cells: columns.of_row(fields, cells)  # noqa: E731  # one way or the other
    return (_item(record, read, match) for record in records)


def _item(record: Record, read: Callable[[Any], dict[str, Any]], match: Match | None) -> Item:
    if record.problem is not None:
        return Item(record, problem=record.problem)
    try:
        desired = ImportedUser.model_validate(read(record.values)).desired()
    except ValidationError as error:
        return Item(record, problem=problems(error))
    except ValueError as error:
        return Item(record, problem=str(error))
    found = _identity(desired.values, match)
    if isinstance(found, str):
        return Item(record, problem=found)
    kind, key = found
    return Item(record, kind, key, desired)


_NOBODY: Final = (
    "the row has neither manychatId nor id: give one, or say with --match what users are found by"
)


def _identity(values: Any, match: Match | None) -> tuple[Kind, str | None] | str:
    """What the user is found by, or why it is not; the id is taken out of `values`."""
    user_id = values.pop("id", None)
    if values.get("manychat_id") is not None:
        return Kind.MANYCHAT_ID, values["manychat_id"]
    values.pop("manychat_id", None)
    if user_id is not None:
        return Kind.ID, user_id
    if match is None:
        return _NOBODY
    if match is Match.NEW:
        return Kind.NEW, None
    by: Matched = "email" if match is Match.EMAIL else "phone"
    if (value := values.get(by)) is None:
        return f"the row has neither manychatId nor id nor {by}"
    return Kind(by), match_key(by, value)
