"""The table of marks: how far each sweep has come for good, and whose turn it is."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import Base


class RetentionMark(Base):
    """`position` is the id up to which a sweep has nothing left to do; it belongs to no admin."""

    __tablename__ = "RetentionMark"

    name: Mapped[str] = mapped_column("name", primary_key=True)
    position: Mapped[str] = mapped_column("position")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")
