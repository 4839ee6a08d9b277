"""``flowkick prune``: removes what is older than the settings let it be kept."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flowkick.cli.common import AsJson, open_database, run, show
from flowkick.cli.progress import progress
from flowkick.core.clock import system_clock
from flowkick.core.settings import load_settings
from flowkick.retention.service import GENTLE, Retention


def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what is old enough, and remove nothing.")
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Without the pauses that leave room for live traffic.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove old events with their deliveries and attempts, and old bodies and answers.

    How old is for FLOWKICK_RETENTION_DAYS and FLOWKICK_BODY_RETENTION_DAYS to say. Nothing that is
    still to be delivered is removed. A running worker does the same by itself, once an hour.

    Example: flowkick prune --dry-run
    """

    async def work() -> dict[str, Any]:
        settings = load_settings()
        async with open_database() as database:
            retention = Retention.of(database, settings, system_clock)
            if dry_run:
                return {"dryRun": True, **_named(await retention.due())}
            with progress("Pruning", None) as advance:

                def tell(name: str, removed: int, seen: int) -> None:
                    advance(seen, f"{name}: {removed} removed of {seen} old ones")

                pauses = 0.0 if fast else GENTLE
                return _named(await retention.prune(pauses=pauses, tell=tell))

    show(run(work()), as_json=as_json)


def _named(counts: dict[str, int]) -> dict[str, int]:
    return {
        "idempotencyKeys" if name == "idempotency keys" else name: count
        for name, count in counts.items()
    }
