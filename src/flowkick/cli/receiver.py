"""A local receiver of webhooks: verifies what arrives, and shows it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from flowkick.core.clock import system_clock
from flowkick.delivery.signing import explain_standard, verify_body

_REMEMBERED = 10_000
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Received:
    """One request, and what checking it came to."""

    headers: dict[str, str]
    body: bytes
    verified: bool
    problem: str | None
    repeated: bool

    @property
    def event(self) -> str:
        """The name of the event that the request claims to be."""
        return self.headers.get("x-webhook-event", "?")


class Receiver:
    """Listens on loopback; `secrets` are those of the subscriptions that send here."""

    def __init__(
        self,
        *,
        port: int = 0,
        secrets: Sequence[str] = (),
        status: int = 200,
        on_received: Callable[[Received], None] = lambda _received: None,
    ) -> None:
        self.secrets = list(secrets)
        self._port = port
        self._status = status
        self._on_received = on_received
        self._seen: deque[str] = deque(maxlen=_REMEMBERED)
        self.url = ""

    async def __aenter__(self) -> Self:
        listening = socket.create_server(("127.0.0.1", self._port))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/webhooks"
        application = Starlette(routes=[Route("/{path:path}", self._handle, methods=_METHODS)])
        self._server = uvicorn.Server(
            uvicorn.Config(
                application, lifespan="off", ws="none", log_config=None, access_log=False
            )
        )
        # `serve` would take over the signals of this process.
        self._serving = asyncio.create_task(self._server._serve([listening]))  # noqa: SLF001
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        await self._serving

    async def _handle(self, request: Request) -> JSONResponse:
        received = self._check(dict(request.headers), await request.body())
        self._on_received(received)
        return JSONResponse({"received": True}, self._status)

    def _check(self, headers: dict[str, str], body: bytes) -> Received:
        problem = explain(self.secrets, headers, body)
        event_id = headers.get("webhook-id")
        repeated = event_id in self._seen
        # A forgery must not be able to make the genuine event look like a repeat.
        if event_id and problem is None and not repeated:
            self._seen.append(event_id)
        return Received(headers, body, problem is None, problem, repeated)


def explain(secrets: Sequence[str], headers: dict[str, str], body: bytes) -> str | None:
    """Why a request is not to be believed; None where it is."""
    if not secrets:
        return "no secret is known: pass it with --secret"
    signature = headers.get("x-webhook-signature", "")
    if not any(verify_body(secret, body, signature) for secret in secrets):
        return "X-Webhook-Signature does not fit"
    return explain_standard(secrets, headers, body, system_clock())


def render(received: Received) -> str:
    """What arrived, for a person to read."""
    headers = received.headers
    mark = "✓ signature verified" if received.verified else f"✗ {received.problem}"
    again = " (seen before: a receiver drops it)" if received.repeated else ""
    head = f"◀ {received.event}  attempt {headers.get('x-webhook-attempt', '?')}  {mark}{again}"
    return f"{head}\n  {headers.get('webhook-id', '?')}\n{_body(received.body)}"


def _body(body: bytes) -> str:
    try:
        text = json.dumps(_shortened(json.loads(body)), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):  # no JSON, or nested too deeply for its parser
        return f"  {body[:200]!r}"
    return "\n".join(f"  {line}" for line in text.splitlines())


def _shortened(decoded: Any) -> Any:
    """The data of a body, with a user's most telling keys."""
    data = decoded.get("data", decoded) if isinstance(decoded, dict) else decoded
    user = data.get("user") if isinstance(data, dict) else None
    if isinstance(user, dict):
        short = ("id", "manychatId", "firstName", "lastName", "email", "tags", "customFields")
        data = {**data, "user": {name: user[name] for name in short if name in user}}
        if len(user) > len(short):
            data["user"]["…"] = f"{len(user)} keys in all"
    return data
