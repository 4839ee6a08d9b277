"""Batches that are made ready while the former one is being written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Final, TypeVar

_T = TypeVar("_T")
_SLICE: Final = 25
"""So many are prepared at once: about half a millisecond, for which an answer of the database
waits at most."""


async def prefetched(items: Iterator[_T], size: int) -> AsyncIterator[list[_T]]:
    """Batches of `items`; while whoever takes one waits for the database, the next is prepared."""
    upcoming = asyncio.create_task(_next(items, size))
    try:
        while batch := await upcoming:
            upcoming = asyncio.create_task(_next(items, size))
            yield batch
    finally:
        upcoming.cancel()


async def one_after_the_other(items: Iterator[_T], size: int) -> AsyncIterator[list[_T]]:
    """Batches of `items` that may block: nothing is being written while one is waited for."""
    while batch := await asyncio.to_thread(lambda: list(islice(items, size))):
        yield batch


async def _next(items: Iterator[_T], size: int) -> list[_T]:
    batch: list[_T] = []
    while len(batch) < size and (part := list(islice(items, min(_SLICE, size - len(batch))))):
        batch += part
        await asyncio.sleep(0)
    return batch
