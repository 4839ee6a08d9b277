"""A hostile receiver harms nobody: one outcome for each request, in bounded time and memory."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
import pytest_asyncio

from flowkick.delivery.client import Outcome, OutcomeKind, Request, Sender
from flowkick.delivery.targets import TargetGuard
from tests.delivery.hostile import GIBIBYTE, HostileReceiver

pytestmark = pytest.mark.asyncio

LOOPBACK = TargetGuard([ip_network("127.0.0.0/8")])
TIMEOUT = 1.0
SLACK = 10.0
"""A bound on hanging, far beyond what a busy machine needs."""

KERNEL_BUFFERS = 32 * 1024**2
"""What the sockets of both sides may swallow without the client reading it (Linux: 4 + 6 MiB)."""

MEMORY = 16 * 1024**2


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[HostileReceiver]:
    async with HostileReceiver() as receiver:
        yield receiver


@pytest_asyncio.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(LOOPBACK) as sender:
        yield sender


async def send(sender: Sender, url: str, seconds: float = TIMEOUT) -> Outcome:
    async with asyncio.timeout(seconds + SLACK):
        return await sender.send(Request(url, b'{"event":"user.created"}', {}, seconds))


@pytest.mark.parametrize("path", ["/drip", "/silent", "/drip-head", "/interim-drip"])
async def test_a_receiver_that_never_finishes_costs_its_timeout(
    sender: Sender, receiver: HostileReceiver, path: str
) -> None:
    outcome = await send(sender, receiver.url(path))
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert not outcome.success
    assert outcome.error_message == "No complete response arrived within 1 s."
    assert outcome.duration_ms >= TIMEOUT * 1000 - 5  # uvloop's timers count in milliseconds
    assert len(receiver.requests) == 1


async def test_a_body_dripped_past_the_timeout_is_kept_in_part(
    sender: Sender, receiver: HostileReceiver
) -> None:
    outcome = await send(sender, receiver.url("/drip"))
    assert outcome.status_code == 200
    assert set(outcome.response_body or "") == {"x"}


@pytest.mark.parametrize("path", ["/gigabyte", "/endless-chunks", "/tiny-chunks"])
async def test_an_endless_body_is_read_to_the_cap_and_dropped(
    sender: Sender, receiver: HostileReceiver, path: str
) -> None:
    tracemalloc.start()
    try:
        outcome = await send(sender, receiver.url(path), seconds=30)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.success
    assert outcome.response_body == "x" * 1000
    assert receiver.sent < KERNEL_BUFFERS < GIBIBYTE
    assert peak < MEMORY


async def test_a_connection_is_not_used_again_after_a_body_over_the_cap(
    sender: Sender, receiver: HostileReceiver
) -> None:
    await send(sender, receiver.url("/gigabyte"))
    assert (await send(sender, receiver.url("/ok"))).success
    assert receiver.connections == 2


@pytest.mark.parametrize("path", ["/endless-chunk-extension", "/endless-trailers"])
async def test_endless_framing_around_the_body_is_bounded(
    sender: Sender, receiver: HostileReceiver, path: str
) -> None:
    tracemalloc.start()
    try:
        outcome = await send(sender, receiver.url(path), seconds=60)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.kind is OutcomeKind.FAULT
    assert receiver.sent < KERNEL_BUFFERS
    assert peak < MEMORY


async def test_a_gzip_bomb_is_not_unpacked(sender: Sender, receiver: HostileReceiver) -> None:
    tracemalloc.start()
    try:
        outcome = await send(sender, receiver.url("/gzip-bomb"), seconds=30)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.success
    assert outcome.response_body is not None
    assert outcome.response_body.startswith("\x1f\ufffd\x08")  # as it came: gzip's magic number
    assert len(outcome.response_body) <= 1000
    assert peak < 20 * 1024**2 + MEMORY  # the bomb as the receiver makes it, and ours


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"a\x00b", "a\ufffdb"),
        (b"\x00" * 2000, "\ufffd" * 1000),
        (b"caf\xc3\xa9 \xff\xfe", "café \ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xff" * 5000, "\ufffd" * 1000),
        ("é".encode() * 5000, "é" * 1000),
        ("😀".encode() * 5000, "😀" * 1000),
        (b"x" + "😀".encode() * 5000, "x" + "😀" * 999),
    ],
)
async def test_whatever_bytes_arrive_are_kept_as_text_a_database_takes(
    sender: Sender, receiver: HostileReceiver, body: bytes, kept: str
) -> None:
    if len(body) > 1000:  # too long for a request target
        receiver.canned = body
        outcome = await send(sender, receiver.url("/canned"))
    else:
        outcome = await send(sender, receiver.url(f"/body?hex={body.hex()}"))
    assert outcome.success
    assert outcome.response_body == kept
    assert outcome.response_body.encode()  # no lone surrogates


@pytest.mark.parametrize("path", ["/cut-body", "/cut-chunk"])
async def test_a_response_that_breaks_off_is_a_fault(
    sender: Sender, receiver: HostileReceiver, path: str
) -> None:
    outcome = await send(sender, receiver.url(path))
    assert outcome.kind is OutcomeKind.FAULT
    assert not outcome.success
    assert outcome.status_code == 200
    assert outcome.error_message == "The response broke off before its body was complete."
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("path", ["/close", "/reset", "/cut-head"])
async def test_a_connection_closed_without_a_response_is_a_fault(
    sender: Sender, receiver: HostileReceiver, path: str
) -> None:
    outcome = await send(sender, receiver.url(path))
    assert outcome.kind is OutcomeKind.FAULT
    assert outcome.status_code is None
    assert outcome.error_message is not None
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/interim-flood",
        "/huge-header",
        "/endless-header",
        "/endless-headers",
        "/endless-reason",
        "/garbage",
    ],
)
async def test_a_head_that_is_too_large_or_nonsense_is_a_fault_long_before_the_timeout(
    sender: Sender, receiver: HostileReceiver, path: str
) -> None:
    tracemalloc.start()
    try:
        outcome = await send(sender, receiver.url(path), seconds=60)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.kind is OutcomeKind.FAULT
    assert outcome.status_code is None
    assert outcome.error_message is not None
    assert "head" in outcome.error_message
    assert receiver.sent < KERNEL_BUFFERS
    assert peak < MEMORY
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: lots\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/7.7 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\n\x00: \x00\r\n\r\n",
        b"<html>no status line</html>",
    ],
)
async def test_malformed_http_is_never_a_success(
    sender: Sender, receiver: HostileReceiver, raw: bytes
) -> None:
    outcome = await send(sender, receiver.url(f"/raw?hex={raw.hex()}"))
    assert outcome.kind in (OutcomeKind.FAULT, OutcomeKind.TIMEOUT)
    assert not outcome.success
    assert outcome.error_message is not None


async def test_an_upgrade_nobody_asked_for_is_a_failed_response(
    sender: Sender, receiver: HostileReceiver
) -> None:
    outcome = await send(sender, receiver.url("/switch"))
    assert not outcome.success
    assert receiver.sent < KERNEL_BUFFERS
    assert (await send(sender, receiver.url("/ok"))).success
    assert receiver.connections == 2


async def test_a_second_response_nobody_asked_for_answers_no_later_request(
    sender: Sender, receiver: HostileReceiver
) -> None:
    forged = b"HTTP/1.1 500 Forged\r\nContent-Length: 0\r\n\r\n"
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + forged
    assert (await send(sender, receiver.url(f"/raw?hex={raw.hex()}"))).success
    assert (await send(sender, receiver.url("/ok"))).success


async def test_hostile_requests_leave_an_honest_one_beside_them_alone(
    sender: Sender, receiver: HostileReceiver
) -> None:
    paths = ["/drip", "/gigabyte", "/interim-flood", "/endless-headers", "/silent", "/reset"]
    hostile = [asyncio.create_task(send(sender, receiver.url(path))) for path in paths * 5]
    honest = [await send(sender, receiver.url("/ok"), seconds=SLACK) for _ in range(20)]
    assert all(outcome.success for outcome in honest)
    assert len(await asyncio.gather(*hostile)) == len(hostile)


async def test_a_cancelled_request_is_cancelled_and_its_connection_dropped(
    sender: Sender, receiver: HostileReceiver
) -> None:
    task = asyncio.create_task(send(sender, receiver.url("/silent"), seconds=60))
    async with asyncio.timeout(SLACK):
        await receiver.arrival()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await send(sender, receiver.url("/ok"))).success
    assert receiver.connections == 2
