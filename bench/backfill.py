"""How fast a new receiver is filled while users change, and whether it ends with what we have."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
from aiohttp import web

from bench.delivery import open_process
from bench.people import load
from bench.receiver import beside
from flowkick.app import Process
from flowkick.core.clock import system_clock
from flowkick.core.logs import configure_logs
from flowkick.jobs import service as jobs
from flowkick.jobs.models import UNFINISHED
from flowkick.replays import backfilling, service
from flowkick.replays.service import BACKFILL
from flowkick.users.filters import UserFilters
from flowkick.users.reconciling import list_states
from flowkick.users.service import change_user
from flowkick.users.writing import Desired
from tests.support.factories import create_subscription

_CHANGES_A_SECOND = 100


@dataclass(frozen=True)
class Filled:
    """What a backfill came to."""

    users: int
    seconds: float
    changes: int
    wrong: int
    """Users whose state the receiver has not, or has another one of."""
    slowest_ms: float
    """The 99th percentile of the time from a live change's commit to its arrival."""


class _Copy:
    """A receiver that keeps the newest state of each user, as the docs say, and when it came."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, str | None]] = {}
        self._arrived: dict[str, float] = {}

    async def take(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        metadata, user = body["metadata"], body["data"].get("user")
        if metadata["source"] != "backfill":
            self._arrived.setdefault(
                f"{(user or {}).get('id')} {metadata['sequence']}", time.time()
            )
        if user is not None and metadata["sequence"] >= self._kept.get(user["id"], (0,))[0]:
            self._kept[user["id"]] = metadata["sequence"], _hash(user)
        return web.Response()

    async def tell(self, _request: web.Request) -> web.Response:
        hashes = {user_id: digest for user_id, (_, digest) in self._kept.items()}
        return web.json_response({"hashes": hashes, "arrived": self._arrived})


def _hash(user: dict[str, Any]) -> str:
    shown = {name: value for name, value in user.items() if name != "stats"}
    shown["tags"] = sorted(user["tags"], key=lambda tag: str(tag["id"]))
    shown["timestamps"] = {
        name: moment for name, moment in user["timestamps"].items() if name != "updatedAt"
    }
    text = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


async def _serve(pipe: Connection) -> None:
    copy = _Copy()
    app = web.Application()
    app.add_routes([web.post("/", copy.take), web.get("/", copy.tell)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pipe.send(runner.addresses[0][1])
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)


async def measure(database_url: str, users: int) -> Filled:
    """Backfill so many users into an empty receiver, with 100 changes a second meanwhile."""
    process = open_process(database_url)
    configure_logs(process.settings.model_copy(update={"log_level": "error"}))
    admin_id, _ = await load(process, users)
    process = open_process(database_url)
    with beside(_serve) as url:
        async with process.running(deliver=True):
            keys = process.settings.key_ring
            webhook_id = await create_subscription(
                process.database, keys, admin_id, url, timeout_ms=10_000
            )
            return await _fill(process, admin_id, webhook_id, url)


async def _fill(process: Process, admin_id: str, webhook_id: str, url: str) -> Filled:
    ids = list(await _hashes(process, admin_id))
    done = asyncio.Event()
    changing = asyncio.create_task(_change(process, admin_id, ids, done))
    started = time.perf_counter()
    await _backfill(process, admin_id, webhook_id)
    seconds = time.perf_counter() - started
    done.set()
    committed = await changing
    await asyncio.sleep(5)
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        told = await response.json()
    ours = await _hashes(process, admin_id)
    wrong = sum(told["hashes"].get(user_id) != digest for user_id, digest in ours.items())
    last = time.time()
    waits = sorted(told["arrived"].get(name, last) - at for name, at in committed.items())
    return Filled(len(ours), seconds, len(waits), wrong, waits[len(waits) * 99 // 100] * 1000)


async def _hashes(process: Process, admin_id: str) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor = None
    async with process.database.reading(admin_id) as session:
        while True:
            states, cursor = await list_states(session, limit=1000, cursor=cursor)
            found.update((state.id, state.hash) for state in states)
            if cursor is None:
                return found


async def _backfill(process: Process, admin_id: str, webhook_id: str) -> None:
    now = system_clock()
    async with process.database.transaction(admin_id) as session:
        count = await backfilling.count(session, UserFilters())
        job = await service.start(
            session,
            BACKFILL,
            webhook_id,
            {"filters": {}, "rate": None, "askedAt": now.isoformat()},
            now=now,
            progress={**backfilling.NOTHING_YET, "count": count},
        )
    while job.status in UNFINISHED:
        await asyncio.sleep(0.1)
        async with process.database.reading(admin_id) as session:
            job = await jobs.get(session, BACKFILL, job.id)


async def _change(
    process: Process, admin_id: str, ids: list[str], done: asyncio.Event
) -> dict[str, float]:
    """Change users until it is done; when each change was committed, by user and number."""
    committed: dict[str, float] = {}
    luck = random.Random(1)
    while not done.is_set():
        began = time.time()
        user_id = luck.choice(ids)
        desired = Desired(values={"email": f"{len(committed)}@example.com"})
        async with process.database.transaction(admin_id) as session:
            target = await change_user(session, user_id, desired, source="api", now=system_clock())
        committed[f"{user_id} {target.user.sequence}"] = time.time()
        await asyncio.sleep(max(1 / _CHANGES_A_SECOND - (time.time() - began), 0))
    return committed
