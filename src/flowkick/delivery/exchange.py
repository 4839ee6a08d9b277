"""One connection to a receiver: a request written, a response read, within bounds (RFC 9112).

asyncio carries the bytes and httptools (Node's parser) understands them; what is here are the
bounds. A connection has one request at a time, and is used again only after a response that left
no doubt about where it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import httptools

__all__ = [
    "BadResponseError",
    "BodyCutError",
    "Connection",
    "ConnectionLostError",
    "HeadTooLargeError",
    "Reply",
    "StaleConnectionError",
]

MAX_BODY_BYTES: Final = 64 * 1024
"""A longer body is read this far; then the connection is dropped, and the response counts."""

KEPT_BODY_BYTES: Final = 4 * 1000
"""1,000 characters of UTF-8 never need more, and a character cut at the end is never kept."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""Status line, headers and interim responses together. nginx and Node allow 8 to 16 KiB."""

MAX_RESPONSE_BYTES: Final = 1024 * 1024
"""All bytes of a response. The cap on its body ends an honest one long before; this one ends what
sends framing without content, such as a chunk extension that never stops."""

MAX_INTERIM_RESPONSES: Final = 32
"""1xx responses before the real one; honest receivers send one or two."""

_SLICE_BYTES: Final = 4096
"""Most heads are smaller; a head beyond its bound is noticed after so many bytes more."""

_SWITCHING_PROTOCOLS: Final = 101
_VERSIONS: Final = frozenset({"1.0", "1.1"})


class ConnectionLostError(Exception):
    """The connection was closed before a response arrived."""


class StaleConnectionError(ConnectionLostError):
    """A connection that had been used before was closed before a byte of the response arrived."""


class BodyCutError(Exception):
    """The connection was closed, or spoke nonsense, in the middle of the response's body."""


class BadResponseError(Exception):
    """What arrived is not an HTTP/1 response."""


class HeadTooLargeError(Exception):
    """The receiver sent more than a response's head may have before any response began."""


@dataclass(slots=True)
class Reply:
    """What has arrived of a response so far."""

    status: int | None = None
    retry_after: str | None = None
    body: bytes = b""


class _Stop(Exception):
    """Ends the parser's work from inside one of its callbacks."""


class Connection(asyncio.Protocol):
    """An open connection. `on_lost` is called once, when it is closed for whatever reason."""

    def __init__(self, on_lost: Callable[[Connection], object]) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._ended: asyncio.Future[None] | None = None
        self._reply = Reply()
        self._requests = 0
        self._received = 0
        self._interim = 0
        self._body_size = 0
        self._head_complete = False
        self._has_length = False
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.idle_since = 0.0
        """When the pool got it back, on the event loop's clock."""

    @property
    def is_open(self) -> bool:
        """Whether a request may still be written to it."""
        return self._transport is not None and not self._transport.is_closing()

    def begin(self, data: bytes, reply: Reply, deadline: float) -> asyncio.Future[None]:
        """Write a request; the future ends when `reply` is complete, or raises why it is not.

        At the deadline, by the event loop's clock, it raises TimeoutError.
        """
        if self._transport is None:
            raise ConnectionLostError
        self._requests += 1
        self._received = self._interim = self._body_size = 0
        self._head_complete = self._has_length = False
        self._reply = reply
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self._set_deadline(loop, deadline)
        self._transport.write(data)
        return self._ended

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def _set_deadline(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """Have the deadline noticed.

        A timer outlives the request it was set for, and is set anew only where one ends sooner
        than it: setting and taking back one for each would cost more than writing the request.
        """
        self._deadline = deadline
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = loop.call_at(deadline, self._notice_deadline, loop)

    def _notice_deadline(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._ended is None:
            return
        if loop.time() >= self._deadline:
            self._fail(TimeoutError())
        else:
            self._set_deadline(loop, self._deadline)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket: the head in slices, the body as it comes."""
        while not self._head_complete and len(data) > _SLICE_BYTES:
            self._feed(data[:_SLICE_BYTES])
            data = data[_SLICE_BYTES:]
            if self._ended is None:
                break
        self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is waiting, by what had arrived."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._ended is not None:
            if not self._head_complete:
                stale = self._requests > 1 and self._received == 0
                self._end(StaleConnectionError() if stale else ConnectionLostError())
            elif exc is None and not self._has_length:
                self._end()  # the close is the end of such a body
            else:
                self._end(BodyCutError())
        self._parser = None  # it holds this object's methods
        self._on_lost(self)

    def _feed(self, data: bytes) -> None:
        if self._ended is None:  # nobody asked for this
            self.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            self.abort()  # one of the methods below has ended it
        except httptools.HttpParserUpgrade:
            self._end()
            self.abort()
        except httptools.HttpParserError:
            self._fail(BodyCutError() if self._head_complete else BadResponseError())
        else:
            self._check_size()

    def _check_size(self) -> None:
        if self._ended is None:
            return
        if not self._head_complete:
            if self._received > MAX_HEAD_BYTES:
                self._fail(HeadTooLargeError())
        elif self._received > MAX_RESPONSE_BYTES:
            self._fail(BodyCutError())

    def _fail(self, error: Exception) -> None:
        self._end(error)
        self.abort()

    def _end(self, error: Exception | None = None) -> None:
        ended, self._ended = self._ended, None
        if ended is None or ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    # What the parser calls

    def on_message_begin(self) -> None:
        """A response begins: one too many where nobody waits."""
        if self._ended is None:
            raise _Stop

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the few headers that matter here."""
        match name.lower():
            case b"content-length" | b"transfer-encoding":
                self._has_length = True
            case b"retry-after":
                self._reply.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is complete; interim responses are counted and skipped."""
        status = self._parser.get_status_code()
        if not 100 <= status <= 999 or self._parser.get_http_version() not in _VERSIONS:
            self._end(BadResponseError())
            raise _Stop
        if status < 200 and status != _SWITCHING_PROTOCOLS:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                self._end(HeadTooLargeError())
                raise _Stop
        else:
            self._reply.status = status
            self._head_complete = True

    def on_body(self, data: bytes) -> None:
        """Keep the beginning of the body, and read no more of it than is allowed."""
        if self._body_size < KEPT_BODY_BYTES:
            self._reply.body += data[: KEPT_BODY_BYTES - self._body_size]
        self._body_size += len(data)
        if self._body_size >= MAX_BODY_BYTES:
            self._end()
            raise _Stop

    def on_message_complete(self) -> None:
        """The response is complete, unless it was an interim one."""
        if not self._head_complete:
            self._has_length = False
            return
        transport = self._transport
        if transport is not None and (
            not self._parser.should_keep_alive() or transport.get_write_buffer_size()
        ):
            transport.abort()
        self._end()
