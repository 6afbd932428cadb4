"""Files and orders to the bank by which repayments leave, as they are stored."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import JSON, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, deferred, mapped_column

from server.db import Amount, Base, Id, Ref, Time, now


class RefundBatch(Base):
    """Repayments that go to the bank together, from one account.

    ``channel``: ``pain001`` (a file that a person hands in), ``csv`` (a list for where no file is
    taken), ``fints`` (sent by Kontor). ``status``: ``made`` (waits for the person who hands it in,
    or for a TAN), ``sent``, ``failed`` with ``error``, ``dropped`` (never handed in: its
    repayments wait again). ``step`` is what the person is asked at the bank, without secrets;
    ``dialog`` what the bank's protocol remembers meanwhile, sealed by the vault.
    """

    __tablename__ = "refund_batch"
    __table_args__ = (
        ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["bank_account.merchant_id", "bank_account.id"]
        ),
        Index("ix_refund_batch_merchant_id", "merchant_id", "created_at"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    account_id: Mapped[Ref]
    channel: Mapped[str] = mapped_column(String(8))
    status: Mapped[str] = mapped_column(String(8), default="made")
    message_id: Mapped[str] = mapped_column(String(35), unique=True)
    execution_date: Mapped[date]
    count: Mapped[int]
    total: Mapped[Amount]
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    content: Mapped[bytes] = deferred(mapped_column(LargeBinary, nullable=False))
    created_at: Mapped[Time] = mapped_column(default=now)
    created_by: Mapped[str] = mapped_column(String(320), default="")
    sent_at: Mapped[Time | None]
    sent_by: Mapped[str | None] = mapped_column(String(320))
    error: Mapped[str | None] = mapped_column(Text)
    step: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    dialog: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
