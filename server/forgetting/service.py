"""Removing personal data: what is done. Never commits.

What goes: names, addresses, e-mail, telephone and customer number, IBANs and texts of the
payments, every mail, uploads and invoice files, the raw bank files that the payments came in, and
what was concluded from any of it. What stays: numbers, amounts, dates, bookings, statuses and the
country, because books must be kept (GDPR Art. 17 (3) b; German AO section 147).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import String, cast, delete, or_, select, update

from server.banking.models import Posting, Statement
from server.db import db
from server.mail.models import Mail, MailReport, Suppression
from server.mail.suppression import address_hash
from server.matching.models import ForgottenPayer, MatchDecision
from server.merchants.service import lock_merchant
from server.orders.brakes import CUSTOMER_KINDS
from server.orders.keys import rewrite_keys
from server.orders.ledger import NotPossible, note, order_now
from server.orders.models import (
    Assignment,
    Credit,
    Invoice,
    Order,
    OrderEvent,
    PaymentClaim,
    Proof,
    Suggestion,
)

ERASED: Final = "personal data was removed"
KEPT_OF_WIRE: Final = (
    "external_id",
    "number",
    "ordered_at",
    "currency",
    "total",
    "payment_method",
    "payment_code",
    "shop_status",
    "invoices",
    "due_date",
    "reminder_base_date",
    "payment_terms",
    "foreign_total",
    "foreign_currency",
    "exchange_rate",
)
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
MARKETPLACE: Final = "marketplace"
SHORTEST_TRACE: Final = 4
"""A shorter word of a name would find half of all notices."""
TALKATIVE_EVENTS: Final = ("additional_set",)


def erase_customer(merchant_id: int, shop_id: int, customer_number: str, at: datetime) -> int:
    """The same for every order of one customer of a shop; returns how many.

    For a marketplace that tells of a deleted account. Raises NotPossible as for one order; then
    none is done, and the marketplace tells again.
    """
    orders = select(Order.id).where(
        Order.merchant_id == merchant_id,
        Order.shop_id == shop_id,
        Order.wire["customer"]["number"].as_string() == customer_number,
        Order.erased_at.is_(None),
    )
    order_ids = db.session.scalars(orders.order_by(Order.id)).all()
    for order_id in order_ids:
        erase_personal_data(merchant_id, order_id, actor=MARKETPLACE, at=at)
    return len(order_ids)


def erase_personal_data(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """Everything that tells whose order it was. Cannot be undone; the order follows its shop no
    more, and nobody is written to. Raises NotPossible while one of its bank files is being read.
    """
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    if order.erased_at is not None:
        raise NotPossible("erased_already", number=order.number)
    postings = _postings_of(order)
    traces = _traces(order, postings)
    statement_ids = {one.statement_id for one in postings if one.statement_id is not None}
    _check_not_read(statement_ids)
    _erase_mails(order, traces)
    _erase_conclusions(order, [one.id for one in postings])
    _erase_credit(order, postings)
    for posting in postings:
        _erase_posting(posting)
    db.session.execute(
        update(Statement)
        .where(Statement.id.in_(statement_ids))
        .values(content=b"", problems=[], error=None)
    )
    for table in (PaymentClaim, Proof):
        db.session.execute(delete(table).where(table.order_id == order.id))
    db.session.execute(
        update(Invoice)
        .where(Invoice.order_id == order.id)
        .values(pdf=None, pdf_size_bytes=None, received_at=None)
    )
    db.session.execute(
        update(OrderEvent)
        .where(OrderEvent.order_id == order.id, OrderEvent.kind.in_(TALKATIVE_EVENTS))
        .values(facts={})
    )
    _erase_order(order, at)
    note(order, "erased", actor, at)
    db.session.flush()
    return order


# --- what belongs to it ------------------------------------------------------------------------


def _postings_of(order: Order) -> list[Posting]:
    """The money that was ever assigned to it, what took it back, looks like it or is a copy."""
    first = select(Assignment.posting_id).where(
        Assignment.order_id == order.id, Assignment.posting_id.is_not(None)
    )
    found = {one for one in db.session.scalars(first) if one is not None}
    while True:
        linked = db.session.scalars(
            select(Posting.id).where(
                or_(
                    Posting.returns_id.in_(found),
                    Posting.duplicate_of_id.in_(found),
                    Posting.passed_on_from_id.in_(found),
                    Posting.id.in_(_named_by(found, Posting.returns_id)),
                    Posting.id.in_(_named_by(found, Posting.duplicate_of_id)),
                    Posting.id.in_(_named_by(found, Posting.passed_on_from_id)),
                )
            )
        )
        more = set(linked) - found
        if not more:
            break
        found |= more
    return list(db.session.scalars(select(Posting).where(Posting.id.in_(found))))


def _named_by(posting_ids: Collection[int], column: Any) -> Any:
    return select(column).where(Posting.id.in_(posting_ids), column.is_not(None))


def _traces(order: Order, postings: Iterable[Posting]) -> set[str]:
    """What gives the customer away in a notice to the merchant."""
    texts = {order.customer_name, order.customer_email or "", order.additional_name or ""}
    for posting in postings:
        texts |= {posting.counterparty_name or "", posting.counterparty_iban or ""}
    return {text for text in texts if len(text) >= SHORTEST_TRACE}


def _check_not_read(statement_ids: Collection[int]) -> None:
    reading = select(Statement.id).where(
        Statement.id.in_(statement_ids), Statement.status.in_(("queued", "running"))
    )
    if db.session.scalar(reading.limit(1)) is not None:
        raise NotPossible("erase_statement_is_read")


# --- what goes ---------------------------------------------------------------------------------


def _erase_mails(order: Order, traces: Collection[str]) -> None:
    """Every mail of the order, and every notice to the merchant that names its customer."""
    empty: dict[str, Any] = {
        "facts": {},
        "subject": None,
        "html": None,
        "text": None,
        "smtp_response": None,
        "headers": None,
        "delivery_words": None,
        "error": ERASED,
    }
    of_order = Mail.order_id == order.id
    db.session.execute(
        update(Mail).where(of_order, Mail.status == "queued").values(status="withheld")
    )
    # By kind, not by address: he may have had others, and those are his as well.
    to_customer = Mail.kind.in_(CUSTOMER_KINDS)
    his = set(db.session.scalars(select(Mail.recipient).where(of_order, to_customer)))
    _erase_suppressions(order, his | {order.customer_email or ""})
    db.session.execute(update(Mail).where(of_order, to_customer).values(recipient=""))
    emptied = update(Mail).where(of_order).values(**empty).returning(Mail.id)
    _erase_reports(db.session.scalars(emptied).all())
    told = {*traces, *(address for address in his if len(address) >= SHORTEST_TRACE)}
    if not told:
        return
    names = [
        condition
        for trace in told
        for condition in (
            Mail.text.contains(trace, autoescape=True),
            cast(Mail.facts, String).contains(json.dumps(trace)[1:-1], autoescape=True),
        )
    ]
    notices = (Mail.merchant_id == order.merchant_id) & Mail.order_id.is_(None)
    emptied = update(Mail).where(notices, or_(*names)).values(**empty).returning(Mail.id)
    _erase_reports(db.session.scalars(emptied).all())


def _erase_suppressions(order: Order, addresses: Collection[str]) -> None:
    """The hash stays, or he would get the mails again that he does not want."""
    hashes = [address_hash(address) for address in addresses if address]
    db.session.execute(
        update(Suppression)
        .where(Suppression.merchant_id == order.merchant_id, Suppression.address_hash.in_(hashes))
        .values(address="", evidence="")
    )


def _erase_reports(mail_ids: Collection[int]) -> None:
    """What came back quotes the address, and often the whole mail."""
    db.session.execute(
        update(MailReport).where(MailReport.mail_id.in_(mail_ids)).values(raw=b"", words="")
    )


def _erase_conclusions(order: Order, posting_ids: Collection[int]) -> None:
    """Evidence quotes names and texts; the decisions themselves stay."""
    of_these = Assignment.posting_id.in_(posting_ids) | (Assignment.order_id == order.id)
    db.session.execute(update(Assignment).where(of_these).values(evidence=[]))
    names_order = cast(Suggestion.orders, String).op("~")(rf'"order_id": {order.id}\y')
    db.session.execute(
        delete(Suggestion).where(
            Suggestion.merchant_id == order.merchant_id,
            Suggestion.posting_id.in_(posting_ids) | names_order,
        )
    )
    chose_order = cast(MatchDecision.shares, String).op("~")(rf'"order_id": {order.id}\y')
    db.session.execute(
        update(MatchDecision)
        .where(
            MatchDecision.merchant_id == order.merchant_id,
            MatchDecision.posting_id.in_(posting_ids) | chose_order,
        )
        .values(evidence=[])
    )


def _erase_credit(order: Order, postings: Collection[Posting]) -> None:
    ids = [posting.id for posting in postings]
    db.session.execute(
        update(Credit)
        .where(Credit.posting_id.in_(ids) | (Credit.from_order_id == order.id))
        .values(customer_name="", customer_email=None, customer_number=None)
    )
    payers = {one.counterparty_iban for one in postings} | {
        one.counterparty_name for one in postings
    }
    db.session.execute(
        delete(ForgottenPayer).where(
            ForgottenPayer.merchant_id == order.merchant_id,
            ForgottenPayer.payer.in_({payer for payer in payers if payer}),
        )
    )


def _erase_posting(posting: Posting) -> None:
    """Its fingerprint stays, so the same file brings nothing back."""
    for name in PRINTED_FIELDS:
        setattr(posting, name, None)
    posting.particulars = posting.keys = None


def _erase_order(order: Order, at: datetime) -> None:
    wire: dict[str, Any] = {name: order.wire[name] for name in KEPT_OF_WIRE if name in order.wire}
    for name in ("billing_address", "shipping_address"):
        country = (order.wire.get(name) or {}).get("country")
        if country:
            wire[name] = {"country": country}
    order.wire, order.content_hash = wire, bytes(16)
    order.customer_name, order.customer_email = "", None
    order.additional_name = order.additional_number = None
    order.sync, order.erased_at, order.changed_at = "erased", at, at
    order.reminders_blocked_at = order.reminders_blocked_at or at
    rewrite_keys(order)
