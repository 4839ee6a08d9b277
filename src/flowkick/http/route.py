"""The unit of work of a request.

    authenticate ── read the body within its limit ── prepare ── open one transaction
        └── run the route ── keep the answer under its Idempotency-Key ── commit ── answer

A transaction that PostgreSQL gives up to end a deadlock is run again: it left nothing behind.

The body is read before the transaction opens, so that a slow client holds no lock; what has to wait
for somebody else's server (a look-up of a name, a request) is done there too, by the route's
`prepare`. The commit is made before the answer is sent, so that an answer never tells of what was
not kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fastapi import Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError

from flowkick.auth.access import authenticate
from flowkick.auth.service import Principal, Scope
from flowkick.core.errors import InvalidInput, TooLarge, UnsupportedMedia
from flowkick.http.context import Context, get_context
from flowkick.http.idempotency import IdempotentRequest
from flowkick.storage.dialects import is_deadlock

MIB: Final = 1024 * 1024
MAX_BODY: Final = MIB
MAX_BATCH_BODY: Final = 16 * MIB
CLIENT_CLOSED_REQUEST: Final = 499
"""The status of a request that nobody waits for any more, as logs tell it (nginx's number)."""
_BODY_SECONDS: Final = 60
_DEADLOCKS: Final = 4
_DISCARDED: Final = 64 * MIB
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY: Final = "__flowkick_policy__"

Authenticator = Callable[[Request, Context], Coroutine[Any, Any, Principal]]
Endpoint = Callable[..., Any]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Preparation = Callable[[Request, Context], Coroutine[Any, Any, None]]
_Model = TypeVar("_Model", bound=BaseModel)


async def by_api_key(request: Request, context: Context) -> Principal:
    """The usual way: an API key, or an admin that a gateway vouches for."""
    return await authenticate(request, context.database, context.settings, context.clock)


@dataclass(frozen=True, slots=True)
class Policy:
    """How a route is guarded.

    `query` names parameters that the route reads by itself; `filter[name]` among
    them stands for any name in brackets.

    `scope` None means read for GET and write for the rest. A route with `transaction` False gets no
    session, because it waits for somebody else's server: it opens short transactions of its own.
    `prepare` runs before the transaction of a route that writes, once, unless the answer is already
    kept under the request's Idempotency-Key; what it finds out, it leaves in ``request.state``.
    """

    scope: Scope | None = None
    max_body: int = MAX_BODY
    transaction: bool = True
    authenticator: Authenticator = by_api_key
    any_query: bool = False
    query: frozenset[str] = frozenset()
    prepare: Preparation | None = None


def policy(**values: Any) -> Callable[[Endpoint], Endpoint]:
    """Guard a route other than usually; stands under the route's own decorator."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _POLICY, Policy(**values))
        return endpoint

    return mark


def policy_of(endpoint: Endpoint) -> Policy:
    """The policy of a route's function."""
    found: Policy = getattr(endpoint, _POLICY, Policy())
    return found


class ApiRoute(APIRoute):
    """A route of the API; the only way from a request to a session."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        rules = policy_of(self.endpoint)
        known = rules.query | {
            field.alias
            for field in get_flat_params(self.dependant)
            if isinstance(field.field_info, Query)
        }
        takes_body = self.body_field is not None

        async def run(request: Request) -> Response:
            context = get_context(request)
            request.state.principal = principal = await rules.authenticator(request, context)
            principal.require(rules.scope or _usual_scope(request.method))
            _check_target(request, None if rules.any_query else known)
            body = await _read_body(request, rules.max_body)
            request._body = body  # noqa: SLF001  # where Starlette keeps a body that was read
            if takes_body and body:
                _check_media_type(request)
            if not rules.transaction:
                return await handle(request)
            if request.method in _SAFE_METHODS:
                async with context.database.reading(principal.admin_id) as session:
                    request.state.session = session
                    return await handle(request)
            once = IdempotentRequest.of(request, body, context)
            answered = once is not None and await once.is_answered(principal.admin_id)
            if rules.prepare is not None and not answered:
                await rules.prepare(request, context)
            return await _write(request, context, principal, handle, once)

        return run


def body_as(request: Request, model: type[_Model]) -> _Model | None:
    """The body, for a `prepare`; None where it does not fit, which the route itself then tells."""
    try:
        return model.model_validate(body_of(request))
    except ValidationError:
        return None


def body_of(request: Request) -> Any:
    """The body as decoded JSON, for a `prepare`; None where it is none."""
    try:
        return json.loads(request._body)  # noqa: SLF001  # where `run` has put it
    except (ValueError, RecursionError):
        return None


async def _write(
    request: Request,
    context: Context,
    principal: Principal,
    handle: Handler,
    once: IdempotentRequest | None,
) -> Response:
    """Run the route in a transaction; again where it was given up to end a deadlock."""
    for _ in range(_DEADLOCKS):
        try:
            return await _write_once(request, context, principal, handle, once)
        except DBAPIError as error:
            if not is_deadlock(error):
                raise
    return await _write_once(request, context, principal, handle, once)


async def _write_once(
    request: Request,
    context: Context,
    principal: Principal,
    handle: Handler,
    once: IdempotentRequest | None,
) -> Response:
    async with context.database.session(principal.admin_id) as session:
        request.state.session = session
        if once is not None and (earlier := await once.begin(session)) is not None:
            return earlier
        response = await handle(request)
        if response.status_code < 400:
            if once is not None:
                await session.flush()
                await once.finish(session, response)
            await context.database.commit(session)
        return response


def _usual_scope(method: str) -> Scope:
    return Scope.READ if method in _SAFE_METHODS else Scope.WRITE


def _check_target(request: Request, known: AbstractSet[str] | None) -> None:
    query = request.query_params.multi_items()
    if "\x00" in request.url.path or any("\x00" in name + value for name, value in query):
        raise InvalidInput("The address holds the character U+0000: leave it out.")
    if known is None:
        return
    unknown = sorted(name for name in {name for name, _ in query} if not _is_known(name, known))
    if unknown:
        details = [{"field": name, "problem": "unknown query parameter"} for name in unknown]
        allowed = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
        raise InvalidInput(
            f"Unknown query parameter {', '.join(unknown)}: {allowed}.", details=details
        )


def _is_known(name: str, known: AbstractSet[str]) -> bool:
    of, bracket, key = name.partition("[")
    return (f"{of}[name]" if bracket and key.endswith("]") else name) in known


async def _read_body(request: Request, limit: int) -> bytes:
    """The whole body; what is too large is read on for a while, so that the answer is seen.

    A connection that is closed with unread data is reset, and the client never gets to read why.
    """
    body = bytearray()
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limit:
                    body += chunk
                elif size > limit + _DISCARDED:
                    break
    except TimeoutError:
        raise InvalidInput(f"The body did not arrive within {_BODY_SECONDS} seconds.") from None
    if size > limit:
        raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit // MIB} MiB: send it in several smaller requests.",
        headers={"Connection": "close"},
    )


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMedia("Send the body as JSON, with `Content-Type: application/json`.")
