"""Letters and the services that print them, as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, declared_attr, deferred, mapped_column

from server.db import Base, Id, MaybeAmount, Ref, Time
from server.work import WorkItem, work_indexes


class Letter(WorkItem, Base):
    """One letter. ``once`` makes it at most one, ever; ``facts`` is the snapshot of what it says.

    ``queued`` until the cut-off at ``due_at``, so that a person can still cancel it (S73), then
    composed and handed over to ``service``: ``done`` is handed over. ``withheld`` is cancelled, by
    a person or because it is moot. ``unknown``: it may have been handed over. ``delivery`` is what
    the service told since: ``accepted``, ``sent`` (posted), ``returned``, ``failed``.

    ``recipient`` are the lines of the address window without the country's line, ``country`` is
    ISO 3166. ``mail_id``: the mail that it replaces (S71). ``enclosed``: the PDF that the shop
    made, such as an invoice, sent as it is. ``pdf`` is what was handed over. ``cost`` is what the
    service asks for it, in ``cost_currency``. ``service_reference`` is the service's own number.
    ``is_test``: made to try it, with an invented order; it is handed over to nobody.
    """

    __tablename__ = "letter"
    schedule: ClassVar[Sequence[timedelta]] = (
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        *(timedelta(hours=6) for _ in range(12)),
    )
    if_worker_died: ClassVar[str] = "unknown"

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            Index("ix_letter_merchant_id_created_at", "merchant_id", "created_at", "id"),
            Index("ix_letter_order_id", "order_id"),
            Index(
                "ix_letter_under_way",
                "merchant_id",
                "id",
                postgresql_where=text("status = 'done' AND delivery = 'accepted'"),
            ),
            *work_indexes("letter"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[int | None] = mapped_column(BigInteger)
    order_id: Mapped[int | None] = mapped_column(BigInteger)
    mail_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(32))
    language: Mapped[str] = mapped_column(String(8))
    recipient: Mapped[list[str]] = mapped_column(JSON)
    country: Mapped[str] = mapped_column(String(2), default="DE")
    once: Mapped[str] = mapped_column(String(200), unique=True)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    look: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    is_registered: Mapped[bool] = mapped_column(default=False)
    is_test: Mapped[bool] = mapped_column(default=False)
    enclosed: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
    pdf: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
    pages: Mapped[int | None]
    cost: Mapped[MaybeAmount]
    cost_currency: Mapped[str | None] = mapped_column(String(3))
    service: Mapped[str | None] = mapped_column(String(16))
    service_reference: Mapped[str | None] = mapped_column(String(64))
    delivery: Mapped[str | None] = mapped_column(String(16))
    delivery_words: Mapped[str | None] = mapped_column(Text)
    delivered_at: Mapped[Time | None]
    actor: Mapped[str] = mapped_column(String(320), default="")
    cancelled_by: Mapped[str | None] = mapped_column(String(320))

    def in_doubt(self, why: str, at: datetime) -> None:
        """Handed over, and no answer came: a person decides, because two letters cost twice."""
        self.status, self.error = "unknown", why


class PrintService(Base):
    """Who prints a merchant's letters: one of the adapters, with its settings sealed by the vault.

    ``adapter``: ``folder``, ``smtp``, ``letterxpress``. ``prices`` are decimal strings in
    ``currency``: {"first_sheet", "further_sheet", "registered"}, what is shown before sending.
    ``error``: why it took nothing, since ``error_since``.
    """

    __tablename__ = "print_service"

    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchant.id"), primary_key=True)
    adapter: Mapped[str] = mapped_column(String(16))
    settings: Mapped[bytes] = deferred(mapped_column(LargeBinary, nullable=False))
    prices: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    changed_at: Mapped[Time]
    changed_by: Mapped[str] = mapped_column(String(320), default="")
    error: Mapped[str | None] = mapped_column(Text)
    error_since: Mapped[Time | None]
