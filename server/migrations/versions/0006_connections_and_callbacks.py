"""Shops that Kontor visits itself, and callbacks to a merchant's own addresses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "callback_url",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=True),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        sa.Column("old_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=320), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("off_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("off_because", sa.String(length=8), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shop_id"],
            ["shop.merchant_id", "shop.id"],
            name=op.f("fk_callback_url_merchant_id_shop_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_callback_url_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_callback_url")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_callback_url_merchant_id_id")),
    )
    op.create_table(
        "order_hint",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shop_id"],
            ["shop.merchant_id", "shop.id"],
            name=op.f("fk_order_hint_merchant_id_shop_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_order_hint_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_hint")),
        sa.UniqueConstraint(
            "shop_id", "external_id", name=op.f("uq_order_hint_shop_id_external_id")
        ),
    )
    op.create_index(
        "ix_order_hint_shop_id_failures", "order_hint", ["shop_id", "failures", "id"], unique=False
    )
    op.create_table(
        "shop_connection",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("connector", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("rests_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("needs_login", sa.Boolean(), nullable=False),
        sa.Column("visited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("webhook_hash", sa.LargeBinary(), nullable=False),
        sa.Column("login_hash", sa.LargeBinary(), nullable=True),
        sa.Column("login_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shop_id"],
            ["shop.merchant_id", "shop.id"],
            name=op.f("fk_shop_connection_merchant_id_shop_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_shop_connection_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop_connection")),
        sa.UniqueConstraint("login_hash", name=op.f("uq_shop_connection_login_hash")),
        sa.UniqueConstraint("shop_id", name=op.f("uq_shop_connection_shop_id")),
        sa.UniqueConstraint("webhook_hash", name=op.f("uq_shop_connection_webhook_hash")),
    )
    op.create_index(
        "ix_shop_connection_due",
        "shop_connection",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_shop_connection_running",
        "shop_connection",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "callback",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("url_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=48), nullable=False),
        sa.Column("payment_status", sa.String(length=24), nullable=True),
        sa.Column("message_id", sa.String(length=48), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queued_by", sa.String(length=320), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("answer_status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "url_id"],
            ["callback_url.merchant_id", "callback_url.id"],
            name=op.f("fk_callback_merchant_id_url_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_callback_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_callback")),
        sa.UniqueConstraint("message_id", name=op.f("uq_callback_message_id")),
    )
    op.create_index(
        "ix_callback_due",
        "callback",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index("ix_callback_finished_at", "callback", ["finished_at"], unique=False)
    op.create_index(
        "ix_callback_running",
        "callback",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "ix_callback_unfinished",
        "callback",
        ["url_id", "order_id", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.create_index("ix_callback_url_id", "callback", ["url_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_callback_url_id", table_name="callback")
    op.drop_index(
        "ix_callback_unfinished",
        table_name="callback",
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.drop_index(
        "ix_callback_running", table_name="callback", postgresql_where=sa.text("status = 'running'")
    )
    op.drop_index("ix_callback_finished_at", table_name="callback")
    op.drop_index(
        "ix_callback_due", table_name="callback", postgresql_where=sa.text("status = 'queued'")
    )
    op.drop_table("callback")
    op.drop_index(
        "ix_shop_connection_running",
        table_name="shop_connection",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index(
        "ix_shop_connection_due",
        table_name="shop_connection",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_table("shop_connection")
    op.drop_index("ix_order_hint_shop_id_failures", table_name="order_hint")
    op.drop_table("order_hint")
    op.drop_table("callback_url")
