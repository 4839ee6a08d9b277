"""A server of the product's own, running in the test's event loop on a free port of loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import uvicorn

from flowkick.app import Process
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
async def running_server(process: Process) -> AsyncIterator[str]:
    """Serve the process's application; gives its URL."""
    config = uvicorn.Config(
        process.application(), host="127.0.0.1", port=0, log_config=None, proxy_headers=False
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # noqa: SLF001  # without its signal handlers
    try:
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError("The server ended before it had started.")
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task
