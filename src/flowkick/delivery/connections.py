"""The sockets of the HTTP client: guarded addresses, bounded responses.

This is the one place that knows aiohttp's insides. Its connector takes its protocol class from
`_factory`, which is not public; the tests of hostile receivers fail if that ever changes.
"""

import socket
import ssl
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from flowkick.delivery.targets import TargetGuard, TargetRefused

__all__ = ["GuardedConnector", "HeadTooLargeError", "SocketRefusedError", "StaleConnectionError"]

MAX_HEAD_BYTES = 64 * 1024
"""Status line, headers and interim responses together. nginx and Node allow 8 to 16 KiB."""

MAX_RESPONSE_BYTES = 1024 * 1024
"""All bytes of a response. The cap on its body ends an honest one long before; this one ends what
sends framing without content, such as a chunk extension that never stops."""

MAX_INTERIM_RESPONSES = 32
"""1xx responses before the real one; honest receivers send one or two."""

FIRST_FINAL = 200
SWITCHING_PROTOCOLS = 101
"""The one 1xx status that aiohttp does not skip."""

_SLICE_BYTES = 4096
"""Most heads are smaller. Parsing 4 KiB of the shortest interim responses takes about 1 ms."""

KEEP_ALIVE_SECONDS = 4.0
"""Shorter than the 5 s after which Node's server drops an idle connection, so that a request is
seldom written into a connection that is just being closed."""


class StaleConnectionError(aiohttp.ServerDisconnectedError):
    """A kept-alive connection turned out closed before a byte of the response arrived."""


class HeadTooLargeError(Exception):
    """The receiver sent more than a response's head may have before any response began."""


class SocketRefusedError(OSError):
    """The target's address is not public; webhooks reach public addresses only."""

    # An OSError with one text for every address, because that is what connecting to several
    # addresses at once (aiohappyeyeballs) hands on; other exceptions it loses.

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class BoundedProtocol(ResponseHandler):
    """aiohttp's protocol with bounds on what a response may send, and stale connections told apart.

    aiohttp skips interim responses for as long as they come, and parses all that one read
    brings (256 KiB, thousands of them) before anything else runs.
    """

    _requests = 0
    _received = 0
    _interim = 0
    _head_ended = True

    def set_response_params(self, **params: Any) -> None:
        """Begin with the next request of this connection."""
        self._requests += 1
        self._received = 0
        self._interim = 0
        self._head_ended = False
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket: the head in slices, the body as it comes."""
        while not self._head_ended and len(data) > _SLICE_BYTES:
            self._receive(data[:_SLICE_BYTES])
            if self._exception is not None or self.transport is None:
                return
            data = data[_SLICE_BYTES:]
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        if not self._head_ended:
            self._check_head()
        elif self._received > MAX_RESPONSE_BYTES and self.transport is not None:
            self.transport.abort()

    def _check_head(self) -> None:
        too_large = self._received > MAX_HEAD_BYTES or self._interim > MAX_INTERIM_RESPONSES
        if too_large and self._exception is None and self.transport is not None:
            self.set_exception(HeadTooLargeError())
            self.transport.abort()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a parsed response head."""
        status = data[0].code
        if status >= FIRST_FINAL or status == SWITCHING_PROTOCOLS:
            self._head_ended = True
        else:
            self._interim += 1
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Take note of a lost connection."""
        if isinstance(exc, aiohttp.ServerDisconnectedError | OSError) and self._is_stale():
            exc = StaleConnectionError()
        if exc_cause is None:
            super().set_exception(exc)
        else:
            super().set_exception(exc, exc_cause)

    def _is_stale(self) -> bool:
        return self._requests > 1 and not self._head_ended and self._received == 0


class _GuardedResolver(AbstractResolver):
    def __init__(self, guard: TargetGuard) -> None:
        self._guard = guard

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  # of the interface
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._guard.resolve(host, port)
        ]

    async def close(self) -> None:
        """Nothing to close: the threads of lookups are the process's."""


class GuardedConnector(aiohttp.TCPConnector):
    """A connection pool whose every new socket was let through by the guard.

    Names are looked up through the guard, and the address of each socket is checked again where
    it is made: aiohttp does not look up hosts that are addresses already. A connection that is
    kept alive was checked when it was opened.
    """

    def __init__(
        self, guard: TargetGuard, connections: int, tls: ssl.SSLContext | None = None
    ) -> None:
        def make_socket(info: tuple[Any, ...]) -> socket.socket:
            family, kind, protocol, _, address = info
            try:
                guard.check_address(address[0])
            except TargetRefused:
                raise SocketRefusedError from None
            return socket.socket(family=family, type=kind, proto=protocol)

        super().__init__(
            resolver=_GuardedResolver(guard),
            socket_factory=make_socket,
            limit=connections,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            ssl=tls if tls is not None else True,
        )
        self._factory = partial(  # type: ignore[assignment]  # a subclass of what it holds
            BoundedProtocol, loop=self._loop
        )
