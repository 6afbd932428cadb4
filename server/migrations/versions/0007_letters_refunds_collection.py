"""Letters, repayments, collection cases, and what customers ask for on their page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "collection_partner",
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("adapter", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("contact_name", sa.String(length=200), nullable=False),
        sa.Column("contact_phone", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=320), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_since", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_collection_partner_merchant_id")
        ),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_collection_partner")),
    )
    op.create_table(
        "letter",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=True),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("mail_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("recipient", sa.JSON(), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("once", sa.String(length=200), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("look", sa.JSON(), nullable=False),
        sa.Column("is_registered", sa.Boolean(), nullable=False),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.Column("enclosed", sa.LargeBinary(), nullable=True),
        sa.Column("pdf", sa.LargeBinary(), nullable=True),
        sa.Column("pages", sa.Integer(), nullable=True),
        sa.Column("cost", sa.Numeric(precision=16, scale=3), nullable=True),
        sa.Column("cost_currency", sa.String(length=3), nullable=True),
        sa.Column("service", sa.String(length=16), nullable=True),
        sa.Column("service_reference", sa.String(length=64), nullable=True),
        sa.Column("delivery", sa.String(length=16), nullable=True),
        sa.Column("delivery_words", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("actor", sa.String(length=320), nullable=False),
        sa.Column("cancelled_by", sa.String(length=320), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_letter_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letter")),
        sa.UniqueConstraint("once", name=op.f("uq_letter_once")),
    )
    op.create_index(
        "ix_letter_due",
        "letter",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_letter_merchant_id_created_at",
        "letter",
        ["merchant_id", "created_at", "id"],
        unique=False,
    )
    op.create_index("ix_letter_order_id", "letter", ["order_id"], unique=False)
    op.create_index(
        "ix_letter_running",
        "letter",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "ix_letter_under_way",
        "letter",
        ["merchant_id", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'done' AND delivery = 'accepted'"),
    )
    op.create_table(
        "print_service",
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("adapter", sa.String(length=16), nullable=False),
        sa.Column("settings", sa.LargeBinary(), nullable=False),
        sa.Column("prices", sa.JSON(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=320), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_since", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_print_service_merchant_id")
        ),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_print_service")),
    )
    op.create_table(
        "collection_case",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("adapter", sa.String(length=16), nullable=True),
        sa.Column("partner_name", sa.String(length=200), nullable=False),
        sa.Column("partner_reference", sa.String(length=64), nullable=True),
        sa.Column("partner_url", sa.String(length=500), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("principal", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("fees", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("interest", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("is_opened", sa.Boolean(), nullable=False),
        sa.Column("told_paid", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("is_withdrawn", sa.Boolean(), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("handed_over_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handed_over_by", sa.String(length=320), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["order.merchant_id", "order.id"],
            name=op.f("fk_collection_case_merchant_id_order_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_collection_case_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection_case")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_collection_case_merchant_id_id")),
    )
    op.create_index(
        "ix_collection_case_due",
        "collection_case",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_collection_case_merchant_id",
        "collection_case",
        ["merchant_id", "handed_over_at"],
        unique=False,
    )
    op.create_index("ix_collection_case_order_id", "collection_case", ["order_id"], unique=False)
    op.create_index(
        "ix_collection_case_running",
        "collection_case",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "deferral_request",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until_date", sa.Date(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("granted_until", sa.Date(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.String(length=320), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["order.merchant_id", "order.id"],
            name=op.f("fk_deferral_request_merchant_id_order_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deferral_request")),
    )
    op.create_index(
        "ix_deferral_request_open",
        "deferral_request",
        ["merchant_id", "asked_at"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index("ix_deferral_request_order_id", "deferral_request", ["order_id"], unique=False)
    op.create_table(
        "refund_batch",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("message_id", sa.String(length=35), nullable=False),
        sa.Column("execution_date", sa.Date(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("total", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=320), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_by", sa.String(length=320), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("step", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("dialog", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"],
            ["bank_account.merchant_id", "bank_account.id"],
            name=op.f("fk_refund_batch_merchant_id_account_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_refund_batch_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund_batch")),
        sa.UniqueConstraint("message_id", name=op.f("uq_refund_batch_message_id")),
    )
    op.create_index(
        "ix_refund_batch_merchant_id", "refund_batch", ["merchant_id", "created_at"], unique=False
    )
    op.create_table(
        "collection_event",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=3), nullable=True),
        sa.Column("partner_event", sa.String(length=64), nullable=True),
        sa.Column("actor", sa.String(length=320), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "case_id"],
            ["collection_case.merchant_id", "collection_case.id"],
            name=op.f("fk_collection_event_merchant_id_case_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection_event")),
        sa.UniqueConstraint(
            "case_id", "partner_event", name=op.f("uq_collection_event_case_id_partner_event")
        ),
    )
    op.create_table(
        "refund",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=True),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("posting_id", sa.BigInteger(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reference", sa.String(length=35), nullable=False),
        sa.Column("external_reference", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.String(length=140), nullable=False),
        sa.Column("payee_name", sa.String(length=140), nullable=True),
        sa.Column("payee_iban", sa.String(length=34), nullable=True),
        sa.Column("payee_bic", sa.String(length=11), nullable=True),
        sa.Column("details_by", sa.String(length=8), nullable=True),
        sa.Column("details_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("holds", sa.JSON(), nullable=False),
        sa.Column("planned_for", sa.Date(), nullable=True),
        sa.Column("is_automatic", sa.Boolean(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.String(length=320), nullable=False),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved_by", sa.String(length=320), nullable=True),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("batch_id", sa.BigInteger(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_posting_id", sa.BigInteger(), nullable=True),
        sa.Column("returned_posting_id", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["refund_batch.id"], name=op.f("fk_refund_batch_id")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["order.merchant_id", "order.id"],
            name=op.f("fk_refund_merchant_id_order_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "posting_id"],
            ["posting.merchant_id", "posting.id"],
            name=op.f("fk_refund_merchant_id_posting_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "returned_posting_id"],
            ["posting.merchant_id", "posting.id"],
            name=op.f("fk_refund_merchant_id_returned_posting_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "sent_posting_id"],
            ["posting.merchant_id", "posting.id"],
            name=op.f("fk_refund_merchant_id_sent_posting_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_refund_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
        sa.UniqueConstraint(
            "merchant_id", "reference", name=op.f("uq_refund_merchant_id_reference")
        ),
        sa.UniqueConstraint(
            "shop_id", "external_reference", name=op.f("uq_refund_shop_id_external_reference")
        ),
    )
    op.create_index("ix_refund_batch_id", "refund", ["batch_id"], unique=False)
    op.create_index(
        "ix_refund_merchant_id_status", "refund", ["merchant_id", "status", "id"], unique=False
    )
    op.create_index("ix_refund_order_id", "refund", ["order_id"], unique=False)
    op.create_index(
        "ix_refund_planned",
        "refund",
        ["planned_for"],
        unique=False,
        postgresql_where=sa.text("status = 'planned'"),
    )
    op.create_index("ix_refund_posting_id", "refund", ["posting_id"], unique=False)
    op.add_column(
        "payment_claim", sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("payment_claim", sa.Column("settled_by", sa.String(length=320), nullable=True))
    op.add_column("proof", sa.Column("findings", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("reminder", sa.Column("letter_id", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("reminder", "letter_id")
    op.drop_column("proof", "findings")
    op.drop_column("payment_claim", "settled_by")
    op.drop_column("payment_claim", "settled_at")
    op.drop_index("ix_refund_posting_id", table_name="refund")
    op.drop_index(
        "ix_refund_planned", table_name="refund", postgresql_where=sa.text("status = 'planned'")
    )
    op.drop_index("ix_refund_order_id", table_name="refund")
    op.drop_index("ix_refund_merchant_id_status", table_name="refund")
    op.drop_index("ix_refund_batch_id", table_name="refund")
    op.drop_table("refund")
    op.drop_table("collection_event")
    op.drop_index("ix_refund_batch_merchant_id", table_name="refund_batch")
    op.drop_table("refund_batch")
    op.drop_index("ix_deferral_request_order_id", table_name="deferral_request")
    op.drop_index(
        "ix_deferral_request_open",
        table_name="deferral_request",
        postgresql_where=sa.text("status = 'open'"),
    )
    op.drop_table("deferral_request")
    op.drop_index(
        "ix_collection_case_running",
        table_name="collection_case",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index("ix_collection_case_order_id", table_name="collection_case")
    op.drop_index("ix_collection_case_merchant_id", table_name="collection_case")
    op.drop_index(
        "ix_collection_case_due",
        table_name="collection_case",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_table("collection_case")
    op.drop_table("print_service")
    op.drop_index(
        "ix_letter_under_way",
        table_name="letter",
        postgresql_where=sa.text("status = 'done' AND delivery = 'accepted'"),
    )
    op.drop_index(
        "ix_letter_running", table_name="letter", postgresql_where=sa.text("status = 'running'")
    )
    op.drop_index("ix_letter_order_id", table_name="letter")
    op.drop_index("ix_letter_merchant_id_created_at", table_name="letter")
    op.drop_index(
        "ix_letter_due", table_name="letter", postgresql_where=sa.text("status = 'queued'")
    )
    op.drop_table("letter")
    op.drop_table("collection_partner")
