"""The base of all models, and the column types that both databases share."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, ForeignKey, Integer, MetaData, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import JSON, TypeDecorator, TypeEngine

from flowkick.core.clock import isoformat, parse_iso


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment: ``timestamptz`` on PostgreSQL, sortable ISO 8601 text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(24))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return isoformat(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value  # type: ignore[no-any-return]  # asyncpg gives aware datetimes
        return parse_iso(value)


Json = JSON().with_variant(JSONB(), "postgresql")
"""A JSON document: text on SQLite, ``jsonb`` on PostgreSQL."""

JsonOrNull = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""As `Json`, where None is SQL's NULL rather than JSON's null."""

BigId = BigInteger().with_variant(Integer(), "sqlite")
"""A number that the database hands out; SQLite's rowid wants the plain INTEGER."""


BinaryText = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that sorts by its code points on both databases, whatever the locale."""


class Base(DeclarativeBase):
    """The base of all models. Columns carry camelCase names, attributes snake_case ones."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: UtcDateTime, str: Text}


class AdminScoped:
    """A table whose rows belong to one admin; sessions scope every query of it by `admin_id`."""

    admin_id: Mapped[str] = mapped_column(
        "adminId", ForeignKey("Admin.id", ondelete="CASCADE"), sort_order=-1
    )


class AdminPart(AdminScoped):
    """Like `AdminScoped`, without the foreign key: for rows written thousands a second.

    The key would cost one look-up a row. Such rows go by age, or with the row that they are part
    of.
    """

    admin_id: Mapped[str] = mapped_column("adminId", sort_order=-1)
