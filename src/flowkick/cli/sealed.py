"""All that is stored sealed: the doctor opens it, and ``flowkick rekey`` seals it anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, select, tuple_

from flowkick.cli.common import AsJson, open_database, run, show
from flowkick.connectors.models import Connection
from flowkick.connectors.service import api_token_context
from flowkick.core.clock import system_clock
from flowkick.core.encryption import KeyRing
from flowkick.core.settings import load_settings
from flowkick.delivery.models import WebhookSubscription
from flowkick.delivery.requests import headers_context, secret_context
from flowkick.http.idempotency import answer_context
from flowkick.http.models import IdempotencyKey
from flowkick.storage.database import Database
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import SuppressionKey
from flowkick.users.suppression import key_context

_BATCH: Final = 200
Renew = Callable[[str, str], str]
"""From a sealed value and its context to what stands in its place."""


def _of_subscription(row: WebhookSubscription, renew: Renew) -> None:
    context = secret_context(row.id)
    row.secret = renew(row.secret, context)
    row.former_secrets = [
        {**former, "secret": renew(former["secret"], context)} for former in row.former_secrets
    ]
    if row.headers is not None:
        row.headers = renew(row.headers, headers_context(row.id))


def _of_answer(row: IdempotencyKey, renew: Renew) -> None:
    row.answer = renew(row.answer, answer_context(row.admin_id, row.key))


def _of_connection(row: Connection, renew: Renew) -> None:
    if row.api_token is not None:
        row.api_token = renew(row.api_token, api_token_context(row.id))


def _of_suppression(row: SuppressionKey, renew: Renew) -> None:
    row.key = renew(row.key, key_context(row.admin_id))


@dataclass(frozen=True, slots=True)
class _Place:
    """A table with sealed values, and how each of its rows is gone through."""

    model: Any
    key: tuple[Any, ...]
    renew: Callable[[Any, Renew], None]

    def rows_after(self, last: Any) -> Select[Any]:
        statement = select(self.model).order_by(*self.key).limit(_BATCH)
        if last is None:
            return statement
        return statement.where(
            tuple_(*self.key) > tuple(getattr(last, column.key) for column in self.key)
        )


_PLACES: Final = (
    _Place(WebhookSubscription, (WebhookSubscription.id,), _of_subscription),
    _Place(Connection, (Connection.id,), _of_connection),
    _Place(SuppressionKey, (SuppressionKey.admin_id,), _of_suppression),
    _Place(IdempotencyKey, (IdempotencyKey.admin_id, IdempotencyKey.key), _of_answer),
)


async def stored_seals(session: TenantSession) -> AsyncIterator[tuple[str, str]]:
    """Every sealed value, and the context that it is bound to."""
    for place in _PLACES:
        last = None
        while rows := (await session.scalars(place.rows_after(last))).all():
            last = rows[-1]
            found: list[tuple[str, str]] = []

            def note(sealed: str, context: str, found: list[tuple[str, str]] = found) -> str:
                found.append((sealed, context))
                return sealed

            for row in rows:
                session.expunge(row)  # what is only read need not be watched
                place.renew(row, note)
            for item in found:
                yield item


def rekey(as_json: AsJson = False) -> None:
    """Encrypt all stored secrets with the first key of FLOWKICK_SECRET_KEY.

    Then the former keys can be taken out of it.

    Example: FLOWKICK_SECRET_KEY=NEW,OLD flowkick rekey
    """

    async def work() -> dict[str, Any]:
        settings = load_settings()
        async with open_database(settings) as database:
            changed = await _renew_all(database, settings.key_ring)
        return {"reencrypted": changed, "at": system_clock().isoformat()}

    show(run(work()), as_json=as_json)


async def _renew_all(database: Database, keys: KeyRing) -> int:
    """Seal anew what a former key sealed, in short transactions; how many values that were."""
    changed = 0

    def renew(sealed: str, context: str) -> str:
        nonlocal changed
        if keys.is_current(sealed):
            return sealed
        changed += 1
        return keys.seal(keys.open(sealed, context), context)

    for place in _PLACES:
        last = None
        while True:
            async with database.system_transaction() as session:
                rows = (await session.scalars(place.rows_after(last).with_for_update())).all()
                for row in rows:
                    place.renew(row, renew)
            if not rows:
                break
            last = rows[-1]
    return changed
