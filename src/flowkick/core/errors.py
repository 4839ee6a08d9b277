"""Every failure that Flowkick tells somebody about.

    FlowkickError
    ├── InvalidInput        400   what was sent can't be taken
    ├── Unauthenticated     401   nobody knows who is asking
    ├── Forbidden           403   known, but not allowed
    ├── NotFound            404   not there, or somebody else's
    ├── MethodNotAllowed    405
    ├── Conflict            409   the state of things speaks against it
    ├── Gone                410   it was there, and is not kept any longer
    ├── TooLarge            413
    ├── UnsupportedMedia    415
    ├── RangeNotSatisfiable 416   the file ends before the bytes that were asked for
    ├── TooManyRequests     429
    ├── HeadTooLarge        431
    ├── InternalError       500
    ├── Unavailable         503   the database can't be reached just now
    └── SettingsError       —     the process can't start like this

Each carries its HTTP status, a stable code, and a sentence a person can act on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

Detail = Mapping[str, Any]


class FlowkickError(Exception):
    """The root of all errors that Flowkick raises on purpose."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        sentence: str,
        *,
        details: Sequence[Detail] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.details = list(details)
        self.headers = dict(headers or {})


class InvalidInput(FlowkickError):
    status = 400
    code = "invalid_input"


class Unauthenticated(FlowkickError):
    status = 401
    code = "unauthenticated"


class Forbidden(FlowkickError):
    status = 403
    code = "forbidden"


class NotFound(FlowkickError):
    status = 404
    code = "not_found"


class MethodNotAllowed(FlowkickError):
    status = 405
    code = "method_not_allowed"


class Conflict(FlowkickError):
    status = 409
    code = "conflict"


class Suppressed(Conflict):
    code = "suppressed"


class IdempotencyConflict(Conflict):
    code = "idempotency_key_reused"


class Gone(FlowkickError):
    status = 410
    code = "gone"


class TooLarge(FlowkickError):
    status = 413
    code = "too_large"


class UnsupportedMedia(FlowkickError):
    status = 415
    code = "unsupported_media_type"


class RangeNotSatisfiable(FlowkickError):
    status = 416
    code = "range_not_satisfiable"


class TooManyRequests(FlowkickError):
    status = 429
    code = "too_many_requests"


class HeadTooLarge(FlowkickError):
    status = 431
    code = "headers_too_large"


class InternalError(FlowkickError):
    status = 500
    code = "internal_error"


class Unavailable(FlowkickError):
    status = 503
    code = "unavailable"


class SettingsError(FlowkickError):
    """The settings, or the state of the database, do not allow the process to start."""

    code = "settings"


def error_body(code: str, sentence: str, details: Sequence[Detail] = ()) -> dict[str, Any]:
    """The one JSON shape of every failure."""
    return {"success": False, "error": sentence, "code": code, "details": list(details)}
