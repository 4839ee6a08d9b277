"""What users did: tools, bookings, QR codes, interactions, conversations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowkick.storage.base import JsonOrNull, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "Tool",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("exclusive", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("updatedAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_Tool_adminId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_Tool")),
    )
    with op.batch_alter_table("Tool") as table:
        table.create_index(
            op.f("ix_Tool_adminId_createdAt_id"), ["adminId", "createdAt", "id"], unique=False
        )

    op.create_table(
        "Booking",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("userId", sa.Text(), nullable=False),
        sa.Column("toolId", sa.Text(), nullable=False),
        sa.Column("startTime", UtcDateTime(), nullable=False),
        sa.Column("endTime", UtcDateTime(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("updatedAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_Booking_adminId"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["toolId"], ["Tool.id"], name=op.f("fk_Booking_toolId"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["userId"], ["User.id"], name=op.f("fk_Booking_userId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_Booking")),
    )
    with op.batch_alter_table("Booking") as table:
        table.create_index(
            op.f("ix_Booking_adminId_startTime_id"), ["adminId", "startTime", "id"], unique=False
        )
        table.create_index(
            op.f("ix_Booking_toolId_adminId_startTime_id"),
            ["toolId", "adminId", "startTime", "id"],
            unique=False,
        )
        table.create_index(
            op.f("ix_Booking_userId_adminId_startTime_id"),
            ["userId", "adminId", "startTime", "id"],
            unique=False,
        )

    op.create_table(
        "Conversation",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("userId", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("messagesCount", sa.Integer(), nullable=False),
        sa.Column("lastMessageAt", UtcDateTime(), nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("updatedAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_Conversation_adminId"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["userId"], ["User.id"], name=op.f("fk_Conversation_userId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_Conversation")),
    )
    with op.batch_alter_table("Conversation") as table:
        table.create_index(
            op.f("ix_Conversation_adminId_createdAt_id"),
            ["adminId", "createdAt", "id"],
            unique=False,
        )
        table.create_index(
            op.f("ix_Conversation_userId_adminId_createdAt_id"),
            ["userId", "adminId", "createdAt", "id"],
            unique=False,
        )

    op.create_table(
        "InteractionHistory",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("userId", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("messagesCount", sa.Integer(), nullable=False),
        sa.Column("commentsCount", sa.Integer(), nullable=False),
        sa.Column("storiesCount", sa.Integer(), nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("updatedAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adminId"],
            ["Admin.id"],
            name=op.f("fk_InteractionHistory_adminId"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["userId"], ["User.id"], name=op.f("fk_InteractionHistory_userId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_InteractionHistory")),
        sa.UniqueConstraint("userId", "date", name=op.f("uq_InteractionHistory_userId_date")),
    )
    op.create_table(
        "QRCode",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("metadata", JsonOrNull, nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("expiresAt", UtcDateTime(), nullable=True),
        sa.Column("scannedAt", UtcDateTime(), nullable=True),
        sa.Column("scannedBy", sa.Text(), nullable=True),
        sa.Column("userId", sa.Text(), nullable=True),
        sa.Column("toolId", sa.Text(), nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("updatedAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_QRCode_adminId"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["toolId"], ["Tool.id"], name=op.f("fk_QRCode_toolId"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["userId"], ["User.id"], name=op.f("fk_QRCode_userId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_QRCode")),
        sa.UniqueConstraint("adminId", "code", name=op.f("uq_QRCode_adminId_code")),
    )
    with op.batch_alter_table("QRCode") as table:
        table.create_index(
            op.f("ix_QRCode_adminId_createdAt_id"), ["adminId", "createdAt", "id"], unique=False
        )
        table.create_index(
            op.f("ix_QRCode_toolId_adminId_createdAt_id"),
            ["toolId", "adminId", "createdAt", "id"],
            unique=False,
        )
        table.create_index(
            op.f("ix_QRCode_userId_adminId_createdAt_id"),
            ["userId", "adminId", "createdAt", "id"],
            unique=False,
        )

    op.create_table(
        "AIMessage",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("conversationId", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_AIMessage_adminId"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["conversationId"],
            ["Conversation.id"],
            name=op.f("fk_AIMessage_conversationId"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_AIMessage")),
        sa.UniqueConstraint(
            "conversationId", "number", name=op.f("uq_AIMessage_conversationId_number")
        ),
    )
