"""Who was erased, remembered by a keyed hash of the manychatId alone.

The key is the admin's own, random and sealed with the master key: who has the database without the
master key can't even try out ids, and a new master key changes no hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select

from flowkick.core.encryption import KeyRing
from flowkick.core.errors import Suppressed
from flowkick.storage.dialects import among, insert_or_ignore
from flowkick.storage.tenancy import KEY_RING, TenantSession
from flowkick.users.models import Suppression, SuppressionKey

_KEY_BYTES: Final = 32


def key_context(admin_id: str) -> str:
    """What a sealed key is bound to."""
    return f"SuppressionKey:{admin_id}:key"


def refusal() -> Suppressed:
    """Why somebody is not taken in."""
    return Suppressed(
        "This person was erased and is not brought back: send exportConsentGiven true once they"
        " have consented anew, with exportConsentAt where that was at another time."
    )


async def suppress(session: TenantSession, manychat_id: str, *, now: datetime) -> None:
    """Remember that this person was erased."""
    if await _key(session) is None:
        context = key_context(session.admin_id)
        sealed = _ring(session).seal(secrets.token_hex(_KEY_BYTES), context)
        row = {"admin_id": session.admin_id, "key": sealed}
        await session.execute(insert_or_ignore(session, SuppressionKey), [row])
    (hashed,) = await _hashes(session, [manychat_id])
    row_of = {"admin_id": session.admin_id, "hash": hashed, "created_at": now}
    await session.execute(insert_or_ignore(session, Suppression), [row_of])


async def suppressed(session: TenantSession, manychat_ids: Sequence[str]) -> dict[str, datetime]:
    """Which of these people were erased, and when."""
    if not manychat_ids or not (hashes := await _hashes(session, manychat_ids)):
        return {}
    model = Suppression
    chosen = select(model.hash, model.created_at)
    rows = await session.execute(chosen.where(among(session, model.hash, list(hashes))))
    return {hashes[hashed]: at for hashed, at in rows}


async def lift(session: TenantSession, manychat_ids: Sequence[str]) -> None:
    """Forget that these people were erased: they consented anew."""
    if not manychat_ids:
        return
    hashes = await _hashes(session, manychat_ids)
    await session.execute(
        delete(Suppression).where(among(session, Suppression.hash, list(hashes))),
        execution_options={"synchronize_session": False},
    )


async def _key(session: TenantSession) -> bytes | None:
    sealed = await session.scalar(select(SuppressionKey.key))
    if sealed is None:
        return None
    return bytes.fromhex(_ring(session).open(sealed, key_context(session.admin_id)))


def _ring(session: TenantSession) -> KeyRing:
    get: Callable[[], KeyRing] = session.info[KEY_RING]
    return get()


async def _hashes(session: TenantSession, manychat_ids: Sequence[str]) -> dict[str, str]:
    """The ids by their hashes; none where the admin never erased anybody."""
    if (key := await _key(session)) is None:
        return {}
    return {
        hmac.new(key, manychat_id.encode(), hashlib.sha256).hexdigest(): manychat_id
        for manychat_id in manychat_ids
    }
