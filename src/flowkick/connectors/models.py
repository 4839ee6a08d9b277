"""The table of connections to outside systems."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminScoped, Base


class Connection(AdminScoped, Base):
    """An outside system that may push contacts to one admin. Only its token's SHA-256 is kept.

    `api_token` is the key of that system's own API, sealed: with it, contacts are read from there.
    """

    __tablename__ = "Connection"
    __table_args__ = (Index(None, "adminId"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    kind: Mapped[str] = mapped_column("kind")
    name: Mapped[str] = mapped_column("name")
    token_hash: Mapped[str] = mapped_column("tokenHash", unique=True)
    hint: Mapped[str] = mapped_column("hint")
    api_token: Mapped[str | None] = mapped_column("apiToken")
    api_token_hint: Mapped[str | None] = mapped_column("apiTokenHint")
    created_at: Mapped[datetime] = mapped_column("createdAt")
    revoked_at: Mapped[datetime | None] = mapped_column("revokedAt")
