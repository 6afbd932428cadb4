"""What goes from the rows of each room, by a condition: for one customer and for what grew old.

A file of its own because the erasure (``service``) and the nightly run (``retention``) must leave
the same behind. Never commits.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, String, cast, delete, or_, select, update

from server.banking.models import Posting, Statement
from server.db import db
from server.forgetting.rules import LONGEST_CODE, kept_facts, kept_of_wire
from server.forgetting.traces import ERASED, empty_reports
from server.letters.models import Letter
from server.mail.models import Mail, MailReport, Suppression
from server.matching.models import MatchDecision
from server.orders.models import (
    Assignment,
    CollectionCase,
    CollectionEvent,
    Credit,
    DeferralRequest,
    Invoice,
    Order,
    OrderEvent,
    PaymentClaim,
    Proof,
    Refund,
    Suggestion,
)
from server.refunds.models import RefundBatch

EMPTY_MAIL: Final[dict[str, Any]] = {
    "facts": {},
    "subject": None,
    "html": None,
    "text": None,
    "smtp_response": None,
    "headers": None,
    "delivery_words": None,
    "error": ERASED,
}
EMPTY_LETTER: Final[dict[str, Any]] = {
    "recipient": [],
    "facts": {},
    "enclosed": None,
    "pdf": None,
    "delivery_words": None,
    "error": ERASED,
}
PRINTED_FIELDS: Final = (
    "counterparty_name",
    "counterparty_iban",
    "counterparty_bic",
    "remittance_information",
    "creditor_reference",
    "end_to_end_id",
    "mandate_id",
    "bank_reference",
)
"""What a bank prints of a payment that may tell whose it is."""


# --- mails and letters ---------------------------------------------------------------------------


def empty_mails(condition: ColumnElement[bool], **more: Any) -> int:
    """That there was a mail, of which kind and when, stays. Returns how many."""
    emptied = update(Mail).where(condition).values(**EMPTY_MAIL, **more).returning(Mail.id)
    ids = db.session.scalars(emptied).all()
    empty_reports(MailReport.mail_id.in_(ids))
    return len(ids)


def empty_letters(condition: ColumnElement[bool]) -> int:
    """That there was a letter, what it cost and how it fared, stays. Returns how many."""
    emptied = update(Letter).where(condition).values(**EMPTY_LETTER).returning(Letter.id)
    return len(db.session.scalars(emptied).all())


def clear_suppressions(condition: ColumnElement[bool]) -> None:
    """The hash stays, or he would get the mails again that he does not want."""
    db.session.execute(update(Suppression).where(condition).values(address="", evidence=""))


# --- the bank ------------------------------------------------------------------------------------


def empty_statements(statement_ids: Collection[int]) -> int:
    """The raw file; its hash and what was read from it stay, so it brings nothing in twice."""
    found = Statement.id.in_(statement_ids) & (Statement.content != b"")
    emptied = update(Statement).where(found).values(content=b"", problems=[], error=None)
    return len(db.session.scalars(emptied.returning(Statement.id)).all())


def empty_batches(condition: ColumnElement[bool]) -> int:
    """Files of repayments that are over; count, sum and day stay."""
    is_over = RefundBatch.status != "made"
    emptied = (
        update(RefundBatch)
        .where(condition, is_over, RefundBatch.content != b"")
        .values(content=b"", step=None, dialog=None, error=None)
    )
    return len(db.session.scalars(emptied.returning(RefundBatch.id)).all())


def empty_posting(posting: Posting) -> None:
    """Its fingerprint stays, so the same file brings nothing back."""
    for name in PRINTED_FIELDS:
        setattr(posting, name, None)
    posting.particulars = posting.keys = None
    if len(posting.return_reason or "") > LONGEST_CODE:
        posting.return_reason = None


def empty_conclusions(order: Order | None, posting_ids: Collection[int]) -> None:
    """Evidence quotes names and texts; the decisions themselves stay."""
    of_these: ColumnElement[bool] = Assignment.posting_id.in_(posting_ids)
    suggested: ColumnElement[bool] = Suggestion.posting_id.in_(posting_ids)
    decided: ColumnElement[bool] = MatchDecision.posting_id.in_(posting_ids)
    if order is not None:
        of_these |= Assignment.order_id == order.id
        suggested |= _names(Suggestion, Suggestion.orders, order)
        decided |= _names(MatchDecision, MatchDecision.shares, order)
    db.session.execute(update(Assignment).where(of_these).values(evidence=[]))
    db.session.execute(delete(Suggestion).where(suggested))
    db.session.execute(update(MatchDecision).where(decided).values(evidence=[]))


def _names(table: Any, column: Any, order: Order) -> ColumnElement[bool]:
    names_order = cast(column, String).op("~")(rf'"order_id": {order.id}\y')
    found: ColumnElement[bool] = (table.merchant_id == order.merchant_id) & names_order
    return found


# --- the order -----------------------------------------------------------------------------------


def empty_credits(order: Order, posting_ids: Collection[int]) -> None:
    db.session.execute(
        update(Credit)
        .where(Credit.posting_id.in_(posting_ids) | (Credit.from_order_id == order.id))
        .values(customer_name="", customer_email=None, customer_number=None)
    )


def drop_claims(order: Order) -> None:
    """What the customer said and showed. What a person decided about more time stays."""
    for table in (PaymentClaim, Proof):
        db.session.execute(delete(table).where(table.order_id == order.id))
    asked = DeferralRequest.order_id == order.id
    db.session.execute(update(DeferralRequest).where(asked).values(message=""))
    db.session.execute(
        update(DeferralRequest).where(asked, DeferralRequest.status == "open").values(status="moot")
    )


def empty_invoices(order: Order) -> None:
    db.session.execute(
        update(Invoice)
        .where(Invoice.order_id == order.id)
        .values(pdf=None, pdf_size_bytes=None, received_at=None)
    )


def empty_refunds(order: Order, posting_ids: Collection[int]) -> None:
    """To whom money went back; how much and when stays, and so does our reference."""
    of_these = or_(Refund.order_id == order.id, Refund.posting_id.in_(posting_ids))
    batch_ids = db.session.scalars(
        update(Refund)
        .where(of_these)
        .values(payee_name=None, payee_iban=None, payee_bic=None, reason="", error=None)
        .returning(Refund.batch_id)
    ).all()
    empty_batches(RefundBatch.id.in_({one for one in batch_ids if one is not None}))


def empty_cases(order: Order) -> list[int]:
    """What partner and people said of the debt; its states and sums stay. Returns their ids."""
    case_ids = db.session.scalars(
        update(CollectionCase)
        .where(CollectionCase.order_id == order.id)
        .values(partner_url=None, error=None)
        .returning(CollectionCase.id)
    ).all()
    db.session.execute(
        update(CollectionEvent).where(CollectionEvent.case_id.in_(case_ids)).values(words="")
    )
    return list(case_ids)


def empty_history(order: Order) -> None:
    """What happened stays, what was typed about the customer goes."""
    for event in db.session.scalars(select(OrderEvent).where(OrderEvent.order_id == order.id)):
        kept = kept_facts(event.kind, event.facts)
        if kept != event.facts:
            event.facts = kept


def empty_order(order: Order) -> None:
    """The person in it; the caller writes search text and keys anew."""
    order.wire, order.content_hash = kept_of_wire(order.wire), bytes(16)
    order.customer_name, order.customer_email = "", None
    order.additional_name = order.additional_number = None
