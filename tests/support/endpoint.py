"""A receiver of webhooks for tests: a real HTTP server on loopback that keeps what arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web


@dataclass(frozen=True)
class Arrival:
    """One request that arrived, and when (on the clock of the machine, in seconds)."""

    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> str:
        return self.headers["x-webhook-event"]

    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded


Answer = Callable[[Arrival], web.Response]


def ok(_arrival: Arrival) -> web.Response:
    """Answer 200."""
    return web.json_response({"received": True})


@dataclass
class Endpoint:
    """Listens on a free port; `answer` decides what each request gets."""

    answer: Answer = ok
    delay: float = 0.0
    arrivals: list[Arrival] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> Self:
        server = web.Server(self._handle)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/hook"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        arrival = Arrival(headers, await request.read(), time.time())
        self.arrivals.append(arrival)
        if self.delay:
            await asyncio.sleep(self.delay)
        return self.answer(arrival)

    async def wait_for(self, count: int, seconds: float = 60) -> list[Arrival]:
        """Wait until `count` requests have arrived, and give them all."""
        async with asyncio.timeout(seconds):
            while len(self.arrivals) < count:
                await asyncio.sleep(0.01)
        return self.arrivals
