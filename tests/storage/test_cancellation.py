"""What is cancelled leaves no lock behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text

from flowkick.storage.database import Database


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_connection_closed_amid_a_select_leaves_no_lock(database: Database) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    async with database.writer.connect() as connection:
        await connection.execute(text("SELECT 1"))  # which begins, with the write lock
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        cursor = await driver.execute(numbers)  # it has no end, and stays alive
        await driver.close()
        await connection.invalidate()
    with closing(sqlite3.connect(database.url.database or "", timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
    assert cursor is not None
