"""The connections of the HTTP client: guarded addresses, kept alive, bounded in number."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from typing import Any, Final, NamedTuple

from aiohappyeyeballs import start_connection

from flowkick.delivery.exchange import Connection, ConnectionLostError
from flowkick.delivery.targets import TargetGuard, TargetRefused

__all__ = ["ConnectError", "ConnectionPool", "LookupFailedError", "Origin", "SocketRefusedError"]

KEEP_ALIVE_SECONDS: Final = 4.0
"""Shorter than the 5 s after which Node's server drops an idle connection, so that a request is
seldom written into a connection that is just being closed."""

NEXT_ADDRESS_SECONDS: Final = 0.25
"""How long one address of a name is tried before the next joins (RFC 8305)."""


class LookupFailedError(Exception):
    """The name of a target does not resolve."""


class ConnectError(Exception):
    """No TCP connection could be made; `__cause__` is the OSError."""


class SocketRefusedError(OSError):
    """The target's address is not public; webhooks reach public addresses only."""

    # An OSError with one text for every address, because that is what connecting to several
    # addresses at once (aiohappyeyeballs) hands on; other exceptions it loses.

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Origin(NamedTuple):
    """What a connection leads to (RFC 6454); requests to one origin share its connections."""

    secure: bool
    host: str
    """A name or an address, as ASCII, without brackets."""
    port: int


class ConnectionPool:
    """At most `limit` connections, each of whose addresses was let through by the guard.

    Names are looked up through the guard, and the address of each socket is checked again where
    it is made. A connection that is kept alive was checked when it was opened.
    """

    def __init__(self, guard: TargetGuard, limit: int, tls: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._limit = limit
        self._tls = tls
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: set[Connection] = set()
        self._dialling = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, origin: Origin, *, fresh: bool = False) -> Connection:
        """A connection for one request to this origin: an idle one, or with `fresh` a new one.

        Waits for its turn while all are busy. Raises TargetRefused, SocketRefusedError,
        LookupFailedError, ConnectError, or ssl.SSLError.
        """
        while not self._closed:
            if not fresh and (connection := self.pop_idle(origin)) is not None:
                return connection
            if len(self._open) + self._dialling < self._limit or self._drop_idle():
                return await self._dial(origin)
            await self._turn()
        raise ConnectionLostError

    def pop_idle(self, origin: Origin) -> Connection | None:
        """A connection to this origin that nobody uses; None where there is none."""
        idle = self._idle.get(origin)
        oldest = asyncio.get_running_loop().time() - KEEP_ALIVE_SECONDS
        while idle:
            connection = idle.pop()
            if connection.is_open and connection.idle_since >= oldest:
                return connection
            self._drop(connection)
        return None

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """Let others use a connection whose request has ended."""
        if self._closed:
            connection.abort()
        elif connection.is_open:
            loop = asyncio.get_running_loop()
            connection.idle_since = loop.time()
            self._idle.setdefault(origin, []).append(connection)
            if self._sweeper is None:
                self._sweeper = loop.call_later(KEEP_ALIVE_SECONDS, self._sweep)
        self._next_turn()

    def close(self) -> None:
        """Close every connection; what waits for one ends with ConnectionLostError."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._open):
            connection.abort()
        while self._waiting:
            self._next_turn()

    # Idle connections

    def _drop_idle(self) -> bool:
        """Close one connection that nobody uses, to make room for one to another origin."""
        for idle in self._idle.values():
            if idle:
                self._drop(idle.pop(0))
                return True
        return False

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.abort()

    def _sweep(self) -> None:
        """Close what has been idle for too long, and look again while any is left."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEEP_ALIVE_SECONDS
        for origin, idle in list(self._idle.items()):
            while idle and (idle[0].idle_since <= oldest or not idle[0].is_open):
                self._drop(idle.pop(0))
            if not idle:
                del self._idle[origin]
        self._sweeper = loop.call_later(KEEP_ALIVE_SECONDS, self._sweep) if self._idle else None

    # Turns

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next_turn()  # it was this one's, who leaves
            raise

    def _next_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._next_turn()

    # New connections

    async def _dial(self, origin: Origin) -> Connection:
        self._dialling += 1
        connection = None
        try:
            connection = await self._connect(origin)
            if self._closed:
                connection.abort()
                raise ConnectionLostError
            self._open.add(connection)
        finally:
            self._dialling -= 1
            if connection is None:
                self._next_turn()
        return connection

    async def _connect(self, origin: Origin) -> Connection:
        sock = await self._connected_socket(origin.host, origin.port)
        secure: dict[str, Any] = {}
        if origin.secure:
            if self._tls is None:
                self._tls = ssl.create_default_context()
            secure = {"ssl": self._tls, "server_hostname": origin.host.rstrip(".")}
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self._lost), sock=sock, **secure
            )
        except BaseException:
            sock.close()
            raise
        return connection

    async def _connected_socket(self, host: str, port: int) -> socket.socket:
        try:
            return await start_connection(
                [
                    (
                        socket.AF_INET6 if ":" in address else socket.AF_INET,
                        socket.SOCK_STREAM,
                        socket.IPPROTO_TCP,
                        "",
                        (address, port, 0, 0) if ":" in address else (address, port),
                    )
                    for address in await self._addresses(host, port)
                ],
                happy_eyeballs_delay=NEXT_ADDRESS_SECONDS,
                interleave=1,
                socket_factory=self._guarded_socket,
            )
        except SocketRefusedError:
            raise
        except OSError as error:
            raise ConnectError from error

    async def _addresses(self, host: str, port: int) -> list[str]:
        if ":" in host or host.replace(".", "").isdigit():  # an address, checked at its socket
            return [host]
        try:
            return await self._guard.resolve(host, port)
        except OSError as error:
            raise LookupFailedError from error

    def _guarded_socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        try:
            self._guard.check_address(address[0])
        except TargetRefused:
            raise SocketRefusedError from None
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
