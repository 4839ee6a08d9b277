"""The table of erasures."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminScoped, Base, Json, JsonOrNull


class Erasure(AdminScoped, Base):
    """One user who was erased: nothing of them but the id that they had here.

    `event_id` is the `user.deleted` that tells receivers; `removed` counts what was emptied or
    removed. Once every receiver was told, or given up, `completed_at` is set, and `receivers` keeps
    what became of each, since deliveries go by age.
    """

    __tablename__ = "Erasure"
    __table_args__ = (
        Index(None, "adminId", "createdAt", "id"),
        Index(
            None,
            "createdAt",
            sqlite_where=text('"completedAt" IS NULL'),
            postgresql_where=text('"completedAt" IS NULL'),
        ),
    )

    id: Mapped[str] = mapped_column("id", primary_key=True)
    user_id: Mapped[str] = mapped_column("userId")
    event_id: Mapped[str] = mapped_column("eventId")
    removed: Mapped[dict[str, int]] = mapped_column("removed", Json)
    receivers: Mapped[list[dict[str, Any]] | None] = mapped_column("receivers", JsonOrNull)
    created_at: Mapped[datetime] = mapped_column("createdAt")
    completed_at: Mapped[datetime | None] = mapped_column("completedAt")
