"""What the pages read about orders. Every query takes the merchant.

A file of its own beside ``queries`` because nearly every page shows an order somewhere. A watched
order that waits for its time (S55) is not there yet: no list, no search and no page has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, case, exists, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased
from sqlalchemy.sql import ColumnElement

from server.banking.models import Posting
from server.dashboard import queries
from server.db import db
from server.mail.models import Mail
from server.merchants.service import settings_of
from server.orders.brakes import STOPPED
from server.orders.ledger import is_any
from server.orders.models import (
    OWING_STATUSES,
    Assignment,
    Invoice,
    Order,
    OrderEvent,
    Refund,
    Reminder,
)
from server.orders.rules import (
    LATE_CODES,
    REFUND_ARRANGED,
    normalise_reference,
    reference_in_qr,
)
from server.shops.models import OrderRequest, PaymentUpdate, Shop

ORDERS_A_PAGE = 50
ORDERS_FOUND = 8
LINES_SHOWN = 500
ZERO = Decimal(0)


def paid() -> ColumnElement[Any]:
    """What has been assigned to an order, as a correlated subquery."""
    paid = select(func.coalesce(func.sum(Assignment.amount), 0))
    return paid.where(Assignment.order_id == Order.id).correlate(Order).scalar_subquery()


def _of(merchant_id: int) -> ColumnElement[bool]:
    """The merchant's orders, as far as they count as imported."""
    return and_(Order.merchant_id == merchant_id, Order.monitor_at.is_(None))


# --- the list ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """The filter of the list as it stands in the URL (K63). Dates are the merchant's local ones."""

    text: str = ""
    code: str = ""
    shop_id: int | None = None
    status: str = ""
    first_date: date | None = None
    last_date: date | None = None


@dataclass(frozen=True, slots=True)
class OrderRow:
    """``paid``: what counts as paid. ``claims_fees``: it is not paid without its fees (K28).

    ``repaid``: what of it goes back or went (S78).
    """

    order: Order
    paid: Decimal
    note: str | None = None
    claims_fees: bool = False
    repaid: Decimal = ZERO

    @property
    def owed(self) -> Decimal:
        """What must come in for it to be paid."""
        return self.order.total + (self.order.fee_total if self.claims_fees else ZERO)

    @property
    def open(self) -> Decimal:
        """What is still owed; nothing where nothing is waited for."""
        waits = self.order.payment_status in {*OWING_STATUSES, "collection"}
        late = self.order.payment_status == "cancelled" and self.order.payment_code in LATE_CODES
        return max(self.owed - self.paid, ZERO) if waits or late else ZERO

    @property
    def surplus(self) -> Decimal:
        """Fees that were charged may be paid, whether they are claimed or not."""
        return max(self.paid - self.repaid - self.order.total - self.order.fee_total, ZERO)


@dataclass(frozen=True, slots=True)
class OrderSums:
    """Of a whole filtered list, one a currency: how many, their totals, what of it is open."""

    currency: str
    count: int
    total: Decimal
    open: Decimal


def matching_orders(merchant_id: int, wanted: OrderFilter, zone: ZoneInfo) -> Select[Any]:
    """The orders of the filter, unordered."""
    query = select(Order).where(_of(merchant_id))
    if wanted.text:
        query = query.where(_order_contains(wanted.text))
    if wanted.code:
        query = query.where(Order.payment_code == wanted.code)
    if wanted.shop_id is not None:
        query = query.where(Order.shop_id == wanted.shop_id)
    if wanted.status:
        query = query.where(_has_status(merchant_id, wanted.status))
    if wanted.first_date:
        query = query.where(Order.ordered_at >= queries.midnight(wanted.first_date, zone))
    if wanted.last_date:
        query = query.where(
            Order.ordered_at < queries.midnight(wanted.last_date + timedelta(days=1), zone)
        )
    return query


def _order_contains(text: str) -> ColumnElement[bool]:
    """Every word somewhere in number, invoice number, name or e-mail; or our own reference, plain
    or as a QR reference."""
    words = and_(*(Order.search.contains(word, autoescape=True) for word in text.lower().split()))
    own = reference_in_qr(text) or normalise_reference(text)
    return or_(words, Order.payment_reference == own)


def _has_status(merchant_id: int, word: str) -> ColumnElement[bool]:
    is_late = Order.payment_code.in_(LATE_CODES)
    if word == "open":
        return Order.payment_status.in_(OWING_STATUSES)
    if word == "overdue":
        return and_(Order.payment_status == "cancelled", is_late)
    if word == "cancelled":
        return and_(Order.payment_status == "cancelled", ~is_late)
    if word == "overpaid":
        return and_(Order.payment_status == "paid", Order.id.in_(_overpaid_ids(merchant_id)))
    return Order.payment_status == word


def _overpaid_ids(merchant_id: int) -> Select[Any]:
    """One pass over the ledger: asked order by order it would take ten times as long."""
    order = aliased(Order)
    back = _repaid(merchant_id).subquery()
    kept = func.sum(Assignment.amount) - func.coalesce(func.max(back.c.amount), 0)
    return (
        select(order.id)
        .join(Assignment, Assignment.order_id == order.id)
        .outerjoin(back, back.c.order_id == order.id)
        .where(order.merchant_id == merchant_id, order.payment_status == "paid")
        .group_by(order.id)
        .having(kept > order.total + order.fee_total)
    )


def _repaid(merchant_id: int) -> Select[int | None, Decimal]:
    """Order id, and what of it goes back or went."""
    return (
        select(Refund.order_id, func.sum(Refund.amount).label("amount"))
        .where(Refund.merchant_id == merchant_id, Refund.order_id.is_not(None))
        .where(Refund.status.in_(REFUND_ARRANGED))
        .group_by(Refund.order_id)
    )


def order_sums(merchant_id: int, matching: Select[Any]) -> list[OrderSums]:
    """The line under the list, the currency with the most orders first."""
    owes = Order.payment_status.in_(OWING_STATUSES)
    found = matching.with_only_columns(
        Order.currency,
        Order.shop_id,
        Order.payment_code,
        Order.total,
        case((owes, Order.total - paid()), else_=0).label("open"),
        case((owes, Order.fee_total), else_=0).label("fees"),
    ).subquery()
    rows = db.session.execute(
        select(
            found.c.currency,
            found.c.shop_id,
            found.c.payment_code,
            func.count(),
            func.sum(found.c.total),
            func.sum(found.c.open),
            func.sum(found.c.fees),
        ).group_by(found.c.currency, found.c.shop_id, found.c.payment_code)
    ).all()
    claims = _claims(merchant_id, {(row[1], row[2]) for row in rows if row[6]})
    sums: dict[str, OrderSums] = {}
    for currency, shop_id, code, count, total, still_open, fees in rows:
        before = sums.get(currency, OrderSums(currency, 0, ZERO, ZERO))
        claimed = fees if (shop_id, code) in claims else ZERO
        sums[currency] = OrderSums(
            currency, before.count + count, before.total + total, before.open + still_open + claimed
        )
    return sorted(sums.values(), key=lambda one: (-one.count, one.currency))


def _claims(merchant_id: int, wanted: Collection[tuple[int, str]]) -> set[tuple[int, str]]:
    """(shop, payment code) whose orders are not paid without their fees (K28)."""
    settings = {
        shop_id: settings_of(merchant_id, shop_id) for shop_id in {one[0] for one in wanted}
    }
    return {(shop_id, code) for shop_id, code in wanted if settings[shop_id].of(code).claim_fees}


Cursor = tuple[datetime, int]


def order_page(
    merchant_id: int,
    matching: Select[Any],
    *,
    before: Cursor | None = None,
    after: Cursor | None = None,
    size: int | None = None,
    with_notes: bool = True,
) -> tuple[list[OrderRow], bool, bool]:
    """(rows newest first, are there newer ones, are there older ones). One cursor at most.

    ``with_notes``: find out as well what hinders each of them.
    """
    size = size or ORDERS_A_PAGE
    key = tuple_(Order.ordered_at, Order.id)
    query = matching.add_columns(paid())
    if after is not None:
        query = query.where(key > after).order_by(Order.ordered_at, Order.id)
    else:
        if before is not None:
            query = query.where(key < before)
        query = query.order_by(Order.ordered_at.desc(), Order.id.desc())
    found = list(db.session.execute(query.limit(size + 1)))
    has_more, found = len(found) > size, found[:size]
    rows = rows_of(merchant_id, [(order, paid) for order, paid in found], with_notes=with_notes)
    if after is not None:
        return rows[::-1], has_more, True
    return rows, before is not None, has_more


def rows_of(
    merchant_id: int, found: Sequence[tuple[Order, Decimal]], *, with_notes: bool = False
) -> list[OrderRow]:
    """Orders and what counts as paid of each, with all else that a row says."""
    notes = _order_notes([order.id for order, _ in found]) if with_notes else {}
    claims = _claims(
        merchant_id, {(one.shop_id, one.payment_code) for one, _ in found if one.fee_total}
    )
    paid_ids = [one.id for one, paid in found if paid > 0]
    repaid: dict[int | None, Decimal] = {}
    if paid_ids:
        back = _repaid(merchant_id).where(is_any(Refund.order_id, paid_ids))
        repaid = {row[0]: row[1] for row in db.session.execute(back)}
    return [
        OrderRow(
            one,
            paid,
            notes.get(one.id),
            (one.shop_id, one.payment_code) in claims,
            repaid.get(one.id, ZERO),
        )
        for one, paid in found
    ]


def _order_notes(order_ids: Sequence[int]) -> dict[int, str]:
    """What hinders an order, as the key of a text: a payment update or a mail that fails."""
    if not order_ids:
        return {}
    mails = select(Mail.order_id).where(
        Mail.order_id.in_(order_ids),
        or_(Mail.status.in_(("failed", "unknown")), Mail.delivery.in_(("bounced", "complained"))),
    )
    notes = {order_id: "mail_failed" for order_id in db.session.scalars(mails) if order_id}
    latest = (
        select(PaymentUpdate)
        .where(PaymentUpdate.order_id.in_(order_ids))
        .ext(distinct_on(PaymentUpdate.order_id))
        .order_by(PaymentUpdate.order_id, PaymentUpdate.id.desc())
    )
    for update in db.session.scalars(latest):
        if update.status == "failed":
            notes[update.order_id] = "update_failed"
        elif update.status == "queued" and update.attempts:
            notes[update.order_id] = "update_waits"
    return notes


def order_count(matching: Select[Any], most: int) -> int:
    """How many there are; counting ends at ``most``."""
    some = matching.with_only_columns(Order.id).limit(most).subquery()
    return int(db.session.scalar(select(func.count()).select_from(some)) or 0)


def first_ids(matching: Select[Any], most: int) -> list[int]:
    """The newest of the filter, at most so many."""
    query = matching.with_only_columns(Order.id).order_by(Order.ordered_at.desc(), Order.id.desc())
    return list(db.session.scalars(query.limit(most)))


def invoice_numbers(merchant_id: int, order_ids: Sequence[int]) -> dict[int, list[str]]:
    """Order id to the numbers of its invoices."""
    found: dict[int, list[str]] = defaultdict(list)
    query = select(Invoice.order_id, Invoice.number).where(
        Invoice.merchant_id == merchant_id, is_any(Invoice.order_id, order_ids)
    )
    for order_id, number in db.session.execute(query.order_by(Invoice.id)):
        found[order_id].append(number)
    return found


# --- single orders ------------------------------------------------------------------------------


def order_of(merchant_id: int, order_id: int) -> Order | None:
    return db.session.scalar(select(Order).where(_of(merchant_id), Order.id == order_id))


def order_rows(merchant_id: int, order_ids: Collection[int]) -> dict[int, OrderRow]:
    """Several orders with what they owe, by id; foreign ids are left out."""
    if not order_ids:
        return {}
    found = db.session.execute(
        select(Order, paid()).where(_of(merchant_id), Order.id.in_(order_ids))
    )
    return {row.order.id: row for row in rows_of(merchant_id, [(one, paid) for one, paid in found])}


def find_orders(merchant_id: int, text: str) -> list[OrderRow]:
    """For the search of the postings page: open ones first, then the newest, paid ones too."""
    found = db.session.execute(
        select(Order, paid())
        .where(_of(merchant_id), _order_contains(text))
        .order_by(Order.payment_status.in_(OWING_STATUSES).desc(), Order.ordered_at.desc())
        .limit(ORDERS_FOUND)
    )
    return rows_of(merchant_id, [(order, paid) for order, paid in found])


@dataclass(frozen=True, slots=True)
class AssignmentRow:
    """One line of an order's ledger. ``is_undone``: a later row reverses it."""

    assignment: Assignment
    posting: Posting | None
    is_undone: bool


def assignments_of_order(merchant_id: int, order_id: int) -> list[AssignmentRow]:
    """Without the reversing rows: those show as ``is_undone`` of what they reverse."""
    return _assignments(merchant_id, Assignment.order_id == order_id)


def assignments_of_posting(merchant_id: int, posting_id: int) -> list[AssignmentRow]:
    return _assignments(merchant_id, Assignment.posting_id == posting_id)


def _assignments(merchant_id: int, wanted: ColumnElement[bool]) -> list[AssignmentRow]:
    undo = aliased(Assignment)
    rows = db.session.execute(
        select(Assignment, Posting, exists().where(undo.reverses_id == Assignment.id))
        .outerjoin(Posting, Posting.id == Assignment.posting_id)
        .where(Assignment.merchant_id == merchant_id, wanted, Assignment.reverses_id.is_(None))
        .order_by(Assignment.id)
    )
    return [AssignmentRow(*row) for row in rows]


def assignment_of(merchant_id: int, assignment_id: int) -> Assignment | None:
    return db.session.scalar(
        select(Assignment).where(
            Assignment.merchant_id == merchant_id, Assignment.id == assignment_id
        )
    )


def invoices_of(merchant_id: int, order_id: int) -> list[Invoice]:
    query = select(Invoice).where(Invoice.merchant_id == merchant_id, Invoice.order_id == order_id)
    return list(db.session.scalars(query.order_by(Invoice.id)))


def invoice_of(merchant_id: int, order_id: int, invoice_id: int) -> Invoice | None:
    return db.session.scalar(
        select(Invoice).where(
            Invoice.merchant_id == merchant_id,
            Invoice.order_id == order_id,
            Invoice.id == invoice_id,
        )
    )


def updates_of_order(merchant_id: int, order_id: int) -> list[PaymentUpdate]:
    query = select(PaymentUpdate).where(
        PaymentUpdate.merchant_id == merchant_id, PaymentUpdate.order_id == order_id
    )
    return list(db.session.scalars(query.order_by(PaymentUpdate.id.desc()).limit(LINES_SHOWN)))


def requests_of_order(merchant_id: int, order_id: int) -> list[OrderRequest]:
    """ "Look at it in the shop", the newest first (S74)."""
    query = select(OrderRequest).where(
        OrderRequest.merchant_id == merchant_id, OrderRequest.order_id == order_id
    )
    return list(db.session.scalars(query.order_by(OrderRequest.id.desc()).limit(LINES_SHOWN)))


def latest_requests(merchant_id: int, limit: int) -> list[tuple[OrderRequest, Shop, Order | None]]:
    """Orders that were asked of a shop, each with the order once it is here; newest first (K64)."""
    asked = db.session.execute(
        select(OrderRequest, Shop)
        .join(Shop, Shop.id == OrderRequest.shop_id)
        .where(OrderRequest.merchant_id == merchant_id)
        .order_by(OrderRequest.id.desc())
        .limit(limit)
    ).all()
    requests = [row[0] for row in asked]
    wanted = or_(
        Order.id.in_([one.order_id for one in requests if one.order_id]),
        Order.external_id.in_([one.external_id for one in requests if one.external_id]),
        Order.number.in_([one.number for one in requests if one.number]),
    )
    orders = db.session.scalars(select(Order).where(_of(merchant_id), wanted)) if asked else ()
    by_name = {
        key: order
        for order in orders
        for key in (
            (order.shop_id, "id", str(order.id)),
            (order.shop_id, "external_id", order.external_id),
            (order.shop_id, "number", order.number),
        )
    }
    return [(one, shop, by_name.get(_asked_for(one))) for one, shop in asked]


def _asked_for(one: OrderRequest) -> tuple[int, str, str]:
    if one.order_id:
        return one.shop_id, "id", str(one.order_id)
    if one.external_id:
        return one.shop_id, "external_id", one.external_id
    return one.shop_id, "number", one.number or ""


def events_of_order(merchant_id: int, order_id: int) -> list[OrderEvent]:
    query = select(OrderEvent).where(
        OrderEvent.merchant_id == merchant_id, OrderEvent.order_id == order_id
    )
    return list(db.session.scalars(query.order_by(OrderEvent.id.desc()).limit(LINES_SHOWN)))


# --- reminders ----------------------------------------------------------------------------------


def reminders_of(merchant_id: int, order_id: int) -> list[tuple[Reminder, Mail | None]]:
    """What was charged and when, with its mail, the first level first (S68).

    A level whose mail was withheld has not been reached, so it is not among them; what only the
    stop of all mails holds will go out, and charges (``orders.charges``).
    """
    rows = db.session.execute(
        select(Reminder, Mail)
        .outerjoin(Mail, Mail.id == Reminder.mail_id)
        .where(Reminder.merchant_id == merchant_id, Reminder.order_id == order_id, _reached())
        .order_by(Reminder.level)
    )
    return [(reminder, mail) for reminder, mail in rows]


def levels(merchant_id: int, order_ids: Sequence[int]) -> dict[int, int]:
    """Order id to the dunning level that it has reached; 0 is left out."""
    rows = db.session.execute(
        select(Reminder.order_id, func.max(Reminder.level))
        .outerjoin(Mail, Mail.id == Reminder.mail_id)
        .where(
            Reminder.merchant_id == merchant_id, is_any(Reminder.order_id, order_ids), _reached()
        )
        .group_by(Reminder.order_id)
    )
    return {row[0]: row[1] for row in rows}


def _reached() -> ColumnElement[bool]:
    return or_(Mail.id.is_(None), Mail.status != "withheld", Mail.error == STOPPED)
