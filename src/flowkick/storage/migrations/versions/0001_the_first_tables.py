"""The first tables: admins, keys, users, subscriptions, events, deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowkick.storage.base import BigId, BinaryText, Json, UtcDateTime
from flowkick.storage.migrations import user_search

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "Admin",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_Admin")),
    )
    op.create_table(
        "IdempotencyKey",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("requestHash", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("adminId", "key", name=op.f("pk_IdempotencyKey")),
    )
    with op.batch_alter_table("IdempotencyKey") as table:
        table.create_index(op.f("ix_IdempotencyKey_createdAt"), ["createdAt"], unique=False)

    op.create_table(
        "WebhookAttempt",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.Column("deliveryId", BigId, nullable=False),
        sa.Column("subscriptionId", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("statusCode", sa.Integer(), nullable=True),
        sa.Column("responseBody", sa.Text(), nullable=True),
        sa.Column("errorMessage", sa.Text(), nullable=True),
        sa.Column("durationMs", sa.Integer(), nullable=False),
        sa.Column("sentAt", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_WebhookAttempt")),
    )
    with op.batch_alter_table("WebhookAttempt") as table:
        table.create_index(
            op.f("ix_WebhookAttempt_deliveryId_attempt"), ["deliveryId", "attempt"], unique=True
        )

    op.create_table(
        "WebhookDelivery",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.Column("subscriptionId", sa.Text(), nullable=False),
        sa.Column("eventId", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lastAttempt", sa.Integer(), nullable=False),
        sa.Column("dueAt", UtcDateTime(), nullable=True),
        sa.Column("leaseId", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("finishedAt", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_WebhookDelivery")),
    )
    with op.batch_alter_table("WebhookDelivery") as table:
        table.create_index(
            "ix_WebhookDelivery_dueAt",
            ["subscriptionId", "dueAt", "id"],
            unique=False,
            sqlite_where=sa.text('"dueAt" IS NOT NULL'),
            postgresql_where=sa.text('"dueAt" IS NOT NULL'),
        )
        table.create_index(op.f("ix_WebhookDelivery_eventId"), ["eventId"], unique=False)
        table.create_index(
            "ix_WebhookDelivery_held",
            ["subscriptionId"],
            unique=False,
            sqlite_where=sa.text("status = 'held'"),
            postgresql_where=sa.text("status = 'held'"),
        )
        table.create_index(
            op.f("ix_WebhookDelivery_subscriptionId_id"), ["subscriptionId", "id"], unique=False
        )

    op.create_table(
        "WebhookEvent",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("userId", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_WebhookEvent")),
    )
    with op.batch_alter_table("WebhookEvent") as table:
        table.create_index(
            op.f("ix_WebhookEvent_adminId_createdAt"), ["adminId", "createdAt"], unique=False
        )
        table.create_index(op.f("ix_WebhookEvent_userId"), ["userId"], unique=False)

    op.create_table(
        "ApiKey",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("keyHash", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", Json, nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("expiresAt", UtcDateTime(), nullable=True),
        sa.Column("revokedAt", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_ApiKey_adminId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ApiKey")),
        sa.UniqueConstraint("keyHash", name=op.f("uq_ApiKey_keyHash")),
    )
    with op.batch_alter_table("ApiKey") as table:
        table.create_index(op.f("ix_ApiKey_adminId"), ["adminId"], unique=False)

    op.create_table(
        "Connection",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tokenHash", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("apiToken", sa.Text(), nullable=True),
        sa.Column("apiTokenHint", sa.Text(), nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("revokedAt", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_Connection_adminId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_Connection")),
        sa.UniqueConstraint("tokenHash", name=op.f("uq_Connection_tokenHash")),
    )
    with op.batch_alter_table("Connection") as table:
        table.create_index(op.f("ix_Connection_adminId"), ["adminId"], unique=False)

    op.create_table(
        "CustomField",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("manychatFieldId", sa.Text(), nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_CustomField_adminId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_CustomField")),
        sa.UniqueConstraint("adminId", "name", name=op.f("uq_CustomField_adminId_name")),
    )
    op.create_table(
        "Tag",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("nameKey", sa.Text(), nullable=False),
        sa.Column("manychatTagId", sa.Text(), nullable=True),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_Tag_adminId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_Tag")),
        sa.UniqueConstraint("adminId", "nameKey", name=op.f("uq_Tag_adminId_nameKey")),
    )
    op.create_table(
        "User",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("manychatId", sa.Text(), nullable=True),
        sa.Column("instagramId", sa.Text(), nullable=True),
        sa.Column("igUsername", sa.Text(), nullable=True),
        sa.Column("firstName", sa.Text(), nullable=True),
        sa.Column("lastName", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("whatsappPhone", sa.Text(), nullable=True),
        sa.Column("profilePic", sa.Text(), nullable=True),
        sa.Column("gender", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("subscribedAt", UtcDateTime(), nullable=True),
        sa.Column("optedInMessenger", sa.Boolean(), nullable=False),
        sa.Column("optedInInstagram", sa.Boolean(), nullable=False),
        sa.Column("optedInWhatsapp", sa.Boolean(), nullable=False),
        sa.Column("optedInTelegram", sa.Boolean(), nullable=False),
        sa.Column("exportConsentGiven", sa.Boolean(), nullable=False),
        sa.Column("exportConsentAt", UtcDateTime(), nullable=True),
        sa.Column("lastSyncedAt", UtcDateTime(), nullable=True),
        sa.Column("messagesCount", sa.Integer(), nullable=False),
        sa.Column("commentsCount", sa.Integer(), nullable=False),
        sa.Column("storiesCount", sa.Integer(), nullable=False),
        sa.Column("interactionsUpdatedAt", UtcDateTime(), nullable=True),
        sa.Column("bookingsCount", sa.Integer(), nullable=False),
        sa.Column("qrCodesCount", sa.Integer(), nullable=False),
        sa.Column("qrScansCount", sa.Integer(), nullable=False),
        sa.Column("conversationsCount", sa.Integer(), nullable=False),
        sa.Column("lastBookingAt", UtcDateTime(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("updatedAt", UtcDateTime(), nullable=False),
        sa.Column("firstNameKey", BinaryText, nullable=False),
        sa.Column("lastNameKey", BinaryText, nullable=False),
        sa.Column("searchText", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_User_adminId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_User")),
        sa.UniqueConstraint("adminId", "manychatId", name=op.f("uq_User_adminId_manychatId")),
    )
    with op.batch_alter_table("User") as table:
        table.create_index(
            op.f("ix_User_adminId_createdAt_id"), ["adminId", "createdAt", "id"], unique=False
        )
        table.create_index(
            op.f("ix_User_adminId_updatedAt_id"), ["adminId", "updatedAt", "id"], unique=False
        )
        table.create_index(
            op.f("ix_User_adminId_firstNameKey_id"), ["adminId", "firstNameKey", "id"], unique=False
        )
        table.create_index(
            op.f("ix_User_adminId_lastNameKey_id"), ["adminId", "lastNameKey", "id"], unique=False
        )
    op.create_table(
        "UserCount",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("users", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("adminId", "share", name=op.f("pk_UserCount")),
    )
    user_search.create(op.get_bind())

    op.create_table(
        "UserImport",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("rejectsSize", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("unchanged", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("updatedAt", UtcDateTime(), nullable=False),
        sa.Column("finishedAt", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["adminId"], ["Admin.id"], name=op.f("fk_UserImport_adminId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_UserImport")),
        sa.UniqueConstraint("adminId", "key", name=op.f("uq_UserImport_adminId_key")),
    )

    op.create_table(
        "WebhookSubscription",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("events", Json, nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("secretHint", sa.Text(), nullable=False),
        sa.Column("formerSecrets", Json, nullable=False),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("headerNames", Json, nullable=False),
        sa.Column("retryAttempts", sa.Integer(), nullable=False),
        sa.Column("retryDelay", sa.Integer(), nullable=False),
        sa.Column("timeoutMs", sa.Integer(), nullable=False),
        sa.Column("autoDisableAfter", sa.Integer(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("disabledReason", sa.Text(), nullable=True),
        sa.Column("lastDeliveryAt", UtcDateTime(), nullable=True),
        sa.Column("lastDeliveryStatus", sa.Text(), nullable=True),
        sa.Column("successCount", sa.Integer(), nullable=False),
        sa.Column("failedCount", sa.Integer(), nullable=False),
        sa.Column("consecutiveFailures", sa.Integer(), nullable=False),
        sa.Column("createdAt", UtcDateTime(), nullable=False),
        sa.Column("updatedAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adminId"],
            ["Admin.id"],
            name=op.f("fk_WebhookSubscription_adminId"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_WebhookSubscription")),
    )
    with op.batch_alter_table("WebhookSubscription") as table:
        table.create_index(
            op.f("ix_WebhookSubscription_adminId_createdAt"), ["adminId", "createdAt"], unique=False
        )

    op.create_table(
        "ContactTag",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("userId", sa.Text(), nullable=False),
        sa.Column("tagId", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("appliedAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tagId"], ["Tag.id"], name=op.f("fk_ContactTag_tagId"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["userId"], ["User.id"], name=op.f("fk_ContactTag_userId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ContactTag")),
        sa.UniqueConstraint("userId", "tagId", name=op.f("uq_ContactTag_userId_tagId")),
    )
    with op.batch_alter_table("ContactTag") as table:
        table.create_index(op.f("ix_ContactTag_tagId_userId"), ["tagId", "userId"], unique=False)

    op.create_table(
        "CustomFieldValue",
        sa.Column("adminId", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("userId", sa.Text(), nullable=False),
        sa.Column("fieldId", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("valueKey", sa.Text(), nullable=True),
        sa.Column("updatedAt", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["fieldId"],
            ["CustomField.id"],
            name=op.f("fk_CustomFieldValue_fieldId"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["userId"], ["User.id"], name=op.f("fk_CustomFieldValue_userId"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_CustomFieldValue")),
        sa.UniqueConstraint("userId", "fieldId", name=op.f("uq_CustomFieldValue_userId_fieldId")),
    )
    with op.batch_alter_table("CustomFieldValue") as table:
        table.create_index(
            op.f("ix_CustomFieldValue_fieldId_valueKey_userId"),
            ["fieldId", "valueKey", "userId"],
            unique=False,
        )
