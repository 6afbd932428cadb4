"""The bank side: accesses, periods, layouts, rules, duplicates, shared accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bank_connection",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("bank_code", sa.String(length=11), nullable=False),
        sa.Column("bank_name", sa.String(length=200), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("user_name", sa.String(length=100), nullable=False),
        sa.Column("tan_method", sa.String(length=8), nullable=True),
        sa.Column("tan_medium", sa.String(length=100), nullable=True),
        sa.Column("credentials", sa.LargeBinary(), nullable=True),
        sa.Column("dialog", sa.LargeBinary(), nullable=True),
        sa.Column("health", sa.String(length=16), nullable=False),
        sa.Column("step", sa.JSON(), nullable=True),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("connected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_before", sa.Date(), nullable=True),
        sa.Column("consent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("consent_days", sa.Integer(), nullable=True),
        sa.Column("warned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_bank_connection_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_connection")),
        sa.UniqueConstraint("merchant_id", "id", name=op.f("uq_bank_connection_merchant_id_id")),
    )
    op.create_index(
        "ix_bank_connection_due",
        "bank_connection",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_bank_connection_running",
        "bank_connection",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "ignore_rule",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=500), nullable=False),
        sa.Column("tells_merchant", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(length=320), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_ignore_rule_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ignore_rule")),
        sa.UniqueConstraint(
            "merchant_id", "kind", "value", name=op.f("uq_ignore_rule_merchant_id_kind_value")
        ),
    )
    op.create_table(
        "account_day",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("statement_id", sa.BigInteger(), nullable=False),
        sa.Column("postings", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["bank_account.id"],
            name=op.f("fk_account_day_account_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "day", "statement_id", name=op.f("pk_account_day")),
    )
    op.create_table(
        "account_movement",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("reference", sa.String(length=140), nullable=False),
        sa.Column("created_by", sa.String(length=320), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"],
            ["bank_account.merchant_id", "bank_account.id"],
            name=op.f("fk_account_movement_merchant_id_account_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_account_movement_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_movement")),
    )
    op.create_index(
        "ix_account_movement_account_id_booked_on",
        "account_movement",
        ["account_id", "booked_on"],
        unique=False,
    )
    op.create_table(
        "csv_layout",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("header_key", sa.String(length=64), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"],
            ["bank_account.merchant_id", "bank_account.id"],
            name=op.f("fk_csv_layout_merchant_id_account_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_csv_layout_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_csv_layout")),
        sa.UniqueConstraint(
            "merchant_id", "header_key", name=op.f("uq_csv_layout_merchant_id_header_key")
        ),
    )
    op.create_table(
        "statement_period",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("statement_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=True),
        sa.Column("from_date", sa.Date(), nullable=True),
        sa.Column("to_date", sa.Date(), nullable=True),
        sa.Column("opening", sa.Numeric(precision=16, scale=3), nullable=True),
        sa.Column("closing", sa.Numeric(precision=16, scale=3), nullable=True),
        sa.Column("booked_total", sa.Numeric(precision=16, scale=3), nullable=False),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"],
            ["bank_account.merchant_id", "bank_account.id"],
            name=op.f("fk_statement_period_merchant_id_account_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id", "statement_id"],
            ["statement.merchant_id", "statement.id"],
            name=op.f("fk_statement_period_merchant_id_statement_id"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_statement_period_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement_period")),
        sa.UniqueConstraint(
            "statement_id", "position", name=op.f("uq_statement_period_statement_id_position")
        ),
    )
    op.create_index(
        "ix_statement_period_account_id_from_date",
        "statement_period",
        ["account_id", "from_date"],
        unique=False,
    )
    op.create_table(
        "posting_alias",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("posting_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["bank_account.id"],
            name=op.f("fk_posting_alias_account_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["posting_id"],
            ["posting.id"],
            name=op.f("fk_posting_alias_posting_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "fingerprint", name=op.f("pk_posting_alias")),
    )
    op.create_index(
        op.f("ix_posting_alias_posting_id"), "posting_alias", ["posting_id"], unique=False
    )
    op.add_column(
        "bank_account", sa.Column("label", sa.String(length=100), server_default="", nullable=False)
    )
    op.add_column(
        "bank_account",
        sa.Column(
            "for_countries",
            postgresql.ARRAY(sa.String(length=2)),
            server_default="{}",
            nullable=False,
        ),
    )
    op.add_column(
        "bank_account",
        sa.Column(
            "for_currencies",
            postgresql.ARRAY(sa.String(length=3)),
            server_default="{}",
            nullable=False,
        ),
    )
    op.add_column(
        "bank_account",
        sa.Column(
            "for_shops", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False
        ),
    )
    op.add_column("bank_account", sa.Column("assign_from", sa.Date(), nullable=True))
    op.add_column(
        "bank_account",
        sa.Column("ignores_doubles", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column("bank_account", sa.Column("connection_id", sa.BigInteger(), nullable=True))
    op.add_column(
        "bank_account",
        sa.Column("is_shared", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column("bank_account", sa.Column("shared_account_id", sa.BigInteger(), nullable=True))
    op.add_column("bank_account", sa.Column("payout_iban", sa.String(length=34), nullable=True))
    op.add_column("bank_account", sa.Column("payout_name", sa.String(length=140), nullable=True))
    op.drop_constraint(op.f("uq_bank_account_merchant_id_iban"), "bank_account", type_="unique")
    op.create_index(
        "ix_bank_account_shared_account_id", "bank_account", ["shared_account_id"], unique=False
    )
    op.create_unique_constraint(
        op.f("uq_bank_account_merchant_id_iban_currency"),
        "bank_account",
        ["merchant_id", "iban", "currency"],
    )
    op.create_foreign_key(
        op.f("fk_bank_account_merchant_id_connection_id"),
        "bank_account",
        "bank_connection",
        ["merchant_id", "connection_id"],
        ["merchant_id", "id"],
    )
    op.create_foreign_key(
        op.f("fk_bank_account_shared_account_id"),
        "bank_account",
        "bank_account",
        ["shared_account_id"],
        ["id"],
    )
    op.add_column(
        "merchant",
        sa.Column("is_operator", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "posting", sa.Column("source", sa.String(length=16), server_default="", nullable=False)
    )
    op.add_column(
        "posting", sa.Column("entry_amount", sa.Numeric(precision=16, scale=3), nullable=True)
    )
    op.add_column("posting", sa.Column("particulars", sa.JSON(none_as_null=True), nullable=True))
    op.add_column(
        "posting",
        sa.Column("is_pending", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "posting",
        sa.Column("no_assignment", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "posting",
        sa.Column("is_replaced", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "posting",
        sa.Column("is_assigned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "posting",
        sa.Column("is_passed_on", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column("posting", sa.Column("passed_on_from_id", sa.BigInteger(), nullable=True))
    op.add_column("posting", sa.Column("duplicate_of_id", sa.BigInteger(), nullable=True))
    op.add_column("posting", sa.Column("ignored_because", sa.String(length=16), nullable=True))
    op.create_index(
        "ix_posting_account_id_amount",
        "posting",
        ["account_id", "amount", "booking_date"],
        unique=False,
    )
    op.create_index(
        "ix_posting_doubtful",
        "posting",
        ["duplicate_of_id"],
        unique=False,
        postgresql_where=sa.text("duplicate_of_id IS NOT NULL"),
    )
    op.create_index(
        "ix_posting_entry",
        "posting",
        ["account_id", "entry_amount"],
        unique=False,
        postgresql_where=sa.text("entry_amount IS NOT NULL"),
    )
    op.create_index(
        "ix_posting_pending",
        "posting",
        ["account_id"],
        unique=False,
        postgresql_where=sa.text("is_pending"),
    )
    op.create_index("ix_posting_statement_id", "posting", ["statement_id"], unique=False)
    op.create_unique_constraint(
        op.f("uq_posting_passed_on_from_id"), "posting", ["passed_on_from_id"]
    )
    op.create_foreign_key(
        op.f("fk_posting_merchant_id_duplicate_of_id"),
        "posting",
        "posting",
        ["merchant_id", "duplicate_of_id"],
        ["merchant_id", "id"],
    )
    op.create_foreign_key(
        op.f("fk_posting_passed_on_from_id"), "posting", "posting", ["passed_on_from_id"], ["id"]
    )
    op.add_column(
        "statement", sa.Column("source", sa.String(length=16), server_default="", nullable=False)
    )
    op.add_column("statement", sa.Column("account_id", sa.BigInteger(), nullable=True))
    op.add_column(
        "statement",
        sa.Column("is_pending", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "statement",
        sa.Column("asks_columns", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "statement",
        sa.Column("asks_account", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "statement",
        sa.Column("postings_doubtful", sa.Integer(), server_default="0", nullable=False),
    )
    op.add_column(
        "statement", sa.Column("postings_ignored", sa.Integer(), server_default="0", nullable=False)
    )
    op.create_foreign_key(
        op.f("fk_statement_merchant_id_account_id"),
        "statement",
        "bank_account",
        ["merchant_id", "account_id"],
        ["merchant_id", "id"],
    )
    op.execute("UPDATE posting SET ignored_because = 'person' WHERE ignored_at IS NOT NULL")
    op.execute(
        "UPDATE posting SET is_assigned = true FROM (SELECT posting_id FROM assignment"
        " WHERE posting_id IS NOT NULL GROUP BY posting_id HAVING sum(amount) <> 0) AS assigned"
        " WHERE posting.id = assigned.posting_id"
    )
    op.execute(
        "INSERT INTO account_day (account_id, day, statement_id, postings)"
        " SELECT account_id, coalesce(booking_date, value_date), coalesce(statement_id, 0), count(*)"
        " FROM posting WHERE coalesce(booking_date, value_date) IS NOT NULL GROUP BY 1, 2, 3"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("fk_statement_merchant_id_account_id"), "statement", type_="foreignkey")
    op.drop_column("statement", "postings_ignored")
    op.drop_column("statement", "postings_doubtful")
    op.drop_column("statement", "asks_account")
    op.drop_column("statement", "asks_columns")
    op.drop_column("statement", "is_pending")
    op.drop_column("statement", "account_id")
    op.drop_column("statement", "source")
    op.drop_constraint(op.f("fk_posting_passed_on_from_id"), "posting", type_="foreignkey")
    op.drop_constraint(
        op.f("fk_posting_merchant_id_duplicate_of_id"), "posting", type_="foreignkey"
    )
    op.drop_constraint(op.f("uq_posting_passed_on_from_id"), "posting", type_="unique")
    op.drop_index("ix_posting_statement_id", table_name="posting")
    op.drop_index(
        "ix_posting_pending", table_name="posting", postgresql_where=sa.text("is_pending")
    )
    op.drop_index(
        "ix_posting_entry",
        table_name="posting",
        postgresql_where=sa.text("entry_amount IS NOT NULL"),
    )
    op.drop_index(
        "ix_posting_doubtful",
        table_name="posting",
        postgresql_where=sa.text("duplicate_of_id IS NOT NULL"),
    )
    op.drop_index("ix_posting_account_id_amount", table_name="posting")
    op.drop_column("posting", "ignored_because")
    op.drop_column("posting", "duplicate_of_id")
    op.drop_column("posting", "passed_on_from_id")
    op.drop_column("posting", "is_passed_on")
    op.drop_column("posting", "is_assigned")
    op.drop_column("posting", "is_replaced")
    op.drop_column("posting", "no_assignment")
    op.drop_column("posting", "is_pending")
    op.drop_column("posting", "particulars")
    op.drop_column("posting", "entry_amount")
    op.drop_column("posting", "source")
    op.drop_column("merchant", "is_operator")
    op.drop_constraint(
        op.f("fk_bank_account_shared_account_id"), "bank_account", type_="foreignkey"
    )
    op.drop_constraint(
        op.f("fk_bank_account_merchant_id_connection_id"), "bank_account", type_="foreignkey"
    )
    op.drop_constraint(
        op.f("uq_bank_account_merchant_id_iban_currency"), "bank_account", type_="unique"
    )
    op.drop_index("ix_bank_account_shared_account_id", table_name="bank_account")
    op.create_unique_constraint(
        op.f("uq_bank_account_merchant_id_iban"),
        "bank_account",
        ["merchant_id", "iban"],
        postgresql_nulls_not_distinct=False,
    )
    op.drop_column("bank_account", "payout_name")
    op.drop_column("bank_account", "payout_iban")
    op.drop_column("bank_account", "shared_account_id")
    op.drop_column("bank_account", "is_shared")
    op.drop_column("bank_account", "connection_id")
    op.drop_column("bank_account", "ignores_doubles")
    op.drop_column("bank_account", "assign_from")
    op.drop_column("bank_account", "for_shops")
    op.drop_column("bank_account", "for_currencies")
    op.drop_column("bank_account", "for_countries")
    op.drop_column("bank_account", "label")
    op.drop_index(op.f("ix_posting_alias_posting_id"), table_name="posting_alias")
    op.drop_table("posting_alias")
    op.drop_index("ix_statement_period_account_id_from_date", table_name="statement_period")
    op.drop_table("statement_period")
    op.drop_table("csv_layout")
    op.drop_index("ix_account_movement_account_id_booked_on", table_name="account_movement")
    op.drop_table("account_movement")
    op.drop_table("account_day")
    op.drop_table("ignore_rule")
    op.drop_index(
        "ix_bank_connection_running",
        table_name="bank_connection",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index(
        "ix_bank_connection_due",
        table_name="bank_connection",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_table("bank_connection")
