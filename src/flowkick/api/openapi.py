"""What the generated OpenAPI document says of every route alike: who may ask, and how it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, FastAPI

from flowkick.http.route import ApiRoute, by_api_key, policy_of

_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Error",
    "required": ["success", "error", "code", "details"],
    "additionalProperties": False,
    "properties": {
        "success": {"type": "boolean", "const": False},
        "error": {"type": "string", "description": "A sentence that says what to do."},
        "code": {
            "type": "string",
            "description": "Stable, for programs.",
            "examples": ["not_found"],
        },
        "details": {"type": "array", "items": {"type": "object"}},
    },
}
_FAILURES: Final = {
    400: "The request can't be taken: a field, a parameter or the JSON is wrong.",
    401: "Nobody knows who is asking: no key, or one that is unknown, revoked or expired.",
    403: "The key lacks the scope, or X-Admin-ID names another admin.",
    404: "It does not exist, or is not yours.",
    409: "The present state speaks against it, or an Idempotency-Key was used for another request.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    431: "The request line and the headers are too large together.",
    500: "Something went wrong on our side.",
    503: "The database can't be reached just now.",
}
_SCHEMES: Final = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, `fk_…`."},
    "connectionToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Flowkick-Token",
        "description": "The token of a connection, which may push contacts and nothing else.",
    },
}


def describe(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Complete the OpenAPI document of `app` once, the first time that it is asked for."""
    generate = app.openapi
    routes = [route for router in routers for route in router.routes if isinstance(route, ApiRoute)]

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(generate(), routes)
        return generate()

    app.openapi = complete  # type: ignore[method-assign]  # FastAPI documents this very override


def _complete(document: dict[str, Any], routes: Sequence[ApiRoute]) -> None:
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Error"] = _ERROR
    components["securitySchemes"] = _SCHEMES
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    for route in routes:
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            _complete_operation(operation, route, method)


def _complete_operation(operation: dict[str, Any], route: ApiRoute, method: str) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    for status, description in _FAILURES.items():
        answers.setdefault(str(status), _failure(description))
    with_token = policy_of(route.endpoint).authenticator is not by_api_key
    operation["security"] = [{"apiKey": []}, *([{"connectionToken": []}] if with_token else [])]
    if method == "POST" and policy_of(route.endpoint).transaction:
        operation.setdefault("parameters", []).append(_idempotency_key())


def _failure(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _idempotency_key() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Within 24 hours, the same key with the same request is done only once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    }
