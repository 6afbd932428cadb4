"""Every mail of this room can be written, in both languages, and says what it is about."""

from __future__ import annotations

from decimal import Decimal

import pytest

from server.db import db
from server.dunning import runs
from server.mail.models import Mail
from server.mail.service import preview_mail
from server.merchants.models import User
from server.orders.service import assign
from tests.factories import make_posting
from tests.server.dunning.steps import (
    ANNA,
    day,
    mails_of,
    notices_of,
    order_of,
    run_at,
    run_daily,
    set_to,
)


def composed(mail) -> str:
    """Subject and text."""
    message = preview_mail(mail)
    assert message.html
    return f"{message.subject}\n{message.text}"


@pytest.mark.feature("S68", "K25", "K28")
@pytest.mark.parametrize("language", ["de", "en"])
def test_reminder_and_notice_name_what_is_owed_and_how_to_pay(merchant, shop, language):
    set_to(
        shop,
        invoice__charge_fees="on",
        invoice__fee_rule="own",
        invoice__fee_2="2.50 EUR",
        invoice__reminder_payable_days="10",
    )
    order = order_of(
        shop,
        payment_method="invoice",
        customer={"email": "erika@example.org", "language": language},
        total="100.00",
    )
    posting = make_posting(merchant, "30.00", needs_match=False)
    assign(merchant.id, posting.id, [(order.id, Decimal(30))], actor=ANNA, at=day(1))
    db.session.commit()
    run_daily(merchant, 21, 32)
    reminder, notice = (composed(mail) for mail in mails_of(order, "reminder", "dunning_notice"))
    for text in (reminder, notice):
        assert order.number in text and "DE02 1203" in text and "/pay/" in text
    assert ("70,00" if language == "de" else "70.00") in reminder
    for amount in ("70,00", "2,50", "72,50"):
        assert (amount if language == "de" else amount.replace(",", ".")) in notice


@pytest.mark.feature("K29", "S50")
@pytest.mark.parametrize("language", ["de", "en"])
def test_enquiry_and_cancellation(merchant, shop, language):
    set_to(
        shop, cash_on_delivery__ask_unpaid_after_days=7, prepayment__cancel_after_days=7,
        prepayment__reminders=0,
    )  # fmt: skip
    customer = {"email": "erika@example.org", "language": language}
    at_the_door = order_of(shop, payment_method="cod", customer=customer)
    ahead = order_of(shop, customer=customer)
    run_at(merchant, day(7))
    assert at_the_door.number in composed(mails_of(at_the_door, "cod_enquiry")[0])
    assert ahead.number in composed(mails_of(ahead, "order_cancelled")[0])


@pytest.mark.feature("K41")
@pytest.mark.parametrize("language", ["de", "en"])
def test_what_the_merchant_hears(merchant, shop, language, monkeypatch):
    db.session.query(User).one().language = language
    set_to(shop, prepayment__cancel_after_days=7, prepayment__reminders=0)
    set_to(shop, invoice__reminders=0, invoice__collect_after_days=7)
    numbers = [order_of(shop).number for _ in range(25)]
    handed = order_of(shop, payment_method="invoice")
    run_at(merchant, day(14), hears_bank=False)
    monkeypatch.setattr(runs, "FREE_MAILS", 3)
    run_at(merchant, day(14))
    monkeypatch.setattr(runs, "FREE_MAILS", 50)
    run_at(merchant, day(15))
    kinds = ("reminders_held", "run_waits", "orders_cancelled", "orders_to_collection")
    held, waits, cancelled, collected = (composed(notices_of(merchant, kind)[0]) for kind in kinds)
    assert "26" in held and "26" in waits and "/dunning/runs/" in waits
    assert "25" in cancelled and sum(number in cancelled for number in numbers) == 20
    assert handed.number in collected


def test_every_mail_that_was_written_can_be_sent(merchant, shop):
    set_to(shop, prepayment__resend_after_days=3, invoice__resend_before_due_days=3)
    order_of(shop)
    order_of(shop, payment_method="invoice", due_date="2026-03-16", total="1234567.89")
    run_daily(merchant, 3, 32)
    mails = db.session.query(Mail).all()
    assert len(mails) >= 7
    for mail in mails:
        composed(mail)
