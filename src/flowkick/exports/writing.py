"""Writes the users of a selection into a file, away from the event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from flowkick.exports.columns import Column
from flowkick.exports.rows import Selection, stream
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
    async for batch in stream(session, columns, selection):
        await in_thread(partial(writer.write, batch))
        written += len(batch)
        await progress(written)
    await in_thread(writer.close)
    return written
