"""Connections are shared, bounded in number, and dropped as soon as there is a doubt about one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from ipaddress import ip_network

import pytest
import pytest_asyncio

from flowkick.delivery import connections
from flowkick.delivery.client import Outcome, OutcomeKind, Request, Sender
from flowkick.delivery.targets import TargetGuard
from tests.delivery.hostile import HostileReceiver

pytestmark = pytest.mark.asyncio

LOOPBACK = TargetGuard([ip_network("127.0.0.0/8")])
LIVENESS = 30.0


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[HostileReceiver]:
    async with HostileReceiver() as receiver:
        yield receiver


async def send(
    sender: Sender, url: str, *, body: bytes = b"{}", seconds: float = LIVENESS
) -> Outcome:
    async with asyncio.timeout(LIVENESS + 10):
        return await sender.send(Request(url, body, {"webhook-id": "evt_1"}, seconds))


async def test_an_idle_connection_makes_room_for_one_to_another_receiver(
    receiver: HostileReceiver,
) -> None:
    async with HostileReceiver() as other, Sender(LOOPBACK, connections=1) as sender:
        for _ in range(3):
            assert (await send(sender, receiver.url("/ok"))).success
            assert (await send(sender, other.url("/ok"))).success
        assert receiver.connections == other.connections == 3


async def test_who_waits_for_a_connection_spends_its_own_timeout(receiver: HostileReceiver) -> None:
    async with Sender(LOOPBACK, connections=1) as sender:
        hanging = asyncio.create_task(send(sender, receiver.url("/silent"), seconds=1))
        await receiver.arrival()
        outcome = await send(sender, receiver.url("/ok"), seconds=0.1)
        assert outcome.kind is OutcomeKind.TIMEOUT
        waiting = [asyncio.create_task(send(sender, receiver.url("/ok"))) for _ in range(5)]
        assert (await hanging).kind is OutcomeKind.TIMEOUT
        assert all(outcome.success for outcome in await asyncio.gather(*waiting))
    assert receiver.connections == 2


async def test_a_connection_that_is_used_again_keeps_each_request_to_its_own_timeout() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        for seconds in (0, 0.5):
            await reader.readuntil(b"{}")
            await asyncio.sleep(seconds)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()  # and to the third it says nothing
        writer.close()

    opened: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = "http://{}:{}/".format(*server.sockets[0].getsockname())
    async with server, Sender(LOOPBACK, connections=1) as sender:
        assert (await send(sender, url, seconds=0.3)).success
        # This one goes on while the first one's time ends, and the last one's ends before it.
        assert (await send(sender, url)).success
        hanging = await send(sender, url, seconds=0.2)
        assert hanging.kind is OutcomeKind.TIMEOUT
        assert hanging.duration_ms < 5000
        assert len(opened) == 1


async def test_a_turn_of_one_who_left_goes_to_the_next(receiver: HostileReceiver) -> None:
    async with Sender(LOOPBACK, connections=1) as sender:
        hanging = asyncio.create_task(send(sender, receiver.url("/silent")))
        await receiver.arrival()
        leaving = asyncio.create_task(send(sender, receiver.url("/ok")))
        staying = asyncio.create_task(send(sender, receiver.url("/ok")))
        await asyncio.sleep(0)
        hanging.cancel()
        leaving.cancel()
        assert (await staying).success


async def test_a_dial_that_fails_gives_its_turn_on(receiver: HostileReceiver) -> None:
    async with HostileReceiver() as gone:
        nowhere = gone.url("/ok")
    async with Sender(LOOPBACK, connections=1) as sender:
        failing = [send(sender, nowhere) for _ in range(10)]
        outcomes = await asyncio.gather(*failing, send(sender, receiver.url("/ok")))
    assert [outcome.kind for outcome in outcomes[:-1]] == [OutcomeKind.FAULT] * 10
    assert outcomes[-1].success


async def test_a_connection_that_is_idle_for_long_is_closed(
    receiver: HostileReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.05)
    async with Sender(LOOPBACK) as sender:
        await asyncio.gather(*(send(sender, receiver.url("/ok")) for _ in range(5)))
        async with asyncio.timeout(LIVENESS):
            while receiver.open_connections:
                await asyncio.sleep(0.01)


async def test_several_connections_that_went_stale_cost_one_repetition(
    receiver: HostileReceiver,
) -> None:
    async with Sender(LOOPBACK) as sender:
        url = receiver.url("/close-when-reused")
        await asyncio.gather(*(send(sender, url) for _ in range(5)))
        outcomes = await asyncio.gather(*(send(sender, url) for _ in range(5)))
    assert all(outcome.success for outcome in outcomes)


@pytest.mark.parametrize("chatter", [b"HTTP/1.1 500 Forged\r\nContent-Length: 0\r\n\r\n", b"?"])
async def test_a_connection_that_speaks_unasked_is_not_used_again(
    receiver: HostileReceiver, chatter: bytes
) -> None:
    async with Sender(LOOPBACK) as sender:
        assert (await send(sender, receiver.url("/ok"))).success
        await receiver.say_to_all(chatter)
        async with asyncio.timeout(LIVENESS):
            while receiver.open_connections:
                await asyncio.sleep(0.01)
        assert (await send(sender, receiver.url("/ok"))).success
    assert receiver.connections == 2


async def test_an_answer_before_the_request_was_read_counts_and_ends_the_connection() -> None:
    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        closed.set_result(await _bytes_until_closed(reader))
        writer.close()

    closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(answer_early, "127.0.0.1", 0)
    async with server, Sender(LOOPBACK) as sender, asyncio.timeout(LIVENESS):
        port = server.sockets[0].getsockname()[1]
        size = 64 * 1024**2
        outcome = await send(sender, f"http://127.0.0.1:{port}/", body=b"x" * size)
        assert outcome.status_code == 413
        assert await closed < size


async def _bytes_until_closed(reader: asyncio.StreamReader) -> int:
    await asyncio.sleep(0.2)  # so that the kernel's buffers fill, and the client has to wait
    size = 0
    with suppress(ConnectionResetError):
        while data := await reader.read(65536):
            size += len(data)
    return size


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_socket_is_closed_when_its_request_runs_out_of_time(scheme: str) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            await reader.read(-1)
        writer.close()
        hung_up.set()

    hung_up = asyncio.Event()
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server, Sender(LOOPBACK) as sender, asyncio.timeout(LIVENESS):
        port = server.sockets[0].getsockname()[1]
        outcome = await send(sender, f"{scheme}://127.0.0.1:{port}/", seconds=0.2)
        assert outcome.kind is OutcomeKind.TIMEOUT
        await hung_up.wait()


async def test_a_name_of_several_addresses_is_reached_through_one_that_answers(
    receiver: HostileReceiver,
) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]  # nothing listens at the first

    async with Sender(TargetGuard([ip_network("127.0.0.0/8")], lookup=lookup)) as sender:
        outcome = await send(sender, receiver.url("/ok", host="crm.example"))
    assert outcome.success
