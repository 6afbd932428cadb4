"""Removing personal data: what is done. Never commits.

What goes: names, addresses, e-mail, telephone and customer number, IBANs and texts of the
payments, every mail and letter, uploads and invoice files, the raw bank files that the payments
came in, what customers, partners and people wrote, and what was concluded from any of it. What
stays: numbers, amounts, dates, bookings, statuses and the country, because books must be kept
(GDPR Art. 17 (3) b; German AO section 147). ``rules.TABLES`` says it column by column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import false, func, or_, select, update

from plugin_sdk.errors import Temporary
from server.banking.models import Posting, Statement, StatementPeriod
from server.db import db
from server.forgetting import files, rows
from server.forgetting.traces import ON_ITS_WAY, Traces, notices_quoting, sweep, traces_of
from server.letters.models import Letter
from server.mail.models import Mail, Suppression
from server.mail.suppression import address_hash
from server.merchants.service import lock_merchant
from server.orders.brakes import CUSTOMER_KINDS
from server.orders.keys import rewrite_keys
from server.orders.ledger import NotPossible, note, order_now
from server.orders.models import Assignment, CollectionCase, Order, OrderEvent, Refund
from server.shops.models import OrderRequest, PaymentUpdate

MARKETPLACE: Final = "marketplace"
ASKED: Final = "erase_asked"
SETTLED_REFUNDS: Final = ("processed", "cancelled")
ARCHIVE_MARKS: Final = (b"PK\x03\x04", b"\x1f\x8b")
"""How packed files begin (ZIP, gzip): nobody sees from outside whom they name."""
REPEATED_WITHIN: Final = timedelta(days=400)
"""So long after it came in, a payment may stand in an export without days: those of a year."""
FOLDER: Final = "folder"


@dataclass(frozen=True, slots=True)
class Erasure:
    """Ids of orders: those that are erased, and those that wait until something is over."""

    done: Sequence[int]
    waiting: Sequence[int]


def erase_customer(merchant_id: int, shop_id: int, customer_number: str, at: datetime) -> Erasure:
    """The same for every order of one customer of a shop.

    For a marketplace that tells of a deleted account: what cannot be erased now, because money is
    on its way to him for instance, is erased by the nightly run as soon as it can be.
    """
    orders = select(Order.id).where(
        Order.merchant_id == merchant_id,
        Order.shop_id == shop_id,
        Order.wire["customer"]["number"].as_string() == customer_number,
        Order.erased_at.is_(None),
    )
    ids = db.session.scalars(orders.order_by(Order.id)).all()
    return erase_orders(merchant_id, ids, actor=MARKETPLACE, at=at)


def erase_address(merchant_id: int, address: str) -> None:
    """What is known of an e-mail address beside orders: blocks, of which the hash stays, and what
    mail servers and other systems' mails said of it."""
    clear = address.lower()
    is_his = Suppression.address_hash == address_hash(clear)
    rows.clear_suppressions((Suppression.merchant_id == merchant_id) & is_his)
    sweep({merchant_id}, Traces(frozenset({clear}), frozenset({clear}), frozenset()))


def erase_orders(
    merchant_id: int, order_ids: Collection[int], *, actor: str, at: datetime
) -> Erasure:
    """Erase what can be erased; of the rest it is noted that it is to be, and nobody is reminded.

    Orders that are erased already are left alone.
    """
    lock_merchant(merchant_id)
    done, waiting = [], []
    for order_id in order_ids:
        try:
            with db.session.begin_nested():
                erase_personal_data(merchant_id, order_id, actor=actor, at=at)
            done.append(order_id)
        except NotPossible as problem:
            if problem.args[0] != "erased_already":
                _ask_later(order_now(merchant_id, order_id), actor, at)
                waiting.append(order_id)
    db.session.flush()
    return Erasure(done, waiting)


def _ask_later(order: Order, actor: str, at: datetime) -> None:
    order.reminders_blocked_at = order.reminders_blocked_at or at
    if order.id not in asked_orders(order.merchant_id, [order.id]):
        note(order, ASKED, actor, at)


def asked_orders(merchant_id: int, order_ids: Collection[int] | None = None) -> list[int]:
    """Ids of the orders that wait to be erased, oldest wish first; of ``order_ids`` only."""
    wishes = (
        select(OrderEvent.order_id)
        .join(Order, Order.id == OrderEvent.order_id)
        .where(
            OrderEvent.merchant_id == merchant_id,
            OrderEvent.kind == ASKED,
            Order.erased_at.is_(None),
        )
    )
    if order_ids is not None:
        wishes = wishes.where(OrderEvent.order_id.in_(order_ids))
    return list(db.session.scalars(wishes.order_by(OrderEvent.id)))


def erase_personal_data(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """Everything that tells whose order it was. Cannot be undone; the order follows its shop no
    more, and nobody is written to.

    Raises NotPossible if it is done already, while a bank file with one of its payments is read,
    a mail or letter goes out or the print folder cannot be changed, and while money is on its way
    to the customer or the debt is in a partner's hands: their books would tell of somebody whom
    ours know no more.
    """
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    if order.erased_at is not None:
        raise NotPossible("erased_already", number=order.number)
    postings = own_postings(order)
    statement_ids = _statements_of(postings)
    _check_nothing_is_under_way(order, postings, statement_ids)
    traces = traces_of(order, postings, _mailed(order))
    _erase_said(order, postings, traces)
    posting_ids = [one.id for one in postings]
    rows.empty_conclusions(order, posting_ids)
    rows.empty_credits(order, posting_ids)
    rows.drop_claims(order)
    rows.empty_invoices(order)
    rows.empty_refunds(order, posting_ids)
    case_ids = rows.empty_cases(order)
    rows.empty_history(order)
    for posting in postings:
        rows.empty_posting(posting)
    copies = _copies_of(statement_ids)
    rows.empty_statements(statement_ids)
    _erase_order(order, at)
    note(order, "erased", actor, at)
    db.session.flush()
    sweep({merchant_id, *(one.merchant_id for one in postings)}, traces)
    files.remove_statements(copies)
    files.remove_cases(merchant_id, case_ids)
    _remove_printed(order)
    return order


# --- what belongs to it --------------------------------------------------------------------------


def own_postings(order: Order) -> list[Posting]:
    """The money that was ever assigned to it, what took it back, looks like it or is a copy, and
    what went back. Not what pays for others as well and does not name this customer: a payout of
    a payment provider belongs to all of them."""
    first = select(Assignment.posting_id).where(
        Assignment.order_id == order.id, Assignment.posting_id.is_not(None)
    )
    returned = select(Refund.posting_id, Refund.sent_posting_id, Refund.returned_posting_id).where(
        Refund.order_id == order.id
    )
    found = {one for one in db.session.scalars(first) if one is not None}
    found |= {one for row in db.session.execute(returned) for one in row if one is not None}
    found -= _shared_with_others(order, found)
    while more := _linked_to(found) - found:
        found |= more
    return list(db.session.scalars(select(Posting).where(Posting.id.in_(found))))


def _linked_to(posting_ids: Collection[int]) -> set[int]:
    linked = select(Posting.id).where(
        or_(
            *(column.in_(posting_ids) for column in _links()),
            *(Posting.id.in_(_named_by(posting_ids, column)) for column in _links()),
        )
    )
    return set(db.session.scalars(linked))


def _links() -> tuple[Any, ...]:
    return (Posting.returns_id, Posting.duplicate_of_id, Posting.passed_on_from_id)


def _named_by(posting_ids: Collection[int], column: Any) -> Any:
    return select(column).where(Posting.id.in_(posting_ids), column.is_not(None))


def _shared_with_others(order: Order, posting_ids: Collection[int]) -> set[int]:
    """Those that also pay an order of somebody else, and say nothing of this customer."""
    known = (
        (Order.customer_name, order.customer_name),
        (Order.customer_email, order.customer_email),
    )  # two who are not known by name or address are not one for that
    is_same = or_(
        false(), *(func.coalesce(func.lower(of), "") == own.lower() for of, own in known if own)
    )
    shared = (
        select(Assignment.posting_id)
        .join(Order, Order.id == Assignment.order_id)
        .where(
            Assignment.posting_id.in_(posting_ids),
            Assignment.order_id != order.id,
            Order.erased_at.is_(None),
            ~is_same,
        )
    )
    several = {one for one in db.session.scalars(shared) if one is not None}
    his = traces_of(order, [], [])
    if not his.words:  # all too short to be looked for
        return several
    named = select(Posting.id).where(
        Posting.id.in_(posting_ids),
        or_(*(his.in_text(getattr(Posting, name)) for name in rows.PRINTED_FIELDS)),
    )
    return several - set(db.session.scalars(named))


def _statements_of(postings: Iterable[Posting]) -> set[int]:
    """Every file that the money stands in: the one it was read from first, those of the same
    account and day, and those without days that came after it and are packed or name the payer."""
    found: set[int] = set()
    for posting in postings:
        if posting.statement_id is None:
            continue
        found.add(posting.statement_id)
        days = {day for day in (posting.booking_date, posting.value_date) if day is not None}
        for day in days:
            same_day = select(StatementPeriod.statement_id).where(
                StatementPeriod.account_id == posting.account_id,
                func.coalesce(StatementPeriod.from_date, StatementPeriod.to_date) <= day,
                func.coalesce(StatementPeriod.to_date, StatementPeriod.from_date) >= day,
            )
            found |= set(db.session.scalars(same_day))
        found |= set(db.session.scalars(_later_files(posting)))
    return found


def _later_files(posting: Posting) -> Any:
    payer = {posting.counterparty_iban or "", posting.counterparty_name or ""} - {""}
    has_days = select(StatementPeriod.id).where(
        StatementPeriod.statement_id == Statement.id, StatementPeriod.to_date.is_not(None)
    )
    is_packed = or_(
        *(func.substr(Statement.content, 1, len(mark)) == mark for mark in ARCHIVE_MARKS)
    )
    names = Traces(frozenset(payer), frozenset(), frozenset()).in_bytes(Statement.content)
    return select(Statement.id).where(
        Statement.merchant_id == posting.merchant_id,
        Statement.id >= (posting.statement_id or 0),
        Statement.created_at <= posting.created_at + REPEATED_WITHIN,
        func.octet_length(Statement.content) > 0,
        (Statement.postings_known + Statement.postings_doubtful + Statement.postings_pending) > 0,
        ~has_days.exists(),
        is_packed | names if payer else is_packed,
    )


def _mailed(order: Order) -> set[str]:
    """By kind, not by address: he may have had others, and those are his as well."""
    his = select(Mail.recipient).where(Mail.order_id == order.id, Mail.kind.in_(CUSTOMER_KINDS))
    return {address for address in db.session.scalars(his) if address}


# --- what must be over before ---------------------------------------------------------------------


def _check_nothing_is_under_way(
    order: Order, postings: Sequence[Posting], statement_ids: Collection[int]
) -> None:
    posting_ids = [one.id for one in postings]
    hindrances = {
        "erase_statement_is_read": select(Statement.id).where(
            Statement.id.in_(statement_ids), Statement.status.in_(ON_ITS_WAY)
        ),
        "erase_mail_goes_out": select(Mail.id).where(
            Mail.order_id == order.id, Mail.status == "running"
        ),
        "erase_letter_goes_out": select(Letter.id).where(
            Letter.order_id == order.id, Letter.status == "running"
        ),
        "erase_refund_is_open": select(Refund.id).where(
            (Refund.order_id == order.id) | Refund.posting_id.in_(posting_ids),
            Refund.status.not_in(SETTLED_REFUNDS),
        ),
    }
    if order.payment_status == "collection":
        hindrances["erase_case_is_open"] = select(CollectionCase.id).where(
            CollectionCase.order_id == order.id, CollectionCase.ended_at.is_(None)
        )
    for key, query in hindrances.items():
        if db.session.scalar(query.limit(1)) is not None:
            raise NotPossible(key, number=order.number)


# --- what goes -----------------------------------------------------------------------------------


def _erase_said(order: Order, postings: Collection[Posting], traces: Traces) -> None:
    """Every mail and letter of the order, and every notice to the merchant that names him."""
    of_order = Mail.order_id == order.id
    for table in (Mail, Letter):
        waiting = (table.order_id == order.id) & (table.status == "queued")
        db.session.execute(update(table).where(waiting).values(status="withheld"))
    hashes = [address_hash(address) for address in traces.addresses]
    rows.clear_suppressions(
        (Suppression.merchant_id == order.merchant_id) & Suppression.address_hash.in_(hashes)
    )
    rows.empty_mails(of_order & Mail.kind.in_(CUSTOMER_KINDS), recipient="")
    rows.empty_mails(of_order & Mail.kind.not_in(CUSTOMER_KINDS))
    rows.empty_letters(Letter.order_id == order.id)
    for asking in (PaymentUpdate, OrderRequest):
        of_shop = (asking.order_id == order.id) & asking.error.is_not(None)
        db.session.execute(update(asking).where(of_shop).values(error=None))
    if traces.words:
        sharing = select(Assignment.order_id).where(
            Assignment.posting_id.in_([one.id for one in postings])
        )
        merchant_ids = {order.merchant_id, *(one.merchant_id for one in postings)}
        others = set(db.session.scalars(sharing))
        about_him = notices_quoting(merchant_ids, others, traces)
        rows.empty_mails(about_him & Mail.kind.not_in(CUSTOMER_KINDS))


def _copies_of(statement_ids: Collection[int]) -> list[files.StatementCopy]:
    query = select(Statement.merchant_id, Statement.size_bytes, Statement.content_hash).where(
        Statement.id.in_(statement_ids)
    )
    return [files.StatementCopy(*row) for row in db.session.execute(query)]


def _remove_printed(order: Order) -> None:
    printed = select(Letter.id).where(Letter.order_id == order.id, Letter.service == FOLDER)
    try:
        files.remove_letters(order.merchant_id, db.session.scalars(printed).all())
    except (OSError, Temporary) as problem:
        raise NotPossible("erase_folder_is_away", number=order.number) from problem


def _erase_order(order: Order, at: datetime) -> None:
    rows.empty_order(order)
    order.sync, order.erased_at, order.changed_at = "erased", at, at
    order.reminders_blocked_at = order.reminders_blocked_at or at
    rewrite_keys(order)
