"""How many events a second one process records and delivers, against a bare loop."""

from __future__ import annotations

import asyncio
import resource
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import aiohttp
from sqlalchemy import func, select

from flowkick.app import Process
from flowkick.auth.service import create_admin
from flowkick.core.clock import isoformat, system_clock
from flowkick.core.ids import new_id
from flowkick.core.settings import load_settings
from flowkick.delivery.models import WebhookAttempt, WebhookDelivery, WebhookSubscription
from flowkick.delivery.requests import secret_context
from flowkick.delivery.signing import new_secret, signed_headers
from flowkick.storage import migrate
from flowkick.webhooks import outbox, payloads, samples
from flowkick.webhooks.outbox import Draft

CONCURRENCY = 100
KEY = "0123456789abcdef" * 2
_BATCH = 500


@dataclass(frozen=True)
class Throughput:
    """Events in a number of seconds, and the processor time of this process."""

    events: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """Processor time of this process for each event."""
        return self.cpu_seconds / self.events * 1e6


def draft(number: int) -> Draft:
    """An event with a body of about 1.5 KB."""
    return Draft("user.created", payloads.UserCreated(samples.USER), samples.USER.id, number)


def example_body() -> bytes:
    """The bytes of such an event."""
    made = draft(1)
    return payloads.encode_event(
        made.event,
        isoformat(system_clock()),
        made.data,
        source="api",
        event_id=new_id("evt"),
        sequence=1,
    )


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def bare_loop(url: str, events: int) -> Throughput:
    """Post the same signed bytes with aiohttp and nothing else."""
    body = example_body()
    now = system_clock()
    headers = signed_headers(
        event="user.created",
        message_id=new_id("evt"),
        payload_timestamp=isoformat(now),
        attempt=1,
        body=body,
        secrets=[new_secret()],
        at=now,
    )
    left = events

    async def post(session: aiohttp.ClientSession) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()

    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector) as session:
        started, cpu = time.perf_counter(), _cpu()
        await asyncio.gather(*(post(session) for _ in range(CONCURRENCY)))
    return Throughput(events, time.perf_counter() - started, _cpu() - cpu)


async def prepare(process: Process, url: str) -> str:
    """A migrated database with one admin and one subscription; returns the admin's id."""
    await migrate.upgrade(process.database)
    now = system_clock()
    async with process.database.system_transaction() as session:
        admin = await create_admin(session, "Benchmark", now)
    subscription_id = new_id("whs")
    secret = process.settings.key_ring.seal(new_secret(), secret_context(subscription_id))
    async with process.database.transaction(admin.id) as session:
        session.add(
            WebhookSubscription(
                id=subscription_id,
                name="Benchmark",
                url=url,
                events=["*"],
                secret=secret,
                secret_hint="0000",
                header_names=[],
                retry_attempts=3,
                retry_delay=60,
                timeout_ms=10_000,
                auto_disable_after=100,
                active=True,
                created_at=now,
                updated_at=now,
            )
        )
    return admin.id


def open_process(database_url: str) -> Process:
    """A process of the product as an operator would configure it, with loopback allowed."""
    settings = load_settings(
        _env_file=None,
        database_url=database_url,
        secret_key=KEY,
        allowed_targets="127.0.0.0/8",
        concurrency=CONCURRENCY,
    )
    return Process(settings)


async def record_and_deliver(
    database_url: str,
    url: str,
    events: int,
    around: AbstractContextManager[object] | None = None,
) -> Throughput:
    """Record `events` events in transactions of 500 while the engine of this process delivers.

    What is measured runs inside `around`.
    """
    process = open_process(database_url)
    admin_id = await prepare(process, url)
    async with process.running(deliver=True):
        started, cpu = time.perf_counter(), _cpu()
        with around or nullcontext():
            for first in range(0, events, _BATCH):
                async with process.database.transaction(admin_id) as session:
                    drafts = [draft(number) for number in range(first, min(first + _BATCH, events))]
                    await outbox.emit(session, drafts, source="api", now=system_clock())
            await _all_delivered(process, events)
        return Throughput(events, time.perf_counter() - started, _cpu() - cpu)


async def _all_delivered(process: Process, events: int) -> None:
    """Wait until each delivery has succeeded and each attempt is logged."""
    while True:
        async with process.database.system_reading() as session:
            waiting = await session.scalar(
                select(WebhookDelivery.id).where(WebhookDelivery.due_at.is_not(None)).limit(1)
            )
            if waiting is None:
                break
        await asyncio.sleep(0.02)
    async with process.database.system_reading() as session:
        logged = await session.scalar(
            select(func.count(WebhookAttempt.id)).where(WebhookAttempt.status == "success")
        )
    if logged != events:
        raise RuntimeError(f"{logged} successful attempts were logged for {events} events.")
