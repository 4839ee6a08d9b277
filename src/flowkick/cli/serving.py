"""``flowkick serve``, ``worker`` and ``migrate``."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Annotated, Any

import typer
import uvicorn
import uvloop

from flowkick.api.connection import GuardedProtocol
from flowkick.app import Process
from flowkick.cli.common import AsJson, check_folder, run, show, telling_of_database
from flowkick.core import tracing
from flowkick.core.errors import SettingsError
from flowkick.core.logs import configure_logs, get_logger
from flowkick.core.settings import load_settings
from flowkick.storage.database import Database
from flowkick.storage.migrate import current_revision, newest_revision, upgrade
from flowkick.storage.waiting import Doorbell

_log = get_logger(__name__)


def serve(
    host: Annotated[str | None, typer.Option(help="Instead of FLOWKICK_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Instead of FLOWKICK_PORT.")] = None,
) -> None:
    """Serve the API, and deliver webhooks unless FLOWKICK_WORKER is false.

    Example: flowkick serve --port 8080
    """
    given = {"host": host, "port": port}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    configure_logs(settings)
    tracing.configure()
    check_folder(settings)
    listening = listen_on(settings.host, settings.port)
    uvloop.run(_serve(Process(settings), listening))


async def _serve(process: Process, listening: socket.socket) -> None:
    server = make_server(process)
    with server.capture_signals():
        await serve_process(process, server, listening)


async def serve_process(process: Process, server: uvicorn.Server, listening: socket.socket) -> None:
    """Open the process and serve it until the server is told to stop.

    Raises SettingsError where it can't start. The server's own way, a lifespan, would log the
    failure with its traceback and end the interpreter.
    """
    async with AsyncExitStack() as stack:
        with telling_of_database():
            await stack.enter_async_context(process.running(deliver=process.settings.worker))
        host, port, *_ = listening.getsockname()
        _log.info("serving", host=host, port=port)
        await server._serve([listening])  # noqa: SLF001  # signals are the caller's


class GracefulServer(uvicorn.Server):
    """A server for which a signal to stop is an ordinary end, and not a death by that signal."""

    def __init__(self, config: uvicorn.Config, doorbell: Doorbell) -> None:
        super().__init__(config)
        self.doorbell = doorbell

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let those go who wait for events, and end what is being answered."""
        self.doorbell.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM; a second one ends the wait for open connections."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def make_server(
    process: Process, protocol: type[GuardedProtocol] = GuardedProtocol
) -> GracefulServer:
    """The server of a process; it is started with a socket that already listens."""
    config = uvicorn.Config(
        process.application(),
        http=protocol,
        ws="none",
        lifespan="off",  # see `serve_process`
        log_config=None,
        access_log=False,
        # Whom to trust is decided by the address that connects, never by a header.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=20,
        backlog=1024,
    )
    return GracefulServer(config, process.doorbell)


def listen_on(host: str, port: int) -> socket.socket:
    """A listening socket; SettingsError where the address can't be had."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise SettingsError(
            f"Can't listen on {host}:{port} ({error.strerror}): choose another with --port or"
            " FLOWKICK_PORT."
        ) from None
    listening.listen(1024)
    listening.set_inheritable(True)
    return listening


def worker() -> None:
    """Deliver webhooks beside `serve`: any number of these, on any number of machines.

    Needs PostgreSQL; on SQLite one process writes, and `serve` delivers by itself.

    Example: FLOWKICK_DATABASE_URL=postgresql://… flowkick worker
    """
    settings = load_settings()
    configure_logs(settings)
    tracing.configure()
    if settings.sqlite_path is not None:
        raise SettingsError(
            "SQLite has one writer, and `flowkick serve` delivers by itself: use PostgreSQL"
            " (FLOWKICK_DATABASE_URL) for more processes."
        )
    uvloop.run(_work(Process(settings)))


async def _work(process: Process) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        with telling_of_database():
            await stack.enter_async_context(process.running(deliver=True))
        _log.info("delivering")
        await stop.wait()
        _log.info("stopping")


def migrate(as_json: AsJson = False) -> None:
    """Bring the database to the newest schema; safe to run at any time.

    Example: flowkick migrate
    """

    async def work() -> dict[str, Any]:
        settings = load_settings()
        check_folder(settings)
        database = Database(settings)
        try:
            with telling_of_database():
                before = await current_revision(database)
                await upgrade(database)
        finally:
            await database.close()
        return {"from": before, "to": newest_revision()}

    show(run(work()), as_json=as_json)
