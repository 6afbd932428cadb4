"""The merchant's partner for collection, as it is stored; cases stand with the orders."""

from __future__ import annotations

from sqlalchemy import ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, deferred, mapped_column

from server.db import Base, Time


class CollectionPartner(Base):
    """Who collects a merchant's debts: one of the adapters, its settings sealed by the vault.

    ``adapter``: ``folder`` (the merchant hands the dossier on himself), ``mail`` (to a lawyer),
    ``http``. ``contact_name`` and ``contact_phone`` are whom the partner asks (K61). ``error``: why
    it took nothing, since ``error_since``.
    """

    __tablename__ = "collection_partner"

    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchant.id"), primary_key=True)
    adapter: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(200))
    contact_name: Mapped[str] = mapped_column(String(200))
    contact_phone: Mapped[str] = mapped_column(String(64))
    settings: Mapped[bytes] = deferred(mapped_column(LargeBinary, nullable=False))
    changed_at: Mapped[Time]
    changed_by: Mapped[str] = mapped_column(String(320), default="")
    error: Mapped[str | None] = mapped_column(Text)
    error_since: Mapped[Time | None]
