"""Made-up bookings and QR codes of made-up contacts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select

from flowkick.bookings.service import create_booking
from flowkick.core.errors import Conflict
from flowkick.history.models import Tool
from flowkick.qr_codes.service import create_qr_code
from flowkick.storage.tenancy import TenantSession
from flowkick.tools.service import create_tool

_EVERY: Final = 10
_MOST: Final = 500
_TOOLS: Final = {"Table for two": "table", "Latte art class": "class", "Free coffee": "voucher"}
_FIRST_DAY: Final = datetime(2025, 11, 3, 8, tzinfo=UTC)
_SOURCE: Final = "import"


@dataclass
class Visits:
    """A booking or a QR code for one new contact in ten, 500 of each at most."""

    seed: int
    counts: Counter[str] = field(default_factory=lambda: Counter(bookings=0, qrCodes=0))

    async def add(
        self, session: TenantSession, new_users: Iterable[tuple[int, str]], now: datetime
    ) -> None:
        """Add what some of these have: numbers of contacts, the same for the same seed, and ids."""
        for number, user_id in new_users:
            if number % _EVERY == 0 and self.counts["bookings"] < _MOST:
                await self._book(session, number, user_id, now)
            if number % _EVERY == _EVERY // 2 and self.counts["qrCodes"] < _MOST:
                await self._give_code(session, number, user_id, now)

    async def _book(self, session: TenantSession, number: int, user_id: str, now: datetime) -> None:
        chance = random.Random(self.seed + number)  # noqa: S311  # made-up visits need no secrecy
        start = _FIRST_DAY + timedelta(days=chance.randrange(60), hours=chance.randrange(10))
        values = {
            "user_id": user_id,
            "tool_id": await self._tool(session, chance.choice(list(_TOOLS)[:2]), now),
            "start_time": start,
            "end_time": start + timedelta(minutes=chance.choice((30, 60, 90))),
            "status": chance.choice(("pending", "confirmed")),
            "notes": chance.choice((None, None, "A high chair, please", "Près de la fenêtre")),
        }
        await create_booking(session, values, source=_SOURCE, now=now)
        self.counts["bookings"] += 1

    async def _give_code(
        self, session: TenantSession, number: int, user_id: str, now: datetime
    ) -> None:
        values = {
            "code": f"SEED{self.seed}-{number}",
            "user_id": user_id,
            "tool_id": await self._tool(session, "Free coffee", now),
            "details": {"discount": 100},
        }
        try:
            await create_qr_code(session, values, source=_SOURCE, now=now)
        except Conflict:  # the code was given to somebody else meanwhile
            return
        self.counts["qrCodes"] += 1

    async def _tool(self, session: TenantSession, name: str, now: datetime) -> str:
        """The id of the tool of this name; it is made where there is none."""
        found = await session.scalar(select(Tool.id).where(Tool.name == name).limit(1))
        if found is not None:
            return found
        return (await create_tool(session, {"name": name, "type": _TOOLS[name]}, now)).id
