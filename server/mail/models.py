"""Outgoing mail as it is stored: what it says (facts), what was sent, how it fared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from server.db import Base, Id, Ref
from server.work import WorkItem, work_indexes


class Mail(WorkItem, Base):
    """One mail. ``once`` makes it at most one, ever; ``facts`` is the snapshot of what it says.

    ``order_id`` is None for account mails and merchant notices of no order. ``message_id`` is
    made with the row, so a second copy after a crash carries the same one. ``redirected_to``: the
    shop was in test mode, so it went there and not to the customer (K66).
    """

    __tablename__ = "mail"
    # 1, 5, 15, 30 min, 1, 2, 4 h, then every 6 h until 72 h (RFC 5321, 4.5.4.1).
    schedule: ClassVar[Sequence[timedelta]] = (
        *(timedelta(minutes=m) for m in (1, 5, 15, 30, 60, 120, 240)),
        *(timedelta(hours=6) for _ in range(11)),
    )

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            Index("ix_mail_merchant_id_created_at", "merchant_id", "created_at"),
            Index("ix_mail_order_id", "order_id"),
            *work_indexes("mail"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[int | None] = mapped_column(BigInteger)
    order_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(48))
    language: Mapped[str] = mapped_column(String(8))
    recipient: Mapped[str] = mapped_column(String(320))
    redirected_to: Mapped[str | None] = mapped_column(String(320))
    once: Mapped[str] = mapped_column(String(200), unique=True)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    theme: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    sender_name: Mapped[str] = mapped_column(String(200), default="")
    sender_address: Mapped[str] = mapped_column(String(320), default="")
    reply_to: Mapped[str | None] = mapped_column(String(320))
    message_id: Mapped[str] = mapped_column(String(200))
    subject: Mapped[str | None] = mapped_column(Text)
    html: Mapped[str | None] = mapped_column(Text)
    text: Mapped[str | None] = mapped_column(Text)
    smtp_response: Mapped[str | None] = mapped_column(Text)
    delivery: Mapped[str | None] = mapped_column(String(16))
