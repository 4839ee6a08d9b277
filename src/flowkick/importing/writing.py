"""Writes a batch of imported rows: one statement for many, in the order of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Final

from flowkick.core.errors import FlowkickError
from flowkick.importing.items import Item, Kind
from flowkick.storage.tenancy import TenantSession
from flowkick.users.batch import in_waves
from flowkick.users.matching import Matched, add_users, change_users, match_users
from flowkick.users.service import IMPORT as SOURCE
from flowkick.users.service import upsert_users
from flowkick.users.writing import Desired, Target

_KEY: Final[Callable[[Item], str]] = attrgetter("key")
_MATCHED: Final[dict[Kind, Matched]] = {Kind.EMAIL: "email", Kind.PHONE: "phone"}


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not written, and why."""

    item: Item
    reason: str


@dataclass(frozen=True, slots=True)
class _Writer:
    session: TenantSession
    now: datetime
    told: bool

    async def write(self, kind: Kind, items: Sequence[Item]) -> Sequence[Target | FlowkickError]:
        """What became of rows of one kind, none of whose users occurs twice."""
        desired = [_desired(item) for item in items]
        if kind is Kind.MANYCHAT_ID:
            return await upsert_users(
                self.session, desired, source=SOURCE, now=self.now, told=self.told
            )
        if kind is Kind.NEW:
            return await add_users(
                self.session, desired, source=SOURCE, now=self.now, told=self.told
            )
        by_key = {_KEY(item): wanted for item, wanted in zip(items, desired, strict=True)}
        if kind is Kind.ID:
            found = await change_users(
                self.session, by_key, source=SOURCE, now=self.now, told=self.told
            )
        else:
            found = await match_users(
                self.session, _MATCHED[kind], by_key, source=SOURCE, now=self.now, told=self.told
            )
        return [found[_KEY(item)] for item in items]


async def write_items(
    session: TenantSession, items: Sequence[Item], *, now: datetime, told: bool
) -> list[str | Rejection]:
    """What became of each row, in their order: created, updated, unchanged, or why not."""
    outcomes: dict[int, str | Rejection] = {
        item.record.line: Rejection(item, item.problem) for item in items if item.problem
    }
    writer = _Writer(session, now, told)
    good = [item for item in items if item.problem is None]
    for kind, run in groupby(good, key=attrgetter("kind")):
        for wave in _waves(kind, list(run)):
            for item, outcome in zip(wave, await writer.write(kind, wave), strict=True):
                outcomes[item.record.line] = (
                    outcome.status
                    if isinstance(outcome, Target)
                    else Rejection(item, outcome.sentence)
                )
    return [outcomes[item.record.line] for item in items]


def _waves(kind: Kind, items: list[Item]) -> list[list[Item]]:
    return [items] if kind is Kind.NEW else in_waves(items, _KEY)


def _desired(item: Item) -> Desired:
    if item.desired is None:
        raise ValueError(f"Line {item.record.line} was rejected and can't be written.")
    return item.desired
