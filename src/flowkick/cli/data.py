"""``flowkick seed``: made-up users."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from flowkick.app import quieten_collector
from flowkick.cli.common import AdminOption, AsJson, find_admin_id, open_database, run, show
from flowkick.cli.people import people
from flowkick.cli.progress import progress
from flowkick.core.clock import system_clock
from flowkick.importing.batches import prefetched
from flowkick.users.batch import upsert_batch

BATCH = 1000


def seed(
    admin_name: AdminOption,
    users: Annotated[int, typer.Option(min=1, help="How many users.")],
    seed: Annotated[int, typer.Option(min=0, help="Other numbers make other people.")] = 7,
    silent: Annotated[
        bool, typer.Option("--silent", help="Send no webhooks: no event tells of it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add made-up users, the same for the same seed, with the events that tell of them.

    Example: flowkick seed --admin "Café Luna" --users 1000
    """

    async def work() -> dict[str, Any]:
        counts: Counter[str] = Counter(created=0, updated=0, unchanged=0)
        async with open_database() as database:
            admin_id = await find_admin_id(database, admin_name)
            quieten_collector()
            with progress("Users", users) as advance:
                async for batch in prefetched(people(users, seed), BATCH):
                    async with database.transaction(admin_id) as session:
                        results = await upsert_batch(
                            session, batch, source="import", now=system_clock(), told=not silent
                        )
                    counts.update(result["status"] for result in results)
                    done = counts.total()
                    advance(done, f"{done} of {users} users")
        return {"adminId": admin_id, **counts}

    show(run(work()), as_json=as_json)
