"""The running engine: started with a process, watched, stopped with it."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from flowkick.core.errors import SettingsError
from flowkick.core.logs import get_logger
from flowkick.delivery.engine import Engine
from flowkick.storage.database import Database
from flowkick.storage.wakeup import listen

_log = get_logger(__name__)
_RESTART_SECONDS: Final = 1.0


Duty = Callable[[], Coroutine[Any, Any, None]]
"""Something done beside delivering, for ever, until it is cancelled."""


class Worker:
    """Keeps one engine running in this process, and its other duties beside it."""

    def __init__(
        self, database: Database, make_engine: Callable[[], Engine], duties: Sequence[Duty] = ()
    ) -> None:
        self._database = database
        self._make_engine = make_engine
        self._duties = duties
        self._engine: Engine | None = None
        self._stopping = False
        self.state = "not started"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver while the block runs; leaving it waits for what is in flight."""
        with _only_one(self._database):
            engine = asyncio.create_task(self._run())
            beside = [asyncio.create_task(listen(self._database, self._wake))]
            beside += [asyncio.create_task(_for_ever(duty)) for duty in self._duties]
            try:
                yield
            finally:
                self._stopping = True
                if self._engine is not None:
                    self._engine.stop()
                await engine
                for task in beside:
                    task.cancel()
                await asyncio.wait(beside)
                self.state = "stopped"

    def _wake(self) -> None:
        if self._engine is not None:
            self._engine.wake()

    async def _run(self) -> None:
        while not self._stopping:
            self._engine = self._make_engine()
            self.state = "ok"
            try:
                await self._engine.run()
            except Exception as error:  # noqa: BLE001  # the edge: a failed engine is replaced
                self.state = "failed: the engine stopped and is being restarted"
                _log.error("engine_failed", exc_info=error)
                await asyncio.sleep(_RESTART_SECONDS)


async def _for_ever(duty: Duty) -> None:
    while True:
        try:
            await duty()
        except Exception as error:  # noqa: BLE001  # the edge: a failed duty is taken up again
            _log.error("duty_failed", exc_info=error)
        await asyncio.sleep(_RESTART_SECONDS)


@contextmanager
def _only_one(database: Database) -> Iterator[None]:
    """On SQLite, hold the lock file that lets one process deliver from a database."""
    path = database.url.database
    if not database.is_sqlite or path is None:
        yield
        return
    with Path(f"{path}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"Another process already delivers from {path}: stop it, or use PostgreSQL,"
                " which serves any number of workers."
            ) from None
        yield
