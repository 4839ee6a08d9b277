"""The database of a process: its engines, and transactions in the name of an admin."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from flowkick.core import metrics
from flowkick.core.settings import Settings
from flowkick.storage.postgres import Connector, postgres_engine
from flowkick.storage.sqlite import sqlite_engine
from flowkick.storage.tenancy import KEY_RING, QUEUED, RECORDED, SYSTEM, TenantSession

DATABASE_ERRORS: Final = (SQLAlchemyError, OSError, TimeoutError)
"""What is raised while a database is away, or refuses."""
_SQLITE_READERS = 4
_POSTGRES_CONNECTIONS = 15
_SNAPSHOTS = 4
_READING = ("query_only = ON",)
_AFTER_COMMIT: Final = "after_commit"
AfterCommit = Callable[["Database"], Awaitable[None]]


def after_commit(session: TenantSession, work: AfterCommit) -> None:
    """Let `work` be done once the session's transaction is committed, and not if it is not.

    It is lost with the process: whoever asks for it has a duty that makes up for that.
    """
    session.info.setdefault(_AFTER_COMMIT, []).append(work)


class Database:
    """One database, opened once in a process.

    On SQLite one writer connection makes every commit and every checkpoint, with read-only
    connections beside it: releases before 3.51.3 can damage a WAL file when several connections
    checkpoint at once. On PostgreSQL one pool serves both purposes.
    """

    def __init__(self, settings: Settings) -> None:
        url = make_url(settings.database_url)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.url = url
        self._settings = settings
        self._listeners: list[Callable[[], None]] = []
        self.connect = None if self.is_sqlite else Connector(url)
        """Opens a connection beside the pool; None on SQLite."""
        if self.connect is None:
            self.writer, self.reader = _sqlite_engines(url)
            self.snapshots = sqlite_engine(url, _SNAPSHOTS, _READING, "BEGIN")
        else:
            self.writer = postgres_engine(self.connect, _POSTGRES_CONNECTIONS)
            # Each statement sees what is committed as it begins, in a transaction or not: so what
            # only reads can do without one, and its two trips to the server.
            self.reader = self.writer.execution_options(isolation_level="AUTOCOMMIT")
            self.snapshots = postgres_engine(self.connect, _SNAPSHOTS)

    async def close(self) -> None:
        """Close every connection."""
        for engine in (self.snapshots, self.reader, self.writer):
            await engine.dispose()

    def on_queued(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit of this process that queued deliveries."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def transaction(self, admin_id: str) -> AsyncIterator[TenantSession]:
        """A write transaction in the name of one admin; commits at the end of the block."""
        async with self._transaction(admin_id) as session:
            yield session

    @asynccontextmanager
    async def reading(self, admin_id: str) -> AsyncIterator[TenantSession]:
        """A read-only session in the name of one admin."""
        async with TenantSession(self.reader, admin_id, reads_only=True) as session:
            yield session

    @asynccontextmanager
    async def snapshot(self, admin_id: str) -> AsyncIterator[TenantSession]:
        """A read-only session in which all is of one moment, however long it takes to read.

        Such sessions have connections of their own, so that no other reader waits for theirs.
        """
        async with self.snapshots.connect() as connection:
            if not self.is_sqlite:  # whose transactions are snapshots anyway
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            async with TenantSession(connection, admin_id) as session:
                yield session

    @asynccontextmanager
    async def system_transaction(self) -> AsyncIterator[TenantSession]:
        """A write transaction across admins: for the engine, authentication and maintenance."""
        async with self._transaction(SYSTEM) as session:
            yield session

    @asynccontextmanager
    async def system_reading(self) -> AsyncIterator[TenantSession]:
        """A read-only session across admins: for the engine, authentication and maintenance."""
        async with TenantSession(self.reader, SYSTEM, reads_only=True) as session:
            yield session

    @asynccontextmanager
    async def _transaction(self, admin_id: str | None) -> AsyncIterator[TenantSession]:
        async with self.session(admin_id) as session:
            yield session
            await self.commit(session)

    def session(self, admin_id: str | None) -> TenantSession:
        """A session that writes; what is not given to `commit` is undone."""
        session = TenantSession(self.writer, admin_id)
        session.info[KEY_RING] = lambda: self._settings.key_ring
        return session

    async def commit(self, session: TenantSession) -> None:
        """Commit, and wake the engine where deliveries were queued."""
        await session.flush()
        queued = session.info.pop(QUEUED, False)
        recorded: Counter[str] = session.info.pop(RECORDED, Counter())
        await session.commit()
        for name, count in recorded.items():
            metrics.EVENTS_RECORDED.labels(name).inc(count)
        if queued:
            for listener in self._listeners:
                listener()
        for work in session.info.pop(_AFTER_COMMIT, ()):
            await work(self)

    async def check(self) -> None:
        """Raise where the database does not answer."""
        async with self.reader.connect() as connection:
            await connection.execute(text("SELECT 1"))


def _sqlite_engines(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    writing = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")
    # IMMEDIATE: a write lock taken late would fail where another process wrote in between.
    writer = sqlite_engine(url, 1, writing, "BEGIN IMMEDIATE")
    return writer, sqlite_engine(url, _SQLITE_READERS, _READING, "BEGIN")
