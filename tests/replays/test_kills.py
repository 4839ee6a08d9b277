"""A backfill comes to its end, and sends nobody twice, though its process is killed again."""

from __future__ import annotations

from pathlib import Path

from flowkick.core.settings import Settings
from flowkick.storage.database import Database
from tests.conftest import new_admin
from tests.replays.test_backfill import backfill, make_users
from tests.replays.test_replay import ended, subscribe
from tests.support.commands import Machine
from tests.support.endpoint import Endpoint
from tests.support.killing import environment, let_leases_end, served_until_killed
from tests.support.server import Api

USERS = 400


async def test_it_goes_on_after_each_kill(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    given = environment(settings.database_url, FLOWKICK_LEASE_SECONDS="1")
    machine = Machine(tmp_path, given)
    admin_id, key = await new_admin(database)
    async with Endpoint() as endpoint:
        async with served_until_killed(machine, key) as served:
            ids = await make_users(served.http, USERS)
            webhook_id = await subscribe(Api("", admin_id, key, served.http, database), endpoint)
            job_id = (await backfill(served.http, webhook_id, rate=400))["id"]
            await endpoint.wait_for(50)
        await let_leases_end(database, admin_id)
        async with served_until_killed(machine, key):
            await endpoint.wait_for(len(endpoint.arrivals) + 50)
        await let_leases_end(database, admin_id)
        async with served_until_killed(machine, key) as served:
            api = Api("", admin_id, key, served.http, database)
            done = await ended(api, webhook_id, job_id, "backfill")
    assert (done["status"], done["queued"], done["delivered"]) == ("completed", USERS, USERS)
    told = {one.event_id: one.json() for one in endpoint.arrivals if one.event == "user.created"}
    assert sorted(one["data"]["user"]["id"] for one in told.values()) == sorted(ids)
