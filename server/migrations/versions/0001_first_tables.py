"""first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "merchant",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merchant")),
    )
    op.create_table(
        "bank_account",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("iban", sa.String(length=34), nullable=False),
        sa.Column("bic", sa.String(length=11), nullable=True),
        sa.Column("creditor_name", sa.String(length=70), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("is_payee", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_bank_account_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_account")),
        sa.UniqueConstraint("merchant_id", "iban", name=op.f("uq_bank_account_merchant_id_iban")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_bank_account_merchant_id_id")),
    )
    op.create_table(
        "mail",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=True),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=48), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("recipient", sa.String(length=320), nullable=False),
        sa.Column("once", sa.String(length=200), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("theme", sa.JSON(), nullable=False),
        sa.Column("sender_name", sa.String(length=200), nullable=False),
        sa.Column("sender_address", sa.String(length=320), nullable=False),
        sa.Column("reply_to", sa.String(length=320), nullable=True),
        sa.Column("message_id", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("smtp_response", sa.Text(), nullable=True),
        sa.Column("delivery", sa.String(length=16), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_mail_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail")),
        sa.UniqueConstraint("once", name=op.f("uq_mail_once")),
    )
    op.create_index(
        "ix_mail_due",
        "mail",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_mail_merchant_id_created_at", "mail", ["merchant_id", "created_at"], unique=False
    )
    op.create_index("ix_mail_order_id", "mail", ["order_id"], unique=False)
    op.create_index(
        "ix_mail_running",
        "mail",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "match_request",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_match_request_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_match_request")),
    )
    op.create_index(
        "ix_match_request_due",
        "match_request",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_match_request_queued",
        "match_request",
        ["merchant_id"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_match_request_running",
        "match_request",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "shop",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("system", sa.String(length=64), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("mapping", sa.JSON(), nullable=False),
        sa.Column("default_mapping", sa.JSON(), nullable=False),
        sa.Column("mapping_pinned", sa.Boolean(), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("sender_name", sa.String(length=200), nullable=False),
        sa.Column("reply_to", sa.String(length=320), nullable=True),
        sa.Column("reference_kind", sa.String(length=16), nullable=False),
        sa.Column("connector", sa.String(length=64), nullable=True),
        sa.Column("connector_version", sa.String(length=64), nullable=True),
        sa.Column("capabilities", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("connected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_order_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_update_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_source", sa.String(length=8), nullable=True),
        sa.Column("error_since", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_shop_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_shop_merchant_id_id")),
    )
    op.create_index(op.f("ix_shop_merchant_id"), "shop", ["merchant_id"], unique=False)
    op.create_table(
        "statement",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("account_iban", sa.String(length=34), nullable=True),
        sa.Column("columns", sa.JSON(), nullable=True),
        sa.Column("uploaded_by", sa.String(length=320), nullable=False),
        sa.Column("entries_read", sa.Integer(), nullable=False),
        sa.Column("postings_new", sa.Integer(), nullable=False),
        sa.Column("postings_known", sa.Integer(), nullable=False),
        sa.Column("postings_pending", sa.Integer(), nullable=False),
        sa.Column("problem_count", sa.Integer(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_statement_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_statement_merchant_id_id")),
    )
    op.create_index(
        "ix_statement_due",
        "statement",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_statement_merchant_id_created_at",
        "statement",
        ["merchant_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_statement_running",
        "statement",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "user",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=True),
        sa.Column("is_administrator", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deactivated_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_user_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("email", name=op.f("uq_user_email")),
    )
    op.create_index(op.f("ix_user_merchant_id"), "user", ["merchant_id"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=True),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shop_id"],
            ["shop.merchant_id", "shop.id"],
            name=op.f("fk_api_key_merchant_id_shop_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_api_key_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
    )
    op.create_index("ix_api_key_merchant_id", "api_key", ["merchant_id"], unique=False)
    op.create_table(
        "one_time_link",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_one_time_link_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_one_time_link")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_one_time_link_token_hash")),
    )
    op.create_index(op.f("ix_one_time_link_user_id"), "one_time_link", ["user_id"], unique=False)
    op.create_table(
        "order",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("total", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("payment_method", sa.String(length=128), nullable=True),
        sa.Column("payment_code", sa.String(length=24), nullable=False),
        sa.Column("shop_status", sa.String(length=128), nullable=True),
        sa.Column("customer_name", sa.String(length=500), nullable=False),
        sa.Column("customer_email", sa.String(length=320), nullable=True),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("search", sa.Text(), nullable=False),
        sa.Column("wire", sa.JSON(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("payment_reference", sa.String(length=16), nullable=False),
        sa.Column("payment_status", sa.String(length=24), nullable=False),
        sa.Column("is_managed", sa.Boolean(), nullable=False),
        sa.Column("needs_match", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("gone_evidence", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shop_id"],
            ["shop.merchant_id", "shop.id"],
            name=op.f("fk_order_merchant_id_shop_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_order_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_order_merchant_id_id")),
        sa.UniqueConstraint(
            "merchant_id", "payment_reference", name=op.f("uq_order_merchant_id_payment_reference")
        ),
        sa.UniqueConstraint("shop_id", "external_id", name=op.f("uq_order_shop_id_external_id")),
    )
    op.create_index(
        "ix_order_merchant_id_ordered_at",
        "order",
        ["merchant_id", "ordered_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_order_shop_id_changed_at", "order", ["shop_id", "changed_at", "id"], unique=False
    )
    op.create_index(
        "ix_order_status",
        "order",
        ["merchant_id", "payment_status", "ordered_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_order_unmatched",
        "order",
        ["merchant_id", "id"],
        unique=False,
        postgresql_where=sa.text("needs_match"),
    )
    op.create_table(
        "payment_update",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("payment_status", sa.String(length=24), nullable=False),
        sa.Column("paid_total", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("intent", sa.String(length=24), nullable=False),
        sa.Column("shop_status", sa.String(length=128), nullable=True),
        sa.Column("open_statuses", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(length=24), nullable=True),
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
            name=op.f("fk_payment_update_merchant_id_shop_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_payment_update_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_update")),
    )
    op.create_index(
        "ix_payment_update_due",
        "payment_update",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index("ix_payment_update_order_id", "payment_update", ["order_id"], unique=False)
    op.create_index(
        "ix_payment_update_running",
        "payment_update",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "ix_payment_update_shop_id_status",
        "payment_update",
        ["shop_id", "status", "due_at"],
        unique=False,
    )
    op.create_table(
        "posting",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("statement_id", sa.BigInteger(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("booking_date", sa.Date(), nullable=True),
        sa.Column("value_date", sa.Date(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("counterparty_name", sa.Text(), nullable=True),
        sa.Column("counterparty_iban", sa.String(length=64), nullable=True),
        sa.Column("counterparty_bic", sa.String(length=64), nullable=True),
        sa.Column("remittance_information", sa.Text(), nullable=True),
        sa.Column("creditor_reference", sa.Text(), nullable=True),
        sa.Column("end_to_end_id", sa.Text(), nullable=True),
        sa.Column("mandate_id", sa.Text(), nullable=True),
        sa.Column("bank_reference", sa.Text(), nullable=True),
        sa.Column("transaction_code", sa.Text(), nullable=True),
        sa.Column("is_return", sa.Boolean(), nullable=False),
        sa.Column("return_reason", sa.Text(), nullable=True),
        sa.Column("is_batch_total", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("needs_match", sa.Boolean(), nullable=False),
        sa.Column("is_blocked", sa.Boolean(), nullable=False),
        sa.Column("keys", postgresql.ARRAY(sa.String(length=64)), nullable=True),
        sa.Column("ignored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ignored_by", sa.String(length=320), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"],
            ["bank_account.merchant_id", "bank_account.id"],
            name=op.f("fk_posting_merchant_id_account_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "statement_id"],
            ["statement.merchant_id", "statement.id"],
            name=op.f("fk_posting_merchant_id_statement_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_posting_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posting")),
        sa.UniqueConstraint(
            "account_id", "fingerprint", name=op.f("uq_posting_account_id_fingerprint")
        ),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_posting_merchant_id_id")),
    )
    op.create_index(
        "ix_posting_keys",
        "posting",
        ["keys"],
        unique=False,
        postgresql_using="gin",
        postgresql_where=sa.text("is_open"),
    )
    op.create_index(
        "ix_posting_merchant_id_booking_date",
        "posting",
        ["merchant_id", "booking_date", "id"],
        unique=False,
    )
    op.create_index(
        "ix_posting_open",
        "posting",
        ["merchant_id", "id"],
        unique=False,
        postgresql_where=sa.text("is_open"),
    )
    op.create_index(
        "ix_posting_unmatched",
        "posting",
        ["merchant_id", "id"],
        unique=False,
        postgresql_where=sa.text("needs_match"),
    )
    op.create_table(
        "user_session",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_agent", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_user_session_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_user_session_token_hash")),
    )
    op.create_index(op.f("ix_user_session_user_id"), "user_session", ["user_id"], unique=False)
    op.create_table(
        "assignment",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("posting_id", sa.BigInteger(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("reverses_id", sa.BigInteger(), nullable=True),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("decided_by", sa.String(length=320), nullable=False),
        sa.Column("probability", sa.Numeric(precision=6, scale=5), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["order.merchant_id", "order.id"],
            name=op.f("fk_assignment_merchant_id_order_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "posting_id"],
            ["posting.merchant_id", "posting.id"],
            name=op.f("fk_assignment_merchant_id_posting_id"),
        ),
        sa.ForeignKeyConstraint(
            ["reverses_id"], ["assignment.id"], name=op.f("fk_assignment_reverses_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment")),
        sa.UniqueConstraint(
            "order_id",
            "posting_id",
            "turn",
            name=op.f("uq_assignment_order_id_posting_id_turn"),
            postgresql_nulls_not_distinct=True,
        ),
        sa.UniqueConstraint("reverses_id", name=op.f("uq_assignment_reverses_id")),
    )
    op.create_index("ix_assignment_posting_id", "assignment", ["posting_id"], unique=False)
    op.create_table(
        "idempotency_key",
        sa.Column("api_key_id", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["api_key_id"],
            ["api_key.id"],
            name=op.f("fk_idempotency_key_api_key_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("api_key_id", "key", name=op.f("pk_idempotency_key")),
    )
    op.create_index(
        op.f("ix_idempotency_key_created_at"), "idempotency_key", ["created_at"], unique=False
    )
    op.create_table(
        "invoice",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("date", sa.Date(), nullable=True),
        sa.Column("pdf", sa.LargeBinary(), nullable=True),
        sa.Column("pdf_size_bytes", sa.Integer(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["order.merchant_id", "order.id"],
            name=op.f("fk_invoice_merchant_id_order_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice")),
        sa.UniqueConstraint("order_id", "number", name=op.f("uq_invoice_order_id_number")),
    )
    op.create_table(
        "order_event",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=48), nullable=False),
        sa.Column("actor", sa.String(length=320), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "order_id"],
            ["order.merchant_id", "order.id"],
            name=op.f("fk_order_event_merchant_id_order_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_event")),
    )
    op.create_index("ix_order_event_order_id", "order_event", ["order_id", "id"], unique=False)
    op.create_index(
        "ix_order_event_merchant_id", "order_event", ["merchant_id", "id"], unique=False
    )
    op.create_table(
        "order_key",
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "merchant_id", "key", "kind", "order_id", name=op.f("pk_order_key")
        ),
    )
    op.create_index("ix_order_key_order_id", "order_key", ["order_id"], unique=False)
    op.create_table(
        "suggestion",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("posting_id", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("orders", sa.JSON(), nullable=False),
        sa.Column("probability", sa.Numeric(precision=6, scale=5), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("vetoes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "posting_id"],
            ["posting.merchant_id", "posting.id"],
            name=op.f("fk_suggestion_merchant_id_posting_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suggestion")),
        sa.UniqueConstraint("posting_id", "rank", name=op.f("uq_suggestion_posting_id_rank")),
    )
    op.create_index("ix_suggestion_merchant_id", "suggestion", ["merchant_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_suggestion_merchant_id", table_name="suggestion")
    op.drop_table("suggestion")
    op.drop_index("ix_order_key_order_id", table_name="order_key")
    op.drop_table("order_key")
    op.drop_index("ix_order_event_merchant_id", table_name="order_event")
    op.drop_index("ix_order_event_order_id", table_name="order_event")
    op.drop_table("order_event")
    op.drop_table("invoice")
    op.drop_index(op.f("ix_idempotency_key_created_at"), table_name="idempotency_key")
    op.drop_table("idempotency_key")
    op.drop_index("ix_assignment_posting_id", table_name="assignment")
    op.drop_table("assignment")
    op.drop_index(op.f("ix_user_session_user_id"), table_name="user_session")
    op.drop_table("user_session")
    op.drop_index(
        "ix_posting_unmatched", table_name="posting", postgresql_where=sa.text("needs_match")
    )
    op.drop_index("ix_posting_open", table_name="posting", postgresql_where=sa.text("is_open"))
    op.drop_index("ix_posting_merchant_id_booking_date", table_name="posting")
    op.drop_index(
        "ix_posting_keys",
        table_name="posting",
        postgresql_using="gin",
        postgresql_where=sa.text("is_open"),
    )
    op.drop_table("posting")
    op.drop_index("ix_payment_update_shop_id_status", table_name="payment_update")
    op.drop_index(
        "ix_payment_update_running",
        table_name="payment_update",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index("ix_payment_update_order_id", table_name="payment_update")
    op.drop_index(
        "ix_payment_update_due",
        table_name="payment_update",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_table("payment_update")
    op.drop_index("ix_order_unmatched", table_name="order", postgresql_where=sa.text("needs_match"))
    op.drop_index("ix_order_status", table_name="order")
    op.drop_index("ix_order_shop_id_changed_at", table_name="order")
    op.drop_index("ix_order_merchant_id_ordered_at", table_name="order")
    op.drop_table("order")
    op.drop_index(op.f("ix_one_time_link_user_id"), table_name="one_time_link")
    op.drop_table("one_time_link")
    op.drop_index("ix_api_key_merchant_id", table_name="api_key")
    op.drop_table("api_key")
    op.drop_index(op.f("ix_user_merchant_id"), table_name="user")
    op.drop_table("user")
    op.drop_index(
        "ix_statement_running",
        table_name="statement",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index("ix_statement_merchant_id_created_at", table_name="statement")
    op.drop_index(
        "ix_statement_due", table_name="statement", postgresql_where=sa.text("status = 'queued'")
    )
    op.drop_table("statement")
    op.drop_index(op.f("ix_shop_merchant_id"), table_name="shop")
    op.drop_table("shop")
    op.drop_index(
        "ix_match_request_running",
        table_name="match_request",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index(
        "ix_match_request_queued",
        table_name="match_request",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_index(
        "ix_match_request_due",
        table_name="match_request",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_table("match_request")
    op.drop_index(
        "ix_mail_running", table_name="mail", postgresql_where=sa.text("status = 'running'")
    )
    op.drop_index("ix_mail_order_id", table_name="mail")
    op.drop_index("ix_mail_merchant_id_created_at", table_name="mail")
    op.drop_index("ix_mail_due", table_name="mail", postgresql_where=sa.text("status = 'queued'"))
    op.drop_table("mail")
    op.drop_table("bank_account")
    op.drop_table("merchant")
