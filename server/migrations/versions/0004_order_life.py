"""The order's life: reminders, runs, requests to shops, claims and proofs, test mode."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

GERMAN_RATES = (
    (date(2023, 1, 1), Decimal("1.62")),
    (date(2023, 7, 1), Decimal("3.12")),
    (date(2024, 1, 1), Decimal("3.62")),
    (date(2024, 7, 1), Decimal("3.37")),
    (date(2025, 1, 1), Decimal("2.27")),
    (date(2025, 7, 1), Decimal("1.27")),
    (date(2026, 1, 1), Decimal("1.27")),
)
"""Base rates of section 247 BGB, as the Deutsche Bundesbank publishes them. Later ones are added
by the operator (docs/operations.md)."""


def upgrade() -> None:
    op.create_table(
        "base_rate",
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("percent", sa.Numeric(precision=6, scale=3), nullable=False),
        sa.PrimaryKeyConstraint("country", "valid_from", name=op.f("pk_base_rate")),
    )
    op.create_table(
        "dunning_run",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("run_date", sa.Date(), nullable=False),
        sa.Column("origin", sa.String(length=8), nullable=False),
        sa.Column("actor", sa.String(length=320), nullable=False),
        sa.Column("released_by", sa.String(length=320), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("after_order_id", sa.BigInteger(), nullable=False),
        sa.Column("looked_at", sa.Integer(), nullable=False),
        sa.Column("is_counted", sa.Boolean(), nullable=False),
        sa.Column("due_ids", sa.JSON(), nullable=False),
        sa.Column("listed", sa.JSON(), nullable=False),
        sa.Column("did", sa.JSON(), nullable=False),
        sa.Column("hindered", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_dunning_run_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dunning_run")),
    )
    op.create_index(
        "ix_dunning_run_daily",
        "dunning_run",
        ["merchant_id", "run_date"],
        unique=True,
        postgresql_where=sa.text("origin = 'daily'"),
    )
    op.create_index(
        "ix_dunning_run_due",
        "dunning_run",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_dunning_run_merchant_id", "dunning_run", ["merchant_id", "id"], unique=False
    )
    op.create_index(
        "ix_dunning_run_running",
        "dunning_run",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "order_request",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=True),
        sa.Column("number", sa.String(length=64), nullable=True),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("asked_by", sa.String(length=320), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
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
            name=op.f("fk_order_request_merchant_id_shop_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_order_request_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_request")),
    )
    op.create_index(
        "ix_order_request_due",
        "order_request",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_order_request_running",
        "order_request",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "ix_order_request_shop_id", "order_request", ["shop_id", "status", "due_at"], unique=False
    )
    op.create_table(
        "payment_claim",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paid_on", sa.Date(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["order.merchant_id", "order.id"],
            name=op.f("fk_payment_claim_merchant_id_order_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_claim")),
    )
    op.create_index(
        "ix_payment_claim_merchant_id", "payment_claim", ["merchant_id", "claimed_at"], unique=False
    )
    op.create_index("ix_payment_claim_order_id", "payment_claim", ["order_id"], unique=False)
    op.create_table(
        "proof",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("media_type", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["order.merchant_id", "order.id"],
            name=op.f("fk_proof_merchant_id_order_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proof")),
    )
    op.create_index("ix_proof_order_id", "proof", ["order_id"], unique=False)
    op.create_table(
        "reminder",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("sent_on", sa.Date(), nullable=False),
        sa.Column("fee", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("interest", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("mail_id", sa.BigInteger(), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.String(length=320), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["order.merchant_id", "order.id"],
            name=op.f("fk_reminder_merchant_id_order_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reminder")),
        sa.UniqueConstraint("order_id", "level", name=op.f("uq_reminder_order_id_level")),
    )
    op.create_index(
        "ix_reminder_merchant_id", "reminder", ["merchant_id", "created_at"], unique=False
    )
    op.add_column("mail", sa.Column("redirected_to", sa.String(length=320), nullable=True))
    op.add_column("order", sa.Column("collection_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("order", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("order", sa.Column("monitor_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("order", sa.Column("held_removal", sa.String(length=16), nullable=True))
    op.add_column(
        "order", sa.Column("sync", sa.String(length=8), server_default="shop", nullable=False)
    )
    op.add_column("order", sa.Column("base_date", sa.Date(), nullable=True))
    op.add_column(
        "order",
        sa.Column(
            "fee_total",
            sa.Numeric(precision=16, scale=3),
            server_default=sa.text("0"),
            nullable=False,
        ),
    )
    op.add_column(
        "order", sa.Column("reminders_blocked_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("order", sa.Column("paused_until", sa.Date(), nullable=True))
    op.create_index(
        "ix_order_held_removal",
        "order",
        ["merchant_id", "shop_id"],
        unique=False,
        postgresql_where=sa.text("held_removal IS NOT NULL"),
    )
    op.create_index(
        "ix_order_monitor_at",
        "order",
        ["monitor_at"],
        unique=False,
        postgresql_where=sa.text("monitor_at IS NOT NULL"),
    )
    op.add_column(
        "setting_change",
        sa.Column("waits", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "setting_change", sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("setting_change", sa.Column("decided_by", sa.String(length=320), nullable=True))
    op.add_column("shop", sa.Column("discovery", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("shop", sa.Column("compare_seconds", sa.Integer(), nullable=True))
    # What customers are asked to write is a setting now, with its history.
    op.execute("""
        INSERT INTO setting_change (merchant_id, shop_id, name, value, changed_at, changed_by)
        SELECT merchant_id, id, 'reference_kind', to_json(reference_kind), now(), 'upgrade'
        FROM shop WHERE reference_kind <> 'own'
    """)
    op.drop_column("shop", "reference_kind")
    # Nobody's customers get reminders because the software was updated: who worked with it before
    # switches them on himself.
    op.execute("""
        INSERT INTO setting_change (merchant_id, name, value, changed_at, changed_by)
        SELECT merchant.id, code || '.reminders', '0', now(), 'upgrade'
        FROM merchant, unnest(ARRAY['prepayment', 'invoice']) AS code
        WHERE EXISTS (SELECT FROM shop WHERE shop.merchant_id = merchant.id)
    """)
    base_rate = sa.table(
        "base_rate",
        sa.column("country", sa.String),
        sa.column("valid_from", sa.Date),
        sa.column("percent", sa.Numeric),
    )
    op.bulk_insert(
        base_rate,
        [{"country": "DE", "valid_from": day, "percent": rate} for day, rate in GERMAN_RATES],
    )


def downgrade() -> None:
    op.add_column(
        "shop",
        sa.Column("reference_kind", sa.String(length=16), server_default="own", nullable=False),
    )
    op.alter_column("shop", "reference_kind", server_default=None)
    op.drop_column("shop", "compare_seconds")
    op.drop_column("shop", "discovery")
    op.drop_column("setting_change", "decided_by")
    op.drop_column("setting_change", "decided_at")
    op.drop_column("setting_change", "waits")
    op.drop_index(
        "ix_order_monitor_at",
        table_name="order",
        postgresql_where=sa.text("monitor_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_order_held_removal",
        table_name="order",
        postgresql_where=sa.text("held_removal IS NOT NULL"),
    )
    op.drop_column("order", "paused_until")
    op.drop_column("order", "reminders_blocked_at")
    op.drop_column("order", "fee_total")
    op.drop_column("order", "base_date")
    op.drop_column("order", "sync")
    op.drop_column("order", "held_removal")
    op.drop_column("order", "monitor_at")
    op.drop_column("order", "erased_at")
    op.drop_column("order", "collection_at")
    op.drop_column("mail", "redirected_to")
    op.drop_index("ix_reminder_merchant_id", table_name="reminder")
    op.drop_table("reminder")
    op.drop_index("ix_proof_order_id", table_name="proof")
    op.drop_table("proof")
    op.drop_index("ix_payment_claim_order_id", table_name="payment_claim")
    op.drop_index("ix_payment_claim_merchant_id", table_name="payment_claim")
    op.drop_table("payment_claim")
    op.drop_index("ix_order_request_shop_id", table_name="order_request")
    op.drop_index(
        "ix_order_request_running",
        table_name="order_request",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index(
        "ix_order_request_due",
        table_name="order_request",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_table("order_request")
    op.drop_index(
        "ix_dunning_run_running",
        table_name="dunning_run",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index("ix_dunning_run_merchant_id", table_name="dunning_run")
    op.drop_index(
        "ix_dunning_run_due",
        table_name="dunning_run",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_index(
        "ix_dunning_run_daily",
        table_name="dunning_run",
        postgresql_where=sa.text("origin = 'daily'"),
    )
    op.drop_table("dunning_run")
    op.drop_table("base_rate")
