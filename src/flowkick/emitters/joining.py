"""How an emitter joins its caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from flowkick.core.clock import isoformat
from flowkick.storage.dialects import is_sqlite
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import User
from flowkick.webhooks.payloads import Change

SOURCE: Final = "app"
Changes = Mapping[str, Mapping[str, Any]]
"""Fields that changed: ``{field: {"old": …, "new": …}}``."""


@asynccontextmanager
async def joined(session: AsyncSession, admin_id: str) -> AsyncIterator[TenantSession]:
    """A session of ours, bound to the admin, inside the caller's transaction.

    SQLite's driver begins a transaction with its first write, and no row can be locked: a write
    that changes nothing makes sure that what is read next is what is still so at the commit.
    """
    await session.flush()
    connection = await session.connection()
    async with TenantSession(connection, admin_id, join=True) as ours:
        if is_sqlite(ours):
            await ours.execute(
                update(User).where(User.id == "").values(sequence=User.sequence),
                execution_options={"synchronize_session": False},
            )
        yield ours
        await ours.flush()


def told(changes: Changes) -> dict[str, Change]:
    """The changes as an event tells them; entries whose values are equal are left out."""
    return {
        name: Change(_plain(change["old"]), _plain(change["new"]))
        for name, change in changes.items()
        if change["old"] != change["new"]
    }


def _plain(value: Any) -> Any:
    return isoformat(value) if isinstance(value, datetime) else value
