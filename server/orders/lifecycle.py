"""What people and the daily run do to an order that is not about money: its life and its end.

A file of its own beside ``service``, which moves money. The functions for people take the
merchant's lock; the ``_now`` ones are for callers who hold it. Never commits.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import select

from plugin_sdk.schemas import amount_text
from server.db import db
from server.mail.rules import AddressError, mailbox
from server.merchants.service import lock_merchant, settings_of
from server.orders.asking import (
    ASKING,
    REMINDERS,
    ask_again,
    ask_first,
    follow_change,
    withhold_mails,
)
from server.orders.cases import end_case, open_case
from server.orders.keys import rewrite_keys
from server.orders.ledger import ZERO, Ledger, NotPossible, note, order_now
from server.orders.letters import has_address
from server.orders.models import OWING_STATUSES, Order, OrderEvent
from server.orders.order_notices import tell_of_new_orders
from server.orders.rules import LATE_CODES
from server.orders.service import request_match, reverse_row
from server.orders.settlement import settle
from server.shops import order_requests
from server.shops.models import OrderRequest, Shop

LARGEST_TOTAL: Final = Decimal(10_000_000)
MAX_EMAIL: Final = 320
EARLIEST_DATE: Final = date(2000, 1, 1)
LATEST_IN: Final = timedelta(days=3 * 365)
CLOSED_IN_HOUSE = "the order was cancelled before it was sent"
BLOCKED = "reminders were blocked before it was sent"
ADMITTED_AT_ONCE = 500
DOUBLE_CLICK: Final = timedelta(minutes=1)


# --- which actions fit -------------------------------------------------------------------------


def actions_of(order: Order) -> tuple[str, ...]:
    """What may be done with an order of this type and status (S56), in the order of a menu."""
    status = order.payment_status
    owes = status in OWING_STATUSES
    ended = order.cancelled_at is not None
    can_post = owes and order.erased_at is None and has_address(order.wire)
    fits = {
        "read_again": order.sync == "shop",
        "send_payment_information": owes and bool(order.customer_email),
        "mark_as_paid": status not in ("paid", "refunded", "partially_refunded"),
        "mark_as_unpaid": status == "paid",
        "edit": owes and order.sync != "erased",
        "set_base_date": owes or status == "cancelled",
        "send_reminder": owes and (bool(order.customer_email) or can_post),
        "send_transfer_form": can_post,
        "run": owes or status == "cancelled",
        "block_reminders": order.reminders_blocked_at is None and (owes or status == "cancelled"),
        "allow_reminders": order.reminders_blocked_at is not None,
        "cancel": owes,
        "reopen": ended and status == "cancelled",
        "hand_to_collection": order.collection_at is None
        and (owes or status == "cancelled")
        and order.payment_code in LATE_CODES,
        "collection_details": order.collection_at is not None,
        "take_from_collection": status == "collection",
        "take_over": status == "not_managed",
        "stop_managing": owes,
        "erase": order.erased_at is None,
    }
    return tuple(name for name, does_fit in fits.items() if does_fit)


def _open(merchant_id: int, order_id: int, action: str) -> Order:
    """The order below the lock. Raises NotPossible where the action does not fit it."""
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    if action not in actions_of(order):
        raise NotPossible("action_does_not_fit", number=order.number)
    return order


# --- cancelled, overdue, collection ------------------------------------------------------------


def cancel_order(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """Prepayment is cancelled, invoice and cash on delivery are overdue (S81, K4)."""
    order = _open(merchant_id, order_id, "cancel")
    cancel_now(order, at, actor=actor)
    return order


def cancel_now(order: Order, at: datetime, *, actor: str, ledger: Ledger | None = None) -> None:
    """As ``cancel_order``; the caller holds the lock and knows that the order owes."""
    assert order.payment_status in OWING_STATUSES, "only what owes is cancelled"
    order.cancelled_at = at
    note(order, "overdue" if order.payment_code in LATE_CODES else "cancelled", actor, at)
    withhold_mails(order, (*ASKING, "partially_paid"), CLOSED_IN_HOUSE)
    settle(order, at, ledger)


def reopen_order(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """Take a cancellation back: the order waits for its money again."""
    order = _open(merchant_id, order_id, "reopen")
    order.cancelled_at = None
    order.needs_match = True
    note(order, "reopened", actor, at)
    settle(order, at)
    request_match(merchant_id, at)
    return order


def hand_to_collection(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """From now on somebody else collects the debt (S79, K6)."""
    order = _open(merchant_id, order_id, "hand_to_collection")
    collect_now(order, at, actor=actor)
    return order


def collect_now(order: Order, at: datetime, *, actor: str, ledger: Ledger | None = None) -> None:
    """As ``hand_to_collection``; the caller holds the lock and knows that money is owed."""
    assert order.collection_at is None, "once"
    order.collection_at = at
    note(order, "collection", actor, at)
    withhold_mails(order, (*ASKING, "partially_paid"), CLOSED_IN_HOUSE)
    settle(order, at, ledger)
    open_case(order, at, actor=actor, ledger=ledger or Ledger([order.id]))


def take_from_collection(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """The debt is in the merchant's own hands again; a partner who has the papers hears of it."""
    order = _open(merchant_id, order_id, "take_from_collection")
    order.collection_at = None
    note(order, "collection_ended", actor, at)
    end_case(order, at, actor=actor)
    settle(order, at)
    return order


# --- paid and unpaid by hand -------------------------------------------------------------------


def mark_as_unpaid(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """Everything that was booked on it is taken back; postings wait in the inbox again (K2)."""
    order = _open(merchant_id, order_id, "mark_as_unpaid")
    ledger = Ledger([order.id])
    rows = [row for row in ledger.standing(order.id) if row.completes_id is None]
    if not rows:
        raise NotPossible("nothing_booked", number=order.number)
    note(order, "marked_as_unpaid", actor, at)
    for row in reversed(rows):
        reverse_row(order, row, actor=actor, at=at)
    return order


# --- reminders ---------------------------------------------------------------------------------


def block_reminders(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """Nothing automatic happens to the order any more (S82)."""
    order = _open(merchant_id, order_id, "block_reminders")
    order.reminders_blocked_at = at
    note(order, "reminders_blocked", actor, at)
    withhold_mails(order, REMINDERS, BLOCKED)
    return order


def allow_reminders(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    order = _open(merchant_id, order_id, "allow_reminders")
    order.reminders_blocked_at = None
    note(order, "reminders_allowed", actor, at)
    return order


def set_base_date(
    merchant_id: int, order_id: int, day: date | None, *, actor: str, at: datetime
) -> Order:
    """What all reminder dates count from (S58); None is again what the shop says."""
    order = _open(merchant_id, order_id, "set_base_date")
    if day is not None and not EARLIEST_DATE <= day <= at.date() + LATEST_IN:
        raise NotPossible("date_out_of_range")
    order.base_date = day
    note(order, "base_date_set", actor, at, day=day.isoformat() if day else "")
    return order


# --- edits -------------------------------------------------------------------------------------


def edit_order(
    merchant_id: int,
    order_id: int,
    *,
    email: str,
    total: Decimal,
    actor: str,
    at: datetime,
) -> Order:
    """Another e-mail or amount while the order owes (S65); it follows its shop no more (S66).

    Not the amount of an order in a foreign currency with its rate (S67). The customer hears of it
    as of a change in the shop.
    """
    order = _open(merchant_id, order_id, "edit")
    before, email_before = order.total, order.customer_email
    email = email.strip()
    if total != before and (order.wire.get("foreign_total") or order.wire.get("exchange_rate")):
        raise NotPossible("edit_foreign_amount", number=order.number)
    if not ZERO < total <= LARGEST_TOTAL or total != total.quantize(Decimal("0.01")):
        raise NotPossible("edit_amount_out_of_range")
    if email:
        check_email(email)
    changed = [
        name
        for name, is_new in (("email", email != (email_before or "")), ("total", total != before))
        if is_new
    ]
    if not changed:
        return order
    order.total, order.customer_email = total, email or None
    if order.sync == "shop":
        order.sync = "edited"
    rewrite_keys(order)
    order.needs_match, order.changed_at = True, at
    note(order, "edited", actor, at, fields=", ".join(changed))
    if total != before:
        facts = {"before": amount_text(before), "after": amount_text(total)}
        note(order, "total_changed", actor, at, **facts)
    settle(order, at)
    db.session.flush()
    follow_change(order, before, email_before, at)
    request_match(merchant_id, at)
    return order


def check_email(email: str) -> None:
    """Raises NotPossible for what no mail can be sent to."""
    try:
        mailbox(email)
    except AddressError:
        raise NotPossible("email_impossible") from None
    if len(email) > MAX_EMAIL:
        raise NotPossible("email_impossible")


# --- managed or not ----------------------------------------------------------------------------


def take_over(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """An order from before the first connection is managed from now on (S29)."""
    order = _open(merchant_id, order_id, "take_over")
    order.is_managed, order.monitor_at, order.needs_match = True, None, True
    note(order, "taken_over", actor, at)
    settle(order, at)
    db.session.flush()
    if order.payment_status in OWING_STATUSES:
        wait = timedelta(seconds=settings_of(merchant_id, order.shop_id).mail_wait_seconds)
        ask_first(order, at, wait=wait)
    request_match(merchant_id, at)
    return order


def stop_managing(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """Not tracked any more (K8)."""
    order = _open(merchant_id, order_id, "stop_managing")
    if Ledger([order.id]).standing(order.id):
        raise NotPossible("has_payments", number=order.number)
    order.is_managed = False
    note(order, "left_alone", actor, at)
    withhold_mails(order, (*ASKING, "partially_paid"), "the order is not managed any more")
    settle(order, at)
    return order


def admit_monitored(at: datetime) -> int:
    """Watched orders whose time has come and that are still open come in now (S55)."""
    due = (
        select(Order)
        .where(Order.monitor_at <= at)
        .order_by(Order.monitor_at)
        .limit(ADMITTED_AT_ONCE)
    )
    waiting = list(db.session.scalars(due))
    for merchant_id in sorted({row.merchant_id for row in waiting}):
        lock_merchant(merchant_id)
        for row in (one for one in waiting if one.merchant_id == merchant_id):
            order = order_now(merchant_id, row.id)
            if order.monitor_at is None or order.monitor_at > at:
                continue
            order.is_managed, order.monitor_at, order.needs_match = True, None, True
            note(order, "watched", "", at)
            settle(order, at)
            tell_of_new_orders(merchant_id, order.shop_id, [order.external_id], at)
        request_match(merchant_id, at)
    return len(waiting)


def has_monitored(at: datetime) -> bool:
    """Asked by the clock."""
    due = select(Order.id).where(Order.monitor_at <= at)
    return bool(db.session.scalar(select(due.exists())))


# --- the shop and the customer, asked by hand --------------------------------------------------


def read_again(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> OrderRequest:
    """Ask the shop's side to look at the order now (S74)."""
    order = _open(merchant_id, order_id, "read_again")
    shop = db.session.get_one(Shop, order.shop_id)
    try:
        return order_requests.ask_for_order(
            shop, external_id=order.external_id, order_id=order.id, asked_by=actor, at=at
        )
    except ValueError as problem:
        raise NotPossible(str(problem.args[0])) from None


def send_payment_information(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> Order:
    """Once more by e-mail (S76); no reminder, so the level stays. A double click is one mail."""
    order = _open(merchant_id, order_id, "send_payment_information")
    just_now = select(OrderEvent.id).where(
        OrderEvent.order_id == order.id,
        OrderEvent.kind == "payment_information_sent",
        OrderEvent.at > at - DOUBLE_CLICK,
    )
    if db.session.scalar(select(just_now.exists())):
        return order
    if not settings_of(merchant_id, order.shop_id).sends("payment_information"):
        raise NotPossible("mail_switched_off")
    if not ask_again(order, at):
        raise NotPossible("cannot_ask", number=order.number)
    note(order, "payment_information_sent", actor, at)
    return order
