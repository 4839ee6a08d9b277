"""The routes of users, their tags and custom fields."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response

from flowkick.http.context import InContext, InSession
from flowkick.http.route import MAX_BATCH_BODY, ApiRoute, policy
from flowkick.storage.tenancy import TenantSession
from flowkick.users import listing, schemas, service
from flowkick.users.batch import upsert_batch
from flowkick.users.labels import FieldValue, check_name
from flowkick.users.models import AnyUser
from flowkick.users.payload import load_belongings
from flowkick.users.query import UsersQuery, query_names, query_parameters, users_query
from flowkick.users.writing import Desired

router = APIRouter(prefix="/api/admin", tags=["users"], route_class=ApiRoute)

API = "api"
UserId = Annotated[str, Path(alias="id", max_length=100)]
LabelName = Annotated[str, Path(alias="name", max_length=1000)]


async def _answer(session: TenantSession, user: AnyUser) -> dict[str, Any]:
    belongings = await load_belongings(session, [user.id])
    return {"user": schemas.shown(user, belongings[user.id])}


@router.get(
    "/users",
    operation_id="listUsers",
    response_model=schemas.UsersAnswer,
    openapi_extra={"parameters": query_parameters(UsersQuery)},
)
@policy(query=query_names(UsersQuery))
async def list_users(request: Request, session: InSession) -> Any:
    """A page of users: filtered, searched, sorted, and as much of each as asked for."""
    answer = await listing.list_users(session, users_query(request))
    # Encoded here: to check each user against the model would take longer than to find them.
    return Response(msgspec.json.encode(answer), media_type="application/json")


@router.post(
    "/users", operation_id="createUser", status_code=201, response_model=schemas.UserAnswer
)
async def create_user(body: schemas.UserInput, session: InSession, context: InContext) -> Any:
    """Add a user."""
    user = await service.create_user(session, body.desired(), source=API, now=context.clock())
    return await _answer(session, user)


@router.post("/users/batch", operation_id="batchUsers", response_model=schemas.BatchAnswer)
@policy(max_body=MAX_BATCH_BODY)
async def batch_users(body: schemas.BatchInput, session: InSession, context: InContext) -> Any:
    """Add or change up to 1,000 users by their `manychatId`."""
    results = await upsert_batch(session, body.users, source=API, now=context.clock())
    return {"results": results}


@router.get("/users/{id}", operation_id="getUser", response_model=schemas.UserAnswer)
async def get_user(user_id: UserId, session: InSession) -> Any:
    """One user."""
    return await _answer(session, await service.find_user(session, user_id))


@router.patch("/users/{id}", operation_id="updateUser", response_model=schemas.UserAnswer)
async def update_user(
    user_id: UserId, body: schemas.UserInput, session: InSession, context: InContext
) -> Any:
    """Change a user; tags are added, custom fields are set one by one."""
    return await _change(session, context, user_id, body.desired())


@router.post("/users/{id}/tags", operation_id="addTag", response_model=schemas.UserAnswer)
async def add_tag(
    user_id: UserId, body: schemas.TagInput, session: InSession, context: InContext
) -> Any:
    """Put a tag on a user; it is made where there is none of this name."""
    return await _change(session, context, user_id, Desired(tags=[body.name]))


@router.delete(
    "/users/{id}/tags/{name:path}", operation_id="removeTag", response_model=schemas.UserAnswer
)
async def remove_tag(
    user_id: UserId, name: LabelName, session: InSession, context: InContext
) -> Any:
    """Take a tag from a user; without it, nothing changes."""
    return await _change(session, context, user_id, Desired(removed_tags=[name]))


@router.put(
    "/users/{id}/custom-fields/{name:path}",
    operation_id="setCustomField",
    response_model=schemas.UserAnswer,
)
async def set_custom_field(
    user_id: UserId,
    name: LabelName,
    body: schemas.FieldValueInput,
    session: InSession,
    context: InContext,
) -> Any:
    """Set the value that a user has in a custom field; null clears it."""
    value = FieldValue(schemas.field_text(body.value), body.type)
    desired = Desired(custom_fields={check_name(name, "custom field"): value})
    return await _change(session, context, user_id, desired)


async def _change(
    session: TenantSession, context: InContext, user_id: str, desired: Desired
) -> dict[str, Any]:
    target = await service.change_user(session, user_id, desired, source=API, now=context.clock())
    return await _answer(session, target.user)
