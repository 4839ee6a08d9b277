"""A backfill comes to its end, and sends nobody twice, though its process is killed again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from sqlalchemy import update

from flowkick.core.clock import system_clock
from flowkick.core.settings import Settings
from flowkick.jobs.models import Job
from flowkick.storage.database import Database
from tests.conftest import MASTER_KEY, client, new_admin
from tests.replays.test_backfill import backfill, make_users
from tests.replays.test_replay import ended, subscribe
from tests.support.commands import Machine
from tests.support.endpoint import Endpoint
from tests.support.ports import free_port
from tests.support.server import Api

USERS = 400


@asynccontextmanager
async def killed_at_the_end(machine: Machine, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A server that is killed when the block ends."""
    port = free_port()
    process = await machine.start("serve", "--port", str(port))
    try:
        async with client(f"http://127.0.0.1:{port}", key) as http:
            async with asyncio.timeout(60):
                while not await _is_ready(http):
                    await asyncio.sleep(0.05)
            yield http
    finally:
        process.kill()
        await process.communicate()


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def test_it_goes_on_after_each_kill(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLOWKICK_")}
    given = {
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": MASTER_KEY,
        "ALLOWED_TARGETS": "127.0.0.0/8",
        "LEASE_SECONDS": "1",
        "LOG_LEVEL": "error",
    }
    named = {f"FLOWKICK_{name}": value for name, value in given.items()}
    machine = Machine(tmp_path, {**environment, **named})
    admin_id, key = await new_admin(database)
    async with Endpoint() as endpoint:
        async with killed_at_the_end(machine, key) as http:
            ids = await make_users(http, USERS)
            webhook_id = await subscribe(Api("", admin_id, key, http, database), endpoint)
            job_id = (await backfill(http, webhook_id, rate=400))["id"]
            await endpoint.wait_for(50)
        await _let_the_lease_end(database, admin_id)
        async with killed_at_the_end(machine, key):
            await endpoint.wait_for(len(endpoint.arrivals) + 50)
        await _let_the_lease_end(database, admin_id)
        async with killed_at_the_end(machine, key) as http:
            api = Api("", admin_id, key, http, database)
            done = await ended(api, webhook_id, job_id, "backfill")
    assert (done["status"], done["queued"], done["delivered"]) == ("completed", USERS, USERS)
    told = {one.event_id: one.json() for one in endpoint.arrivals if one.event == "user.created"}
    assert sorted(one["data"]["user"]["id"] for one in told.values()) == sorted(ids)


async def _let_the_lease_end(database: Database, admin_id: str) -> None:
    """As if the minute had passed for which a job stays with a silent worker."""
    async with database.transaction(admin_id) as session:
        await session.execute(
            update(Job).where(Job.status == "running").values(due_at=system_clock()),
            execution_options={"synchronize_session": False},
        )
