"""Bank accounts, statements and postings as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, declared_attr, deferred, mapped_column

from server.db import Amount, Base, Id, Ref, Time, now
from server.work import WorkItem, work_indexes


class BankAccount(Base):
    """An own account: where customers are asked to pay, and the scope of its postings.

    An account that only a statement has named has no ``creditor_name`` until it is entered.
    """

    __tablename__ = "bank_account"
    __table_args__ = (
        UniqueConstraint("merchant_id", "iban"),
        UniqueConstraint("merchant_id", "id"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    iban: Mapped[str] = mapped_column(String(34))
    bic: Mapped[str | None] = mapped_column(String(11))
    creditor_name: Mapped[str | None] = mapped_column(String(70))
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    is_payee: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[Time] = mapped_column(default=now)


class Statement(WorkItem, Base):
    """One delivery from the bank, kept raw before anything is read from it.

    ``entries_read`` is where the next slice goes on. ``problems`` holds the first of
    ``problem_count`` entries that could not be read: [{"where", "what"}].
    """

    __tablename__ = "statement"
    schedule: ClassVar[Sequence[timedelta]] = (
        timedelta(seconds=10),
        timedelta(minutes=1),
        timedelta(minutes=10),
    )

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            UniqueConstraint("merchant_id", "id"),
            Index("ix_statement_merchant_id_created_at", "merchant_id", "created_at"),
            *work_indexes("statement"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    filename: Mapped[str] = mapped_column(String(255))
    content: Mapped[bytes] = deferred(mapped_column(LargeBinary))
    size_bytes: Mapped[int]
    content_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    account_iban: Mapped[str | None] = mapped_column(String(34))
    columns: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    uploaded_by: Mapped[str] = mapped_column(String(320), default="")
    entries_read: Mapped[int] = mapped_column(default=0)
    postings_new: Mapped[int] = mapped_column(default=0)
    postings_known: Mapped[int] = mapped_column(default=0)
    postings_pending: Mapped[int] = mapped_column(default=0)
    problem_count: Mapped[int] = mapped_column(default=0)
    problems: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)


class Posting(Base):
    """One amount on an account: an entry of a statement, or one transaction of a batch.

    ``amount`` is signed, in the account's currency. ``is_open`` says that money that came in
    waits to be assigned; it follows from the ledger and is written only by ``orders.service``
    and at the import (docs/adr/0007). ``needs_match``: the matcher has not looked yet. ``keys``:
    what the text may mean, kept for open postings, so that an order that arrives later finds
    them (S18). ``is_blocked``: a person undid an assignment, so the matcher only suggests.
    """

    __tablename__ = "posting"
    __table_args__ = (
        UniqueConstraint("account_id", "fingerprint"),
        UniqueConstraint("merchant_id", "id"),
        ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["bank_account.merchant_id", "bank_account.id"]
        ),
        ForeignKeyConstraint(
            ["merchant_id", "statement_id"], ["statement.merchant_id", "statement.id"]
        ),
        Index("ix_posting_merchant_id_booking_date", "merchant_id", "booking_date", "id"),
        Index("ix_posting_open", "merchant_id", "id", postgresql_where=text("is_open")),
        Index("ix_posting_unmatched", "merchant_id", "id", postgresql_where=text("needs_match")),
        Index("ix_posting_keys", "keys", postgresql_using="gin", postgresql_where=text("is_open")),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    account_id: Mapped[Ref]
    statement_id: Mapped[int | None] = mapped_column(BigInteger)
    fingerprint: Mapped[str] = mapped_column(String(64))
    booking_date: Mapped[date | None]
    value_date: Mapped[date | None]
    amount: Mapped[Amount]
    currency: Mapped[str] = mapped_column(String(3))
    counterparty_name: Mapped[str | None] = mapped_column(Text)
    counterparty_iban: Mapped[str | None] = mapped_column(String(64))
    counterparty_bic: Mapped[str | None] = mapped_column(String(64))
    remittance_information: Mapped[str | None] = mapped_column(Text)
    creditor_reference: Mapped[str | None] = mapped_column(Text)
    end_to_end_id: Mapped[str | None] = mapped_column(Text)
    mandate_id: Mapped[str | None] = mapped_column(Text)
    bank_reference: Mapped[str | None] = mapped_column(Text)
    transaction_code: Mapped[str | None] = mapped_column(Text)
    is_return: Mapped[bool] = mapped_column(default=False)
    return_reason: Mapped[str | None] = mapped_column(Text)
    is_batch_total: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[Time] = mapped_column(default=now)
    is_open: Mapped[bool] = mapped_column(default=False)
    needs_match: Mapped[bool] = mapped_column(default=True)
    is_blocked: Mapped[bool] = mapped_column(default=False)
    keys: Mapped[list[str] | None] = deferred(mapped_column(ARRAY(String(64))))
    ignored_at: Mapped[Time | None]
    ignored_by: Mapped[str | None] = mapped_column(String(320))
