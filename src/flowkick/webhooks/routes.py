"""The routes of subscriptions and their deliveries."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import StringConstraints

from flowkick.core.schemas import Done, InstantQuery
from flowkick.delivery.client import OutcomeKind
from flowkick.delivery.models import WebhookSubscription
from flowkick.delivery.signing import signing_secret
from flowkick.delivery.states import DeliveryState
from flowkick.http.context import Caller, Context, InContext, InSession
from flowkick.http.route import ApiRoute, body_as, policy
from flowkick.webhooks import deliveries, manual, schemas, service
from flowkick.webhooks.catalogue import CATALOGUE

router = APIRouter(prefix="/api/admin", tags=["webhooks"], route_class=ApiRoute)

WebhookId = Annotated[str, Path(alias="id", max_length=100)]
DeliveryId = Annotated[str, Path(alias="id", max_length=100)]
_LAST_DELIVERIES = 50
_SAVE_THE_SECRET = "Save the secret: it is not shown again."  # noqa: S105  # a sentence


def _shown(subscription: WebhookSubscription, **more: Any) -> dict[str, Any]:
    values = {column.key: getattr(subscription, column.key) for column in _COLUMNS}
    headers = dict.fromkeys(subscription.header_names, schemas.MASK)
    return {**values, "headers": headers, **more}


_HIDDEN = frozenset({"secret", "former_secrets", "headers", "header_names"})
_COLUMNS = [
    attribute
    for attribute in WebhookSubscription.__mapper__.column_attrs
    if attribute.key not in _HIDDEN
]


@router.get("/webhooks", operation_id="listWebhooks", response_model=schemas.WebhooksAnswer)
async def list_webhooks(session: InSession) -> Any:
    """All webhook subscriptions, the newest first."""
    found = await service.list_subscriptions(session)
    return {"webhooks": [_shown(row) for row in found], "count": len(found)}


@router.get("/webhooks/events", operation_id="listEvents", response_model=schemas.EventsAnswer)
async def list_events() -> Any:
    """The catalogue of events, each with its JSON Schema and an example."""
    events = [type_.description_for_api() for type_ in CATALOGUE.values()]
    return {"events": events, "count": len(events)}


async def _check_new_target(request: Request, context: Context) -> None:
    """Look the url's host up before the transaction: a name server may take its time."""
    if (body := body_as(request, schemas.WebhookInput)) is not None:
        await service.check_target(context.guard, body.url)


async def _check_changed_target(request: Request, context: Context) -> None:
    body = body_as(request, schemas.WebhookPatch)
    if body is not None and "url" in body.model_fields_set:
        await service.check_target(context.guard, body.url)


@router.post(
    "/webhooks",
    operation_id="createWebhook",
    status_code=201,
    response_model=schemas.WebhookSecretAnswer,
)
@policy(prepare=_check_new_target)
async def create_webhook(body: schemas.WebhookInput, session: InSession, context: InContext) -> Any:
    """Subscribe an endpoint to events. The answer carries the secret, once."""
    created, secret = await service.create_subscription(
        session, context.settings.key_ring, body.model_dump(), context.clock()
    )
    return {
        "webhook": _shown(created, secret=secret, signing_secret=signing_secret(secret)),
        "message": f"Webhook created. {_SAVE_THE_SECRET}",
    }


@router.get("/webhooks/{id}", operation_id="getWebhook", response_model=schemas.WebhookDetailAnswer)
async def get_webhook(webhook_id: WebhookId, session: InSession) -> Any:
    """One subscription with its last 50 deliveries."""
    found = await service.find_subscription(session, webhook_id)
    last, _ = await deliveries.list_deliveries(session, webhook_id, limit=_LAST_DELIVERIES)
    return {"webhook": _shown(found, deliveries=last)}


@router.patch("/webhooks/{id}", operation_id="updateWebhook", response_model=schemas.PatchedAnswer)
@policy(prepare=_check_changed_target)
async def update_webhook(
    webhook_id: WebhookId, body: schemas.WebhookPatch, session: InSession, context: InContext
) -> Any:
    """Change any of a subscription's fields; deactivating holds what waits."""
    changed, released, discarded = await service.change_subscription(
        session, context.settings.key_ring, webhook_id, body.sent(), context.clock()
    )
    return {"webhook": _shown(changed), "released": released, "discarded": discarded}


@router.delete("/webhooks/{id}", operation_id="deleteWebhook", response_model=Done)
async def delete_webhook(webhook_id: WebhookId, session: InSession, context: InContext) -> Any:
    """Delete a subscription; its pending deliveries end."""
    deleted = await service.delete_subscription(session, webhook_id, context.clock())
    return {"message": f"Webhook {deleted.name} was deleted."}


@router.post("/webhooks/{id}/test", operation_id="testWebhook", response_model=schemas.TestAnswer)
@policy(transaction=False)
async def test_webhook(webhook_id: WebhookId, caller: Caller, context: InContext) -> Any:
    """Send `webhook.test` now, and wait for what comes of it."""
    outcome = await manual.send_test(context, caller.admin_id, webhook_id)
    result = {
        "sent": outcome.kind is not OutcomeKind.REFUSED,
        "status": "delivered" if outcome.success else "failed",
        "status_code": outcome.status_code,
        "response_time": outcome.duration_ms,
        "error": outcome.error_message,
    }
    message = "The test was delivered." if outcome.success else "The test was not delivered."
    return {"test": result, "message": message}


@router.post(
    "/webhooks/{id}/rotate-secret",
    operation_id="rotateWebhookSecret",
    response_model=schemas.WebhookSecretAnswer,
)
async def rotate_webhook_secret(
    webhook_id: WebhookId,
    session: InSession,
    context: InContext,
    body: schemas.RotateInput | None = None,
) -> Any:
    """Make a new secret; former ones go on to sign beside it for a while."""
    overlap = timedelta(hours=24 if body is None else body.overlap_hours)
    changed, secret = await service.rotate_secret(
        session, context.settings.key_ring, webhook_id, overlap, context.clock()
    )
    until = [former["until"] for former in changed.former_secrets]
    both = f"Former secrets sign beside it, the last until {max(until)}. " if until else ""
    return {
        "webhook": _shown(changed, secret=secret, signing_secret=signing_secret(secret)),
        "message": f"{both}{_SAVE_THE_SECRET}",
    }


@router.get(
    "/webhooks/{id}/deliveries",
    operation_id="listDeliveries",
    response_model=schemas.DeliveriesAnswer,
)
async def list_webhook_deliveries(  # noqa: PLR0917  # each is a query parameter
    webhook_id: WebhookId,
    session: InSession,
    status: DeliveryState | None = None,
    event: Annotated[str | None, StringConstraints(max_length=100)] = None,
    since: InstantQuery = None,
    until: InstantQuery = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, StringConstraints(max_length=100)] = None,
) -> Any:
    """The log of deliveries, the newest first."""
    await service.find_subscription(session, webhook_id)
    filters = deliveries.Filters(status, event, since, until)
    page, next_cursor = await deliveries.list_deliveries(
        session, webhook_id, limit=limit, filters=filters, cursor=cursor
    )
    pagination = {
        "limit": limit,
        "has_more": next_cursor is not None,
        "next_cursor": next_cursor,
    }
    return {"deliveries": page, "pagination": pagination}


@router.get("/deliveries/{id}", operation_id="getDelivery", response_model=schemas.DeliveryAnswer)
async def get_delivery(delivery_id: DeliveryId, session: InSession) -> Any:
    """One delivery with every attempt."""
    number = deliveries.parse_delivery_id(delivery_id)
    return {"delivery": await deliveries.delivery_with_attempts(session, number)}


@router.post(
    "/deliveries/{id}/resend",
    operation_id="resendDelivery",
    response_model=schemas.ResendAnswer,
)
@policy(transaction=False)
async def resend_delivery(delivery_id: DeliveryId, caller: Caller, context: InContext) -> Any:
    """Send the same bytes and id once more, beside the automatic schedule."""
    number = deliveries.parse_delivery_id(delivery_id)
    attempt = await manual.resend(context, caller.admin_id, number)
    delivered = attempt["status"] == "success"
    message = "It was delivered." if delivered else "It was not delivered."
    return {"attempt": attempt, "message": message}
