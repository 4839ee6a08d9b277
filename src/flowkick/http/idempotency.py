"""Idempotency keys: a POST repeated under the same key is done once and answered alike.

The record is a row of the change's own transaction: two requests at once meet at its primary key,
and the later one waits for the earlier one's commit.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from fastapi import Request, Response
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from flowkick.core.encryption import KeyRing
from flowkick.core.errors import IdempotencyConflict, InvalidInput
from flowkick.http.context import Context
from flowkick.http.models import IdempotencyKey
from flowkick.storage.tenancy import TenantSession

LIFETIME: Final = timedelta(hours=24)
_MAX_KEY: Final = 255
_REPLAYED: Final = {"Idempotency-Replayed": "true"}


def answer_context(admin_id: str, key: str) -> str:
    """What a sealed answer is bound to."""
    return f"IdempotencyKey:{admin_id}:{key}:answer"


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A POST that carries an `Idempotency-Key`."""

    key: str
    request_hash: str
    context: Context

    @classmethod
    def of(cls, request: Request, body: bytes, context: Context) -> Self | None:
        """None where the request carries no key; InvalidInput where the key can't be one."""
        key = request.headers.get("idempotency-key")
        if key is None or request.method != "POST":
            return None
        if not 1 <= len(key) <= _MAX_KEY or not key.isprintable():
            raise InvalidInput(f"Idempotency-Key has 1 to {_MAX_KEY} printable characters.")
        target = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
        return cls(key, hashlib.sha256(target + body).hexdigest(), context)

    async def is_answered(self, admin_id: str) -> bool:
        """Whether this very request was answered within the key's lifetime."""
        statement = select(IdempotencyKey.key).where(
            IdempotencyKey.key == self.key,
            IdempotencyKey.request_hash == self.request_hash,
            IdempotencyKey.created_at >= self.context.clock() - LIFETIME,
        )
        async with self.context.database.reading(admin_id) as session:
            return await session.scalar(statement) is not None

    async def begin(self, session: TenantSession) -> Response | None:
        """Take the key, or give the answer that an earlier request under it got."""
        now = self.context.clock()
        await session.execute(
            delete(IdempotencyKey).where(
                IdempotencyKey.key == self.key, IdempotencyKey.created_at < now - LIFETIME
            )
        )
        try:
            async with session.begin_nested():
                row = {
                    "admin_id": session.admin_id,
                    "key": self.key,
                    "request_hash": self.request_hash,
                    "status": 0,
                    "answer": "",
                    "created_at": now,
                }
                await session.execute(insert(IdempotencyKey), [row])
        except IntegrityError:
            return await self._earlier_answer(session)
        return None

    async def finish(self, session: TenantSession, response: Response) -> None:
        """Keep the answer beside the change that it tells of."""
        encoded = base64.b64encode(bytes(response.body)).decode()
        await session.execute(
            update(IdempotencyKey)
            .where(IdempotencyKey.key == self.key)
            .values(
                status=response.status_code,
                answer=self._keys.seal(encoded, answer_context(session.admin_id, self.key)),
            )
        )

    async def _earlier_answer(self, session: TenantSession) -> Response:
        row = (
            await session.scalars(select(IdempotencyKey).where(IdempotencyKey.key == self.key))
        ).one()
        if row.request_hash != self.request_hash:
            raise IdempotencyConflict(
                "This Idempotency-Key was used for another request: choose a new key."
            )
        context = answer_context(session.admin_id, self.key)
        body = base64.b64decode(self._keys.open(row.answer, context))
        return Response(body, row.status, headers=_REPLAYED, media_type="application/json")

    @property
    def _keys(self) -> KeyRing:
        return self.context.settings.key_ring
