"""``flowkick seed``: made-up users."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any

import typer

from flowkick.cli.common import AdminOption, AsJson, find_admin_id, open_database, run, show
from flowkick.cli.people import people
from flowkick.core.clock import system_clock
from flowkick.storage.database import Database
from flowkick.users.batch import upsert_batch

BATCH = 500


def seed(
    admin_name: AdminOption,
    users: Annotated[int, typer.Option(min=1, help="How many users.")],
    seed: Annotated[int, typer.Option(min=0, help="Other numbers make other people.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Add made-up users, the same for the same seed, with the events that tell of them.

    Example: flowkick seed --admin "Café Luna" --users 1000
    """

    async def work() -> dict[str, Any]:
        async with open_database() as database:
            admin_id = await find_admin_id(database, admin_name)
            counts: dict[str, int] = {"created": 0, "updated": 0, "unchanged": 0}
            with _progress(users) as advance:
                async for done in _add(database, admin_id, people(users, seed), counts):
                    advance(done)
            return {"adminId": admin_id, **counts}

    show(run(work()), as_json=as_json)


@contextmanager
def _progress(users: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, plain lines elsewhere; on standard error."""
    if sys.stderr.isatty():
        with typer.progressbar(length=users, file=sys.stderr, label="Users") as bar:
            yield bar.update
        return
    total = 0

    def advance(done: int) -> None:
        nonlocal total
        total += done
        typer.echo(f"{total} of {users} users", err=True)

    yield advance


async def _add(
    database: Database, admin_id: str, made: Iterator[dict[str, Any]], counts: dict[str, int]
) -> AsyncIterator[int]:
    while batch := list(islice(made, BATCH)):
        async with database.transaction(admin_id) as session:
            results = await upsert_batch(session, batch, source="import", now=system_clock())
        for result in results:
            counts[result["status"]] = counts.get(result["status"], 0) + 1
        yield len(batch)
