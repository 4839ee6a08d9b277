"""Work in a thread has ended when whoever asked for it is gone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flowkick.exports.threads import in_thread


async def test_it_has_ended_however_often_its_task_is_cancelled() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait()
        ended.set()
        raise ValueError("nobody asks for this")

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
