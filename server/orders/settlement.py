"""What follows from a change of the ledger: the order's status, its mails, and what the shop hears.

A file of its own because every act that moves money ends here, and so does the intake when the
shop changes an order. Never commits.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import select

from plugin_sdk import types as wire
from server.callbacks.service import tell_of_status
from server.db import db
from server.mail.models import Mail
from server.orders.asking import ASKING, REMINDERS, ask_after_all, drop_mails, withhold_mails
from server.orders.brakes import is_stopped, is_waiting
from server.orders.cases import wake_case
from server.orders.deferrals import end_requests
from server.orders.detail import told_change
from server.orders.ledger import ZERO, Ledger, note
from server.orders.letters import withhold_letters
from server.orders.models import Assignment, Order, OrderEvent
from server.orders.notices import (
    queue_overpaid,
    queue_partially_paid,
    queue_payment_received,
)
from server.orders.rules import payment_status
from server.shops import service as shops
from server.shops.models import PaymentUpdate, Shop
from server.shops.rules import intent_of, status_to_write

RECEIPTS = ("payment_received", "partially_paid", "overpaid")
"""Mails that say what has arrived; of an order at most one of them waits to be sent."""

PAID_FIRST = "the order was paid before it was sent"
OVERTAKEN = "more money was booked before it was sent"
UNDONE = "the order is not paid any more"
RETURNED = "the bank took the payment back"
UNTRUE = "it was undone before it was sent"
"""Why a mail was withheld. What was overtaken is said after all if the overtaking is undone."""

LEAVE = (wire.PaymentStatus.PAID, wire.PaymentStatus.PARTIALLY_PAID)
"""Where money that came leaves an order of which nothing else is to be said."""
NOT_PAID_AFTER_ALL = (wire.Intent.CANCELLED, wire.Intent.OVERDUE, wire.Intent.COLLECTION)
"""Where an order goes back to whose payment was undone, if it was there before."""
AFTER_PAYMENT = (wire.Intent.UNPAID, wire.Intent.REFUNDED, wire.Intent.PARTIALLY_REFUNDED)
"""What is said of an order that the shop was told to be paid: there it stands, open no more."""


def settle(
    order: Order,
    at: datetime,
    ledger: Ledger | None = None,
    *,
    row: Assignment | None = None,
    left_over: Decimal = ZERO,
    is_restored: bool = False,
) -> None:
    """Bring the status up to date with the ledger, and queue what follows from a change.

    The only place that writes ``order.payment_status``. ``row`` is what was just booked or
    reversed; None means that something else about the order changed. ``left_over`` is what the
    posting has too much although all its orders are paid: the customer is told of it as of a
    surplus. ``is_restored``: nothing new came, so only what was withheld is said.
    """
    before = order.payment_status
    ledger = ledger or Ledger([order.id])
    paid = ledger.paid(order.id)
    after = _status(order, paid, ledger)
    if after == before and row is None:
        return
    if order.collection_at is not None:
        wake_case(order.id, at)
    is_back = row is not None and row.reverses_id is not None
    if after in LEAVE and not is_back and not ledger.is_quiet(order.id):
        withhold_mails(order, REMINDERS, PAID_FIRST)
        after = _status(order, paid, ledger)  # what nobody has read yet charges nothing (K28)
    if after != before:
        order.payment_status, order.changed_at = after.value, at
        note(order, "status_changed", "", at, before=before, after=after.value)
        _tell_callbacks(order, before, paid, ledger, at)
        if not ledger.is_quiet(order.id):
            end_requests(order, at)
    if row is not None and row.reverses_id is not None:
        _take_back_mails(order, after, row, ledger)
    elif row is not None or after is wire.PaymentStatus.PAID:
        is_new = after != before or after is wire.PaymentStatus.PARTIALLY_PAID
        _write_mails(order, after, ledger, left_over, is_new=is_new, is_restored=is_restored)
    else:
        withhold_mails(order, RECEIPTS, UNDONE)
    if after is wire.PaymentStatus.UNPAID and after != before:
        ask_after_all(order, at)
    tells = after != before or after is wire.PaymentStatus.PARTIALLY_PAID
    if tells and _shop_hears(order, after, ledger):
        is_only = ledger.is_quiet(order.id)
        _tell_shop(order, after, paid, at, is_back=is_back or is_restored, is_only=is_only)
    ledger.break_silence(order.id)


def _status(order: Order, paid: Decimal, ledger: Ledger) -> wire.PaymentStatus:
    zero_is_paid = True
    if order.total <= ZERO:  # a person may mark as paid what owes nothing and is not paid
        zero_is_paid = ledger.settings(order).zero_is_paid or bool(ledger.standing(order.id))
    return payment_status(
        ledger.owed(order) if order.total > ZERO else order.total,
        paid,
        refunded=ledger.refunded(order.id),
        cancelled=order.cancelled_at is not None,
        collection=order.collection_at is not None,
        removed=order.removed_at is not None,
        managed=order.is_managed,
        zero_is_paid=zero_is_paid,
    )


def revive(order: Order, row: Assignment, ledger: Ledger, actor: str, at: datetime) -> None:
    """Paid in full after it was cancelled or overdue: as if it had never been (S54)."""
    if order.cancelled_at is None or ledger.rest(order) > ZERO:
        return
    db.session.flush()
    cancelled_at = order.cancelled_at.isoformat()
    note(order, "revived", actor, at, cancelled_at=cancelled_at, assignment_id=row.id)
    order.cancelled_at = None


def cancel_again(order: Order, row: Assignment, at: datetime) -> None:
    """The payment that revived the order is undone, so it is what it was before (N4)."""
    events = select(OrderEvent).where(OrderEvent.order_id == order.id, OrderEvent.kind == "revived")
    for event in db.session.scalars(events):
        if event.facts.get("assignment_id") == row.id and order.cancelled_at is None:
            order.cancelled_at = datetime.fromisoformat(event.facts["cancelled_at"])
            note(order, "cancelled_again", "", at)


# --- mails -------------------------------------------------------------------------------------


def _write_mails(
    order: Order,
    after: wire.PaymentStatus,
    ledger: Ledger,
    left_over: Decimal,
    *,
    is_new: bool,
    is_restored: bool,
) -> None:
    """Nobody is asked for money that has arrived, and the customer hears what has."""
    if after not in LEAVE:
        return
    waiting = select(Mail).where(
        Mail.order_id == order.id,
        (Mail.kind.in_(ASKING) & is_waiting())
        | (Mail.kind.in_(RECEIPTS) & Mail.status.in_(["queued", "withheld"])),
    )
    mails: list[Mail] = []
    if not ledger.is_quiet(order.id):
        ledger.post()
        mails = list(db.session.scalars(waiting.with_for_update(skip_locked=True)))
    taken_back = [mail for mail in mails if _is_taken_back(mail)]
    surplus = _surplus(order, ledger, left_over)
    untrue = any(
        mail.kind in RECEIPTS and (mail.status == "queued" or is_stopped(mail)) for mail in mails
    )
    says = _has_money(ledger, order) and (is_new or untrue or surplus > ZERO)
    if is_restored:
        says = _has_money(ledger, order) and any(mail.error == RETURNED for mail in taken_back)
    is_paid = after is wire.PaymentStatus.PAID
    if (says or is_paid or is_restored) and not ledger.is_quiet(order.id):
        withhold_letters(order, ASKING, PAID_FIRST)
    for mail in (mail for mail in mails if mail.status == "queued" or is_stopped(mail)):
        if mail.kind in ASKING and (says or is_paid or is_restored):
            mail.withhold(PAID_FIRST)
        elif says or (is_paid and mail.kind == "partially_paid"):
            mail.withhold(OVERTAKEN)
            mail.once = f"{mail.once}:{mail.id}"  # another of its kind may be said now
    if says:
        drop_mails(taken_back)
        _say_what_came(order, after, ledger, surplus)


def _take_back_mails(
    order: Order, after: wire.PaymentStatus, row: Assignment, ledger: Ledger
) -> None:
    """What was said of money that is gone is not sent; what it had overtaken is said after all."""
    untold = withhold_mails(order, RECEIPTS, RETURNED if row.origin == "return" else UNDONE)
    if row.posting_id is not None:
        withhold_notices(order, row.posting_id)
    if after not in LEAVE or not _has_money(ledger, order):
        return
    receipts = select(Mail).where(Mail.order_id == order.id, Mail.kind.in_(RECEIPTS))
    mails = list(db.session.scalars(receipts.order_by(Mail.id)))
    gone = [mail for mail in mails if _is_taken_back(mail)]
    last = [mail for mail in mails if mail not in gone][-1:]
    overtaken = [mail for mail in last if (mail.status, mail.error) == ("withheld", OVERTAKEN)]
    assert row.reverses_id is not None, "of a reversal"
    has_newer = any(
        one.id > row.reverses_id for one in ledger.standing(order.id) if one.posting_id is not None
    )
    if not overtaken and not (untold and has_newer):
        return
    drop_mails([*gone, *overtaken])
    _say_what_came(order, after, ledger, _surplus(order, ledger, ZERO))


def _is_taken_back(mail: Mail) -> bool:
    return mail.status == "withheld" and mail.error in (UNDONE, RETURNED)


def _has_money(ledger: Ledger, order: Order) -> bool:
    """Somebody saw money come: who only marked the order as paid mails nobody."""
    return any(row.posting_id is not None for row in ledger.standing(order.id))


def _surplus(order: Order, ledger: Ledger, left_over: Decimal) -> Decimal:
    """What came too much, unless it is within the tolerance (K21)."""
    surplus = ledger.surplus(order) + left_over
    return surplus if surplus and surplus > ledger.settings(order).tolerance else ZERO


def _say_what_came(
    order: Order, after: wire.PaymentStatus, ledger: Ledger, surplus: Decimal
) -> bool:
    rows, paid = ledger.standing(order.id), ledger.paid(order.id)
    outbox = ledger.outbox if ledger.is_quiet(order.id) else None
    settings = ledger.settings(order)
    if after is wire.PaymentStatus.PARTIALLY_PAID:
        return queue_partially_paid(order, rows, paid, ledger.rest(order), outbox, settings)
    if surplus > ZERO:
        return queue_overpaid(order, rows, paid, surplus, outbox, settings)
    return queue_payment_received(order, rows, paid, outbox, settings)


def withhold_notices(order: Order, posting_id: int) -> None:
    """What the merchant would be told of the order and this posting is not so any more.

    If it is so again, he is told then.
    """
    of_both = Mail.once.startswith(f"order:{order.id}:posting:{posting_id}:")
    waiting = select(Mail).where(Mail.order_id == order.id, Mail.status == "queued", of_both)
    for mail in db.session.scalars(waiting.with_for_update(skip_locked=True)):
        mail.withhold(UNTRUE)
        mail.once = f"{mail.once}:{mail.id}"


# --- the merchant's own addresses ---------------------------------------------------------------


def _tell_callbacks(order: Order, before: str, paid: Decimal, ledger: Ledger, at: datetime) -> None:
    """Those that hear of changes (K79); nobody hears of a shop in test mode (K66)."""
    urls = ledger.callbacks(order)
    if urls and ledger.settings(order).mode == "live":
        facts = told_change(order, paid, ledger.refunded(order.id), before)
        tell_of_status(order.merchant_id, urls, facts, order_id=order.id, at=at)


# --- the shop ----------------------------------------------------------------------------------


def _shop_hears(order: Order, after: wire.PaymentStatus, ledger: Ledger) -> bool:
    """Not of an order that it removed (S40) or never had (K64), nothing in test mode (K66), and
    no payment of an order that was cancelled, unless that revives it (S54)."""
    if order.removed_at is not None or order.sync == "manual":
        return False
    if order.cancelled_at is not None and after in LEAVE:
        return False
    return ledger.settings(order).mode == "live"


def _tell_shop(
    order: Order,
    status: wire.PaymentStatus,
    paid: Decimal,
    at: datetime,
    *,
    is_back: bool,
    is_only: bool,
) -> None:
    """``is_back``: something was undone, so this may be what the shop has heard last.

    ``is_only``: nothing waits to be told.
    """
    shop = db.session.get_one(Shop, order.shop_id)
    code = wire.PaymentCode(order.payment_code)
    intent = intent_of(status, code)
    if intent is None or (intent is wire.Intent.UNPAID and not shops.must_hear_of_unpaid(order.id)):
        shops.withhold_updates(order.id)
        return  # the shop never heard of the payment, so there is nothing to take back
    if is_back and _has_heard(order, intent, paid):
        shops.withhold_updates(order.id)
        return
    mapping = shops.mapping_of(shop)
    open_statuses = mapping.get(code.value, {}).get("open_statuses") or ()
    shop_status = status_to_write(mapping, code, intent)
    paid_status = status_to_write(mapping, code, wire.Intent.PAID)
    if intent is wire.Intent.UNPAID:
        shop_status = next(iter(open_statuses), None)  # type: ignore[call-overload]
    if intent in AFTER_PAYMENT or (is_back and intent in NOT_PAID_AFTER_ALL):
        open_statuses = (paid_status,) if paid_status else ()
    shops.queue_update(
        wire.PaymentUpdate(
            id="",
            external_id=order.external_id,
            number=order.number,
            payment_status=status,
            paid_total=paid,
            currency=order.currency,
            intent=intent,
            shop_status=shop_status,
            open_statuses=tuple(open_statuses),  # type: ignore[arg-type]
            created_at=at,
        ),
        shop,
        order.id,
        at,
        is_only=is_only,
    )


def _has_heard(order: Order, intent: wire.Intent, paid: Decimal) -> bool:
    """Is this the last that the shop was given, and did it take it?"""
    last = db.session.execute(
        select(PaymentUpdate.intent, PaymentUpdate.paid_total, PaymentUpdate.status)
        .where(PaymentUpdate.order_id == order.id, PaymentUpdate.attempts > 0)
        .order_by(PaymentUpdate.id.desc())
        .limit(1)
    ).first()
    if last is None or (last.intent, last.status) != (intent.value, "done"):
        return False
    return intent is wire.Intent.PAID or bool(last.paid_total == paid)
