"""The composition root: the only place where the parts of a process are put together."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from flowkick.api.application import create_application
from flowkick.bookings import routes as bookings
from flowkick.connectors import routes as connectors
from flowkick.connectors.manychat_api import ManyChatApi
from flowkick.conversations import routes as conversations
from flowkick.core import tracing
from flowkick.core.clock import Clock, system_clock
from flowkick.core.settings import Settings
from flowkick.delivery.breaker import BreakerPolicy
from flowkick.delivery.client import Sender
from flowkick.delivery.engine import Engine
from flowkick.delivery.health import Operators
from flowkick.delivery.hooks import Hooks
from flowkick.delivery.requests import RequestBuilder
from flowkick.delivery.targets import TargetGuard
from flowkick.delivery.tracing import TracedSender
from flowkick.exports import job_routes as export_jobs
from flowkick.exports import routes as exports
from flowkick.exports.background import EXPORT, ExportJobs
from flowkick.exports.files import FileStore
from flowkick.exports.making import Exporter
from flowkick.exports.tidying import Tidying
from flowkick.http.context import Context
from flowkick.jobs.run import Handler
from flowkick.jobs.runner import JobRunner
from flowkick.privacy import routes as privacy
from flowkick.privacy.settling import Settling
from flowkick.qr_codes import routes as qr_codes
from flowkick.replays import routes as replays
from flowkick.replays.backfilling import backfill
from flowkick.replays.replaying import replay
from flowkick.replays.service import BACKFILL, REPLAY
from flowkick.retention.service import Retention
from flowkick.storage import migrate
from flowkick.storage.database import Database
from flowkick.storage.waiting import Doorbell
from flowkick.tools import routes as tools
from flowkick.users import interaction_routes as interactions
from flowkick.users import reconcile_routes as reconciling
from flowkick.users import routes as users
from flowkick.webhooks import feed_routes as feed
from flowkick.webhooks import routes as webhooks
from flowkick.webhooks.announcing import announce
from flowkick.webhooks.merging import USER_UPDATES
from flowkick.worker import Worker

ROUTERS: tuple[APIRouter, ...] = (
    webhooks.router,
    feed.router,
    replays.router,
    users.router,
    privacy.router,
    reconciling.router,
    interactions.router,
    tools.router,
    bookings.router,
    qr_codes.router,
    conversations.router,
    exports.router,
    export_jobs.router,
    connectors.router,
)

JOBS: dict[str, Handler] = {REPLAY: replay, BACKFILL: backfill}
"""What the worker does for each kind of job that needs nothing of the process."""


class Process:
    """What a process of Flowkick holds: the database, the sender, the engine."""

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        settings.check_trust()
        self.settings = settings
        self.clock = clock
        self.database = Database(settings)
        self.guard = TargetGuard(settings.allowed_targets)
        self.manychat = ManyChatApi(settings.manychat_url)
        self.doorbell = Doorbell(self.database)
        sender = TracedSender if tracing.is_on() else Sender
        self.sender = sender(self.guard, connections=settings.concurrency)
        self.builder = RequestBuilder(settings.key_ring)
        files = FileStore.of(settings)
        self.exporter = Exporter(self.database, files, clock, lease_seconds=settings.lease_seconds)
        self.jobs = JobRunner(self.database, {**JOBS, EXPORT: ExportJobs(files).run}, clock)
        self.retention = Retention.of(self.database, settings, clock)
        self.settling = Settling(self.database, clock)
        self.tidying = Tidying(self.database, files, clock)
        duties = (self.jobs.run, self.retention.run, self.settling.run, self.tidying.run)
        self.worker = Worker(self.database, self._make_engine, duties=duties)

    @asynccontextmanager
    async def running(self, *, deliver: bool) -> AsyncIterator[None]:
        """Open what the process needs, and deliver from it or not.

        SQLite is migrated; PostgreSQL must have been, with `flowkick migrate`.
        """
        try:
            if self.database.is_sqlite:
                await migrate.upgrade(self.database)
            await migrate.require_newest(self.database)
            quieten_collector()
            async with self.sender:
                if not deliver:
                    yield
                    return
                async with self.worker.running():
                    yield
        finally:
            await self.doorbell.stop()
            await self.database.close()

    def _make_engine(self) -> Engine:
        return Engine(
            self.database,
            self.sender,
            self.builder,
            self.clock,
            concurrency=self.settings.concurrency,
            lease_seconds=self.settings.lease_seconds,
            hooks=Hooks(
                Operators(self.settings.failing_after, announce),
                USER_UPDATES,
                BreakerPolicy(
                    self.settings.breaker_failures,
                    self.settings.breaker_pause_seconds,
                    self.settings.longest_pause_seconds,
                ),
            ),
        )

    def application(self) -> FastAPI:
        """The HTTP application of this process; its lifespan is the process's."""

        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            async with self.running(deliver=self.settings.worker):
                yield

        context = Context(
            self.settings, self.database, self.clock, self.sender, self.guard, self.doorbell
        )
        application = create_application(
            context, ROUTERS, lifespan=lifespan, worker_state=self._worker_state
        )
        application.state.manychat = self.manychat
        application.state.exporter = self.exporter
        return application

    def _worker_state(self) -> str:
        return self.worker.state if self.settings.worker else "not here"


def quieten_collector() -> None:
    """Let the cycle collector pass over what was imported, and look less often.

    What a delivery allocates is freed by reference counting; collecting every 700 allocations, as
    is usual, took a fifth of the processor time of each delivery.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
