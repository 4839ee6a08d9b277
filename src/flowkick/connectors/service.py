"""Connections: each has a token that may push contacts, and nothing else."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import Request
from pydantic import StringConstraints
from sqlalchemy import select

from flowkick.auth.service import Principal, Scope, hash_token
from flowkick.connectors.manychat import only_id
from flowkick.connectors.manychat_api import ManyChatApi, NotReadError
from flowkick.connectors.models import Connection
from flowkick.core.encryption import KeyRing
from flowkick.core.errors import NotFound, Unauthenticated
from flowkick.core.ids import new_id, new_token
from flowkick.core.logs import get_logger
from flowkick.core.schemas import checked_name
from flowkick.http.context import Context
from flowkick.http.route import body_of, by_api_key
from flowkick.storage.tenancy import TenantSession
from flowkick.users.suppression import suppressed

_log = get_logger(__name__)
ApiToken = Annotated[str, StringConstraints(min_length=8, max_length=500, pattern=r"^[!-~]+$")]
"""A key of ManyChat's API, such as ``1234567:0a1b2c…``: what a header can carry."""
MANYCHAT: Final = "manychat"


def api_token_context(connection_id: str) -> str:
    """What a sealed token of ManyChat's API is bound to."""
    return f"Connection:{connection_id}:apiToken"


async def create_connection(
    session: TenantSession, keys: KeyRing, now: datetime, name: str, api_token: str | None = None
) -> tuple[Connection, str]:
    """Add a connection for ManyChat; the second value is its token, shown only here.

    With `api_token`, a key of ManyChat's API, contacts of which only the id comes are read there.
    """
    token, connection_id = new_token("fkc"), new_id("con")
    sealed = keys.seal(api_token, api_token_context(connection_id)) if api_token else None
    connection = Connection(
        id=connection_id,
        api_token=sealed,
        api_token_hint=api_token[-4:] if api_token else None,
        kind=MANYCHAT,
        name=checked_name(name, "a connection"),
        token_hash=hash_token(token),
        hint=token[-4:],
        created_at=now,
    )
    session.add(connection)
    await session.flush()
    return connection, token


async def list_connections(session: TenantSession) -> Sequence[Connection]:
    """The admin's connections, the oldest first."""
    statement = select(Connection).order_by(Connection.created_at, Connection.id)
    return (await session.scalars(statement)).all()


async def revoke_connection(
    session: TenantSession, connection_id: str, now: datetime
) -> Connection:
    """Revoke a connection's token; revoking twice changes nothing."""
    connection = await session.scalar(select(Connection).where(Connection.id == connection_id))
    if connection is None:
        raise NotFound(f"There is no connection {connection_id}.")
    connection.revoked_at = connection.revoked_at or now
    return connection


async def by_connection_token(request: Request, context: Context) -> Principal:
    """Who pushes a contact: a connection by its token, or else an API key as everywhere."""
    token = request.headers.get("x-flowkick-token")
    if token is None:
        return await by_api_key(request, context)
    token_hash = hash_token(token.strip())
    async with context.database.system_reading() as session:
        found = await session.scalar(select(Connection).where(Connection.token_hash == token_hash))
    known = found is not None and hmac.compare_digest(found.token_hash, token_hash)
    if found is None or not known or found.revoked_at is not None:
        raise Unauthenticated(
            "X-Flowkick-Token is not the token of a connection, or it was revoked: make one with"
            " POST /api/admin/connections."
        )
    request.state.connection = found
    return Principal(found.admin_id, frozenset({Scope.WRITE}))


async def read_from_manychat(request: Request, context: Context) -> None:
    """Read the contact of which only the id was pushed, before the transaction begins.

    Leaves it in ``request.state.contact``, or in ``request.state.warning`` why that failed.
    """
    connection: Connection | None = getattr(request.state, "connection", None)
    if connection is None or connection.api_token is None:
        return
    contact_id = only_id(body_of(request))
    if contact_id is None:
        return
    async with context.database.transaction(connection.admin_id) as session:
        if await suppressed(session, [contact_id]):
            return  # nobody asks who an erased person is
    api: ManyChatApi = request.app.state.manychat
    token = context.settings.key_ring.open(connection.api_token, api_token_context(connection.id))
    try:
        request.state.contact = await api.get_info(token, contact_id)
    except NotReadError as error:
        _log.warning("contact_not_read", connection_id=connection.id, reason=str(error))
        request.state.warning = f"Only the contact's id is kept: {error}."
