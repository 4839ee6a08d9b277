"""The job of a replay: past deliveries of a subscription are queued again, as new ones."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

from flowkick.core.clock import parse_iso
from flowkick.delivery.states import FINAL
from flowkick.jobs.run import Run
from flowkick.replays import past
from flowkick.replays.past import Place, Wanted
from flowkick.replays.pump import Pump
from flowkick.webhooks.catalogue import SUBSCRIBABLE, expand
from flowkick.webhooks.fan_out import queue_for_one

NOTHING_YET: Final = {"queued": 0, "removed": 0, "after": None}


async def replay(run: Run) -> None:
    """Queue what was asked for, from where the last step ended."""
    wanted = wanted_of(run.input["webhookId"], run.input["filters"])
    pump = Pump(run, wanted.subscription_id, run.input["rate"])
    await pump.fill(partial(_queue, run, wanted))


def wanted_of(webhook_id: str, filters: dict[str, Any]) -> Wanted:
    """Which deliveries the filters of a replay stand for."""
    since, status, events = filters["since"], filters["status"], filters["events"]
    return Wanted(
        webhook_id,
        None if since is None else parse_iso(since),
        parse_iso(filters["until"]),
        [state.value for state in FINAL] if status is None else [status],
        sorted(SUBSCRIBABLE if events is None else expand(events)),
    )


async def _queue(run: Run, wanted: Wanted, room: int) -> bool:
    """Queue some; whether there may be more."""
    progress = run.progress
    async with run.database.reading(run.admin_id) as session:
        found = await past.find(session, wanted, _place(progress["after"]), limit=room)
    async with run.step() as session:
        await queue_for_one(
            session, wanted.subscription_id, found.events, job_id=run.job_id, now=run.clock()
        )
        progress["queued"] += len(found.events)
        progress["removed"] += found.removed
        if found.place is not None:
            progress["after"] = [found.place.recorded_at.isoformat(), found.place.event_id]
    return found.place is not None


def _place(kept: list[str] | None) -> Place | None:
    return None if kept is None else Place(datetime.fromisoformat(kept[0]), kept[1])
