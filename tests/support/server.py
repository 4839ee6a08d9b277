"""A server of the product's own, running in the test's event loop on a free port of loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from flowkick.api.connection import GuardedProtocol
from flowkick.app import Process
from flowkick.cli.serving import listen_on, make_server, serve_process
from flowkick.storage.database import Database


@dataclass(frozen=True)
class Api:
    """A running server, and a client of it that acts for one admin."""

    url: str
    admin_id: str
    key: str
    http: httpx.AsyncClient
    database: Database


@asynccontextmanager
async def running_server(
    process: Process, protocol: type[GuardedProtocol] = GuardedProtocol
) -> AsyncIterator[str]:
    """Serve the process as `flowkick serve` does; gives its URL."""
    listening = listen_on("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = make_server(process, protocol)
    task = asyncio.create_task(serve_process(process, server, listening))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError("The server ended before it had started.")
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task
