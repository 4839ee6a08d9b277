"""Turns every failure of every route into the one shape of an error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from flowkick.core.errors import (
    FlowkickError,
    InternalError,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
    error_body,
)
from flowkick.core.logs import get_logger

_log = get_logger(__name__)
_BY_STATUS: Mapping[int, type[FlowkickError]] = {
    error.status: error for error in (NotFound, MethodNotAllowed, TooLarge, UnsupportedMedia)
}
_DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeoutError, OSError)


class _ErrorResponse(JSONResponse):
    def render(self, content: Any) -> bytes:
        # A sentence may quote what was sent, and JSON can spell characters that UTF-8 lacks.
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


def answer(error: FlowkickError) -> Response:
    """The response that tells of `error`."""
    return _ErrorResponse(
        error_body(error.code, error.sentence, error.details), error.status, headers=error.headers
    )


def install_error_handlers(app: FastAPI) -> None:
    """Handle what routes and the framework raise; `internal_error` handles the rest."""
    app.add_exception_handler(FlowkickError, _flowkick)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for error in (DBAPIError, *_DATABASE_AWAY):
        app.add_exception_handler(error, _database)


async def _flowkick(_request: Request, error: Exception) -> Response:
    if not isinstance(error, FlowkickError):
        raise error
    if error.status >= 500:
        _log.error("request_failed", code=error.code, reason=error.sentence)
        if error.status == 500:
            return internal_error()
    return answer(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    details = [{"field": _field(item), "problem": _problem(item)} for item in error.errors()]
    wrong = "; ".join(f"{detail['field']}: {detail['problem']}" for detail in details[:3])
    more = f" (and {len(details) - 3} more)" if len(details) > 3 else ""
    return answer(InvalidInput(f"The request can't be taken. {wrong}{more}.", details=details))


def _field(item: Mapping[str, Any]) -> str:
    """Where the problem is, as the caller wrote it: ``users.0.email``, or ``body``."""
    location: Sequence[Any] = item["loc"]
    if item["type"] == "json_invalid":
        return str(location[0])
    inside = [str(part) for part in location[1:]]
    return ".".join(inside) if inside else str(location[0])


def _problem(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown field"
    if item["type"] == "json_invalid":
        return f"is not valid JSON, from character {item['loc'][-1]} on"
    message: str = item["msg"]
    message = re.sub(r"^(Value error|Assertion failed), ", "", message)
    return message[:1].lower() + message[1:]


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    kind = _BY_STATUS.get(error.status_code)
    if kind is NotFound:
        return answer(NotFound(f"There is nothing at {request.url.path}."))
    if kind is MethodNotAllowed:
        sentence = f"{request.method} is not allowed at {request.url.path}."
        return answer(MethodNotAllowed(sentence, headers=error.headers))
    if kind is not None:
        return answer(kind(str(error.detail)))
    if error.status_code < 500:
        return answer(InvalidInput("The body is not valid JSON."))
    return internal_error()


async def _database(_request: Request, error: Exception) -> Response:
    away = isinstance(error, _DATABASE_AWAY) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )
    _log.error("database_failed", error=type(error).__name__, away=away, exc_info=error)
    if not away:
        return internal_error()
    sentence = "The database can't be reached just now: nothing was changed. Try again shortly."
    return answer(Unavailable(sentence, headers={"Retry-After": "1"}))


def internal_error() -> Response:
    """A 500 that says nothing of the inside; the log holds the rest under the request's id."""
    sentence = "Something went wrong on our side: give the X-Request-ID of this answer to support."
    return answer(InternalError(sentence))
