"""Admins and API keys: making them, listing them, revoking them, recognising them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from flowkick.auth.models import Admin, ApiKey
from flowkick.core.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from flowkick.core.ids import new_id, new_token
from flowkick.core.schemas import checked_name
from flowkick.storage.tenancy import TenantSession

_UNKNOWN_KEY = "This API key is not known: check that it was copied whole, with its fk_."


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"
    WRITE = "write"
    EXPORT = "export"


ALL_SCOPES = tuple(Scope)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: an admin, and what the key that was shown allows."""

    admin_id: str
    scopes: frozenset[str]
    key_id: str | None = None

    def require(self, scope: Scope) -> None:
        """Raise Forbidden where the key lacks `scope`."""
        if scope not in self.scopes:
            raise Forbidden(
                f"This API key lacks the scope {scope}: use one that has it, or make one with"
                f" `flowkick key create --scope {scope}`."
            )


def hash_token(token: str) -> str:
    """The SHA-256 of a token, in hex. Tokens have 256 random bits, so no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


async def create_admin(session: AsyncSession, name: str, now: datetime) -> Admin:
    """Add an admin. Its first key is made with `create_key`."""
    admin = Admin(id=new_id("adm"), name=checked_name(name, "an admin"), created_at=now)
    session.add(admin)
    await session.flush()
    return admin


async def create_key(
    session: TenantSession,
    now: datetime,
    *,
    name: str = "default",
    scopes: Sequence[str] = ALL_SCOPES,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Add a key for the session's admin; the second value is the key itself, shown only here."""
    unknown = sorted(set(scopes) - set(ALL_SCOPES))
    if unknown or not scopes:
        raise InvalidInput(
            f"Scopes are {', '.join(ALL_SCOPES)}; got {', '.join(unknown) or 'none'}."
        )
    token = new_token("fk")
    key = ApiKey(
        id=new_id("key"),
        name=checked_name(name, "an API key"),
        key_hash=hash_token(token),
        hint=token[-4:],
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=expires_at,
    )
    session.add(key)
    await session.flush()
    return key, token


async def list_keys(session: TenantSession) -> Sequence[ApiKey]:
    """The keys of the session's admin, the oldest first."""
    return (await session.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.id))).all()


async def revoke_key(session: TenantSession, key_id: str, now: datetime) -> ApiKey:
    """Revoke a key from now on; revoking twice changes nothing."""
    key = await session.scalar(select(ApiKey).where(ApiKey.id == key_id))
    if key is None:
        raise NotFound(f"There is no key {key_id}.")
    key.revoked_at = key.revoked_at or now
    return key


async def find_admin(session: AsyncSession, admin_id: str) -> Admin:
    """The admin with this id; NotFound where there is none."""
    admin = await session.get(Admin, admin_id)
    if admin is None:
        raise NotFound(f"There is no admin {admin_id}.")
    return admin


async def recognise_key(session: AsyncSession, token: str, now: datetime) -> Principal:
    """The principal of an API key; Unauthenticated where it is unknown, revoked or expired."""
    key_hash = hash_token(token)
    key = await session.scalar(select(ApiKey).where(ApiKey.key_hash == key_hash))
    if key is None or not hmac.compare_digest(key.key_hash, key_hash):
        raise Unauthenticated(_UNKNOWN_KEY)
    if key.revoked_at is not None:
        raise Unauthenticated("This API key was revoked: use another one.")
    if key.expires_at is not None and key.expires_at <= now:
        raise Unauthenticated("This API key has expired: use another one.")
    return Principal(key.admin_id, frozenset(key.scopes), key.id)


async def recognise_admin(session: AsyncSession, admin_id: str) -> Principal:
    """The principal of an `X-Admin-ID` that a gateway vouches for."""
    if await session.get(Admin, admin_id) is None:
        raise Unauthenticated("X-Admin-ID names no admin: see `flowkick admin create`.")
    return Principal(admin_id, frozenset(ALL_SCOPES))


async def lock_admin(session: TenantSession) -> None:
    """Let one transaction of the session's admin go on from here at a time, until it commits.

    Not FOR UPDATE, for which all would wait that write anything of this admin.
    """
    mine = select(Admin.id).where(Admin.id == session.admin_id)
    await session.execute(mine.with_for_update(key_share=True))
