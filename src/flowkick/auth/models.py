"""The tables of admins and API keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from flowkick.storage.base import AdminScoped, Base, Json


class Admin(Base):
    """A business: the tenant that everything else belongs to."""

    __tablename__ = "Admin"

    id: Mapped[str] = mapped_column("id", primary_key=True)
    name: Mapped[str] = mapped_column("name")
    created_at: Mapped[datetime] = mapped_column("createdAt")


class ApiKey(AdminScoped, Base):
    """An API key of one admin. Only the key's SHA-256 is kept."""

    __tablename__ = "ApiKey"
    __table_args__ = (Index(None, "adminId"),)

    id: Mapped[str] = mapped_column("id", primary_key=True)
    name: Mapped[str] = mapped_column("name")
    key_hash: Mapped[str] = mapped_column("keyHash", unique=True)
    hint: Mapped[str] = mapped_column("hint")
    scopes: Mapped[list[str]] = mapped_column("scopes", Json)
    created_at: Mapped[datetime] = mapped_column("createdAt")
    expires_at: Mapped[datetime | None] = mapped_column("expiresAt")
    revoked_at: Mapped[datetime | None] = mapped_column("revokedAt")
