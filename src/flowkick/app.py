"""The composition root: the only place where the parts of a process are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from flowkick.api.application import create_application
from flowkick.core.clock import Clock, system_clock
from flowkick.core.settings import Settings
from flowkick.delivery.client import Sender
from flowkick.delivery.targets import TargetGuard
from flowkick.http.context import Context
from flowkick.storage import migrate
from flowkick.storage.database import Database

ROUTERS: tuple[APIRouter, ...] = ()


class Process:
    """What a process of Flowkick holds: the database, the sender, the engine."""

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        settings.check_trust()
        self.settings = settings
        self.clock = clock
        self.database = Database(settings)
        self.sender = Sender(
            TargetGuard(settings.allowed_targets), connections=settings.concurrency
        )
        self.key_ring = settings.key_ring

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open what the process needs; SQLite is migrated, PostgreSQL must have been."""
        try:
            if self.database.is_sqlite:
                await migrate.upgrade(self.database)
            await migrate.require_newest(self.database)
            async with self.sender:
                yield
        finally:
            await self.database.close()

    def application(self) -> FastAPI:
        """The HTTP application of this process; its lifespan is the process's."""

        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            async with self.running():
                yield

        context = Context(self.settings, self.database, self.clock, self.sender)
        return create_application(
            context, ROUTERS, lifespan=lifespan, worker_state=lambda: "not here"
        )
