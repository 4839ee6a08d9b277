"""Removes what is old in small steps, with pauses that leave the database to everybody else."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import or_, select, update

from flowkick.core import metrics
from flowkick.core.clock import Clock
from flowkick.core.logs import get_logger
from flowkick.core.settings import Settings
from flowkick.retention.models import RetentionMark
from flowkick.retention.sweeps import Sweep, sweeps
from flowkick.storage.database import Database
from flowkick.storage.dialects import insert_or_ignore

_log = get_logger(__name__)
_FIRST_STEP: Final = 100
_SMALLEST: Final = 20
_LARGEST: Final = 2000
_STEP_SECONDS: Final = 0.025
"""How long a step should take: so long, others may wait for a lock, or for SQLite's writer."""
GENTLE: Final = 4.0
"""Pauses of so many times the step before: a fifth of the time is spent, and no more."""
_TURN: Final = "turn"
_EVERY: Final = timedelta(hours=1)
_LOOK_SECONDS: Final = 60.0

Tell = Callable[[str, int, int], None]
"""Takes the name of a sweep, how many rows it removed until now, and how many it looked at."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept, in the database of a process."""

    database: Database
    clock: Clock
    events: timedelta
    bodies: timedelta

    @classmethod
    def of(cls, database: Database, settings: Settings, clock: Clock) -> Retention:
        """As the settings say."""
        days = (settings.retention_days, settings.body_retention_days)
        return cls(database, clock, *(timedelta(days=number) for number in days))

    def sweeps(self) -> list[Sweep]:
        """All there is to do just now."""
        return sweeps(self.clock(), self.events, self.bodies)

    async def prune(self, *, pauses: float, tell: Tell | None = None) -> dict[str, int]:
        """Remove all that is old, and say how many of what.

        `pauses` is how long to wait after each step, in times of what it took.
        """
        removed: dict[str, int] = {}
        for sweep in self.sweeps():
            removed[sweep.name] = await self._sweep(sweep, pauses, tell)
        return removed

    async def _sweep(self, sweep: Sweep, pauses: float, tell: Tell | None) -> int:
        after = await self._place(sweep.name) if sweep.keeps_place else ""
        size, removed, seen, is_settled = _FIRST_STEP, 0, 0, True
        while True:
            started = time.perf_counter()
            async with self.database.system_transaction() as session:
                step = await sweep.step(session, after, sweep.before, size)
                if step.settled is not None and is_settled:
                    await self._keep_place(session, sweep.name, step.settled)
                    is_settled = step.settled == step.after
            taken = time.perf_counter() - started
            after, removed, seen = step.after, removed + step.removed, seen + step.seen
            metrics.PRUNED.labels(sweep.name).inc(step.removed)
            if tell is not None:
                tell(sweep.name, removed, seen)
            if step.seen < size:
                return removed
            size = _next_size(size, taken)
            await asyncio.sleep(taken * pauses)

    async def _place(self, name: str) -> str:
        async with self.database.system_reading() as session:
            mark = select(RetentionMark.position).where(RetentionMark.name == name)
            return await session.scalar(mark) or ""

    async def _keep_place(self, session: Any, name: str, position: str) -> None:
        now = self.clock()
        row = {"name": name, "position": position, "updated_at": now}
        await session.execute(insert_or_ignore(session, RetentionMark), [row])
        await session.execute(
            update(RetentionMark)
            .where(RetentionMark.name == name)
            .values(position=position, updated_at=now)
        )

    async def take_turn(self) -> bool:
        """Whether this process is the one that prunes now: once an hour, one of all there are.

        A turn that lies ahead was taken by a clock that was wrong: nobody waits for its hour.
        """
        now = self.clock()
        async with self.database.system_transaction() as session:
            row = {"name": _TURN, "position": "", "updated_at": now - _EVERY}
            await session.execute(insert_or_ignore(session, RetentionMark), [row])
            taken: Any = await session.execute(
                update(RetentionMark)
                .where(
                    RetentionMark.name == _TURN,
                    or_(
                        RetentionMark.updated_at <= now - _EVERY,
                        RetentionMark.updated_at > now + _EVERY,
                    ),
                )
                .values(updated_at=now)
            )
            return bool(taken.rowcount)

    async def run(self) -> None:
        """Prune once an hour, for ever: a duty of the worker."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
            if await self.take_turn():
                removed = await self.prune(pauses=GENTLE)
                if any(removed.values()):
                    _log.info("pruned", **{key.replace(" ", "_"): n for key, n in removed.items()})

    async def due(self) -> dict[str, int]:
        """About how many events and answers are old enough to be looked at."""
        async with self.database.system_reading() as session:
            return {
                sweep.name: await session.scalar(sweep.due) or 0
                for sweep in self.sweeps()
                if sweep.due is not None
            }


def _next_size(size: int, taken: float) -> int:
    """As many rows as would have taken the time that a step should take; at most twice as many."""
    fitting = int(size * _STEP_SECONDS / max(taken, 1e-6))
    return max(_SMALLEST, min(fitting, 2 * size, _LARGEST))
