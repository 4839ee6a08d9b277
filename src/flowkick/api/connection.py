"""A connection of the server: what it takes before there is a request that a route could refuse.

The server sets no bound to a request's head, and none to how long one may take to arrive; both
would let anybody fill the memory, or hold every connection, without a key.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from flowkick.core.errors import FlowkickError, HeadTooLarge, InvalidInput, error_body
from flowkick.core.ids import new_id

MAX_HEAD: Final = 64 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """Bounds the head of each request in size and time, and says so in the one shape of errors."""

    head_seconds = 30.0

    _unfinished = 0
    """Bytes since the last head, piece of a body, or message was whole."""
    _in_body = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give a new connection its time to send a first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; refuse a head, or trailers, that grow beyond the bound."""
        self._unfinished += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unfinished > MAX_HEAD:
            sentence = f"The URL and the headers are larger than {MAX_HEAD // 1024} KiB: send less."
            self._refuse(HeadTooLarge(sentence))
        elif not self._in_body and self._is_idle():
            self._await_head()  # empty lines before a head end the wait for the next one

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """A head is whole: what follows is a body, which routes bound."""
        self._in_body = True
        self._unfinished = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body is whole."""
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """What follows is the next head."""
        self._in_body = False
        self._unfinished = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # it is plain text
        """Refuse what is no HTTP."""
        self._refuse(InvalidInput("This is no HTTP request that can be read."))

    def _is_idle(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever its annotation says
        return cycle is None or bool(cycle.response_complete)

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, error: FlowkickError) -> None:
        if not self._is_idle():  # an answer may be under way: nothing can be put before it
            self.transport.close()
            return
        body = json.dumps(error_body(error.code, error.sentence)).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "x-request-id": new_id("req"),
            "connection": "close",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[error.status] + lines.encode() + b"\r\n" + body)
        self.transport.close()
