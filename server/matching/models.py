"""Decisions and what was forgotten of the payers, as they are stored."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, ForeignKeyConstraint, Index, Numeric, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, Id, Ref, Time, now


class MatchDecision(Base):
    """What the matcher decided about a posting, and on what grounds. Append-only (N2).

    A new row only where the answer differs from the one before. ``shares`` is
    [{"order_id", "amount"}]; ``runner_up`` is None or {"orders": [order id, …], "probability"};
    ``evidence`` is a list of ``rules.evidence.Evidence.as_json``; ``mode`` is the merchant's
    setting at that time: in ``shadow`` and ``review`` nothing was booked by it.
    """

    __tablename__ = "match_decision"
    __table_args__ = (
        ForeignKeyConstraint(
            ["merchant_id", "posting_id"], ["posting.merchant_id", "posting.id"], ondelete="CASCADE"
        ),
        Index("ix_match_decision_posting_id", "posting_id", "id"),
        Index("ix_match_decision_merchant_id", "merchant_id", "decided_at"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    posting_id: Mapped[Ref]
    choice: Mapped[str] = mapped_column(String(8))
    probability: Mapped[Any] = mapped_column(Numeric(6, 5))
    shares: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    runner_up: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    evidence: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    vetoes: Mapped[list[str]] = mapped_column(JSON, default=list)
    level: Mapped[str] = mapped_column(String(8))
    mode: Mapped[str] = mapped_column(String(8))
    rule_version: Mapped[str] = mapped_column(String(16))
    decided_at: Mapped[Time] = mapped_column(default=now)


class ForgottenPayer(Base):
    """What people confirmed about this payer before ``forgotten_at`` counts no more (C19).

    What the matcher knows of payers is read from the ledger: the assignments that people made
    and did not undo. Only what it is to forget is written down. ``payer`` is an IBAN or a name.
    """

    __tablename__ = "forgotten_payer"
    __table_args__ = (Index("ix_forgotten_payer_merchant_id", "merchant_id", "payer"),)

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    payer: Mapped[str] = mapped_column(String(500))
    forgotten_at: Mapped[Time] = mapped_column(default=now)
    forgotten_by: Mapped[str] = mapped_column(String(320), default="")
