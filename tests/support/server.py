"""A server of the product's own, running in the test's event loop on a free port of loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from flowkick.api.connection import GuardedProtocol
from flowkick.app import Process
from flowkick.cli.serving import GracefulServer, listen_on, make_server, serve_process
from flowkick.storage.database import Database


@dataclass(frozen=True)
class Api:
    """A running server, and a client of it that acts for one admin."""

    url: str
    admin_id: str
    key: str
    http: httpx.AsyncClient
    database: Database


class PromptServer(GracefulServer):
    """The product's server, which looks ten times as often whether it should stop.

    Uvicorn looks every 0.1 seconds, and lets 0.1 seconds pass before it looks whether all
    connections are closed: with a server for each test, that would be minutes of waiting.
    """

    async def main_loop(self) -> None:
        """Tick as the product's server does, until it is told to stop."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what listens and what is connected, then end what is being answered."""
        self.doorbell.close()
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)
        await asyncio.wait_for(
            self._wait_tasks_to_complete(), self.config.timeout_graceful_shutdown
        )


@asynccontextmanager
async def running_server(
    process: Process, protocol: type[GuardedProtocol] = GuardedProtocol
) -> AsyncIterator[str]:
    """Serve the process as `flowkick serve` does; gives its URL."""
    listening = listen_on("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = PromptServer(make_server(process, protocol).config, process.doorbell)
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
        try:
            await task
        finally:
            listening.close()  # also where the server has never started
