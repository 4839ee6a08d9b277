"""The HTTP client of the delivery engine: one request in, exactly one outcome out.

Receivers are strangers. Each request is bounded in time (one timeout for everything, the body
included), in size (`MAX_BODY_BYTES` of body; `connections` bounds what comes before it), and in
where it may go (`TargetGuard`, asked about every address that is connected to). Redirects are not
followed, cookies not kept, bodies not decompressed, proxies of the environment not used.
"""

import logging
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from http import HTTPStatus
from time import perf_counter
from types import TracebackType
from typing import Self

import aiohttp

from flowkick.delivery.connections import (
    GuardedConnector,
    HeadTooLargeError,
    SocketRefusedError,
    StaleConnectionError,
)
from flowkick.delivery.targets import TargetGuard, TargetRefused

__all__ = ["Outcome", "OutcomeKind", "Request", "Sender"]

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
KEPT_CHARACTERS = 1000
_KEPT_BYTES = 4 * KEPT_CHARACTERS
"""1,000 characters of UTF-8 never need more, and a character cut at the end is never kept."""

MAX_RETRY_AFTER_SECONDS = 24 * 60 * 60.0

_WAIT_STATUSES = frozenset({429, 503})
_CACHED = 4096


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


@dataclass(frozen=True, slots=True)
class Request:
    """A complete POST request."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    timeout: float
    """Seconds for all of it, from the name lookup to the end of the response body."""


@dataclass(frozen=True, slots=True)
class Outcome:
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
        status = self.status_code
        return self.kind is OutcomeKind.RESPONSE and status is not None and 200 <= status < 300


@dataclass(slots=True)
class _Reply:
    """What has arrived of a response so far."""

    status: int | None = None
    retry_after: str | None = None
    body: bytes = b""


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
        self._target = lru_cache(_CACHED)(guard.target)
        self._timeout = lru_cache(_CACHED)(_total_timeout)
        self._session: aiohttp.ClientSession | None = None

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
        self._session = aiohttp.ClientSession(
            connector=GuardedConnector(self._guard, self._connections, self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections; requests in flight end as faults."""
        if self._session is not None:
            await self._session.close()

    async def send(self, request: Request) -> Outcome:
        """Make the request and tell what came of it. Raises nothing but CancelledError."""
        if self._session is None:
            raise RuntimeError("Sender.start() has not run")
        started_at, start = self._clock(), perf_counter()
        reply = _Reply()
        kind = OutcomeKind.RESPONSE
        message: str | None
        retry_after: float | None = None
        try:
            try:
                await self._exchange(self._session, request, reply, request.timeout)
            except StaleConnectionError:
                # The receiver closed an idle connection just as it was chosen. RFC 9112, 9.3.1
                # lets a request be repeated then; ours carries its id for receivers to see.
                left = max(request.timeout - (perf_counter() - start), 0.001)
                await self._exchange(self._session, request, reply, left)
        except Exception as error:  # noqa: BLE001  # an edge: whatever a stranger causes is data
            kind, message = _explain(error, request)
        else:
            message = _explain_status(reply.status)
            if reply.retry_after is not None:
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

    async def _exchange(
        self, session: aiohttp.ClientSession, request: Request, reply: _Reply, seconds: float
    ) -> None:
        response = await session.post(
            self._target(request.url),
            data=request.body,
            headers=request.headers,
            timeout=self._timeout(seconds),
            allow_redirects=False,
        )
        try:
            reply.status = status = response.status
            if status in _WAIT_STATUSES:
                reply.retry_after = response.headers.get("Retry-After")
            await _read_body(response.content, reply)
        finally:
            response.close()  # drops the connection, unless the response was read to its end


async def _read_body(content: aiohttp.StreamReader, reply: _Reply) -> None:
    size = 0
    while size < MAX_BODY_BYTES and not content.at_eof():
        chunk = await content.readany()
        if size < _KEPT_BYTES:
            reply.body += chunk[:_KEPT_BYTES]
        size += len(chunk)


def _total_timeout(seconds: float) -> aiohttp.ClientTimeout:
    # aiohttp rounds timeouts over ceil_threshold up to whole seconds, to save timers.
    return aiohttp.ClientTimeout(total=seconds, ceil_threshold=3600)


def _text(body: bytes) -> str:
    """Text that PostgreSQL takes: no NUL, no lone surrogate."""
    if not body:
        return ""
    decoded = body[:_KEPT_BYTES].decode("utf-8", "replace")[:KEPT_CHARACTERS]
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
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(cause, SocketRefusedError):
        return OutcomeKind.REFUSED, str(cause)
    if isinstance(error, TimeoutError):
        return OutcomeKind.TIMEOUT, f"No complete response arrived within {request.timeout:g} s."
    return OutcomeKind.FAULT, _explain_fault(error)


def _explain_fault(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or "it is not valid"
            return f"The receiver's TLS certificate was not accepted: {why.rstrip('.')}."
        case aiohttp.ClientConnectorSSLError():
            why = getattr(error.os_error, "reason", None) or "the handshake failed"
            return f"No TLS connection could be made: {why.replace('_', ' ').lower()}."
        case aiohttp.ClientConnectorDNSError():
            return f"The name {error.host} could not be resolved."
        case aiohttp.ClientConnectorError():
            code = error.os_error.errno
            why = os.strerror(code) if code else "it was not accepted"
            return f"No connection could be made to {error.host} port {error.port}: {why}."
        case aiohttp.ClientPayloadError():
            return "The response broke off before its body was complete."
        case HeadTooLargeError():
            return "The response's headers and interim responses are too many or too large."
        case aiohttp.ClientResponseError():
            return "The response is not valid HTTP, or its headers are too large."
        case aiohttp.ServerDisconnectedError() | OSError():
            return "The connection was closed before a response arrived."
    logger.error("A webhook request failed in an unforeseen way: %s", type(error).__name__)
    return f"The request could not be made ({type(error).__name__})."
