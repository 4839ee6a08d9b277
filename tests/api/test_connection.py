"""What a server takes from a connection before it knows who is asking."""

from __future__ import annotations

import asyncio
import json

import pytest

from flowkick.api.connection import MAX_HEAD, GuardedProtocol
from flowkick.app import Process
from tests.support.server import Api, running_server

_ENDLESS = 40 * 1024 * 1024


async def _sent_until_closed(api: Api, start: bytes, piece: bytes) -> tuple[int, bytes]:
    """Send `start`, then pieces without end: how much could be sent, and what was answered."""
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(start)
    sent = 0
    try:
        async with asyncio.timeout(30):
            while sent < _ENDLESS and not reader.at_eof():
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
                await asyncio.sleep(0)
            answer = await reader.read()
    except ConnectionError:
        answer = b""
    writer.close()
    return sent, answer


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(b"GET /", b"a" * 16_384, id="an address"),
        pytest.param(b"GET / HTTP/1.1\r\nX: ", b"a" * 16_384, id="one header"),
        pytest.param(b"GET / HTTP/1.1\r\n", b"X: a\r\n" * 3_000, id="many headers"),
        pytest.param(
            b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
            b"a" * 16_384,
            id="a trailer",
        ),
    ],
)
async def test_nothing_without_end_fills_the_memory(api: Api, start: bytes, piece: bytes) -> None:
    sent, _ = await _sent_until_closed(api, start, piece)
    assert sent < _ENDLESS


async def test_a_head_that_is_too_large_is_refused_in_the_one_shape(api: Api) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /healthz HTTP/1.1\r\nX: " + b"a" * MAX_HEAD)
    async with asyncio.timeout(60):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"x-request-id: req_" in head
    assert json.loads(body)["code"] == "headers_too_large"


async def test_what_is_no_http_is_refused_in_the_one_shape(api: Api) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
    async with asyncio.timeout(60):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["success"] is False


async def test_large_bodies_and_many_requests_on_one_connection_are_no_head(api: Api) -> None:
    users = [{"manychatId": str(i), "firstName": "A" * 200} for i in range(1000)]
    for _ in range(3):
        answer = await api.http.post("/api/admin/users/batch", json={"users": users})
        assert answer.status_code == 200
    for _ in range(200):
        answer = await api.http.get("/healthz", headers={"X-Long": "a" * 1000})
        assert answer.status_code == 200


class Impatient(GuardedProtocol):
    """As served, with less patience for a head."""

    head_seconds = 0.5


_HEAD = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([], id="nothing"),
        pytest.param([b"GET /healthz HT"], id="half a line"),
        pytest.param([b"GET / HTTP/1.1\r\n", *[b"X: a\r\n"] * 10_000], id="drop by drop"),
        pytest.param([b"\r\n"] * 10_000, id="empty lines"),
        pytest.param([_HEAD + b"abc" + _HEAD[:20], *[b"a"] * 10_000], id="a second head"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_head_that_takes_too_long_ends_its_connection(
    process: Process, pieces: list[bytes]
) -> None:
    async with running_server(process, Impatient) as url, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        ended = asyncio.create_task(reader.read())
        for piece in pieces:
            if ended.done():
                break
            writer.write(piece)
            await asyncio.sleep(0.02)
        await asyncio.gather(ended, return_exceptions=True)  # some ends are resets
        writer.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_body_may_take_longer_than_a_head(process: Process) -> None:
    async with running_server(process, Impatient) as url, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(_HEAD)
        await asyncio.sleep(2 * Impatient.head_seconds)
        writer.write(b"abc")
        assert (await reader.readline()).startswith(b"HTTP/1.1 405 ")
        writer.close()


async def test_who_leaves_in_the_middle_of_a_body_is_no_error(
    api: Api, capfd: pytest.CaptureFixture[str]
) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/admin/users HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {api.key}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{".encode())
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    async with asyncio.timeout(10):
        while "status=499" not in (logged := capfd.readouterr().out):
            await asyncio.sleep(0.05)
    assert "request_failed" not in logged
