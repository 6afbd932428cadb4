"""A kind of mail that is switched off is not written, whatever happens (S1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from server.db import db
from server.dunning.service import send_reminder
from server.mail.kinds import KINDS
from server.mail.models import Mail
from server.mail.service import preview_mail
from server.merchants.models import Merchant
from server.merchants.settings import MerchantSettings
from server.orders.asking import ask_again
from server.orders.brakes import SWITCHED_OFF, hold_back
from server.orders.ledger import NotPossible
from server.orders.lifecycle import edit_order, send_payment_information
from server.orders.models import Order
from server.orders.service import assign
from server.shops.models import Shop
from tests.factories import make_merchant, make_order, make_posting, make_shop, make_user
from tests.server.dunning.steps import (
    ANNA,
    MONDAY,
    day,
    first_on,
    merchant_of,
    order_of,
    plan_of,
    run_at,
    run_daily,
    set_to,
)

CUSTOMER_KINDS = sorted(name for name, kind in KINDS.items() if kind.reader == "customer")


@pytest.fixture
def merchant(app: Flask) -> Merchant:
    found = make_merchant()
    make_user(found)
    return found


@pytest.fixture
def shop(merchant: Merchant) -> Shop:
    return make_shop(merchant)


def count_of(kind: str) -> int:
    return db.session.query(Mail).filter_by(kind=kind).count()


def pay(order: Order, amount: str) -> None:
    posting = make_posting(merchant_of(order), amount)
    parts = [(order.id, Decimal(amount))]
    assign(order.merchant_id, posting.id, parts, actor=ANNA, at=day(1))
    db.session.commit()


def asked(shop: Shop) -> None:
    """A new order, one whose amount and address change, one that is asked again."""
    make_order(shop)
    order = order_of(shop, total="50.00")
    new = {"email": "new@example.org", "total": Decimal(60)}
    edit_order(shop.merchant_id, order.id, **new, actor=ANNA, at=day(1))
    ask_again(order, day(2))
    db.session.commit()


def paid(shop: Shop) -> None:
    pay(order_of(shop, total="50.00"), "50.00")


def partly_paid(shop: Shop) -> None:
    pay(order_of(shop, total="50.00"), "20.00")


def paid_too_much(shop: Shop) -> None:
    pay(order_of(shop, total="50.00"), "80.00")


def reminded(shop: Shop) -> None:
    set_to(shop, prepayment__first_reminder_days=5, prepayment__reminders=1)
    order_of(shop)
    run_at(merchant_of(shop), day(7))


def reminded_twice(shop: Shop) -> None:
    set_to(shop, prepayment__first_reminder_days=4, prepayment__reminders=2)
    set_to(shop, prepayment__reminder_2_days=4)
    order_of(shop)
    run_daily(merchant_of(shop), 1, 11)


def enquired(shop: Shop) -> None:
    set_to(shop, cash_on_delivery__ask_unpaid_after_days=5)
    order_of(shop, payment_method="cod")
    run_at(merchant_of(shop), day(7))


def cancelled(shop: Shop) -> None:
    set_to(shop, prepayment__reminders=0, prepayment__cancel_after_days=7)
    order_of(shop)
    run_at(merchant_of(shop), day(7))


def overdue(shop: Shop) -> None:
    set_to(shop, invoice__reminders=0, invoice__cancel_after_days=7)
    order_of(shop, payment_method="invoice", total="50.00")
    run_at(merchant_of(shop), day(7))


HAPPENS: dict[str, Callable[[Shop], None]] = {
    "payment_information": asked,
    "payment_received": paid,
    "partially_paid": partly_paid,
    "overpaid": paid_too_much,
    "reminder": reminded,
    "dunning_notice": reminded_twice,
    "cod_enquiry": enquired,
    "order_cancelled": cancelled,
    "order_overdue": overdue,
}


@pytest.mark.feature("S1", "K37", "K40", "K41")
@pytest.mark.parametrize("kind", HAPPENS)
def test_switched_on_it_is_written(shop: Shop, kind: str) -> None:
    set_to(shop, **{f"mail_{kind}": "on"})
    HAPPENS[kind](shop)
    assert count_of(kind) > 0
    preview_mail(db.session.scalars(select(Mail).where(Mail.kind == kind)).first())


@pytest.mark.feature("S1", "K37")
@pytest.mark.parametrize("kind", HAPPENS)
def test_switched_off_nothing_is_written(shop: Shop, kind: str) -> None:
    set_to(shop, **{f"mail_{kind}": "off"})
    HAPPENS[kind](shop)
    assert count_of(kind) == 0


@pytest.mark.feature("S1", "K41")
def test_of_an_overdue_invoice_the_customer_hears_only_if_that_is_wanted(shop: Shop) -> None:
    overdue(shop)
    assert count_of("order_overdue") == 0
    assert count_of("orders_cancelled") == 1


@pytest.mark.feature("S1")
@pytest.mark.parametrize("kind", CUSTOMER_KINDS)
def test_what_was_written_before_the_switch_is_withheld(shop: Shop, kind: str) -> None:
    order = make_order(shop)
    mail = db.session.scalars(select(Mail).where(Mail.order_id == order.id)).one()
    mail.kind = kind
    set_to(shop, **{f"mail_{kind}": "on"})
    assert hold_back([mail]) == []
    set_to(shop, **{f"mail_{kind}": "off"})
    assert hold_back([mail]) == [mail]
    assert (mail.status, mail.error) == ("withheld", SWITCHED_OFF)


@pytest.mark.feature("S1", "S63")
def test_the_next_dates_follow_the_switches(shop: Shop) -> None:
    set_to(shop, invoice__reminders=3, invoice__resend_after_days=3)
    order = order_of(shop, payment_method="invoice")

    def levels() -> list[int]:
        return [step.level for step in plan_of(order, day(1)).steps if step.kind == "reminder"]

    assert levels() == [1, 2, 3]
    assert first_on(plan_of(order, day(1)), "resend") is not None
    set_to(shop, mail_dunning_notice="off")
    assert levels() == [1]
    set_to(shop, mail_reminder="off", mail_payment_information="off")
    assert plan_of(order, day(1)).steps == ()


@pytest.mark.feature("S1", "S76", "S83")
def test_by_hand_it_is_refused_with_the_reason(shop: Shop) -> None:
    order = order_of(shop)
    set_to(shop, mail_payment_information="off", mail_reminder="off")
    at = MONDAY + timedelta(days=1)
    for act in (send_payment_information, send_reminder):
        with pytest.raises(NotPossible, match="mail_switched_off"):
            act(shop.merchant_id, order.id, actor=ANNA, at=at)


@pytest.mark.feature("S1", "S43")
def test_every_customers_kind_has_its_switch_for_each_shop(merchant: Merchant) -> None:
    settings: Any = MerchantSettings()
    assert all(settings.sends(kind) == (kind != "order_overdue") for kind in CUSTOMER_KINDS)
    quiet, loud = make_shop(merchant, "A"), make_shop(merchant, "B")
    set_to(quiet, mail_payment_information="off")
    make_order(quiet)
    assert count_of("payment_information") == 0
    make_order(loud)
    assert count_of("payment_information") == 1
