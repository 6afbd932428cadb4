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

from server.db import Amount, Base, Id, MaybeAmount, Ref, Time, now
from server.work import WorkItem, work_indexes


class BankAccount(Base):
    """An own account: where customers are asked to pay, and the scope of its postings.

    ``iban`` is what the bank calls it where it has none (``PayPal``), and "" for files that say
    nothing. Customers are asked to pay to it while ``is_payee``; ``for_countries`` (ISO 3166),
    ``for_currencies`` and ``for_shops`` narrow for whom, empty means for all (K51). Postings
    booked before ``assign_from`` are kept without assignment (K11). ``ignores_doubles``: the
    same originator, amount and purpose on one day is one payment that the bank sent twice (K46).
    ``creditor_address`` is that of the owner for Swiss QR-bills (K19): {} or {"street",
    "building_number", "postcode", "city", "country"}, the first two perhaps empty. ``qr_iban`` is
    the account's other name, to which payments carry a QR reference; the bank's files call the
    account by its ``iban``.

    An account of the operator that several merchants share ``is_shared``; each merchant who uses
    it has a row of the same IBAN that names it as ``shared_account_id`` (S20, K50) and says where
    its balance is paid out to.
    """

    __tablename__ = "bank_account"
    __table_args__ = (
        UniqueConstraint("merchant_id", "iban", "currency"),
        UniqueConstraint("merchant_id", "id"),
        ForeignKeyConstraint(
            ["merchant_id", "connection_id"], ["bank_connection.merchant_id", "bank_connection.id"]
        ),
        Index("ix_bank_account_shared_account_id", "shared_account_id"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    iban: Mapped[str] = mapped_column(String(34))
    bic: Mapped[str | None] = mapped_column(String(11))
    creditor_name: Mapped[str | None] = mapped_column(String(70))
    creditor_address: Mapped[dict[str, str]] = mapped_column(
        JSON, default=dict, server_default="{}"
    )
    qr_iban: Mapped[str | None] = mapped_column(String(34))
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    label: Mapped[str] = mapped_column(String(100), default="", server_default="")
    is_payee: Mapped[bool] = mapped_column(default=False)
    for_countries: Mapped[list[str]] = mapped_column(
        ARRAY(String(2)), default=list, server_default="{}"
    )
    for_currencies: Mapped[list[str]] = mapped_column(
        ARRAY(String(3)), default=list, server_default="{}"
    )
    for_shops: Mapped[list[int]] = mapped_column(
        ARRAY(BigInteger), default=list, server_default="{}"
    )
    assign_from: Mapped[date | None]
    ignores_doubles: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    connection_id: Mapped[int | None] = mapped_column(BigInteger)
    is_shared: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    shared_account_id: Mapped[int | None] = mapped_column(ForeignKey("bank_account.id"))
    payout_iban: Mapped[str | None] = mapped_column(String(34))
    payout_name: Mapped[str | None] = mapped_column(String(140))
    created_at: Mapped[Time] = mapped_column(default=now)


class BankConnection(WorkItem, Base):
    """An access to a bank that fetches by itself: FinTS. As work, it is the next fetch.

    ``health`` is ``setting_up``, ``connected``, ``needs_you`` (a TAN or a new consent: a person
    must come), ``refused`` (wrong PIN: never tried again by itself) or ``disabled``. While it
    is not ``connected``, the row is ``withheld`` and nothing is fetched. ``credentials`` and
    ``dialog`` (what the bank's protocol remembers between two steps) are sealed by the vault.
    ``step`` is what the person at the set-up is asked next, without secrets. ``found`` are the
    accounts that the bank offered; nothing older than ``not_before`` is asked for. The bank wants
    a person ``consent_days`` after ``consent_at`` (the fewest seen), who is warned once before.
    """

    __tablename__ = "bank_connection"
    schedule: ClassVar[Sequence[timedelta]] = (
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=6),
    )

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            UniqueConstraint("merchant_id", "id"),
            *work_indexes("bank_connection"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    bank_code: Mapped[str] = mapped_column(String(11))
    bank_name: Mapped[str] = mapped_column(String(200), default="")
    url: Mapped[str] = mapped_column(String(500))
    user_name: Mapped[str] = mapped_column(String(100))
    tan_method: Mapped[str | None] = mapped_column(String(8))
    tan_medium: Mapped[str | None] = mapped_column(String(100))
    credentials: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
    dialog: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
    health: Mapped[str] = mapped_column(String(16), default="setting_up")
    step: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    found: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    created_at: Mapped[Time] = mapped_column(default=now)
    connected_at: Mapped[Time | None]
    fetched_at: Mapped[Time | None]
    not_before: Mapped[date | None]
    consent_at: Mapped[Time | None]
    consent_days: Mapped[int | None]
    warned_at: Mapped[Time | None]


class Statement(WorkItem, Base):
    """One delivery from the bank, kept raw before anything is read from it.

    ``source`` is what it turned out to be (``camt.053``, ``MT940``, ``CSV``). ``entries_read``
    is where the next slice goes on. ``problems`` holds the first of ``problem_count`` entries
    that could not be read: [{"where", "what", "raw"}]. ``account_id`` was named by the person
    or connection that delivered it, for files that do not name their account themselves.
    ``is_pending``: nothing in it is booked yet, whatever its entries say. ``asks_columns``: a CSV
    whose columns a person must name; ``asks_account``: which of several accounts it is about.
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
            ForeignKeyConstraint(
                ["merchant_id", "account_id"], ["bank_account.merchant_id", "bank_account.id"]
            ),
            Index("ix_statement_merchant_id_created_at", "merchant_id", "created_at"),
            *work_indexes("statement"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    filename: Mapped[str] = mapped_column(String(255))
    content: Mapped[bytes] = deferred(mapped_column(LargeBinary))
    size_bytes: Mapped[int]
    content_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    source: Mapped[str] = mapped_column(String(16), default="", server_default="")
    account_id: Mapped[int | None] = mapped_column(BigInteger)
    account_iban: Mapped[str | None] = mapped_column(String(34))
    is_pending: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    columns: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    asks_columns: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    asks_account: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    uploaded_by: Mapped[str] = mapped_column(String(320), default="")
    entries_read: Mapped[int] = mapped_column(default=0)
    postings_new: Mapped[int] = mapped_column(default=0)
    postings_known: Mapped[int] = mapped_column(default=0)
    postings_pending: Mapped[int] = mapped_column(default=0)
    postings_doubtful: Mapped[int] = mapped_column(default=0, server_default="0")
    postings_ignored: Mapped[int] = mapped_column(default=0, server_default="0")
    problem_count: Mapped[int] = mapped_column(default=0)
    problems: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)


class StatementPeriod(Base):
    """What one statement inside a delivery says of its account: days and balances.

    ``booked_total`` is the sum of its booked postings as we read them. ``is_complete``: the bank
    claims that nothing else was booked from ``from_date`` to ``to_date``.
    """

    __tablename__ = "statement_period"
    __table_args__ = (
        ForeignKeyConstraint(
            ["merchant_id", "statement_id"], ["statement.merchant_id", "statement.id"]
        ),
        ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["bank_account.merchant_id", "bank_account.id"]
        ),
        UniqueConstraint("statement_id", "position"),
        Index("ix_statement_period_account_id_from_date", "account_id", "from_date"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    statement_id: Mapped[Ref]
    account_id: Mapped[Ref]
    position: Mapped[int]
    source: Mapped[str] = mapped_column(String(16))
    number: Mapped[str | None] = mapped_column(String(64))
    from_date: Mapped[date | None]
    to_date: Mapped[date | None]
    opening: Mapped[MaybeAmount]
    closing: Mapped[MaybeAmount]
    booked_total: Mapped[Amount]
    is_complete: Mapped[bool]


class AccountDay(Base):
    """How many booked postings of a day one delivery brought first; 0 stands for the API."""

    __tablename__ = "account_day"

    account_id: Mapped[int] = mapped_column(
        ForeignKey("bank_account.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[date] = mapped_column(primary_key=True)
    statement_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, default=0)
    postings: Mapped[int]


class CsvLayout(Base):
    """Columns that a merchant named once for a CSV of unknown layout, found by its header (C2)."""

    __tablename__ = "csv_layout"
    __table_args__ = (
        UniqueConstraint("merchant_id", "header_key"),
        ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["bank_account.merchant_id", "bank_account.id"]
        ),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    header_key: Mapped[str] = mapped_column(String(64))
    columns: Mapped[dict[str, Any]] = mapped_column(JSON)
    account_id: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[Time] = mapped_column(default=now)


class Posting(Base):
    """One amount on an account: an entry of a statement, or one transaction of a batch.

    ``amount`` is signed, in the account's currency. ``is_open`` says that money that came in
    waits to be assigned; it follows from the ledger and is written only by ``orders.service``
    and at the import (docs/adr/0007). ``needs_match``: the matcher has not looked yet. ``keys``:
    what the text may mean, kept for open postings, so that an order that arrives later finds
    them (S18). ``is_blocked``: a person undid an assignment, so the matcher only suggests.
    ``is_assigned``: some of it is, as the ledger says.

    ``duplicate_of_id``: looks like that one, but cannot be told to be it; a person decides (K46).
    ``is_pending``: the bank may still take it back; merged with the booked one when that comes
    (C8). ``no_assignment``: older than the account's first day (K11). ``is_replaced``: a batch
    total whose payments came one by one from another file. ``ignored_because`` is ``person``,
    ``duplicate``, ``double``, ``refund_back`` (a repayment that did not arrive), or the kind of the
    ignore rule. ``entry_amount`` is that of the bank's entry for a payment inside one.
    ``particulars`` are what else the bank said, for people: {"entry_references", "foreign",
    "charges"}. ``passed_on_from_id``: on a shared account, the operator's posting that this is the
    merchant's copy of; that one ``is_passed_on``.
    ``is_kept``: what is left of it is a customer's credit (C12). ``is_returned``: the bank took
    the money back; the posting by which it did ``returns_id`` this one (N18).
    """

    __tablename__ = "posting"
    __table_args__ = (
        UniqueConstraint("account_id", "fingerprint"),
        UniqueConstraint("merchant_id", "id"),
        UniqueConstraint("passed_on_from_id"),
        ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["bank_account.merchant_id", "bank_account.id"]
        ),
        ForeignKeyConstraint(
            ["merchant_id", "statement_id"], ["statement.merchant_id", "statement.id"]
        ),
        ForeignKeyConstraint(
            ["merchant_id", "duplicate_of_id"],
            ["posting.merchant_id", "posting.id"],
        ),
        ForeignKeyConstraint(["merchant_id", "returns_id"], ["posting.merchant_id", "posting.id"]),
        Index(
            "ix_posting_returns",
            "returns_id",
            unique=True,
            postgresql_where=text("returns_id IS NOT NULL"),
        ),
        Index(
            "ix_posting_sent",
            "merchant_id",
            text("upper(end_to_end_id)"),
            postgresql_where=text("amount < 0"),
        ),
        Index("ix_posting_merchant_id_booking_date", "merchant_id", "booking_date", "id"),
        Index("ix_posting_account_id_amount", "account_id", "amount", "booking_date"),
        Index("ix_posting_statement_id", "statement_id"),
        Index("ix_posting_open", "merchant_id", "id", postgresql_where=text("is_open")),
        Index("ix_posting_unmatched", "merchant_id", "id", postgresql_where=text("needs_match")),
        Index("ix_posting_pending", "account_id", postgresql_where=text("is_pending")),
        Index(
            "ix_posting_doubtful",
            "duplicate_of_id",
            postgresql_where=text("duplicate_of_id IS NOT NULL"),
        ),
        Index(
            "ix_posting_entry",
            "account_id",
            "entry_amount",
            postgresql_where=text("entry_amount IS NOT NULL"),
        ),
        Index("ix_posting_keys", "keys", postgresql_using="gin", postgresql_where=text("is_open")),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    account_id: Mapped[Ref]
    statement_id: Mapped[int | None] = mapped_column(BigInteger)
    fingerprint: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(String(16), default="", server_default="")
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
    entry_amount: Mapped[MaybeAmount]
    particulars: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[Time] = mapped_column(default=now)
    is_open: Mapped[bool] = mapped_column(default=False)
    needs_match: Mapped[bool] = mapped_column(default=True)
    is_blocked: Mapped[bool] = mapped_column(default=False)
    is_pending: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    no_assignment: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    is_replaced: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    is_assigned: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    is_passed_on: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    passed_on_from_id: Mapped[int | None] = mapped_column(ForeignKey("posting.id"))
    duplicate_of_id: Mapped[int | None] = mapped_column(BigInteger)
    is_kept: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    is_returned: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    returns_id: Mapped[int | None] = mapped_column(BigInteger)
    keys: Mapped[list[str] | None] = deferred(mapped_column(ARRAY(String(64))))
    ignored_at: Mapped[Time | None]
    ignored_by: Mapped[str | None] = mapped_column(String(320))
    ignored_because: Mapped[str | None] = mapped_column(String(16))

    @property
    def may_be_open(self) -> bool:
        """Whether what is left of it waits to be assigned."""
        return self.amount > 0 and not (
            self.ignored_at
            or self.is_pending
            or self.no_assignment
            or self.is_replaced
            or self.is_passed_on
            or self.is_kept
            or self.is_returned
        )


class PostingAlias(Base):
    """Another fingerprint of a posting: how a delivery of another kind called the same money."""

    __tablename__ = "posting_alias"

    account_id: Mapped[int] = mapped_column(
        ForeignKey("bank_account.id", ondelete="CASCADE"), primary_key=True
    )
    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    posting_id: Mapped[Ref] = mapped_column(
        ForeignKey("posting.id", ondelete="CASCADE"), index=True
    )


class IgnoreRule(Base):
    """Postings that nobody needs to look at (K44, K45).

    ``kind``: ``iban`` and ``name`` (the originator), ``text`` (the purpose; a ``{regex}`` prefix
    makes ``value`` a pattern for all of it), ``amount_above`` (decimal string, in the posting's
    currency), ``unassigned`` (whatever the matcher does not assign), ``keep_providers`` (switches
    off that payouts of payment providers are recognised). ``tells_merchant``: a mail all the same.
    """

    __tablename__ = "ignore_rule"
    __table_args__ = (UniqueConstraint("merchant_id", "kind", "value"),)

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    kind: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(String(500), default="")
    tells_merchant: Mapped[bool] = mapped_column(default=False)
    created_by: Mapped[str] = mapped_column(String(320), default="")
    created_at: Mapped[Time] = mapped_column(default=now)


class AccountMovement(Base):
    """What moved a merchant's balance on a shared account beside postings (K52).

    ``kind``: ``payout``, ``fee``, ``refund``, ``correction``. ``amount`` is signed from the
    merchant's view: a payout is negative.
    """

    __tablename__ = "account_movement"
    __table_args__ = (
        ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["bank_account.merchant_id", "bank_account.id"]
        ),
        Index("ix_account_movement_account_id_booked_on", "account_id", "booked_on"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    account_id: Mapped[Ref]
    kind: Mapped[str] = mapped_column(String(16))
    amount: Mapped[Amount]
    booked_on: Mapped[date]
    reference: Mapped[str] = mapped_column(String(140), default="")
    created_by: Mapped[str] = mapped_column(String(320), default="")
    created_at: Mapped[Time] = mapped_column(default=now)
