"""Batches of users: each item is taken or refused by itself, in work per batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from flowkick.core.errors import Suppressed
from flowkick.storage.tenancy import TenantSession
from flowkick.users.schemas import BatchUserInput
from flowkick.users.service import upsert_users
from flowkick.users.writing import Desired

_T = TypeVar("_T")


async def upsert_batch(
    session: TenantSession,
    items: Sequence[Any],
    *,
    source: str,
    now: datetime,
    told: bool = True,
) -> list[dict[str, Any]]:
    """Add or change users by `manychatId`; one result for each item, in their order.

    Without `told`, no event tells of it.
    """
    results: list[dict[str, Any]] = [{} for _ in items]
    valid: list[tuple[int, Desired]] = []
    for index, item in enumerate(items):
        try:
            valid.append((index, BatchUserInput.model_validate(item).desired()))
        except ValidationError as error:
            results[index] = _failed(index, problems(error))
    waves = in_waves(valid, lambda item: item[1].values["manychat_id"])
    later = [item for wave in waves[1:] for _, item in wave]
    for wave in waves:
        targets = await upsert_users(
            session, [item for _, item in wave], source=source, now=now, later=later, told=told
        )
        later = []
        for (index, _), target in zip(wave, targets, strict=True):
            if isinstance(target, Suppressed):
                results[index] = _failed(index, target.sentence)
                continue
            results[index] = {
                "index": index,
                "status": target.status,
                "id": target.user.id,
                "error": None,
            }
    return results


def in_waves(items: Sequence[_T], key: Callable[[_T], Hashable]) -> list[list[_T]]:
    """The items in groups in which each key occurs once; what occurs twice is in two."""
    waves: list[list[_T]] = []
    seen: dict[Hashable, int] = {}
    for item in items:
        number = seen.get(key(item), 0)
        seen[key(item)] = number + 1
        if number == len(waves):
            waves.append([])
        waves[number].append(item)
    return waves


def problems(error: ValidationError) -> str:
    """What is wrong with a user, in one line."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'user'}: {_problem(item['type'], item['msg'])}"
        for item in error.errors(include_input=False, include_url=False)[:5]
    )


def _failed(index: int, problem: str) -> dict[str, Any]:
    return {"index": index, "status": "failed", "id": None, "error": problem}


def _problem(kind: str, message: str) -> str:
    return "unknown field" if kind == "extra_forbidden" else message
