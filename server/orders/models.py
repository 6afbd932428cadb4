"""Orders and all that is stored with them: invoices, keys, the ledger, reminders, repayments,
collection cases, suggestions, what customers asked, the history."""

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
    Numeric,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, declared_attr, deferred, mapped_column, relationship

from server.db import Amount, Base, Id, MaybeAmount, Ref, Time, now
from server.orders import rules
from server.shops.models import Shop
from server.work import WorkItem, work_indexes

OWING_STATUSES = rules.OWING_STATUSES
OWING = f"payment_status IN {OWING_STATUSES}"
"""Orders that wait for money, as the condition of an index."""


def _order_key() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["merchant_id", "order_id"], ["order.merchant_id", "order.id"], ondelete="CASCADE"
    )


class Order(Base):
    """A sale as the shop last told it, and where it stands.

    ``wire`` is the whole wire.Order as JSON. ``payment_status`` follows from total, ledger and
    the marks below through ``rules.payment_status``; it is kept so that lists can filter by it
    and is written by ``service.settle`` alone (docs/adr/0007). ``needs_match``: the matcher has
    not yet looked for postings that came before this order or before its change (S18).
    ``additional_name`` and ``additional_number`` are what a person added for the matcher (S85).

    ``sync``: ``shop`` follows the shop; ``edited`` (S66), ``manual`` (K64) and ``erased`` (S86) do
    not. ``base_date``: set by hand, the base of all reminder dates (S58). ``fee_total`` is what
    the reminders that were sent have charged (S68). ``monitor_at``: a watched order of another
    payment code, which counts as imported only from then on (S55). ``held_removal``: the shop says
    that it is not open any more, with too many others at once, so a person is asked (S41).
    """

    __tablename__ = "order"
    __table_args__ = (
        UniqueConstraint("shop_id", "external_id"),
        UniqueConstraint("merchant_id", "id"),
        UniqueConstraint("merchant_id", "payment_reference"),
        ForeignKeyConstraint(["merchant_id", "shop_id"], ["shop.merchant_id", "shop.id"]),
        Index("ix_order_merchant_id_ordered_at", "merchant_id", "ordered_at", "id"),
        Index("ix_order_status", "merchant_id", "payment_status", "ordered_at", "id"),
        Index("ix_order_shop_id_changed_at", "shop_id", "changed_at", "id"),
        Index("ix_order_unmatched", "merchant_id", "id", postgresql_where=text("needs_match")),
        Index("ix_order_owing", "merchant_id", "total", postgresql_where=text(OWING)),
        Index("ix_order_customer_email", "merchant_id", text("lower(customer_email)")),
        Index("ix_order_monitor_at", "monitor_at", postgresql_where=text("monitor_at IS NOT NULL")),
        Index(
            "ix_order_held_removal",
            "merchant_id",
            "shop_id",
            postgresql_where=text("held_removal IS NOT NULL"),
        ),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[Ref]
    external_id: Mapped[str] = mapped_column(String(64))
    number: Mapped[str] = mapped_column(String(64))
    ordered_at: Mapped[Time]
    currency: Mapped[str] = mapped_column(String(3))
    total: Mapped[Amount]
    payment_method: Mapped[str | None] = mapped_column(String(128))
    payment_code: Mapped[str] = mapped_column(String(24))
    shop_status: Mapped[str | None] = mapped_column(String(128))
    customer_name: Mapped[str] = mapped_column(String(500), default="")
    customer_email: Mapped[str | None] = mapped_column(String(320))
    language: Mapped[str] = mapped_column(String(8), default="de")
    search: Mapped[str] = mapped_column(Text, default="")
    wire: Mapped[dict[str, Any]] = mapped_column(JSON)
    content_hash: Mapped[bytes] = mapped_column(LargeBinary(16))
    payment_reference: Mapped[str] = mapped_column(String(16))
    payment_status: Mapped[str] = mapped_column(String(24))
    is_managed: Mapped[bool]
    needs_match: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[Time] = mapped_column(default=now)
    changed_at: Mapped[Time] = mapped_column(default=now)
    cancelled_at: Mapped[Time | None]
    removed_at: Mapped[Time | None]
    collection_at: Mapped[Time | None]
    erased_at: Mapped[Time | None]
    monitor_at: Mapped[Time | None]
    gone_evidence: Mapped[str | None] = mapped_column(String(16))
    held_removal: Mapped[str | None] = mapped_column(String(16))
    sync: Mapped[str] = mapped_column(String(8), default="shop", server_default="shop")
    base_date: Mapped[date | None]
    fee_total: Mapped[Amount] = mapped_column(default=0, server_default=text("0"))
    reminders_blocked_at: Mapped[Time | None]
    paused_until: Mapped[date | None]
    additional_name: Mapped[str | None] = mapped_column(String(200))
    additional_number: Mapped[str | None] = mapped_column(String(64))

    shop: Mapped[Shop] = relationship(
        primaryjoin="Order.shop_id == Shop.id", foreign_keys="Order.shop_id", viewonly=True
    )


class Invoice(Base):
    """An invoice number of an order and, once it was transferred, its PDF (S60)."""

    __tablename__ = "invoice"
    __table_args__ = (UniqueConstraint("order_id", "number"), _order_key())

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    order_id: Mapped[Ref]
    number: Mapped[str] = mapped_column(String(64))
    date: Mapped[date | None]
    pdf: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
    pdf_size_bytes: Mapped[int | None]
    received_at: Mapped[Time | None]


class OrderKey(Base):
    """What may identify an order in a bank text; written with the order (docs/adr/0008).

    No foreign key: checking it for each of some seven keys an order cost more than writing the
    order. Whoever deletes an order deletes its keys.
    """

    __tablename__ = "order_key"
    __table_args__ = (Index("ix_order_key_order_id", "order_id"),)

    merchant_id: Mapped[Ref] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(24), primary_key=True)
    order_id: Mapped[Ref] = mapped_column(primary_key=True)


class Assignment(Base):
    """So much of a posting pays so much of an order. Never edited; undone by a reversing row.

    ``posting_id`` is None where a person marked the order as paid, and for a difference. A
    reversing row has the negative amount and names the row it ``reverses``. ``turn`` counts the
    rows of one pair of posting and order, which makes every one of them unique.

    ``origin``: ``auto``, ``person``, ``credit`` (kept money paid a later order, C12), ``return``
    (the bank took it back, N18), or ``difference``: the order counts as paid though a little is
    missing, ``because`` of ``tolerance``, ``bank_fee``, ``discount``, ``goodwill`` or ``other``
    (C7). A difference belongs to the row it completes and is undone with it.
    """

    __tablename__ = "assignment"
    __table_args__ = (
        _order_key(),
        ForeignKeyConstraint(["merchant_id", "posting_id"], ["posting.merchant_id", "posting.id"]),
        UniqueConstraint("order_id", "posting_id", "turn", postgresql_nulls_not_distinct=True),
        UniqueConstraint("reverses_id"),
        Index("ix_assignment_posting_id", "posting_id"),
        Index(
            "ix_assignment_difference",
            "merchant_id",
            "id",
            postgresql_where=text("origin = 'difference'"),
        ),
        Index(
            "ix_assignment_by_person",
            "merchant_id",
            "id",
            postgresql_where=text("origin = 'person'"),
        ),
        Index(
            "ix_assignment_completes_id",
            "completes_id",
            postgresql_where=text("completes_id IS NOT NULL"),
        ),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    order_id: Mapped[Ref]
    posting_id: Mapped[int | None] = mapped_column(BigInteger)
    amount: Mapped[Amount]
    turn: Mapped[int]
    reverses_id: Mapped[int | None] = mapped_column(ForeignKey("assignment.id"))
    completes_id: Mapped[int | None] = mapped_column(ForeignKey("assignment.id"))
    because: Mapped[str | None] = mapped_column(String(16))
    origin: Mapped[str] = mapped_column(String(16))
    decided_by: Mapped[str] = mapped_column(String(320), default="")
    probability: Mapped[Any] = mapped_column(Numeric(6, 5), nullable=True)
    evidence: Mapped[list[Any]] = mapped_column(JSON, default=list)
    created_at: Mapped[Time] = mapped_column(default=now)

    completes: Mapped[Assignment | None] = relationship(
        remote_side="Assignment.id", foreign_keys="Assignment.completes_id"
    )


class Credit(Base):
    """Money of a posting that is kept for a customer until his next order (C12).

    What is left of the posting is the credit; it pays an order by an ordinary assignment.
    ``from_order_id`` is the order that was overpaid. ``mode`` is the merchant's wish for this
    customer, ``automatic`` or ``manual``; None is his general one. One row a posting, gone when
    it is released.
    """

    __tablename__ = "credit"
    __table_args__ = (
        ForeignKeyConstraint(["merchant_id", "posting_id"], ["posting.merchant_id", "posting.id"]),
        ForeignKeyConstraint(["merchant_id", "from_order_id"], ["order.merchant_id", "order.id"]),
        UniqueConstraint("posting_id"),
        Index("ix_credit_customer", "merchant_id", "customer_email"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    posting_id: Mapped[Ref]
    from_order_id: Mapped[int | None] = mapped_column(BigInteger)
    customer_name: Mapped[str] = mapped_column(String(500), default="")
    customer_email: Mapped[str | None] = mapped_column(String(320))
    customer_number: Mapped[str | None] = mapped_column(String(64))
    mode: Mapped[str | None] = mapped_column(String(16))
    kept_at: Mapped[Time] = mapped_column(default=now)
    kept_by: Mapped[str] = mapped_column(String(320), default="")


class Reminder(Base):
    """One dunning level of an order, written with its mail (S68). Level 1 is the reminder.

    ``sent_on`` is the merchant's local date: the next level counts from it. ``fee`` and
    ``interest`` are what this one charged, in the order's currency; interest replaces that of the
    level before, fees add up. A level whose mail was withheld is not reached, charges nothing and
    may come again. One whose mail did not arrive is reached; what it charged waits for a resend.
    ``letter_id``: it went by letter, beside the mail or instead of it; either tells the customer.
    """

    __tablename__ = "reminder"
    __table_args__ = (
        _order_key(),
        UniqueConstraint("order_id", "level"),
        Index("ix_reminder_merchant_id", "merchant_id", "created_at"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    order_id: Mapped[Ref]
    level: Mapped[int]
    sent_on: Mapped[date]
    fee: Mapped[Amount] = mapped_column(default=0)
    interest: Mapped[Amount] = mapped_column(default=0)
    mail_id: Mapped[int | None] = mapped_column(BigInteger)
    letter_id: Mapped[int | None] = mapped_column(BigInteger)
    run_id: Mapped[int | None] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(320), default="")
    created_at: Mapped[Time] = mapped_column(default=now)


class PaymentClaim(Base):
    """The customer says that he has paid (S61); ``paid_on`` and ``message`` as he typed them.

    Until somebody has looked at it, ``settled_at``, nothing is handed over to collection by itself.
    """

    __tablename__ = "payment_claim"
    __table_args__ = (
        _order_key(),
        Index("ix_payment_claim_order_id", "order_id"),
        Index("ix_payment_claim_merchant_id", "merchant_id", "claimed_at"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    order_id: Mapped[Ref]
    claimed_at: Mapped[Time] = mapped_column(default=now)
    paid_on: Mapped[date | None]
    message: Mapped[str] = mapped_column(Text, default="")
    settled_at: Mapped[Time | None]
    settled_by: Mapped[str | None] = mapped_column(String(320))


class DeferralRequest(Base):
    """The customer asks for more time (N8): until ``until_date``; a person decides.

    ``status``: ``open``, ``accepted`` (reminders rest until ``granted_until``), ``refused``,
    ``moot`` (paid or over before anybody decided).
    """

    __tablename__ = "deferral_request"
    __table_args__ = (
        _order_key(),
        Index("ix_deferral_request_order_id", "order_id"),
        Index(
            "ix_deferral_request_open",
            "merchant_id",
            "asked_at",
            postgresql_where=text("status = 'open'"),
        ),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    order_id: Mapped[Ref]
    asked_at: Mapped[Time] = mapped_column(default=now)
    until_date: Mapped[date]
    message: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(String(8), default="open")
    granted_until: Mapped[date | None]
    decided_at: Mapped[Time | None]
    decided_by: Mapped[str | None] = mapped_column(String(320))


class Proof(Base):
    """A file by which a customer shows that he has paid: PDF, JPEG or PNG (S61).

    ``findings``: what was read in it (N26), None if not yet looked at. Which postings fit is asked
    whenever somebody looks, because they may come later.
    """

    __tablename__ = "proof"
    __table_args__ = (_order_key(), Index("ix_proof_order_id", "order_id"))

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    order_id: Mapped[Ref]
    filename: Mapped[str] = mapped_column(String(255))
    media_type: Mapped[str] = mapped_column(String(64))
    content: Mapped[bytes] = deferred(mapped_column(LargeBinary, nullable=False))
    size_bytes: Mapped[int]
    received_at: Mapped[Time] = mapped_column(default=now)
    findings: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Refund(Base):
    """Money that goes back (S78): of an order, or of a posting that pays none.

    ``status`` (K10): ``new`` may go to the bank, ``planned`` waits until ``planned_for``,
    ``bank_details_missing`` waits for customer or merchant, ``held`` for a second person because
    of ``holds`` (N9), ``in_process`` is with the bank, ``processed`` is executed, ``failed`` with
    ``error``, ``cancelled``. Which count as arranged, and which as paid, is in ``orders.rules``.

    ``reference`` is ours, readable, the end-to-end id of the transfer; ``external_reference`` is
    the shop's, once a shop (K78). ``posting_id`` is where the money came from; without
    ``order_id`` it lowers what is left of that posting. ``planned_for`` is a bank day of the
    merchant. ``details_by``: whose word payee and IBAN are: ``bank`` (the posting), ``customer``,
    ``merchant``, ``shop``; ``details_at`` since when. ``confirmed_at``: the customer agreed to
    them. ``sent_posting_id`` is the outgoing posting that closed it, ``returned_posting_id`` the
    one by which it came back. ``is_automatic``: nobody asked for it (K59).
    """

    __tablename__ = "refund"
    __table_args__ = (
        ForeignKeyConstraint(["merchant_id", "order_id"], ["order.merchant_id", "order.id"]),
        ForeignKeyConstraint(["merchant_id", "posting_id"], ["posting.merchant_id", "posting.id"]),
        ForeignKeyConstraint(
            ["merchant_id", "sent_posting_id"], ["posting.merchant_id", "posting.id"]
        ),
        ForeignKeyConstraint(
            ["merchant_id", "returned_posting_id"], ["posting.merchant_id", "posting.id"]
        ),
        UniqueConstraint("merchant_id", "reference"),
        UniqueConstraint("shop_id", "external_reference"),
        Index("ix_refund_order_id", "order_id"),
        Index("ix_refund_posting_id", "posting_id"),
        Index("ix_refund_batch_id", "batch_id"),
        Index("ix_refund_merchant_id_status", "merchant_id", "status", "id"),
        Index("ix_refund_planned", "planned_for", postgresql_where=text("status = 'planned'")),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[int | None] = mapped_column(BigInteger)
    order_id: Mapped[int | None] = mapped_column(BigInteger)
    posting_id: Mapped[int | None] = mapped_column(BigInteger)
    amount: Mapped[Amount]
    currency: Mapped[str] = mapped_column(String(3))
    reference: Mapped[str] = mapped_column(String(35))
    external_reference: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(140), default="")
    payee_name: Mapped[str | None] = mapped_column(String(140))
    payee_iban: Mapped[str | None] = mapped_column(String(34))
    payee_bic: Mapped[str | None] = mapped_column(String(11))
    details_by: Mapped[str | None] = mapped_column(String(8))
    details_at: Mapped[Time | None]
    status: Mapped[str] = mapped_column(String(24), default="new")
    holds: Mapped[list[str]] = mapped_column(JSON, default=list)
    planned_for: Mapped[date | None]
    is_automatic: Mapped[bool] = mapped_column(default=False)
    requested_at: Mapped[Time] = mapped_column(default=now)
    requested_by: Mapped[str] = mapped_column(String(320), default="")
    approved_at: Mapped[Time | None]
    approved_by: Mapped[str | None] = mapped_column(String(320))
    announced_at: Mapped[Time | None]
    confirmed_at: Mapped[Time | None]
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("refund_batch.id"))
    sent_at: Mapped[Time | None]
    processed_at: Mapped[Time | None]
    cancelled_at: Mapped[Time | None]
    sent_posting_id: Mapped[int | None] = mapped_column(BigInteger)
    returned_posting_id: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)
    changed_at: Mapped[Time] = mapped_column(default=now)


class CollectionCase(WorkItem, Base):
    """A debt in somebody else's hands; written with ``order.collection_at`` (S79).

    As work, it is the next thing to say to the partner: the room compares what he was told
    (``is_opened``, ``told_paid``, ``is_withdrawn``) with what is so. ``withheld`` where the
    merchant has no partner, and does it himself. ``state`` is the partner's or a person's word:
    ``handed_over``, ``accepted``, ``rejected``, ``paid``, ``closed``, ``cancelled``. ``principal``,
    ``fees`` and ``interest`` are what was owed at the hand-over, in the order's currency.
    """

    __tablename__ = "collection_case"
    schedule: ClassVar[Sequence[timedelta]] = (
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        *(timedelta(hours=6) for _ in range(28)),
    )

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            _order_key(),
            UniqueConstraint("merchant_id", "id"),
            Index("ix_collection_case_order_id", "order_id"),
            Index("ix_collection_case_merchant_id", "merchant_id", "handed_over_at"),
            *work_indexes("collection_case"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    order_id: Mapped[Ref]
    shop_id: Mapped[Ref]
    adapter: Mapped[str | None] = mapped_column(String(16))
    partner_name: Mapped[str] = mapped_column(String(200), default="")
    partner_reference: Mapped[str | None] = mapped_column(String(64))
    partner_url: Mapped[str | None] = mapped_column(String(500))
    currency: Mapped[str] = mapped_column(String(3))
    principal: Mapped[Amount]
    fees: Mapped[Amount] = mapped_column(default=0)
    interest: Mapped[Amount] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(16), default="handed_over")
    is_opened: Mapped[bool] = mapped_column(default=False)
    told_paid: Mapped[Amount] = mapped_column(default=0)
    is_withdrawn: Mapped[bool] = mapped_column(default=False)
    refreshed_at: Mapped[Time | None]
    handed_over_at: Mapped[Time] = mapped_column(default=now)
    handed_over_by: Mapped[str] = mapped_column(String(320), default="")
    ended_at: Mapped[Time | None]


class CollectionEvent(Base):
    """What happened to a case, told by the partner or by a person (K62). Append-only.

    ``partner_event`` is the partner's own id of it, so that it is taken in once.
    """

    __tablename__ = "collection_event"
    __table_args__ = (
        ForeignKeyConstraint(
            ["merchant_id", "case_id"],
            ["collection_case.merchant_id", "collection_case.id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("case_id", "partner_event"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    case_id: Mapped[Ref]
    at: Mapped[Time] = mapped_column(default=now)
    kind: Mapped[str] = mapped_column(String(24))
    state: Mapped[str | None] = mapped_column(String(16))
    words: Mapped[str] = mapped_column(Text, default="")
    amount: Mapped[MaybeAmount]
    partner_event: Mapped[str | None] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(320), default="")


class Suggestion(Base):
    """What a person is offered for a posting: orders with amounts, best first (``rank`` 0).

    ``orders`` is [{"order_id", "amount"}]; ``evidence`` says why, ``vetoes`` why not by itself.
    ``returns_id``: not orders, but the posting whose money the bank took back (N18).
    ``is_proposed``: it would have been booked, if the merchant had not wished to look first (C5).
    """

    __tablename__ = "suggestion"
    __table_args__ = (
        ForeignKeyConstraint(
            ["merchant_id", "posting_id"], ["posting.merchant_id", "posting.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(["merchant_id", "returns_id"], ["posting.merchant_id", "posting.id"]),
        UniqueConstraint("posting_id", "rank"),
        Index("ix_suggestion_merchant_id", "merchant_id"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    posting_id: Mapped[Ref]
    rank: Mapped[int]
    orders: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    probability: Mapped[Any] = mapped_column(Numeric(6, 5))
    returns_id: Mapped[int | None] = mapped_column(BigInteger)
    is_proposed: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    evidence: Mapped[list[Any]] = mapped_column(JSON, default=list)
    vetoes: Mapped[list[str]] = mapped_column(JSON, default=list)
    created_at: Mapped[Time] = mapped_column(default=now)


class MatchRequest(WorkItem, Base):
    """ "Look again": written with whatever may change a decision, gone when it has been done.

    Usually one waits per merchant. Nothing forbids a second one, because the UNIQUE key that
    would forbid it makes every push of a merchant wait for the commit of the one before; the
    matcher takes all that wait at once (docs/adr/0003).
    """

    __tablename__ = "match_request"
    schedule: ClassVar[Sequence[timedelta]] = (
        timedelta(seconds=5),
        timedelta(minutes=1),
        timedelta(minutes=10),
        *(timedelta(hours=1) for _ in range(48)),
    )

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            Index(
                "ix_match_request_queued", "merchant_id", postgresql_where=text("status = 'queued'")
            ),
            *work_indexes("match_request"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))


class OrderEvent(Base):
    """The history of an order: what happened, when, by whom. Append-only."""

    __tablename__ = "order_event"
    __table_args__ = (
        _order_key(),
        Index("ix_order_event_order_id", "order_id", "id"),
        Index("ix_order_event_merchant_id", "merchant_id", "id"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    order_id: Mapped[Ref]
    at: Mapped[Time] = mapped_column(default=now)
    kind: Mapped[str] = mapped_column(String(48))
    actor: Mapped[str] = mapped_column(String(320), default="")
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
