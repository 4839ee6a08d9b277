"""Writes the users of a selection into a file, away from the event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from flowkick.exports.columns import Column
from flowkick.exports.rows import Batch, Selection
from flowkick.exports.threads import in_thread
from flowkick.exports.writers import About, Format, Sink
from flowkick.storage.tenancy import TenantSession

Progress = Callable[[int], Awaitable[None]]
"""Is told how many users are written by now."""


async def _nobody(_written: int) -> None:
    return


async def write_users(
    session: TenantSession,
    format_: Format,
    columns: Sequence[Column],
    selection: Selection,
    *,
    sink: Sink,
    about: About,
    progress: Progress = _nobody,
) -> int:
    """Write a whole file into `sink`; how many users are in it.

    The session is a snapshot, of which `about.record_count` was counted, too.
    """
    writer = format_.writer(sink, about)
    await in_thread(partial(writer.open, columns))
    written = 0

    def write(make: Callable[[], Batch]) -> int:
        batch = make()
        writer.write(batch)
        return len(batch)

    async def take(make: Callable[[], Batch]) -> None:
        nonlocal written
        written += await in_thread(partial(write, make))
        await progress(written)

    await format_.read(session, columns, selection, take)
    await in_thread(writer.close)
    return written
