"""What the bank's postings say of repayments: executed, or come back (C16, N18). Never commits.

A file of its own beside ``service`` because it reads postings where that moves repayments. It runs
before the matcher: money of ours that comes back must never be taken for a customer's payment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, update

from server.banking.models import Posting
from server.db import db
from server.merchants.service import lock_merchant
from server.orders.ledger import drop_suggestions, is_any
from server.orders.models import Refund
from server.orders.return_rules import MAX_FEE, looks_returned, squashed
from server.orders.returns import own_outgoings
from server.refunds.batches import mark_batch_sent
from server.refunds.models import RefundBatch
from server.refunds.rules import are_details_wrong, may_move, references_named
from server.refunds.service import ask_anew, failed_now, order_of, processed_now

ACTOR: Final = "Kontor"
POSTINGS_AT_ONCE: Final = 500
"""More than the matcher takes at once, in the same order: it never sees one before us."""
BATCHES_LOOKED_AT: Final = 200
CLOSED_AT_ONCE: Final = 200
BANK_TAKES: Final = timedelta(days=10)
"""So many days after its day a batch may still be booked."""
REFUND_BACK: Final = "refund_back"
"""Why such a posting is off the list (``Posting.ignored_because``)."""


def recognise(merchant_id: int, at: datetime) -> bool:
    """Look at what is new on the accounts, and close and reopen what it is about.

    True if more is to be closed: one debit may be for thousands.
    """
    lock_merchant(merchant_id)
    if not _has_refunds(merchant_id):
        return False
    postings = _fresh(merchant_id)
    known = _named(merchant_id, postings)
    outgoing = [posting for posting in postings if posting.amount < 0]
    closed = _that_closed(merchant_id, outgoing)
    for posting in outgoing:
        if posting.id not in closed:
            _sent(posting, known.get(posting.id, ()), at)
    db.session.flush()
    has_more = _close(merchant_id, at)
    coming = [posting for posting in postings if posting.amount > 0 and not posting.is_assigned]
    came_back = own_outgoings(merchant_id, coming)
    for posting in coming:
        sent = came_back.get(posting.id)
        _back(posting, known.get(posting.id, ()), sent, at)
    db.session.flush()
    return has_more


def _fresh(merchant_id: int) -> Sequence[Posting]:
    query = (
        select(Posting)
        .where(Posting.merchant_id == merchant_id, Posting.needs_match)
        .where(~Posting.is_pending, ~Posting.is_replaced, ~Posting.is_passed_on)
        .where(Posting.ignored_at.is_(None))
        .order_by(Posting.id)
        .limit(POSTINGS_AT_ONCE)
    )
    return db.session.scalars(query).all()


def _has_refunds(merchant_id: int) -> bool:
    any_of_his = select(Refund.id).where(Refund.merchant_id == merchant_id)
    return bool(db.session.scalar(select(any_of_his.exists())))


def _named(merchant_id: int, postings: Sequence[Posting]) -> dict[int, list[Refund]]:
    """Posting id to the repayments whose reference it carries, in whichever field."""
    texts = {
        one.id: references_named(
            [one.end_to_end_id, one.remittance_information, one.creditor_reference]
        )
        for one in postings
    }
    references = {each for found in texts.values() for each in found}
    if not references:
        return {}
    query = select(Refund).where(
        Refund.merchant_id == merchant_id, Refund.reference.in_(references)
    )
    rows = db.session.scalars(query.execution_options(populate_existing=True))
    by_reference = {row.reference: row for row in rows}
    return {
        posting_id: [by_reference[each] for each in found if each in by_reference]
        for posting_id, found in texts.items()
    }


# --- executed ----------------------------------------------------------------------------------


def _that_closed(merchant_id: int, postings: Sequence[Posting]) -> set[int]:
    """Those that one was found for before. The matcher takes fewer at once, so they come again,
    and another repayment may look the same."""
    if not postings:
        return set()
    query = select(Refund.sent_posting_id).where(
        Refund.merchant_id == merchant_id,
        is_any(Refund.sent_posting_id, {posting.id for posting in postings}),
    )
    return {found for found in db.session.scalars(query) if found is not None}


def _sent(posting: Posting, named: Sequence[Refund], at: datetime) -> None:
    """Find what this posting took off the account. A debit for a whole batch only marks what it
    is for, so that no step takes long; ``_close`` closes that."""
    refund = next((one for one in named if _fits(one, posting)), None)
    whole = _of_batch_total(posting) if refund is None else None
    if whole is not None:
        refunds = update(Refund).where(
            Refund.merchant_id == posting.merchant_id,
            Refund.batch_id == whole.id,
            Refund.status == "in_process",
        )
        db.session.execute(refunds.values(sent_posting_id=posting.id))
        if whole.status == "made":
            mark_batch_sent(whole, actor=ACTOR, at=at)
        return
    if refund is None and not named:  # what names another one is not about this one
        refund = _of_batch(posting)
    if refund is not None:
        _batch_was_sent(refund, at)
        processed_now(refund, actor=ACTOR, at=at, sent_posting_id=posting.id)


def _close(merchant_id: int, at: datetime) -> bool:
    """The next of those that a debit was found for. True if others remain."""
    query = (
        select(Refund)
        .where(Refund.merchant_id == merchant_id, Refund.status == "in_process")
        .where(Refund.sent_posting_id.is_not(None))
        .order_by(Refund.id)
        .limit(CLOSED_AT_ONCE + 1)
    )
    rows = db.session.scalars(query.execution_options(populate_existing=True)).all()
    for row in rows[:CLOSED_AT_ONCE]:
        processed_now(row, actor=ACTOR, at=at, sent_posting_id=row.sent_posting_id)
    return len(rows) > CLOSED_AT_ONCE


def _batch_was_sent(refund: Refund, at: datetime) -> None:
    """Whatever anybody said of its batch, the bank has it."""
    if refund.batch_id is None or refund.status != "in_process":
        return
    batch = db.session.get_one(RefundBatch, refund.batch_id)
    if batch.status == "made":
        mark_batch_sent(batch, actor=ACTOR, at=at)


def _fits(refund: Refund, posting: Posting) -> bool:
    """A cancelled one cannot become executed: then it is for a person to see."""
    same = refund.amount == -posting.amount and refund.currency == posting.currency
    return same and may_move(refund.status, "processed")


def _of_batch_total(posting: Posting) -> RefundBatch | None:
    """One debit for a whole batch: its sum, from its account, in its days. Only if one batch fits,
    or if the posting names it."""
    fitting = [
        batch
        for batch in _batches_near(posting)
        if batch.total == -posting.amount and batch.count > 1
    ]
    named = [batch for batch in fitting if _names(posting, batch)]
    chosen = named or fitting
    if len(chosen) != 1 or (not named and posting.counterparty_iban):
        return None
    inside = select(func.sum(Refund.amount)).where(
        Refund.merchant_id == posting.merchant_id,
        Refund.batch_id == chosen[0].id,
        Refund.status == "in_process",
        Refund.sent_posting_id.is_(None),
    )
    return chosen[0] if db.session.scalar(inside) == -posting.amount else None


def _names(posting: Posting, batch: RefundBatch) -> bool:
    said = squashed(
        f"{posting.end_to_end_id or ''} {posting.remittance_information or ''} "
        f"{posting.bank_reference or ''}"
    )
    return squashed(batch.message_id) in said


def _of_batch(posting: Posting) -> Refund | None:
    """The bank told no reference: the payee's account and the amount, in a batch of these days.
    Two that look the same are two: the first that is open is meant."""
    iban = "".join((posting.counterparty_iban or "").split()).upper()
    batches = {batch.id for batch in _batches_near(posting)}
    if not iban or not batches:
        return None
    query = select(Refund).where(
        Refund.merchant_id == posting.merchant_id,
        is_any(Refund.batch_id, batches),
        Refund.status == "in_process",
        Refund.sent_posting_id.is_(None),
        Refund.payee_iban == iban,
        Refund.amount == -posting.amount,
        Refund.currency == posting.currency,
    )
    return db.session.scalar(query.order_by(Refund.id).limit(1))


def _batches_near(posting: Posting) -> list[RefundBatch]:
    day = posting.booking_date or posting.value_date
    if day is None:
        return []
    query = select(RefundBatch).where(
        RefundBatch.merchant_id == posting.merchant_id,
        RefundBatch.account_id == posting.account_id,
        RefundBatch.status.in_(("made", "sent")),
        RefundBatch.execution_date.between(day - BANK_TAKES, day + timedelta(days=1)),
    )
    rows = db.session.scalars(query.order_by(RefundBatch.id.desc()).limit(BATCHES_LOOKED_AT))
    return list(rows)


# --- come back ---------------------------------------------------------------------------------


def _back(posting: Posting, named: Collection[Refund], sent: Posting | None, at: datetime) -> None:
    """Reopen what came back with this posting."""
    refund = next((one for one in named if _came_back(one, posting)), None)
    if refund is None and sent is not None:
        query = select(Refund).where(
            Refund.merchant_id == posting.merchant_id, Refund.sent_posting_id == sent.id
        )
        rows = db.session.scalars(query.execution_options(populate_existing=True)).all()
        # A debit for a whole batch says nothing about which of its payments is back.
        refund = rows[0] if len(rows) == 1 and _has_amount(rows[0], posting) else None
    if refund is not None and refund.status in ("in_process", "processed"):
        _reopen(refund, posting, at)


def _came_back(refund: Refund, posting: Posting) -> bool:
    """Our own end-to-end id comes from nobody but a bank; in a text the customer may have quoted
    it, so there the bank must say as well that it is a return."""
    if not _has_amount(refund, posting):
        return False
    if squashed(posting.end_to_end_id) == squashed(refund.reference):
        return True
    return looks_returned(posting)


def _has_amount(refund: Refund, posting: Posting) -> bool:
    """A bank on the way may have kept a fee."""
    if refund.currency != posting.currency:
        return False
    return refund.amount - MAX_FEE <= posting.amount <= refund.amount


def _reopen(refund: Refund, posting: Posting, at: datetime) -> None:
    why = posting.return_reason or posting.remittance_information or ""
    refund.returned_posting_id = posting.id
    _batch_was_sent(refund, at)
    said = f"returned: {' '.join(why.split())}"[:1000]
    failed_now(refund, order_of(refund), said, actor=ACTOR, at=at)
    if are_details_wrong(posting.return_reason, posting.remittance_information):
        ask_anew(refund, at)
    posting.ignored_at, posting.ignored_by, posting.ignored_because = at, ACTOR, REFUND_BACK
    posting.is_open = posting.needs_match = False
    drop_suggestions([posting.id])
