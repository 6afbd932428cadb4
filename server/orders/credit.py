"""A customer's credit: money that came too much and waits for his next order (C12). Never commits.

A file of its own because it is about customers, of which the ledger knows nothing: it has postings
and orders only. What is left of a kept posting is the credit; it pays by ordinary assignments.
A customer is known by his e-mail address, or by his number in one shop.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, false, func, or_, select, update
from sqlalchemy.orm import aliased

from plugin_sdk.schemas import amount_text
from plugin_sdk.types import PaymentCode
from server.banking.models import Posting
from server.db import db
from server.merchants.service import lock_merchant
from server.orders.charges import drop_lost_charges
from server.orders.ledger import (
    ZERO,
    Ledger,
    NotPossible,
    note,
    order_now,
    posting_now,
    refresh_posting,
    taken_of_posting,
    taken_totals,
)
from server.orders.models import OWING_STATUSES, Assignment, Credit, Order
from server.orders.notices import ASKS_FOR_MONEY
from server.orders.service import book_payment, request_match, take_surplus
from server.orders.settlement import settle

ACTOR = "Kontor"
MODES = ("automatic", "manual")
MOST_SHOWN = 500
MOST_OF_A_CUSTOMER = 100


@dataclass(frozen=True, slots=True)
class CreditRow:
    """A credit, the posting that it is of, and what is left of that."""

    credit: Credit
    posting: Posting
    left: Decimal


def keep_as_credit(
    merchant_id: int, posting_id: int, order_id: int, *, actor: str, at: datetime
) -> Credit:
    """Keep what is left of the posting for the order's customer; it leaves the inbox.

    What the posting has paid too much on that order is taken off it first. Raises NotPossible.
    """
    lock_merchant(merchant_id)
    posting, order = posting_now(merchant_id, posting_id), order_now(merchant_id, order_id)
    if posting.is_kept:
        raise NotPossible("posting_is_kept")
    if not posting.may_be_open:
        raise NotPossible("credit_posting_not_open")
    if posting.currency != order.currency:
        raise NotPossible("assign_other_currency", number=order.number)
    if not order.customer_email and not _number_of(order):
        raise NotPossible("credit_without_customer", number=order.number)
    ledger = Ledger([order.id], [posting.id])
    if drop_lost_charges(order):
        settle(order, at, ledger)
    _free_surplus(order, posting, ledger, actor, at)
    left = posting.amount - ledger.taken(posting.id)
    if left <= ZERO:
        raise NotPossible("credit_nothing_left")
    credit = Credit(
        merchant_id=merchant_id,
        posting_id=posting.id,
        from_order_id=order.id,
        customer_name=order.customer_name,
        customer_email=order.customer_email.lower() if order.customer_email else None,
        customer_number=_number_of(order),
        mode=_mode_so_far(order),
        kept_at=at,
        kept_by=actor,
    )
    db.session.add(credit)
    posting.is_kept = True
    refresh_posting(posting, left)
    note(order, "credit_kept", actor, at, amount=amount_text(left), posting_id=posting.id)
    db.session.flush()
    return credit


def _free_surplus(order: Order, posting: Posting, ledger: Ledger, actor: str, at: datetime) -> None:
    rows = ledger.standing(order.id)
    booked = sum((row.amount for row in rows if row.posting_id == posting.id), ZERO)
    surplus = min(ledger.surplus(order), booked)
    if surplus > ZERO:
        take_surplus(order, surplus, ledger, actor=actor, at=at, posting_id=posting.id)


def _mode_so_far(order: Order) -> str | None:
    """What the merchant wished for this customer when there was credit before."""
    query = select(Credit.mode).where(_same_customer(order)).order_by(Credit.id.desc())
    return db.session.scalar(query.limit(1))


def release_credit(merchant_id: int, posting_id: int, *, actor: str, at: datetime) -> None:
    """Nobody's credit any more: what is left is back in the inbox. Raises NotPossible."""
    lock_merchant(merchant_id)
    credit, posting = _credit(merchant_id, posting_id)
    left = posting.amount - taken_totals([posting.id])[posting.id]
    if credit.from_order_id is not None:
        order = order_now(merchant_id, credit.from_order_id)
        note(order, "credit_released", actor, at, amount=amount_text(left), posting_id=posting.id)
    db.session.execute(delete(Credit).where(Credit.id == credit.id))
    posting.is_kept, posting.needs_match = False, True
    refresh_posting(posting, left)
    request_match(merchant_id, at)


def _credit(merchant_id: int, posting_id: int) -> tuple[Credit, Posting]:
    posting = posting_now(merchant_id, posting_id)
    credit = db.session.scalar(select(Credit).where(Credit.posting_id == posting.id))
    if credit is None:
        raise NotPossible("credit_unknown")
    return credit, posting


# --- whose it is -------------------------------------------------------------------------------


def credit_of(order: Order) -> list[CreditRow]:
    """What is left of the credit of the order's customer, in its currency; the oldest first."""
    query = _unused(order.merchant_id).where(
        _same_customer(order), Posting.currency == order.currency
    )
    return _with_rest(query.order_by(Credit.kept_at, Credit.id).limit(MOST_OF_A_CUSTOMER))


def customer_credits(merchant_id: int) -> list[CreditRow]:
    """All that is left of anybody's credit, the newest first, at most ``MOST_SHOWN``."""
    query = _unused(merchant_id).order_by(Credit.kept_at.desc(), Credit.id.desc())
    return _with_rest(query.limit(MOST_SHOWN))


def orders_with_credit(merchant_id: int, order_ids: Collection[int]) -> set[int]:
    """Those whose customer may have credit: one look before ``apply_automatically`` of each."""
    if not order_ids:
        return set()
    source = aliased(Order)
    same_number = (Order.wire["customer"]["number"].as_string() == Credit.customer_number) & (
        source.shop_id == Order.shop_id
    )
    query = (
        select(Order.id)
        .join(Credit, Credit.merchant_id == Order.merchant_id)
        .outerjoin(source, source.id == Credit.from_order_id)
        .where(Order.merchant_id == merchant_id, Order.id.in_(order_ids))
        .where(or_(func.lower(Order.customer_email) == Credit.customer_email, same_number))
    )
    return set(db.session.scalars(query.distinct()))


def _unused(merchant_id: int) -> Select[Credit, Posting, Decimal]:
    used = taken_of_posting()
    return (
        select(Credit, Posting, Posting.amount - used)
        .join(Posting, Posting.id == Credit.posting_id)
        .where(Credit.merchant_id == merchant_id, Posting.is_kept, ~Posting.is_returned)
        .where(Posting.amount > used)
    )


def _with_rest(query: Select[Credit, Posting, Decimal]) -> list[CreditRow]:
    return [CreditRow(*row) for row in db.session.execute(query)]


def _same_customer(order: Order) -> ColumnElement[bool]:
    return _is_customer(order.merchant_id, order.customer_email, _number_of(order), order.shop_id)


def _is_customer(
    merchant_id: int, email: str | None, number: str | None, shop_id: int | None
) -> ColumnElement[bool]:
    same: list[ColumnElement[bool]] = []
    if email:
        same.append(Credit.customer_email == email.lower())
    if number and shop_id is not None:
        of_shop = select(Order.id).where(Order.id == Credit.from_order_id, Order.shop_id == shop_id)
        same.append((Credit.customer_number == number) & of_shop.exists())
    return (Credit.merchant_id == merchant_id) & (or_(*same) if same else false())


def _number_of(order: Order) -> str | None:
    customer: dict[str, Any] = order.wire.get("customer") or {}
    number = str(customer.get("number") or "").strip()
    return number[:64] or None


# --- using it ----------------------------------------------------------------------------------


def apply_credit(
    merchant_id: int, order_id: int, posting_id: int, *, actor: str, at: datetime
) -> Assignment:
    """Pay the order from this credit, as far as both reach. Raises NotPossible."""
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    credit, posting = _credit(merchant_id, posting_id)
    is_his = select(Credit.id).where(Credit.id == credit.id, _same_customer(order))
    if db.session.scalar(is_his) is None:
        raise NotPossible("credit_of_another", number=order.number)
    if posting.is_returned:
        raise NotPossible("posting_is_returned")
    drop_lost_charges(order)  # before it is known how much credit it takes
    ledger = Ledger([order.id], [posting.id])
    return _apply(order, posting, ledger, actor, at)


def _apply(order: Order, posting: Posting, ledger: Ledger, actor: str, at: datetime) -> Assignment:
    owed = ledger.rest(order)
    left = posting.amount - ledger.taken(posting.id)
    if owed <= ZERO:
        raise NotPossible("already_paid", number=order.number)
    if left <= ZERO:
        raise NotPossible("credit_nothing_left")
    amount = min(left, owed)
    return book_payment(order, posting, amount, ledger, origin="credit", actor=actor, at=at)


def apply_automatically(order: Order, at: datetime) -> bool:
    """Pay an order that waits for money from its customer's credit, if the merchant wishes so.

    The oldest credit first. What a person has taken back from this order is left alone, and so is
    what is paid at the door. True if anything was booked.
    """
    is_asked = PaymentCode(order.payment_code) in ASKS_FOR_MONEY
    if order.payment_status not in OWING_STATUSES or not is_asked or not credit_of(order):
        return False
    lock_merchant(order.merchant_id)
    rows = credit_of(order)
    ledger = Ledger([order.id], [row.posting.id for row in rows])
    settings = ledger.settings(order)
    if settings.assignment != "auto":
        return False
    if drop_lost_charges(order):
        settle(order, at, ledger)
    wanted = [
        row.posting
        for row in rows
        if (row.credit.mode or settings.credit_mode) == "automatic"
        and not ledger.turn(order.id, row.posting.id)
    ]
    is_booked = False
    for posting in wanted:
        if ledger.rest(order) <= ZERO:
            break
        _apply(order, posting_now(order.merchant_id, posting.id), ledger, ACTOR, at)
        is_booked = True
    return is_booked


def set_credit_mode(
    merchant_id: int, posting_id: int, mode: str | None, *, actor: str, at: datetime
) -> None:
    """`automatic`, `manual`, or None for the general setting; for all credit of this customer.

    Raises NotPossible.
    """
    lock_merchant(merchant_id)
    if mode is not None and mode not in MODES:
        raise NotPossible("credit_mode_unknown")
    credit, _ = _credit(merchant_id, posting_id)
    order = (
        order_now(merchant_id, credit.from_order_id) if credit.from_order_id is not None else None
    )
    his = _is_customer(
        merchant_id,
        credit.customer_email,
        credit.customer_number,
        order.shop_id if order is not None else None,
    )
    db.session.execute(
        update(Credit)
        .where(or_(his, Credit.id == credit.id))
        .values(mode=mode)
        .execution_options(synchronize_session="fetch")
    )
    if order is not None:
        note(order, "credit_mode_set", actor, at, mode=mode or "")
