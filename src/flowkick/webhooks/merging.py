"""Several updates of a user as one: the latest state, with all that changed on the way to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from flowkick.delivery.coalescing import Merger, Unmergeable


class _Change(Struct):
    old: Raw
    new: Raw


class _Data(Struct):
    user: Raw
    changes: dict[str, _Change]


class _Metadata(Struct, rename="camel"):
    source: str
    action: str
    event_id: str
    sequence: int
    supersedes: list[str] | UnsetType = UNSET


class _Update(Struct):
    event: str
    timestamp: str
    data: _Data
    metadata: _Metadata


_DECODE: Final = msgspec.json.Decoder(_Update).decode


def merge_updates(bodies: Sequence[bytes], event_id: str) -> bytes:
    """The body of the event that stands for several updates of one user, given in order.

    It has the state, the moment and the number of the last. `changes` has the first old and the
    last new value of each field, without those that changed back, and `metadata.supersedes` the
    ids of all that it stands for, those included that one of them stood for. Raises Unmergeable
    where one is no update of a user.
    """
    try:
        updates = [_DECODE(body) for body in bodies]
    except msgspec.DecodeError as error:
        raise Unmergeable from error
    last, metadata = updates[-1], updates[-1].metadata
    last.data.changes = _joined(updates)
    metadata.supersedes = [id_ for update in updates for id_ in _stands_for(update)]
    metadata.event_id = event_id
    return msgspec.json.encode(last)


def _joined(updates: Sequence[_Update]) -> dict[str, _Change]:
    joined: dict[str, _Change] = {}
    for update in updates:
        for field, change in update.data.changes.items():
            old = joined[field].old if field in joined else change.old
            joined[field] = _Change(old, change.new)
    return {field: both for field, both in joined.items() if bytes(both.old) != bytes(both.new)}


def _stands_for(update: _Update) -> list[str]:
    ids = [] if update.metadata.supersedes is UNSET else list(update.metadata.supersedes)
    return [*ids, update.metadata.event_id]


USER_UPDATES: Final = Merger("user.updated", merge_updates)
