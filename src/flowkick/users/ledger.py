"""The ledger of consents: an entry for each time that one was given or withdrawn, by any way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flowkick.core.ids import new_id
from flowkick.storage.bulk import BulkStatement
from flowkick.storage.tenancy import TenantSession
from flowkick.users.models import AnyUser, ConsentEntry

CHANGED: Final = "exportConsent.given"
"""Where a change of consent stands in an event's `changes`."""
EXPORT: Final = "export"
"""The purpose of the consent that `exportConsentGiven` tells of."""
_INSERT: Final = BulkStatement.insert(
    ConsentEntry, "id", "admin_id", "user_id", "given", "purpose", "source", "wording", "created_at"
)


@dataclass(frozen=True, slots=True)
class Consent:
    """What is known of a consent that is given or withdrawn."""

    purpose: str
    source: str
    wording: str | None = None


async def write(
    session: TenantSession,
    consents: Sequence[tuple[AnyUser, Consent | None]],
    *,
    source: str,
    now: datetime,
) -> None:
    """Add what users have consented to; who tells no more of it, came by `source`."""
    rows = []
    for user, told in consents:
        known = told or Consent(EXPORT, source)
        rows.append(
            {
                "id": new_id("cns"),
                "admin_id": session.admin_id,
                "user_id": user.id,
                "given": user.export_consent_given,
                "purpose": known.purpose,
                "source": known.source,
                "wording": known.wording,
                "created_at": now,
            }
        )
    await _INSERT.run(session, rows)
