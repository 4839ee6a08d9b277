"""Connections: each has a token that may push contacts, and nothing else."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fastapi import Request
from sqlalchemy import select

from flowkick.auth.service import Principal, Scope, hash_token
from flowkick.connectors.models import Connection
from flowkick.core.errors import NotFound, Unauthenticated
from flowkick.core.ids import new_id, new_token
from flowkick.core.schemas import checked_name
from flowkick.http.context import Context
from flowkick.http.route import by_api_key
from flowkick.storage.tenancy import TenantSession

MANYCHAT: Final = "manychat"


async def create_connection(
    session: TenantSession, now: datetime, name: str
) -> tuple[Connection, str]:
    """Add a connection for ManyChat; the second value is its token, shown only here."""
    token = new_token("fkc")
    connection = Connection(
        id=new_id("con"),
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
    return Principal(found.admin_id, frozenset({Scope.WRITE}))
