"""``flowkick demo``: everything at once on loopback, with webhooks arriving."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flowkick.app import Process
from flowkick.auth.service import create_admin, create_key
from flowkick.cli.people import people
from flowkick.cli.receiver import Received, Receiver, render
from flowkick.cli.serving import listen_on, make_server, serve_process
from flowkick.connectors.service import create_connection
from flowkick.core.clock import system_clock
from flowkick.core.errors import FlowkickError
from flowkick.core.logs import configure_logs
from flowkick.core.settings import load_settings
from flowkick.storage import migrate
from flowkick.users.batch import upsert_batch

_CONTACT: Final[dict[str, Any]] = {
    "id": "1234567890",
    "first_name": "John",
    "last_name": "Doe",
    "email": "john@example.com",
    "ig_username": "johndoe",
    "optin_instagram": True,
    "tags": [{"id": 1, "name": "vip"}],
    "custom_fields": {"favorite_drink": "Espresso", "messagescountinsta": "25"},
}
_CHANGED: Final[dict[str, Any]] = {
    **_CONTACT,
    "email": "john.doe@example.com",
    "tags": [{"id": 2, "name": "regular"}],
    "custom_fields": {"favorite_drink": "Cappuccino", "messagescountinsta": "26"},
}


def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the API listens.")] = 3000,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0, help="End after so many seconds.")
    ] = None,
) -> None:
    """Show it all on this machine: API, delivery engine, receiver, signed webhooks. Ctrl-C ends it.

    Example: flowkick demo --port 3001 --for 30
    """
    with tempfile.TemporaryDirectory(prefix="flowkick-demo-") as folder:
        asyncio.run(_demo(Path(folder), port, seconds))
    typer.echo("Ended; the demo's files are removed.")


async def _demo(folder: Path, port: int, seconds: float | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listening = listen_on("127.0.0.1", port)
    settings = load_settings(
        database_url=f"sqlite:///{folder}/flowkick.db",
        secret_key=None,
        host="127.0.0.1",
        port=listening.getsockname()[1],
        trust_admin_header=True,
        trusted_proxies="",
        allowed_targets="127.0.0.0/8",
        log_level="warning",
        worker=True,
    )
    configure_logs(settings)
    process = Process(settings)
    typer.echo(f"① A SQLite database in {folder}, migrated, with an admin and 20 users")
    admin_id, token = await _prepare(process)
    base = f"http://localhost:{settings.port}"
    arrived: asyncio.Queue[Received] = asyncio.Queue()
    async with (
        Receiver(on_received=arrived.put_nowait) as receiver,
        _serving(process, listening),
    ):
        printer = asyncio.create_task(_print(arrived))
        typer.echo(f"② API and delivery engine on {base}, a receiver on {receiver.url}")
        webhook_id = await _subscribe(settings.port, admin_id, receiver)
        await _push(settings.port, token)
        await _quiet(arrived)
        typer.echo(_next_steps(base, admin_id, webhook_id, token))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
        printer.cancel()


async def _prepare(process: Process) -> tuple[str, str]:
    """A database with an admin, a few users and a connection: the admin's id, the token."""
    database, now = process.database, system_clock()
    await migrate.upgrade(database)
    async with database.system_transaction() as session:
        admin = await create_admin(session, "Demo", now)
    async with database.transaction(admin.id) as session:
        await create_key(session, now)
        _, token = await create_connection(session, process.settings.key_ring, now, "ManyChat")
        await upsert_batch(session, list(people(20, 7)), source="import", now=now)
    return admin.id, token


@asynccontextmanager
async def _serving(process: Process, listening: socket.socket) -> AsyncIterator[None]:
    server = make_server(process)
    task = asyncio.create_task(serve_process(process, server, listening))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.01)
        if not task.done():
            yield
    finally:
        server.should_exit = True
        await task


async def _subscribe(port: int, admin_id: str, receiver: Receiver) -> str:
    body = {"name": "My CRM Webhook", "url": receiver.url, "events": ["*"]}
    answer = await asyncio.to_thread(
        _post, port, "/api/admin/webhooks", body, {"X-Admin-ID": admin_id}
    )
    webhook = answer["webhook"]
    receiver.secrets.append(webhook["secret"])
    typer.echo(f"③ Subscribed it to every event: webhook {webhook['id']}")
    return str(webhook["id"])


async def _push(port: int, token: str) -> None:
    typer.echo("④ ManyChat pushes a contact, and pushes it again with changes:\n")
    for contact in (_CONTACT, _CHANGED):
        await asyncio.to_thread(
            _post, port, "/api/manychat/contact", contact, {"X-Flowkick-Token": token}
        )


def _post(port: int, path: str, body: object, headers: dict[str, str]) -> Any:
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as http:
        http.request(
            "POST", path, json.dumps(body), {"Content-Type": "application/json", **headers}
        )
        response = http.getresponse()
        answer = json.loads(response.read())
    if not answer["success"]:
        raise FlowkickError(f"POST {path} was answered: {answer['error']}")
    return answer


async def _print(arrived: asyncio.Queue[Received]) -> None:
    while True:
        received = await arrived.get()
        with suppress(BrokenPipeError):  # nobody reads on; `_demo` notices it too
            typer.echo(f"{render(received)}\n")
        arrived.task_done()


async def _quiet(arrived: asyncio.Queue[Received]) -> None:
    """Until nothing has arrived for a moment, so that output does not interleave."""
    await asyncio.sleep(1)
    await arrived.join()


def _next_steps(base: str, admin_id: str, webhook_id: str, token: str) -> str:
    return f"""⑤ Try these next, in another terminal:

curl {base}/api/admin/webhooks -H "X-Admin-ID: {admin_id}"

curl {base}/api/admin/webhooks/{webhook_id} -H "X-Admin-ID: {admin_id}"

curl -X POST {base}/api/admin/webhooks/{webhook_id}/test -H "X-Admin-ID: {admin_id}"

curl -X POST {base}/api/admin/users -H "X-Admin-ID: {admin_id}" \\
  -H "Content-Type: application/json" -d '{{"firstName": "Ada", "email": "ada@example.com"}}'

curl -X POST {base}/api/manychat/contact -H "X-Flowkick-Token: {token}" \\
  -H "Content-Type: application/json" -d '{{"subscriber_id": "42", "first_name": "Grace"}}'

{base}/docs shows every call. Ctrl-C ends the demo.
"""
