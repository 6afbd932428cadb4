"""Proofs of payment compared with what the banks say (N26).

A file of its own because it reads files of strangers and postings, and books nothing: what fits is
shown to a person. What a PDF says is kept; which posting fits is asked anew each time, so that one
that came later is found as well. Never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import select

from server.banking.models import BankAccount, Posting
from server.db import db
from server.orders.ledger import ZERO, Ledger
from server.orders.models import Assignment, Invoice, Order, PaymentClaim, Proof
from server.orders.proof_rules import Booked, Fit, Read, State, fitting, read_text
from server.orders.proof_text import Unreadable, text_of
from server.orders.rules import creditor_reference

PDF: Final = "application/pdf"
FRESH: Final = timedelta(days=2)
"""A proof is read soon after it came; one of a time when nobody read any stays unread."""
BEFORE_ORDER: Final = timedelta(days=3)
MAX_POSTINGS: Final = 500
SHOWN_FITS: Final = 3


def read_waiting(merchant_id: int, at: datetime) -> bool:
    """Read one proof that nobody has read; True if another waits.

    One at a time, because each may take ``proof_text.WALL_SECONDS``.
    """
    waiting = (
        select(Proof)
        .join(PaymentClaim, PaymentClaim.order_id == Proof.order_id)
        .where(
            PaymentClaim.merchant_id == merchant_id,
            PaymentClaim.claimed_at > at - FRESH,
            Proof.findings.is_(None),
        )
        .order_by(Proof.id)
        .distinct()
        .limit(2)
    )
    rows = list(db.session.scalars(waiting.with_only_columns(Proof.id)))
    if not rows:
        return False
    proof = db.session.get_one(Proof, rows[0])
    proof.findings = _read(proof).as_json()
    return len(rows) > 1


def _read(proof: Proof) -> Read:
    if proof.media_type != PDF:
        return Read("picture")
    try:
        text = text_of(proof.content)
    except Unreadable:
        return Read("unreadable")
    return read_text(text, _references(db.session.get_one(Order, proof.order_id)))


# --- what a person is shown ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """A posting that fits, and the orders that it is assigned to."""

    posting: Posting
    fit: Fit
    order_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a proof shows, beside the order. ``state`` None: not looked at yet.

    ``amount`` is the first that fits what is or was owed; None if none does. ``to_us``: None where
    it names no IBAN.
    """

    state: State | None
    amount: Decimal | None = None
    to_us: bool | None = None
    reference: bool = False
    found: Sequence[Found] = ()

    @property
    def is_read(self) -> bool:
        return self.state == "read"


def findings_of(order: Order, proof: Proof) -> Findings:
    """What was read in it, compared with the order and with the postings as they are now."""
    if proof.findings is None:
        return Findings(None)
    read = Read.from_json(proof.findings)
    if read.state != "read":
        return Findings(read.state)
    ledger = Ledger([order.id])
    owed = [order.total, order.total + order.fee_total, ledger.rest(order), ledger.owed(order)]
    accounts = db.session.scalars(
        select(BankAccount).where(BankAccount.merchant_id == order.merchant_id)
    ).all()
    own = {iban for one in accounts for iban in (one.iban, one.qr_iban) if iban}
    references = _references(order)
    postings = _candidates(order, read, [one.id for one in accounts])
    fits = fitting(read, [_booked(one) for one in postings], references, owed)[:SHOWN_FITS]
    return Findings(
        read.state,
        amount=next((one for one in owed if one > ZERO and one in read.amounts), None),
        to_us=bool(own & set(read.ibans)) if read.ibans else None,
        reference=read.reference,
        found=_found(fits, {one.id: one for one in postings}),
    )


def _references(order: Order) -> list[str]:
    """Everything that the customer may have written to name this order."""
    invoices = select(Invoice.number).where(Invoice.order_id == order.id)
    told = [str(one.get("number") or "") for one in order.wire.get("invoices") or []]
    return [
        order.payment_reference,
        creditor_reference(order.payment_reference),
        order.number,
        *told,
        *db.session.scalars(invoices),
    ]


def _candidates(order: Order, read: Read, account_ids: Sequence[int]) -> list[Posting]:
    """Money that came since the order, of an amount that the proof names."""
    if not read.amounts:
        return []
    query = select(Posting).where(
        Posting.account_id.in_(account_ids),
        Posting.amount.in_(read.amounts),
        Posting.currency == order.currency,
        Posting.booking_date >= (order.ordered_at - BEFORE_ORDER).date(),
        Posting.duplicate_of_id.is_(None),
        ~Posting.is_replaced,
        ~Posting.is_returned,
    )
    return list(db.session.scalars(query.order_by(Posting.id.desc()).limit(MAX_POSTINGS)))


def _booked(posting: Posting) -> Booked:
    texts = (posting.remittance_information, posting.creditor_reference)
    return Booked(
        posting.id,
        posting.amount,
        posting.booking_date,
        posting.counterparty_iban,
        posting.end_to_end_id,
        " ".join(one for one in texts if one),
    )


def _found(fits: Sequence[Fit], postings: dict[int, Posting]) -> list[Found]:
    ledger = Ledger([], [one.posting_id for one in fits])
    return [
        Found(
            postings[one.posting_id],
            one,
            _order_ids(ledger.standing_of(one.posting_id)),
        )
        for one in fits
    ]


def _order_ids(rows: Sequence[Assignment]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(row.order_id for row in rows))
