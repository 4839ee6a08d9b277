"""The routes of connections, and the one through which ManyChat pushes contacts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Request
from pydantic import Field

from flowkick.connectors import service
from flowkick.connectors.manychat import read_contact
from flowkick.core.errors import Suppressed
from flowkick.core.schemas import ApiInput, ApiModel, Name, Success, Timestamp
from flowkick.http.context import InContext, InSession
from flowkick.http.route import ApiRoute, policy
from flowkick.users.service import upsert_users
from flowkick.users.writing import MANYCHAT

router = APIRouter(prefix="/api", tags=["connections"], route_class=ApiRoute)

ConnectionId = Annotated[str, Path(alias="id", max_length=100)]


class ConnectionInput(ApiInput):
    """A new connection."""

    name: Name = "ManyChat"
    api_token: service.ApiToken | None = Field(
        None,
        description="A key of ManyChat's API. With it, contacts of which only the id is pushed are"
        " read from ManyChat. It is stored encrypted, and never shown again.",
    )


class ConnectionShown(ApiModel):
    """A connection, without its token."""

    id: str
    kind: str
    name: str
    hint: str
    api_token_hint: str | None
    created_at: Timestamp
    revoked_at: Timestamp | None


class ConnectionAnswer(Success):
    """One connection."""

    connection: ConnectionShown


class CreatedConnectionAnswer(ConnectionAnswer):
    """A new connection with its token, which is shown only here."""

    token: str
    message: str


class ConnectionsAnswer(Success):
    """All connections."""

    connections: list[ConnectionShown]
    count: int


class ContactUser(ApiModel):
    """The user that a contact became."""

    id: str
    manychat_id: str


class ContactAnswer(Success):
    """What a pushed contact led to."""

    user: ContactUser | None = Field(description="Null for a person who was erased.")
    status: Literal["created", "updated", "unchanged", "suppressed"]
    warning: str | None = Field(
        None,
        description="Why the contact could not be read from ManyChat, where that was tried, or why"
        " it was not taken.",
    )


@router.get("/admin/connections", operation_id="listConnections", response_model=ConnectionsAnswer)
async def list_connections(session: InSession) -> Any:
    """The connections that may push contacts."""
    found = await service.list_connections(session)
    return {"connections": found, "count": len(found)}


@router.post(
    "/admin/connections",
    operation_id="createConnection",
    status_code=201,
    response_model=CreatedConnectionAnswer,
)
async def create_connection(
    session: InSession, context: InContext, body: ConnectionInput | None = None
) -> Any:
    """Make a connection; its token goes into ManyChat's External Request as X-Flowkick-Token."""
    given = body or ConnectionInput()
    connection, token = await service.create_connection(
        session, context.settings.key_ring, context.clock(), given.name, given.api_token
    )
    return {
        "connection": connection,
        "token": token,
        "message": "Send it as X-Flowkick-Token to /api/manychat/contact. It is not shown again.",
    }


@router.delete(
    "/admin/connections/{id}", operation_id="revokeConnection", response_model=ConnectionAnswer
)
async def revoke_connection(
    connection_id: ConnectionId, session: InSession, context: InContext
) -> Any:
    """Revoke a connection's token."""
    revoked = await service.revoke_connection(session, connection_id, context.clock())
    return {"connection": revoked}


@router.post("/manychat/contact", operation_id="pushManychatContact", response_model=ContactAnswer)
@policy(authenticator=service.by_connection_token, prepare=service.read_from_manychat)
async def push_contact(
    request: Request,
    body: Annotated[
        Any,
        Body(
            description="Full Contact Data, or what ManyChat's getInfo gives, nested or not.",
            openapi_examples={"small": {"value": {"subscriber_id": "1234567890"}}},
        ),
    ],
    session: InSession,
    context: InContext,
) -> Any:
    """Add or change a user as ManyChat knows it; only what changed is told on."""
    known = getattr(request.state, "contact", body)
    (target,) = await upsert_users(
        session, [read_contact(known)], source=MANYCHAT, now=context.clock()
    )
    if isinstance(target, Suppressed):
        # Not an error: ManyChat would only send it again.
        return {"user": None, "status": "suppressed", "warning": target.sentence}
    user = {"id": target.user.id, "manychat_id": target.user.manychat_id}
    warning = getattr(request.state, "warning", None)
    return {"user": user, "status": target.status, "warning": warning}
