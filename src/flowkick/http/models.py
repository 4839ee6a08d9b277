"""The table of idempotency keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminScoped, Base


class IdempotencyKey(AdminScoped, Base):
    """What a request with an `Idempotency-Key` asked, and what it was answered.

    The row is written in the transaction of the change itself. The answer is encrypted, since it
    may carry a secret that is shown once.
    """

    __tablename__ = "IdempotencyKey"
    __table_args__ = (Index(None, "createdAt"),)

    admin_id: Mapped[str] = mapped_column("adminId", primary_key=True)
    key: Mapped[str] = mapped_column("key", primary_key=True)
    request_hash: Mapped[str] = mapped_column("requestHash")
    status: Mapped[int] = mapped_column("status")
    answer: Mapped[str] = mapped_column("answer")
    created_at: Mapped[datetime] = mapped_column("createdAt")
