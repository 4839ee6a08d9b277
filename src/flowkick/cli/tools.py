"""``flowkick listen``, ``trigger`` and ``verify``: for those who build a receiver."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import func, select

from flowkick.cli.common import AdminOption, AsJson, find_admin_id, open_database, run, show
from flowkick.cli.receiver import Received, Receiver, render
from flowkick.core.clock import system_clock
from flowkick.core.errors import FlowkickError, InvalidInput
from flowkick.delivery.models import WebhookDelivery
from flowkick.delivery.signing import body_signature, explain_standard, verify_body
from flowkick.webhooks import outbox
from flowkick.webhooks.catalogue import CATALOGUE, SUBSCRIBABLE
from flowkick.webhooks.outbox import Draft


class NotVerified(FlowkickError):
    """A signature does not fit."""


def _usable(secret: str) -> str:
    """A secret in either of its forms, of which a signature can be made."""
    try:
        body_signature(secret, b"")
    except ValueError:
        raise typer.BadParameter(
            "is no secret: give its 64 hex characters, or whsec_… as it was shown"
        ) from None
    return secret


def _all_usable(secrets: list[str] | None) -> list[str]:
    return [_usable(secret) for secret in secrets or []]


def listen(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen.")] = 4000,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="A subscription's secret; repeat for several.", callback=_all_usable),
    ] = None,
    status: Annotated[int, typer.Option(min=200, max=599, help="What to answer.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Receive webhooks on 127.0.0.1, verify them, and print them. Ctrl-C ends it.

    Example: flowkick listen --port 4000 --secret 5f2c…
    """

    def print_it(received: Received) -> None:
        typer.echo(_as_json(received) if as_json else f"{render(received)}\n")

    async def work() -> None:
        async with Receiver(
            port=port, secrets=secret or (), status=status, on_received=print_it
        ) as receiver:
            typer.echo(f"Listening on {receiver.url}", err=True)
            await asyncio.Event().wait()

    try:
        run(work())
    except KeyboardInterrupt:
        typer.echo("Stopped.", err=True)


def _as_json(received: Received) -> str:
    return json.dumps(
        {
            "event": received.event,
            "id": received.headers.get("webhook-id"),
            "verified": received.verified,
            "problem": received.problem,
            "repeated": received.repeated,
            "body": received.body.decode(errors="replace"),
        },
        ensure_ascii=False,
    )


def trigger(event: str, admin_name: AdminOption, as_json: AsJson = False) -> None:
    """Record the example of an event, so that it is delivered to whoever subscribed.

    Example: flowkick trigger booking.created --admin adm_…
    """
    if event not in SUBSCRIBABLE:
        raise InvalidInput(f"There is no event {event}: choose {', '.join(sorted(SUBSCRIBABLE))}.")

    async def work() -> dict[str, Any]:
        async with open_database() as database:
            admin_id = await find_admin_id(database, admin_name)
            async with database.transaction(admin_id) as session:
                draft = Draft(event, CATALOGUE[event].example_data, None, 0)
                (event_id,) = await outbox.emit(session, [draft], source="app", now=system_clock())
                count = await session.scalar(
                    select(func.count(WebhookDelivery.id)).where(
                        WebhookDelivery.event_id == event_id
                    )
                )
        return {"eventId": event_id, "event": event, "deliveries": count}

    show(run(work()), as_json=as_json)


def verify(
    secret: Annotated[str, typer.Option(help="The subscription's secret.", callback=_usable)],
    signature: Annotated[str, typer.Option(help="Of X-Webhook-Signature or webhook-signature.")],
    file: Annotated[Path, typer.Argument(help="The raw body; - reads standard input.")] = Path("-"),
    message_id: Annotated[str | None, typer.Option("--id", help="Of webhook-id.")] = None,
    timestamp: Annotated[str | None, typer.Option(help="Of webhook-timestamp.")] = None,
) -> None:
    """Check a signature: 0 where it fits, 1 where it does not.

    Example: flowkick verify --secret 5f2c… --signature 9a31… body.json
    """
    if (message_id is None) != (timestamp is None):
        raise typer.BadParameter("--id and --timestamp belong together: give both, or neither")
    body = _read(file)
    if message_id is None or timestamp is None:
        problem = _body_problem(secret, body, signature)
    else:
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature,
        }
        problem = explain_standard(secret, headers, body, system_clock())
    if problem is not None:
        raise NotVerified(problem)
    typer.echo("The signature fits.")


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    if not file.exists() or file.is_dir():
        raise typer.BadParameter(f"there is no file {file}")
    return file.read_bytes()


def _body_problem(secret: str, body: bytes, signature: str) -> str | None:
    if verify_body(secret, body, signature):
        return None
    if signature.startswith("v1,"):
        return "This is a webhook-signature: give --id and --timestamp of the same request too."
    return "The signature does not fit this body and secret: hash the raw bytes that arrived."
