"""The relay: connections, mails, deliveries, statistics, quota."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "relay_plan",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("period_days", sa.Integer(), nullable=False),
        sa.Column("price", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("unit_price", sa.Numeric(precision=10, scale=6), nullable=False),
        sa.Column("is_offered", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relay_plan")),
    )
    op.create_table(
        "relay_account",
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("next_plan_id", sa.BigInteger(), nullable=True),
        sa.Column("renews", sa.Boolean(), nullable=False),
        sa.Column("period_began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=True),
        sa.Column("is_below", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_relay_account_merchant_id")
        ),
        sa.ForeignKeyConstraint(
            ["next_plan_id"], ["relay_plan.id"], name=op.f("fk_relay_account_next_plan_id")
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["relay_plan.id"], name=op.f("fk_relay_account_plan_id")
        ),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_relay_account")),
    )
    op.create_table(
        "relay_connection",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("user_name", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("old_password_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("old_password_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("keep_content_days", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=320), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_relay_connection_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relay_connection")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_relay_connection_merchant_id_id")),
        sa.UniqueConstraint("user_name", name=op.f("uq_relay_connection_user_name")),
    )
    op.create_table(
        "relay_entry",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("mails", sa.Integer(), nullable=False),
        sa.Column("price", sa.Numeric(precision=16, scale=3), nullable=True),
        sa.Column("period_began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("words", sa.String(length=200), nullable=False),
        sa.Column("actor", sa.String(length=320), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_relay_entry_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relay_entry")),
    )
    op.create_index(
        "ix_relay_entry_merchant_id", "relay_entry", ["merchant_id", "id"], unique=False
    )
    op.create_index(
        "ix_relay_entry_use",
        "relay_entry",
        ["merchant_id", "period_began_at", "day"],
        unique=True,
        postgresql_where=sa.text("kind = 'use'"),
    )
    op.create_table(
        "relay_domain",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("sending_domain_id", sa.BigInteger(), nullable=False),
        sa.Column("list_help", sa.String(length=500), nullable=True),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["relay_connection.merchant_id", "relay_connection.id"],
            name=op.f("fk_relay_domain_merchant_id_connection_id"),
        ),
        sa.ForeignKeyConstraint(
            ["sending_domain_id"],
            ["sending_domain.id"],
            name=op.f("fk_relay_domain_sending_domain_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relay_domain")),
        sa.UniqueConstraint(
            "connection_id",
            "sending_domain_id",
            name=op.f("uq_relay_domain_connection_id_sending_domain_id"),
        ),
    )
    op.create_table(
        "relay_message",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("origin", sa.String(length=8), nullable=False),
        sa.Column("client_address", sa.String(length=45), nullable=False),
        sa.Column("client_name", sa.String(length=255), nullable=False),
        sa.Column("sender", sa.String(length=320), nullable=False),
        sa.Column("header_from", sa.String(length=320), nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message_id", sa.String(length=998), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("resent_from_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["relay_connection.merchant_id", "relay_connection.id"],
            name=op.f("fk_relay_message_merchant_id_connection_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relay_message")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_relay_message_merchant_id_id")),
    )
    op.create_index(
        "ix_relay_message_content",
        "relay_message",
        ["connection_id", "received_at"],
        unique=False,
        postgresql_where=sa.text("content IS NOT NULL"),
    )
    op.create_index(
        "ix_relay_message_merchant_id_received_at",
        "relay_message",
        ["merchant_id", "received_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_relay_message_message_id", "relay_message", ["merchant_id", "message_id"], unique=False
    )
    op.create_table(
        "relay_stat",
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("deferred", sa.Integer(), nullable=False),
        sa.Column("bounced", sa.Integer(), nullable=False),
        sa.Column("complained", sa.Integer(), nullable=False),
        sa.Column("suppressed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"], ["relay_connection.id"], name=op.f("fk_relay_stat_connection_id")
        ),
        sa.PrimaryKeyConstraint("connection_id", "domain", "hour", name=op.f("pk_relay_stat")),
    )
    op.create_index(op.f("ix_relay_stat_merchant_id"), "relay_stat", ["merchant_id"], unique=False)
    op.create_table(
        "relay_delivery",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("relay_message_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("failure", sa.String(length=24), nullable=True),
        sa.Column("smtp_response", sa.Text(), nullable=True),
        sa.Column("sent_via", sa.String(length=253), nullable=True),
        sa.Column("delivery", sa.String(length=16), nullable=True),
        sa.Column("delivery_words", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "relay_message_id"],
            ["relay_message.merchant_id", "relay_message.id"],
            name=op.f("fk_relay_delivery_merchant_id_relay_message_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relay_delivery")),
        sa.UniqueConstraint(
            "relay_message_id",
            "recipient",
            name=op.f("uq_relay_delivery_relay_message_id_recipient"),
        ),
    )
    op.create_index(
        "ix_relay_delivery_due",
        "relay_delivery",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_relay_delivery_merchant_id_status",
        "relay_delivery",
        ["merchant_id", "status", "id"],
        unique=False,
    )
    op.create_index(
        "ix_relay_delivery_recipient",
        "relay_delivery",
        ["merchant_id", sa.literal_column("lower(recipient)"), "id"],
        unique=False,
    )
    op.create_index(
        "ix_relay_delivery_running",
        "relay_delivery",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "relay_event",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("is_counted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["relay_delivery.id"],
            name=op.f("fk_relay_event_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relay_event")),
    )
    op.create_index(
        "ix_relay_event_delivery_id", "relay_event", ["delivery_id", "id"], unique=False
    )
    op.create_index(
        "ix_relay_event_uncounted",
        "relay_event",
        ["id"],
        unique=False,
        postgresql_where=sa.text("NOT is_counted"),
    )

    # Mails are mostly base64: trying to compress megabytes of it costs time and saves nothing.
    op.execute("ALTER TABLE relay_message ALTER COLUMN content SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_index(
        "ix_relay_event_uncounted",
        table_name="relay_event",
        postgresql_where=sa.text("NOT is_counted"),
    )
    op.drop_index("ix_relay_event_delivery_id", table_name="relay_event")
    op.drop_table("relay_event")
    op.drop_index(
        "ix_relay_delivery_running",
        table_name="relay_delivery",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index("ix_relay_delivery_recipient", table_name="relay_delivery")
    op.drop_index("ix_relay_delivery_merchant_id_status", table_name="relay_delivery")
    op.drop_index(
        "ix_relay_delivery_due",
        table_name="relay_delivery",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_table("relay_delivery")
    op.drop_index(op.f("ix_relay_stat_merchant_id"), table_name="relay_stat")
    op.drop_table("relay_stat")
    op.drop_index("ix_relay_message_message_id", table_name="relay_message")
    op.drop_index("ix_relay_message_merchant_id_received_at", table_name="relay_message")
    op.drop_index(
        "ix_relay_message_content",
        table_name="relay_message",
        postgresql_where=sa.text("content IS NOT NULL"),
    )
    op.drop_table("relay_message")
    op.drop_table("relay_domain")
    op.drop_index(
        "ix_relay_entry_use", table_name="relay_entry", postgresql_where=sa.text("kind = 'use'")
    )
    op.drop_index("ix_relay_entry_merchant_id", table_name="relay_entry")
    op.drop_table("relay_entry")
    op.drop_table("relay_connection")
    op.drop_table("relay_account")
    op.drop_table("relay_plan")
