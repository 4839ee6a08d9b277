"""Work that is repeated while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from flowkick.core.logs import get_logger
from flowkick.delivery.recording import is_refusal
from flowkick.storage.database import DATABASE_ERRORS

_log = get_logger(__name__)
_T = TypeVar("_T")
_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 5.0


async def until_it_works(
    work: Callable[[], Awaitable[_T]], stopping: asyncio.Event, *, give_up: bool
) -> _T:
    """Repeat `work` while the database is away, with growing pauses.

    Raises its error where the engine is to stop meanwhile; unless `give_up`, only where the
    database refuses what it is given.
    """
    pause = _FIRST_BACKOFF
    while True:
        try:
            return await work()
        except DATABASE_ERRORS as error:
            if stopping.is_set() if give_up else is_refusal(error):
                raise
            _log.warning(
                "engine_database_failed", error=type(error).__name__, again_in_seconds=pause
            )
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_BACKOFF)
