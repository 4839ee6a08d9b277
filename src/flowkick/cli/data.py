"""``flowkick seed``: made-up users."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from flowkick.app import quieten_collector
from flowkick.cli.common import AdminOption, AsJson, find_admin_id, open_database, run, show
from flowkick.cli.people import people
from flowkick.cli.progress import progress
from flowkick.cli.visits import Visits
from flowkick.core.clock import system_clock
from flowkick.importing.batches import prefetched
from flowkick.storage.database import Database
from flowkick.users.batch import upsert_batch

BATCH = 2500


def seed(
    admin_name: AdminOption,
    users: Annotated[int, typer.Option(min=1, help="How many users.")],
    seed: Annotated[int, typer.Option(min=0, help="Other numbers make other people.")] = 7,
    silent: Annotated[
        bool, typer.Option("--silent", help="Users alone, and no event that tells of them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add made-up users, the same for the same seed, with the events that tell of them.

    Some have a booking or a QR code.

    Example: flowkick seed --admin "Café Luna" --users 1000
    """

    async def work() -> dict[str, Any]:
        async with open_database() as database:
            admin_id = await find_admin_id(database, admin_name)
            quieten_collector()
            counts = await _add(database, admin_id, users, seed, silent=silent)
        return {"adminId": admin_id, **counts}

    show(run(work()), as_json=as_json)


async def _add(
    database: Database, admin_id: str, users: int, seed: int, *, silent: bool
) -> dict[str, int]:
    """Add users batch by batch; how many of what."""
    counts: Counter[str] = Counter(created=0, updated=0, unchanged=0)
    visits = Visits(seed)
    with progress("Users", users) as advance:
        async for batch in prefetched(people(users, seed), BATCH):
            now = system_clock()
            async with database.transaction(admin_id) as session:
                results = await upsert_batch(
                    session, batch, source="import", now=now, told=not silent
                )
                if not silent:
                    await visits.add(session, _new(results, counts.total()), now)
            counts.update(result["status"] for result in results)
            advance(counts.total(), f"{counts.total()} of {users} users")
    return {**counts, **visits.counts}


def _new(results: list[dict[str, Any]], before: int) -> list[tuple[int, str]]:
    """The numbers and ids of those who were added."""
    return [(before + r["index"], r["id"]) for r in results if r["status"] == "created"]
