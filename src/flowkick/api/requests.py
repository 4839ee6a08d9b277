"""The outermost layer of every request: its id, its log line, the net for what nobody caught."""

from __future__ import annotations

import re
import time
from typing import Any

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowkick.api.errors import internal_error
from flowkick.core import tracing
from flowkick.core.ids import new_id
from flowkick.core.logs import get_logger
from flowkick.http.route import CLIENT_CLOSED_REQUEST

_log = get_logger(__name__)
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestMiddleware:
    """Gives each request an id, the caller's own where it is a plain token, and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get("x-request-id", "")
        request_id = given if _GIVEN_ID.fullmatch(given) else new_id("req")
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        tracing.note("flowkick.request.id", request_id)
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            except ClientDisconnect:
                status = CLIENT_CLOSED_REQUEST  # nobody is there to be answered
            except Exception as error:  # the edge: whatever it was, the caller gets one shape
                _log.error("request_failed", exc_info=error)
                if status:
                    raise
                await internal_error()(scope, receive, send_with_id)
            _log.info("request", **_summary(request, status, started))


def _summary(request: Request, status: int, started: float) -> dict[str, Any]:
    principal = getattr(request.state, "principal", None)
    return {
        "method": request.method,
        "path": request.url.path,
        "status": status,
        "milliseconds": round((time.perf_counter() - started) * 1000, 1),
        "admin_id": principal.admin_id if principal else None,
    }
