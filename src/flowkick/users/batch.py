"""Batches of users: each item is taken or refused by itself, in work per batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from flowkick.storage.tenancy import TenantSession
from flowkick.users.schemas import BatchUserInput
from flowkick.users.service import upsert_users
from flowkick.users.writing import Desired


async def upsert_batch(
    session: TenantSession, items: Sequence[Any], *, source: str, now: datetime
) -> list[dict[str, Any]]:
    """Add or change users by `manychatId`; one result for each item, in their order."""
    results: list[dict[str, Any]] = [{} for _ in items]
    valid: list[tuple[int, Desired]] = []
    for index, item in enumerate(items):
        try:
            valid.append((index, BatchUserInput.model_validate(item).desired()))
        except ValidationError as error:
            results[index] = _failed(index, error)
    waves = _waves(valid)
    later = [item for wave in waves[1:] for _, item in wave]
    for wave in waves:
        targets = await upsert_users(
            session, [item for _, item in wave], source=source, now=now, later=later
        )
        later = []
        for (index, _), target in zip(wave, targets, strict=True):
            results[index] = {
                "index": index,
                "status": target.status,
                "id": target.user.id,
                "error": None,
            }
    return results


def _waves(items: Sequence[tuple[int, Desired]]) -> list[list[tuple[int, Desired]]]:
    """The items in groups in which each user occurs once; twice is in two."""
    waves: list[list[tuple[int, Desired]]] = []
    seen: dict[str, int] = {}
    for index, item in items:
        number = seen.get(item.values["manychat_id"], 0)
        seen[item.values["manychat_id"]] = number + 1
        if number == len(waves):
            waves.append([])
        waves[number].append((index, item))
    return waves


def _failed(index: int, error: ValidationError) -> dict[str, Any]:
    problems = "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'user'}: {_problem(item['type'], item['msg'])}"
        for item in error.errors(include_input=False, include_url=False)[:5]
    )
    return {"index": index, "status": "failed", "id": None, "error": problems}


def _problem(kind: str, message: str) -> str:
    return "unknown field" if kind == "extra_forbidden" else message
