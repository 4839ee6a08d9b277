"""The receiver that every measurement posts to: a process of its own that answers at once.

It reads requests with as little work as it can, so that what is measured is the sender. With
``record`` it keeps when each event arrived, and tells on ``GET /arrivals``.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from typing import Any, Final, cast

import uvloop

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class Receiver(asyncio.Protocol):
    """One connection; `arrivals` is shared by all of a server."""

    def __init__(self, arrivals: dict[str, float]) -> None:
        self.arrivals = arrivals
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"get /arrivals"):
            body = json.dumps(self.arrivals).encode()
            self.arrivals.clear()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            return
        at = head.find(b"webhook-id:")
        event_id = head[at + 11 :].split(b"\r\n", 1)[0].strip().decode()
        self._transport.write(self.answer(event_id))

    def answer(self, event_id: str) -> bytes:
        """Keep when an event arrived, and give the answer."""
        self.arrivals[event_id] = time.time()
        return ANSWER


async def _serve(pipe: Connection) -> None:
    arrivals: dict[str, float] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Receiver(arrivals), "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, pipe.recv)


Serve = Callable[[Connection], Coroutine[Any, Any, None]]
"""Serves on a free port of loopback, which it sends first, until something comes back."""


def _run(serve: Serve, pipe: Connection) -> None:
    uvloop.run(serve(pipe))


@contextmanager
def beside(serve: Serve) -> Iterator[str]:
    """A server in a process of its own; gives its URL."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(serve, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        ours.send(None)
        process.join(10)


def receiver() -> AbstractContextManager[str]:
    """A running receiver; gives its URL."""
    return beside(_serve)
