"""The HTTP client of the delivery engine: one request in, exactly one outcome out.

Receivers are strangers. Each request is bounded in time (one timeout for everything, the body
included), in size (`MAX_BODY_BYTES` of body; `connections` bounds what comes before it), and in
where it may go (`TargetGuard`, asked about every address that is connected to). Redirects are not
followed, cookies not kept, bodies not decompressed, proxies of the environment not used.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from http import HTTPStatus
from time import perf_counter
from types import TracebackType
from typing import NamedTuple, Self

from yarl import URL

from flowkick.delivery.connections import (
    ConnectError,
    ConnectionPool,
    LookupFailedError,
    Origin,
    SocketRefusedError,
)
from flowkick.delivery.exchange import (
    KEPT_BODY_BYTES,
    BadResponseError,
    BodyCutError,
    ConnectionLostError,
    HeadTooLargeError,
    Reply,
    StaleConnectionError,
)
from flowkick.delivery.targets import TargetGuard, TargetRefused

__all__ = ["Outcome", "OutcomeKind", "Request", "Sender"]

logger = logging.getLogger(__name__)

KEPT_CHARACTERS = 1000
MAX_RETRY_AFTER_SECONDS = 24 * 60 * 60.0

_WAIT_STATUSES = frozenset({429, 503})
_CACHED = 4096
_ACCEPT = "Accept: */*\r\nAccept-Encoding: identity\r\n"


class OutcomeKind(StrEnum):
    """How an attempt ended."""

    RESPONSE = "response"
    """A whole response arrived (its body up to the cap), whatever its status."""
    TIMEOUT = "timeout"
    """The request, its body included, took longer than it may."""
    REFUSED = "refused"
    """The target guard did not let it out."""
    FAULT = "fault"
    """Name lookup, connection, TLS or protocol failed."""


class Request(NamedTuple):
    """A complete POST request."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    timeout: float
    """Seconds for all of it, from the name lookup to the end of the response body."""
    subscription_id: str = ""
    traceparent: str | None = None
    """Of the trace that its event was recorded in; see `tracing`."""
    at: datetime | None = None
    """The time of this attempt; None is when it is sent."""


class Outcome(NamedTuple):
    """What an attempt came to."""

    kind: OutcomeKind
    status_code: int | None
    """Also set where the response broke off after its head; then `kind` is not RESPONSE."""
    response_body: str | None
    """The first 1,000 characters; NUL and invalid UTF-8 stand as U+FFFD."""
    error_message: str | None
    """A sentence for everything but success; never contains a header value."""
    duration_ms: int
    retry_after: float | None
    """Seconds that a 429 or 503 asked to wait, at most a day."""
    started_at: datetime

    @property
    def success(self) -> bool:
        """A whole response with a 2xx status."""
        return self.kind is OutcomeKind.RESPONSE and 200 <= (self.status_code or 0) < 300


class _Target(NamedTuple):
    """A URL that was let through, and the head of every request to it."""

    origin: Origin
    head: str


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Sender:
    """Sends webhook requests over kept-alive connections.

    Start one per process and share it: `async with Sender(guard) as sender`. `connections` bounds
    the sockets; a request that waits for one spends its own timeout, so have no more requests in
    flight than connections. `tls` replaces the system's trusted certificates.
    """

    def __init__(
        self,
        guard: TargetGuard,
        *,
        connections: int = 100,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._guard = guard
        self._connections = connections
        self._tls = tls
        self._clock = clock
        self._target = lru_cache(_CACHED)(self._find_target)
        self._pool: ConnectionPool | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Make the connection pool; must run in the event loop that will send."""
        self._pool = ConnectionPool(self._guard, self._connections, self._tls)

    async def close(self) -> None:
        """Close all connections; requests in flight end as faults."""
        if self._pool is not None:
            self._pool.close()
            await asyncio.sleep(0)  # for what was closed to notice

    async def send(self, request: Request) -> Outcome:
        """Make the request and tell what came of it. Raises nothing but CancelledError."""
        if self._pool is None:
            raise RuntimeError("Sender.start() has not run")
        started_at, start = request.at or self._clock(), perf_counter()
        reply = Reply()
        kind = OutcomeKind.RESPONSE
        message: str | None
        retry_after: float | None = None
        try:
            await self._exchange(self._pool, request, reply)
        except Exception as error:  # noqa: BLE001  # an edge: whatever a stranger causes is data
            kind, message = _explain(error, request)
        else:
            message = _explain_status(reply.status)
            if reply.retry_after is not None and reply.status in _WAIT_STATUSES:
                retry_after = _retry_after_seconds(reply.retry_after, self._clock())
        return Outcome(
            kind,
            reply.status,
            _text(reply.body) if reply.status is not None else None,
            message,
            round((perf_counter() - start) * 1000),
            retry_after,
            started_at,
        )

    async def _exchange(self, pool: ConnectionPool, request: Request, reply: Reply) -> None:
        origin, head = self._target(request.url)
        data = _encode(head, request)
        deadline = asyncio.get_running_loop().time() + request.timeout
        connection = pool.pop_idle(origin)
        stale = False
        while True:
            if connection is None:
                async with asyncio.timeout_at(deadline):
                    connection = await pool.take(origin, fresh=stale)
            try:
                return await connection.begin(data, reply, deadline)
            except StaleConnectionError:
                # The receiver closed an idle connection just as it was chosen. RFC 9112, 9.3.1
                # lets a request be repeated then; ours carries its id for receivers to see.
                stale = True
            except BaseException:
                connection.abort()
                raise
            finally:
                pool.give_back(origin, connection)
            connection = None

    def _find_target(self, url: str) -> _Target:
        target = self._guard.target(url)
        secure = target.scheme == "https"
        origin = Origin(secure, target.raw_host or "", target.port or (443 if secure else 80))
        host = target.host_port_subcomponent or ""
        return _Target(origin, f"POST {target.raw_path_qs} HTTP/1.1\r\nHost: {host}\r\n{_ACCEPT}")


def _encode(head: str, request: Request) -> bytes:
    """The request's bytes. Raises ValueError for headers that would break out of their lines."""
    fields = "\r\n".join([f"{name}: {value}" for name, value in request.headers.items()])
    lines = max(len(request.headers) - 1, 0)
    if fields.count("\n") != lines or fields.count("\r") != lines or "\0" in fields:
        raise ValueError("a header holds a line break")
    separator = "\r\n" if fields else ""
    length = len(request.body)
    return (
        f"{head}{fields}{separator}Content-Length: {length}\r\n\r\n".encode("ascii") + request.body
    )


def _text(body: bytes) -> str:
    """Text that PostgreSQL takes: no NUL, no lone surrogate."""
    if not body:
        return ""
    decoded = body[:KEPT_BODY_BYTES].decode("utf-8", "replace")[:KEPT_CHARACTERS]
    return decoded.replace("\0", "\ufffd")


def _retry_after_seconds(value: str, now: datetime) -> float | None:
    """RFC 9110, 10.2.3: seconds or a date. None for anything else and for the past."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    seconds = (date - now).total_seconds()
    return min(seconds, MAX_RETRY_AFTER_SECONDS) if seconds > 0 else None


@lru_cache(1024)
def _explain_status(status: int | None) -> str | None:
    if status is None or 200 <= status < 300:
        return None
    try:
        answer = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        answer = str(status)
    if 300 <= status < 400:
        return f"The receiver answered {answer}; redirects are not followed."
    return f"The receiver answered {answer}."


def _explain(error: Exception, request: Request) -> tuple[OutcomeKind, str]:
    """The kind and the sentence of an exchange that did not end with a whole response."""
    if isinstance(error, TargetRefused):
        return OutcomeKind.REFUSED, str(error)
    if isinstance(error, SocketRefusedError):
        return OutcomeKind.REFUSED, str(error)
    if isinstance(error, TimeoutError):
        return OutcomeKind.TIMEOUT, f"No complete response arrived within {request.timeout:g} s."
    return OutcomeKind.FAULT, _explain_fault(error, request.url)


def _explain_fault(error: Exception, url: str) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            why = error.verify_message or "it is not valid"
            return f"The receiver's TLS certificate was not accepted: {why.rstrip('.')}."
        case ssl.SSLError():
            why = error.reason or "the handshake failed"
            return f"No TLS connection could be made: {why.replace('_', ' ').lower()}."
        case LookupFailedError():
            return f"The name {URL(url).raw_host} could not be resolved."
        case ConnectError():
            target = URL(url)
            code = getattr(error.__cause__, "errno", None)
            why = os.strerror(code) if code else "it was not accepted"
            where = f"{target.raw_host} port {target.port}"
            return f"No connection could be made to {where}: {why}."
        case BodyCutError():
            return "The response broke off before its body was complete."
        case HeadTooLargeError():
            return "The response's headers and interim responses are too many or too large."
        case BadResponseError():
            return "The response is not valid HTTP, or its headers are too large."
        case ConnectionLostError() | OSError():
            return "The connection was closed before a response arrived."
    logger.error("A webhook request failed in an unforeseen way: %s", type(error).__name__)
    return f"The request could not be made ({type(error).__name__})."
