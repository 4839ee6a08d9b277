"""A real HTTP server on 127.0.0.1 whose paths behave as badly as receivers can.

It speaks through raw streams, because a web framework would not let it misbehave. It counts what
it managed to send and which requests reached it, so that tests can bound what the client took.
"""

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, urlsplit

GIBIBYTE = 1024**3
BLOCK = b"x" * 65536
CHUNK = b"10000\r\n" + BLOCK + b"\r\n"


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    target: str
    """The request target byte for byte."""
    nth: int
    """Which request of its connection it was, from 1."""


class Connection:
    """The server's side of one connection."""

    def __init__(
        self,
        receiver: "HostileReceiver",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.receiver = receiver
        self.reader = reader
        self.writer = writer
        self.requests = 0

    async def send(self, data: bytes) -> None:
        """Write and wait until the client has taken most of it."""
        self.writer.write(data)
        await self.writer.drain()
        self.receiver.sent += len(data)

    async def answer(self, body: bytes = b"", *headers: str, status: str = "200 OK") -> None:
        """Send one well-formed response."""
        lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
        await self.send("\r\n".join(lines).encode("latin-1") + body)

    async def forever(self, data: bytes, pause: float = 0.0) -> None:
        """Send the same bytes until the client has had enough."""
        while True:
            await self.send(data)
            await asyncio.sleep(pause)

    async def until_closed(self) -> None:
        """Say nothing until the client hangs up."""
        while await self.reader.read(65536):
            pass

    async def read_request(self, first_byte: bytes) -> Received:
        """The rest of a request whose first byte has been read."""
        head = first_byte + await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        target = first.split(" ")[1]
        parts = urlsplit(target)
        self.requests += 1
        return Received(parts.path, parse_qs(parts.query), headers, body, target, self.requests)


Behaviour = Callable[[Connection, Received], Awaitable[bool | None]]
"""Answers one request; only a True keeps the connection for another one."""

BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(path: str) -> Callable[[Behaviour], Behaviour]:
    """Let a function answer the requests of a path."""

    def register(function: Behaviour) -> Behaviour:
        BEHAVIOURS[path] = function
        return function

    return register


class HostileReceiver:
    """The server; `async with HostileReceiver() as receiver`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.requests: list[Received] = []
        self.connections = 0
        self.sent = 0
        self.canned = b""
        """What /canned answers."""
        self._arrived = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str, *, scheme: str | None = None, host: str = "127.0.0.1") -> str:
        """The address of a path."""
        return f"{scheme or ('https' if self.tls else 'http')}://{host}:{self.port}{path}"

    async def arrival(self) -> None:
        """Wait until a first request has arrived."""
        await self._arrived.wait()

    @property
    def open_connections(self) -> int:
        """How many connections the client has not closed."""
        return len(self._writers)

    async def say_to_all(self, data: bytes) -> None:
        """Write on every open connection, unasked."""
        for writer in list(self._writers):
            writer.write(data)
            await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._converse(Connection(self, reader, writer))
        except asyncio.CancelledError:
            pass  # the test is over; asyncio would log the cancellation of a handler
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(self, connection: Connection) -> None:
        while True:
            first = await connection.reader.read(1)
            if first == b"\x16":  # a TLS ClientHello sent to a server without TLS
                await connection.answer(b"plain HTTP here", status="400 Bad Request")
                return
            if not first:
                return
            request = await connection.read_request(first)
            self.requests.append(request)
            self._arrived.set()
            behave = BEHAVIOURS.get(request.path, _not_found)
            if not await behave(connection, request):
                return


# Honest answers


@behaviour("/ok")
async def _ok(connection: Connection, _: Received) -> bool:
    await connection.answer(b'{"received":true}', "Content-Type: application/json")
    return True


async def _not_found(connection: Connection, _: Received) -> bool:
    await connection.answer(b"no such path", status="404 Not Found")
    return True


@behaviour("/status")
async def _status(connection: Connection, request: Received) -> bool:
    code, headers = request.query["code"][0], request.query.get("header", [])
    body = b"" if code in ("204", "304") else b"as asked"
    await connection.answer(body, *headers, status=f"{code} As Asked")
    return True


@behaviour("/redirect")
async def _redirect(connection: Connection, request: Received) -> bool:
    code, location = request.query["code"][0], request.query["to"][0]
    await connection.answer(b"over there", f"Location: {location}", status=f"{code} Elsewhere")
    return True


@behaviour("/no-content")
async def _no_content(connection: Connection, _: Received) -> bool:
    await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    return True


@behaviour("/chunked")
async def _chunked(connection: Connection, _: Received) -> bool:
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"one ", b"two ", b"three"):
        await connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    await connection.send(b"0\r\n\r\n")
    return True


@behaviour("/until-close")
async def _until_close(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.0 200 OK\r\n\r\nthe end is the close")


@behaviour("/early-hints")
async def _early_hints(connection: Connection, _: Received) -> bool:
    await connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3)
    await connection.answer(b"after hints")
    return True


# Bodies


@behaviour("/body")
async def _body(connection: Connection, request: Received) -> bool:
    """A well-formed body of the given bytes, in hex, or of `size` letters."""
    size = int(request.query.get("size", ["0"])[0])
    await connection.answer(bytes.fromhex(request.query.get("hex", [""])[0]) or b"x" * size)
    return True


@behaviour("/canned")
async def _canned(connection: Connection, _: Received) -> bool:
    await connection.answer(connection.receiver.canned)
    return True


@behaviour("/drip")
async def _drip(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    await connection.forever(b"x", pause=0.02)


@behaviour("/gigabyte")
async def _gigabyte(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIBIBYTE)
    for _block in range(GIBIBYTE // len(BLOCK)):
        await connection.send(BLOCK)


@behaviour("/endless-chunks")
async def _endless_chunks(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await connection.forever(CHUNK)


@behaviour("/tiny-chunks")
async def _tiny_chunks(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await connection.forever(b"1\r\nx\r\n" * 5000)


@behaviour("/endless-chunk-extension")
async def _endless_chunk_extension(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;name=")
    await connection.forever(BLOCK)


@behaviour("/endless-trailers")
async def _endless_trailers(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    await connection.forever(b"X-Trailer: value\r\n" * 1000)


@behaviour("/gzip-bomb")
async def _gzip_bomb(connection: Connection, _: Received) -> bool:
    bomb = gzip.compress(bytes(20 * 1024**2))
    await connection.answer(bomb, "Content-Encoding: gzip", "Content-Type: text/plain")
    return True


# Breaking off


@behaviour("/cut-body")
async def _cut_body(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")


@behaviour("/cut-chunk")
async def _cut_chunk(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf")


@behaviour("/cut-head")
async def _cut_head(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")


@behaviour("/close")
async def _close(_: Connection, __: Received) -> None:
    """Hang up without a word."""


@behaviour("/reset")
async def _reset(connection: Connection, _: Received) -> None:
    connection.writer.transport.abort()


@behaviour("/close-when-reused")
async def _close_when_reused(connection: Connection, request: Received) -> bool:
    """Promise to keep the connection, and hang up on its second request."""
    if request.nth > 1:
        return False
    await connection.answer(b"first of its connection")
    return True


@behaviour("/silent")
async def _silent(connection: Connection, _: Received) -> None:
    await connection.until_closed()


# Heads


@behaviour("/drip-head")
async def _drip_head(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    await connection.forever(b"x", pause=0.02)


@behaviour("/interim-flood")
async def _interim_flood(connection: Connection, _: Received) -> None:
    await connection.forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


@behaviour("/interim-drip")
async def _interim_drip(connection: Connection, _: Received) -> None:
    await connection.forever(b"HTTP/1.1 102 Processing\r\n\r\n", pause=0.1)


@behaviour("/huge-header")
async def _huge_header(connection: Connection, _: Received) -> bool:
    await connection.answer(b"", "X-Huge: " + "x" * 1024**2)
    return True


@behaviour("/endless-header")
async def _endless_header(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    await connection.forever(BLOCK)


@behaviour("/endless-headers")
async def _endless_headers(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\n")
    await connection.forever(b"X-Another: value\r\n" * 100)


@behaviour("/endless-reason")
async def _endless_reason(connection: Connection, _: Received) -> None:
    await connection.send(b"HTTP/1.1 200 ")
    await connection.forever(BLOCK)


@behaviour("/garbage")
async def _garbage(connection: Connection, _: Received) -> None:
    await connection.send(bytes(range(256)) * 16 + b"\r\n\r\n")


@behaviour("/raw")
async def _raw(connection: Connection, request: Received) -> None:
    """Exactly the given bytes, in hex, then silence until the client hangs up."""
    await connection.send(bytes.fromhex(request.query["hex"][0]))
    await connection.until_closed()


@behaviour("/switch")
async def _switch(connection: Connection, _: Received) -> None:
    await connection.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    )
    await connection.forever(BLOCK)
