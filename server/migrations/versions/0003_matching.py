"""Matching: settings, decisions, credit, returned money, and keys of another shape."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "forgotten_payer",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("payer", sa.String(length=500), nullable=False),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("forgotten_by", sa.String(length=320), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_forgotten_payer_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forgotten_payer")),
    )
    op.create_index(
        "ix_forgotten_payer_merchant_id", "forgotten_payer", ["merchant_id", "payer"], unique=False
    )
    op.create_table(
        "setting_change",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("value", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=320), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "shop_id"],
            ["shop.merchant_id", "shop.id"],
            name=op.f("fk_setting_change_merchant_id_shop_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_setting_change_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_setting_change")),
    )
    op.create_index(
        "ix_setting_change_merchant_id",
        "setting_change",
        ["merchant_id", "shop_id", "name", "id"],
        unique=False,
    )
    op.create_table(
        "credit",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("posting_id", sa.BigInteger(), nullable=False),
        sa.Column("from_order_id", sa.BigInteger(), nullable=True),
        sa.Column("customer_name", sa.String(length=500), nullable=False),
        sa.Column("customer_email", sa.String(length=320), nullable=True),
        sa.Column("customer_number", sa.String(length=64), nullable=True),
        sa.Column("mode", sa.String(length=16), nullable=True),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kept_by", sa.String(length=320), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "from_order_id"],
            ["order.merchant_id", "order.id"],
            name=op.f("fk_credit_merchant_id_from_order_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "posting_id"],
            ["posting.merchant_id", "posting.id"],
            name=op.f("fk_credit_merchant_id_posting_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit")),
        sa.UniqueConstraint("posting_id", name=op.f("uq_credit_posting_id")),
    )
    op.create_index("ix_credit_customer", "credit", ["merchant_id", "customer_email"], unique=False)
    op.create_table(
        "match_decision",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("posting_id", sa.BigInteger(), nullable=False),
        sa.Column("choice", sa.String(length=8), nullable=False),
        sa.Column("probability", sa.Numeric(precision=6, scale=5), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("runner_up", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("vetoes", sa.JSON(), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("rule_version", sa.String(length=16), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "posting_id"],
            ["posting.merchant_id", "posting.id"],
            name=op.f("fk_match_decision_merchant_id_posting_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_match_decision")),
    )
    op.create_index(
        "ix_match_decision_merchant_id",
        "match_decision",
        ["merchant_id", "decided_at"],
        unique=False,
    )
    op.create_index(
        "ix_match_decision_posting_id", "match_decision", ["posting_id", "id"], unique=False
    )
    op.add_column("assignment", sa.Column("completes_id", sa.BigInteger(), nullable=True))
    op.add_column("assignment", sa.Column("because", sa.String(length=16), nullable=True))
    op.create_index(
        "ix_assignment_completes_id",
        "assignment",
        ["completes_id"],
        unique=False,
        postgresql_where=sa.text("completes_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_assignment_completes_id"), "assignment", "assignment", ["completes_id"], ["id"]
    )
    op.add_column("order", sa.Column("additional_name", sa.String(length=200), nullable=True))
    op.add_column("order", sa.Column("additional_number", sa.String(length=64), nullable=True))
    op.create_index(
        "ix_order_customer_email",
        "order",
        ["merchant_id", sa.literal_column("lower(customer_email)")],
        unique=False,
    )
    op.create_index(
        "ix_assignment_difference",
        "assignment",
        ["merchant_id", "id"],
        unique=False,
        postgresql_where=sa.text("origin = 'difference'"),
    )
    op.create_index(
        "ix_assignment_by_person",
        "assignment",
        ["merchant_id", "id"],
        unique=False,
        postgresql_where=sa.text("origin = 'person'"),
    )
    op.create_index(
        "ix_order_owing",
        "order",
        ["merchant_id", "total"],
        unique=False,
        postgresql_where=sa.text("payment_status IN ('unpaid', 'partially_paid')"),
    )
    op.add_column(
        "posting",
        sa.Column("is_kept", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "posting",
        sa.Column("is_returned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column("posting", sa.Column("returns_id", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_posting_sent",
        "posting",
        ["merchant_id", sa.literal_column("upper(end_to_end_id)")],
        unique=False,
        postgresql_where=sa.text("amount < 0"),
    )
    op.create_index(
        "ix_posting_returns",
        "posting",
        ["returns_id"],
        unique=True,
        postgresql_where=sa.text("returns_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_posting_merchant_id_returns_id"),
        "posting",
        "posting",
        ["merchant_id", "returns_id"],
        ["merchant_id", "id"],
    )
    op.add_column("suggestion", sa.Column("returns_id", sa.BigInteger(), nullable=True))
    op.add_column(
        "suggestion",
        sa.Column("is_proposed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_foreign_key(
        op.f("fk_suggestion_merchant_id_returns_id"),
        "suggestion",
        "posting",
        ["merchant_id", "returns_id"],
        ["merchant_id", "id"],
    )
    _rewrite_keys()


def _rewrite_keys() -> None:
    """Look-alikes are folded when a text is read, not kept with every order; names without amount.

    What is open is looked at again, so that suggestions are told in the new form.
    """
    op.execute("DELETE FROM order_key WHERE kind LIKE '%_folded'")
    op.execute(
        "INSERT INTO order_key (merchant_id, key, kind, order_id) "
        "SELECT DISTINCT merchant_id, split_part(key, ':', 1), 'name', order_id "
        "FROM order_key WHERE kind = 'name_and_total'"
    )
    op.execute("DELETE FROM order_key WHERE kind = 'name_and_total'")
    op.execute(
        "INSERT INTO order_key (merchant_id, key, kind, order_id) "
        "SELECT merchant_id, number, 'customer_number', id FROM ("
        "  SELECT id, merchant_id, regexp_replace("
        "    upper(wire -> 'customer' ->> 'number'), '[^A-Z0-9]', '', 'g') AS number"
        '  FROM "order") AS told WHERE length(number) BETWEEN 3 AND 35 ON CONFLICT DO NOTHING'
    )
    op.execute("UPDATE posting SET keys = NULL, needs_match = true WHERE is_open")
    op.execute(
        "INSERT INTO match_request (merchant_id, status, attempts, created_at, due_at) "
        "SELECT DISTINCT merchant_id, 'queued', 0, now(), now() FROM posting WHERE is_open"
    )


def downgrade() -> None:
    op.drop_constraint(
        op.f("fk_suggestion_merchant_id_returns_id"), "suggestion", type_="foreignkey"
    )
    op.drop_column("suggestion", "is_proposed")
    op.drop_column("suggestion", "returns_id")
    op.drop_constraint(op.f("fk_posting_merchant_id_returns_id"), "posting", type_="foreignkey")
    op.drop_index(
        "ix_posting_returns",
        table_name="posting",
        postgresql_where=sa.text("returns_id IS NOT NULL"),
    )
    op.drop_index("ix_posting_sent", table_name="posting")
    op.drop_index("ix_assignment_by_person", table_name="assignment")
    op.drop_index("ix_assignment_difference", table_name="assignment")
    op.drop_column("posting", "returns_id")
    op.drop_column("posting", "is_returned")
    op.drop_column("posting", "is_kept")
    op.drop_index(
        "ix_order_owing",
        table_name="order",
        postgresql_where=sa.text("payment_status IN ('unpaid', 'partially_paid')"),
    )
    op.drop_index("ix_order_customer_email", table_name="order")
    op.drop_column("order", "additional_number")
    op.drop_column("order", "additional_name")
    op.drop_constraint(op.f("fk_assignment_completes_id"), "assignment", type_="foreignkey")
    op.drop_index(
        "ix_assignment_completes_id",
        table_name="assignment",
        postgresql_where=sa.text("completes_id IS NOT NULL"),
    )
    op.drop_column("assignment", "because")
    op.drop_column("assignment", "completes_id")
    op.drop_index("ix_match_decision_posting_id", table_name="match_decision")
    op.drop_index("ix_match_decision_merchant_id", table_name="match_decision")
    op.drop_table("match_decision")
    op.drop_index("ix_credit_customer", table_name="credit")
    op.drop_table("credit")
    op.drop_index("ix_setting_change_merchant_id", table_name="setting_change")
    op.drop_table("setting_change")
    op.drop_index("ix_forgotten_payer_merchant_id", table_name="forgotten_payer")
    op.drop_table("forgotten_payer")
