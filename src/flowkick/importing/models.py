"""The table of imports: how far each file has come."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminScoped, Base


class UserImport(AdminScoped, Base):
    """How far the import of one file has come; written in the transaction of each batch.

    `key` stands for the file's bytes and for how they are read: the same file with other options is
    another import. `position` is the byte behind the last row that was taken, `line` its line,
    `rejects_size` the length of the file of rejected rows when the batch was written.
    """

    __tablename__ = "UserImport"
    __table_args__ = (UniqueConstraint("adminId", "key"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    key: Mapped[str] = mapped_column("key")
    position: Mapped[int] = mapped_column("position", BigInteger)
    line: Mapped[int] = mapped_column("line", BigInteger)
    rejects_size: Mapped[int] = mapped_column("rejectsSize", BigInteger)
    created: Mapped[int] = mapped_column("created", BigInteger)
    updated: Mapped[int] = mapped_column("updated", BigInteger)
    unchanged: Mapped[int] = mapped_column("unchanged", BigInteger)
    rejected: Mapped[int] = mapped_column("rejected", BigInteger)
    created_at: Mapped[datetime] = mapped_column("createdAt")
    updated_at: Mapped[datetime] = mapped_column("updatedAt")
    finished_at: Mapped[datetime | None] = mapped_column("finishedAt")
