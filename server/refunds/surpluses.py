"""What came too much goes back by itself, where the merchant wants that (K59). Never commits.

A file of its own beside ``service`` because here nobody asks. Off unless switched on, and careful:
only money that the matcher booked by itself because it was sure, never what may be one payment
told twice (K46), never what a person has touched. A customer's automatic credit comes first (C12).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import exists, func, select

from server.banking.models import Posting
from server.db import db
from server.merchants.models import SettingChange
from server.merchants.service import lock_merchant, settings_of
from server.orders.credit import credit_of
from server.orders.ledger import ZERO, Ledger, NotPossible, is_standing, orders_now
from server.orders.models import Assignment, Credit, Order, Refund, Suggestion
from server.orders.service import book_payment
from server.refunds.proposals import Case, case_of, may_be_duplicate
from server.refunds.service import arrange
from server.shops.models import Shop

ACTOR: Final = "Kontor"
ORDERS_AT_ONCE: Final = 200
LATELY: Final = timedelta(days=3)
"""Whoever switches it on does not send back everything from before."""
SURE: Final = Decimal("0.99")


def repay_surpluses(merchant_id: int, at: datetime) -> list[Refund]:
    """Arrange what came too much on paid orders. Returns what was arranged.

    A surplus that needs a second person is arranged and held; one that may be a payment told twice
    is not arranged at all, because it may be no money.
    """
    wanting = _wanting(merchant_id)
    if not wanting:
        return []
    lock_merchant(merchant_id)
    twice = _paid_twice(merchant_id, wanting, at)
    doubles = [_repay_double(one, order, at) for one, order in twice]
    rests = [_repay(order, at) for order in _overpaid(merchant_id, wanting, at)]
    return [refund for refund in (*doubles, *rests) if refund is not None]


def _wanting(merchant_id: int) -> list[int]:
    """The shops whose surpluses go back by themselves. One query where nobody ever set it."""
    was_set = select(SettingChange.id).where(
        SettingChange.merchant_id == merchant_id, SettingChange.name == "repay_surplus"
    )
    if not db.session.scalar(select(was_set.exists())):
        return []
    shop_ids = db.session.scalars(select(Shop.id).where(Shop.merchant_id == merchant_id))
    return [shop_id for shop_id in shop_ids if _wants(merchant_id, shop_id)]


def _wants(merchant_id: int, shop_id: int) -> bool:
    settings = settings_of(merchant_id, shop_id)
    is_auto = settings.assignment == "auto" and settings.mode == "live"
    return settings.repay_surplus and is_auto


# --- more than was owed ------------------------------------------------------------------------


def _overpaid(merchant_id: int, shop_ids: list[int], at: datetime) -> list[Order]:
    """Orders that changed lately, are paid, and have more than they ask for, booked or left on
    their open postings. None of which a repayment was ever arranged: not even a cancelled one."""
    booked = (
        select(func.sum(Assignment.amount))
        .where(Assignment.order_id == Order.id)
        .correlate(Order)
        .scalar_subquery()
    )
    is_left = exists().where(
        Assignment.order_id == Order.id,
        Assignment.posting_id == Posting.id,
        Assignment.merchant_id == merchant_id,
        Posting.is_open,
        is_standing(),
    )
    was_arranged = exists().where(Refund.order_id == Order.id)
    query = (
        select(Order)
        .where(Order.merchant_id == merchant_id, Order.shop_id.in_(shop_ids))
        .where(Order.changed_at > at - LATELY)
        .where(Order.payment_status == "paid", Order.sync != "erased", ~was_arranged)
        .where((booked > Order.total + Order.fee_total) | is_left)
        .order_by(Order.id)
        .limit(ORDERS_AT_ONCE)
    )
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def _repay(order: Order, at: datetime) -> Refund | None:
    case = case_of(order.merchant_id, order.id, None)
    if not _is_sure(case) or not _may_go_alone(order, case.surplus):
        return None
    if any(may_be_duplicate(one.posting) for one in case.payments):
        return None
    return _arrange(order, case.surplus, at)


def _arrange(order: Order, amount: Decimal, at: datetime) -> Refund | None:
    try:
        with db.session.begin_nested():
            return arrange(
                order.merchant_id,
                order_id=order.id,
                amount=amount,
                is_automatic=True,
                actor=ACTOR,
                at=at,
            )
    except NotPossible:
        return None  # a person sees the surplus, and why it cannot go


def _may_go_alone(order: Order, surplus: Decimal) -> bool:
    """Enough to send it back, and not to be kept for the customer's next order."""
    settings = settings_of(order.merchant_id, order.shop_id)
    least = max(Decimal(settings.repay_surplus_cents).scaleb(-2), settings.tolerance)
    if surplus <= ZERO or surplus < least:
        return False
    return _credit_mode(order, settings.credit_mode) != "automatic"


def _is_sure(case: Case) -> bool:
    """The matcher booked all of it, and nobody has undone anything of these postings."""
    assert case.order is not None
    rows = case.ledger.standing(case.order.id)
    money = [row for row in rows if row.origin != "difference"]
    return (
        bool(money)
        and all(row.origin == "auto" and row.posting_id is not None for row in money)
        and not any(one.posting.is_blocked or one.posting.is_kept for one in case.payments)
    )


def _credit_mode(order: Order, general: str) -> str:
    """What is wished for this customer: his own mode, else the shop's."""
    own = next((row.credit.mode for row in credit_of(order) if row.credit.mode), None)
    if own is None and order.customer_email:
        own = db.session.scalar(
            select(Credit.mode)
            .where(
                Credit.merchant_id == order.merchant_id,
                Credit.customer_email == order.customer_email.lower(),
                Credit.mode.is_not(None),
            )
            .order_by(Credit.id.desc())
            .limit(1)
        )
    return own or general


# --- paid twice --------------------------------------------------------------------------------


def _paid_twice(merchant_id: int, shop_ids: list[int], at: datetime) -> list[tuple[Posting, Order]]:
    """Open payments that came lately and that the matcher would have booked, were their only order
    not paid already."""
    query = (
        select(Posting, Suggestion)
        .join(Suggestion, Suggestion.posting_id == Posting.id)
        .where(Posting.merchant_id == merchant_id, Posting.is_open, ~Posting.needs_match)
        .where(Posting.created_at > at - LATELY)
        .where(~Posting.is_assigned, ~Posting.is_blocked, Posting.duplicate_of_id.is_(None))
        .where(Suggestion.rank == 0, Suggestion.probability >= SURE)
        .order_by(Posting.id)
        .limit(ORDERS_AT_ONCE)
    )
    meant = [
        (posting, suggestion.orders[0])
        for posting, suggestion in db.session.execute(query).all()
        if suggestion.vetoes == ["order_paid"] and len(suggestion.orders) == 1
    ]
    orders = orders_now(merchant_id, {int(part["order_id"]) for _, part in meant})
    found = []
    for posting, part in meant:
        order = orders.get(int(part["order_id"]))  # of a shared account: another merchant's
        if order is None or order.shop_id not in shop_ids:
            continue
        if Decimal(part["amount"]) == posting.amount:
            found.append((posting, order))
    return found


def _repay_double(posting: Posting, order: Order, at: datetime) -> Refund | None:
    """From the account that has paid the order already, and not so soon after that it may be the
    same payment: it is booked on the order, and goes back."""
    case = case_of(order.merchant_id, order.id, None)
    accounts = {one.details.iban for one in case.payments if one.details is not None}
    if order.payment_status != "paid" or not _is_sure(case) or case.surplus > ZERO:
        return None
    if posting.counterparty_iban not in accounts or may_be_duplicate(posting):
        return None
    if case.ledger.repayments() or not _may_go_alone(order, posting.amount):
        return None
    ledger = Ledger([order.id], [posting.id])
    book_payment(order, posting, posting.amount, ledger, origin="auto", actor=ACTOR, at=at)
    db.session.flush()
    return _arrange(order, posting.amount, at)
