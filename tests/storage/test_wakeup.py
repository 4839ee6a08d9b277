"""Whoever commits to a SQLite file wakes the process that delivers from it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress

import pytest

from flowkick.storage.database import Database
from flowkick.storage.wakeup import listen


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_commit_from_elsewhere_wakes_and_nothing_else_does(database: Database) -> None:
    wakes = 0
    woken = asyncio.Event()

    def wake() -> None:
        nonlocal wakes
        wakes += 1
        woken.set()

    listening = asyncio.create_task(listen(database, wake))
    await asyncio.sleep(0)  # it has seen how things stand
    with closing(sqlite3.connect(database.url.database or "")) as stranger:
        stranger.execute("CREATE TABLE not_yet (id integer)")
        stranger.rollback()
        stranger.execute('SELECT * FROM "User"').fetchall()
        stranger.execute("CREATE TABLE theirs (id integer)")
        stranger.execute("INSERT INTO theirs VALUES (1)")
        stranger.commit()
        async with asyncio.timeout(20):
            await woken.wait()
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    assert wakes in {1, 2}  # Python's driver commits the definition of a table by itself
