"""Processes that stay: how they start, work side by side, fail to start, and end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from flowkick.core.settings import Settings
from flowkick.storage.database import Database
from tests.conftest import client, new_admin
from tests.support.commands import Machine
from tests.support.endpoint import Endpoint
from tests.support.factories import all_in, create_subscription, until
from tests.support.ports import free_port


@asynccontextmanager
async def started(
    machine: Machine, *command: str, says: bytes, **more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has logged `says`; it must end well at SIGTERM."""
    process = await machine.start(*command, **more)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while says not in (line := await process.stderr.readline()):
                assert line, "it ended before it had started"
        yield process
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, b"Traceback" in err) == (0, False), err.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _answering(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await http.get("/healthz")
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_stopped_server_finishes_what_is_in_flight(
    machine: Machine, database: Database, settings: Settings
) -> None:
    admin_id, key = await new_admin(database)
    port = free_port()
    async with Endpoint(delay=1.5) as endpoint:
        await create_subscription(
            database, settings.key_ring, admin_id, endpoint.url, timeout_ms=20_000
        )
        async with (
            started(machine, "serve", "--port", str(port), says=b"serving") as process,
            client(f"http://127.0.0.1:{port}", key) as http,
        ):
            await _answering(http)
            await http.post("/api/admin/users", json={"firstName": "Ada"})
            await endpoint.wait_for(1)
            process.send_signal(signal.SIGTERM)
            await process.wait()
    (delivery,) = await until(database, lambda rows: True)
    assert (delivery.status, delivery.attempt, len(endpoint.arrivals)) == ("success", 1, 1)


async def test_a_revoked_key_stops_at_once(machine: Machine, database: Database) -> None:
    admin_id, key = await new_admin(database)
    made = (await machine.run("key", "list", "--admin", admin_id, "--json")).json()[0]["id"]
    port = free_port()
    async with (
        started(machine, "serve", "--port", str(port), says=b"serving", FLOWKICK_WORKER="false"),
        client(f"http://127.0.0.1:{port}", key) as http,
    ):
        await _answering(http)
        assert (await http.get("/api/admin/webhooks")).status_code == 200
        assert (await http.get("/readyz")).json()["checks"]["worker"] == "not here"
        assert "flowkick_delivery_queue_depth" in (await http.get("/metrics")).text
        await machine.run("key", "revoke", made, "--admin", admin_id)
        assert (await http.get("/api/admin/webhooks")).status_code == 401


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_worker_delivers_what_another_process_triggers(
    machine: Machine, database: Database, settings: Settings
) -> None:
    admin_id, _ = await new_admin(database)
    async with Endpoint() as endpoint:
        await create_subscription(database, settings.key_ring, admin_id, endpoint.url)
        async with started(machine, "worker", says=b"delivering"):
            arguments = ("trigger", "booking.created", "--admin", admin_id, "--json")
            triggered = (await machine.run(*arguments)).json()
            assert triggered["deliveries"] == 1
            (arrival,) = await endpoint.wait_for(1)
            await until(database, all_in("success"))
    assert (arrival.event, arrival.event_id) == ("booking.created", triggered["eventId"])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_second_server_on_one_sqlite_file_is_refused(machine: Machine) -> None:
    first, second = (str(free_port()) for _ in range(2))
    async with started(machine, "serve", "--port", first, says=b"serving"):
        ended = await machine.run("serve", "--port", second)
        assert "a process delivers" in (await machine.run("doctor")).out
    assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
    assert "already delivers" in ended.err


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "doctor"])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_postgresql_out_of_reach_or_not_migrated_is_one_line(
    machine: Machine, command: str
) -> None:
    url = machine.environment["FLOWKICK_DATABASE_URL"]
    arguments = (command, "--port", "0") if command == "serve" else (command,)
    away = "postgresql://nobody@127.0.0.1:9/nothing"
    for wrong in (away, url.replace("/test_", "/no_test_")):
        ended = await machine.run(*arguments, FLOWKICK_DATABASE_URL=wrong)
        assert (ended.code, "Traceback" in ended.err) == (1, False), ended.err
        assert "FLOWKICK_DATABASE_URL" in (ended.out if command == "doctor" else ended.err)
    if command in {"serve", "worker"}:
        ended = await machine.run(*arguments)
        assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
        assert "flowkick migrate" in ended.err


async def test_ctrl_c_ends_the_demo_well_however_early(bare: Machine) -> None:
    temporary = bare.folder / "tmp"
    temporary.mkdir()
    process = await bare.start("demo", "--port", "0", TMPDIR=str(temporary))
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, b"Ended" in out, err) == (0, True, b"")
    assert list(temporary.iterdir()) == []
