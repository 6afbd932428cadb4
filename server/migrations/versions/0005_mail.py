"""Mail: domains, keys, hosts, what comes back, blocked addresses, own words and pictures, choices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WRONG = "status IN ('failed', 'unknown') OR delivery IN ('bounced', 'complained')"


def upgrade() -> None:
    op.create_table(
        "mail_host",
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("window_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_sent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_mail_host")),
    )
    op.create_table(
        "mail_text",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=48), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("words", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=320), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_mail_text_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_text")),
    )
    op.create_index(
        "ix_mail_text_merchant_id",
        "mail_text",
        ["merchant_id", "kind", "language", "shop_id", "id"],
        unique=False,
    )
    op.create_table(
        "picture",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.String(length=43), nullable=False),
        sa.Column("content_type", sa.String(length=32), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_picture_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_picture")),
        sa.UniqueConstraint("token", name=op.f("uq_picture_token")),
    )
    op.create_index(op.f("ix_picture_merchant_id"), "picture", ["merchant_id"], unique=False)
    op.create_table(
        "sending_domain",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("proven_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_sending_domain_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sending_domain")),
    )
    op.create_index(
        "ix_sending_domain_due",
        "sending_domain",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_sending_domain_name",
        "sending_domain",
        [sa.literal_column("coalesce(merchant_id, 0)"), "name"],
        unique=True,
    )
    op.create_index(
        "ix_sending_domain_running",
        "sending_domain",
        ["claimed_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "dkim_key",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("sending_domain_id", sa.BigInteger(), nullable=False),
        sa.Column("selector", sa.String(length=63), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["sending_domain_id"],
            ["sending_domain.id"],
            name=op.f("fk_dkim_key_sending_domain_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dkim_key")),
        sa.UniqueConstraint(
            "sending_domain_id",
            "selector",
            "created_at",
            name=op.f("uq_dkim_key_sending_domain_id_selector_created_at"),
        ),
    )
    op.create_table(
        "mail_report",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=True),
        sa.Column("mail_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status_code", sa.String(length=16), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["mail_id"], ["mail.id"], name=op.f("fk_mail_report_mail_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_mail_report_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_report")),
        sa.UniqueConstraint("digest", name=op.f("uq_mail_report_digest")),
    )
    op.create_index("ix_mail_report_mail_id", "mail_report", ["mail_id"], unique=False)
    op.create_index(
        "ix_mail_report_merchant_id", "mail_report", ["merchant_id", "received_at"], unique=False
    )
    op.create_table(
        "notice_choice",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=48), nullable=False),
        sa.Column("is_wanted", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_notice_choice_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "kind", name=op.f("pk_notice_choice")),
    )
    op.create_table(
        "suppression",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.BigInteger(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("kind", sa.String(length=48), nullable=True),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("mail_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=320), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(length=320), nullable=True),
        sa.ForeignKeyConstraint(
            ["mail_id"], ["mail.id"], name=op.f("fk_suppression_mail_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_suppression_merchant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppression")),
    )
    op.create_index("ix_suppression_mail_id", "suppression", ["mail_id"], unique=False)
    op.create_index(
        "ix_suppression_merchant_id", "suppression", ["merchant_id", "address_hash"], unique=False
    )
    op.add_column("mail", sa.Column("delivery_words", sa.Text(), nullable=True))
    op.add_column("mail", sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("mail", sa.Column("headers", sa.Text(), nullable=True))
    op.add_column("mail", sa.Column("sent_via", sa.String(length=253), nullable=True))
    op.add_column("mail", sa.Column("failure", sa.String(length=24), nullable=True))
    op.add_column("shop", sa.Column("sender_address", sa.String(length=320), nullable=True))
    op.add_column("shop", sa.Column("look", sa.JSON(), server_default="{}", nullable=False))
    op.add_column(
        "bank_account",
        sa.Column("creditor_address", sa.JSON(), server_default="{}", nullable=False),
    )
    op.add_column("bank_account", sa.Column("qr_iban", sa.String(length=34), nullable=True))

    op.create_index(
        "ix_mail_merchant_id_kind", "mail", ["merchant_id", "kind", "created_at"], unique=False
    )
    op.create_index(
        "ix_mail_wrong",
        "mail",
        ["merchant_id", "created_at"],
        unique=False,
        postgresql_where=sa.text(WRONG),
    )


def downgrade() -> None:
    op.drop_index("ix_mail_wrong", table_name="mail", postgresql_where=sa.text(WRONG))
    op.drop_index("ix_mail_merchant_id_kind", table_name="mail")
    op.drop_column("bank_account", "qr_iban")
    op.drop_column("bank_account", "creditor_address")
    op.drop_column("shop", "look")
    op.drop_column("shop", "sender_address")
    op.drop_column("mail", "failure")
    op.drop_column("mail", "sent_via")
    op.drop_column("mail", "headers")
    op.drop_column("mail", "delivered_at")
    op.drop_column("mail", "delivery_words")
    op.drop_index("ix_suppression_merchant_id", table_name="suppression")
    op.drop_index("ix_suppression_mail_id", table_name="suppression")
    op.drop_table("suppression")
    op.drop_table("notice_choice")
    op.drop_index("ix_mail_report_merchant_id", table_name="mail_report")
    op.drop_index("ix_mail_report_mail_id", table_name="mail_report")
    op.drop_table("mail_report")
    op.drop_table("dkim_key")
    op.drop_index(
        "ix_sending_domain_running",
        table_name="sending_domain",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index("ix_sending_domain_name", table_name="sending_domain")
    op.drop_index(
        "ix_sending_domain_due",
        table_name="sending_domain",
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_table("sending_domain")
    op.drop_index(op.f("ix_picture_merchant_id"), table_name="picture")
    op.drop_table("picture")
    op.drop_index("ix_mail_text_merchant_id", table_name="mail_text")
    op.drop_table("mail_text")
    op.drop_table("mail_host")
