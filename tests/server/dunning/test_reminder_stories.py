"""Reminders as the merchant set them: how many, when, what they say and charge."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from plugin_sdk.schemas import OrderSchema
from server.banking.models import Posting
from server.db import db
from server.dunning.models import BaseRate
from server.matching.service import match_postings
from server.orders.brakes import STOPPED, release_stopped
from server.orders.claims import claim_paid
from server.orders.intake import Arrival, receive_orders
from server.orders.ledger import Ledger
from server.orders.lifecycle import block_reminders, set_base_date
from server.orders.models import Order
from server.orders.receiver import receiver_of
from server.orders.service import assign, mark_as_paid, undo
from tests.factories import make_posting, wire_order
from tests.server.dunning.steps import (
    ANNA,
    MONDAY,
    day,
    events_of,
    first_on,
    mails_of,
    merchant_of,
    order_of,
    plan_of,
    reminders_of,
    run_at,
    run_daily,
    send_mails,
    sent_on,
    set_to,
)

INVOICE = {"payment_method": "invoice"}


def pay(order, amount):
    posting = make_posting(merchant_of(order), amount, needs_match=False)
    booked = assign(
        order.merchant_id, posting.id, [(order.id, Decimal(amount))], actor=ANNA, at=day(1)
    )
    db.session.commit()
    return booked[0]


def ignore(posting_id):
    """A person has looked: the posting is no order's."""
    posting = db.session.get_one(Posting, posting_id)
    posting.is_open = posting.needs_match = False
    db.session.commit()


# --- when ----------------------------------------------------------------------------------------


@pytest.mark.feature("S48", "S46")
def test_the_first_reminder_goes_out_after_the_days_that_are_set_and_no_day_before(merchant, shop):
    set_to(shop, prepayment__first_reminder_days=8, prepayment__reminders=1)
    order = order_of(shop)
    run_daily(merchant, 1, 7)
    assert reminders_of(order) == []
    run_daily(merchant, 8, 30)
    assert sent_on(order) == [8]
    (mail,) = mails_of(order, "reminder")
    assert mail.facts["amount_due"] == "19,90\xa0€"
    assert mail.facts["page_url"].startswith("http")


@pytest.mark.feature("S48")
def test_where_an_invoice_was_read_its_date_counts(merchant, shop):
    order = order_of(
        shop,
        payment_method="invoice",
        invoices=[{"number": "R-7", "date": "2026-03-05"}],
    )
    assert plan_of(order, MONDAY).base == "invoice"
    run_daily(merchant, 20, 25)
    assert sent_on(order) == [24]  # 21 days after the Thursday


@pytest.mark.feature("S49", "K25")
def test_each_further_one_so_many_days_after_the_one_before(merchant, shop):
    set_to(shop, invoice__reminders=3, invoice__reminder_2_days=9, invoice__reminder_3_days=12)
    order = order_of(shop, **INVOICE)
    run_daily(merchant, 20, 23)
    run_daily(merchant, 30, 50)
    assert sent_on(order) == [21, 30, 42]
    kinds = [(mail.kind, mail.facts.get("level")) for mail in mails_of(order)[1:]]
    assert kinds == [("reminder", None), ("dunning_notice", "1"), ("dunning_notice", "2")]
    assert mails_of(order)[-1].facts["is_last"] == "yes"
    assert mails_of(order)[-2].facts["is_last"] == ""


@pytest.mark.feature("S49")
def test_after_an_outage_one_level_a_run_and_the_gap_counts_from_when_it_was_sent(merchant, shop):
    set_to(shop, prepayment__reminders=3)
    order = order_of(shop)
    run_at(merchant, day(31))
    run_at(merchant, day(32))
    assert sent_on(order) == [31]
    run_daily(merchant, 33, 38)
    assert sent_on(order) == [31, 38]


@pytest.mark.feature("S49", "S1")
def test_the_gap_counts_from_when_the_mail_before_really_went_out(merchant, shop):
    """All mails were stopped when it was written; two levels on one day would be a threat."""
    set_to(shop, prepayment__reminders=2)
    order = order_of(shop)
    run_at(merchant, day(7))
    (mail,) = mails_of(order, "reminder")
    mail.status, mail.finished_at = "queued", None
    db.session.commit()
    set_to(shop, stop_mails="on")
    mail.withhold(STOPPED)
    db.session.commit()
    run_daily(merchant, 21, 23)
    set_to(shop, stop_mails="off")
    release_stopped(merchant.id, day(24))
    db.session.commit()
    run_at(merchant, day(24))
    assert (mail.status, mail.finished_at) == ("done", day(24))
    run_daily(merchant, 25, 37)
    assert sent_on(order) == [7, 31]


@pytest.mark.feature("S45", "S48")
def test_who_was_asked_late_is_not_reminded_the_next_day(merchant, shop):
    order = order_of(shop)
    (asked,) = mails_of(order)
    asked.succeed(day(6))  # the mail server was away
    db.session.commit()
    run_daily(merchant, 7, 10)
    assert sent_on(order) == [9]


@pytest.mark.feature("S57")
def test_a_base_date_that_the_shop_sends_goes_before_invoice_and_order(merchant, shop):
    order = order_of(shop, reminder_base_date="2026-03-12")
    assert plan_of(order, MONDAY).base == "shop"
    run_daily(merchant, 7, 17)
    assert sent_on(order) == [17]


@pytest.mark.feature("S58")
def test_a_date_set_by_hand_moves_the_reminders(merchant, shop):
    order = order_of(shop, reminder_base_date="2026-03-12")
    set_base_date(merchant.id, order.id, date(2026, 3, 23), actor=ANNA, at=MONDAY)
    db.session.commit()
    found = plan_of(order, MONDAY)
    assert (found.base, first_on(found, "reminder")) == ("by_hand", date(2026, 3, 30))
    run_daily(merchant, 7, 28)
    assert sent_on(order) == [28]


@pytest.mark.feature("S59", "K24")
def test_the_contractual_due_date_moves_no_reminder_but_brings_an_invoice_to_mind(merchant, shop):
    set_to(shop, invoice__resend_before_due_days=3)
    order = order_of(shop, **INVOICE, due_date="2026-03-16")
    run_daily(merchant, 1, 15)
    first, again = mails_of(order, "payment_information")
    assert again.created_at == day(11)
    assert again.facts["due_on"] == "16. März 2026" or "16" in again.facts["due_on"]
    assert again.facts["sent_again"] == "yes"
    run_daily(merchant, 16, 22)
    assert sent_on(order) == [21]
    assert len(mails_of(order, "payment_information")) == 2


@pytest.mark.feature("S45")
def test_the_payment_information_goes_out_again_and_the_level_stays(merchant, shop):
    set_to(shop, prepayment__resend_after_days=3)
    order = order_of(shop)
    run_daily(merchant, 1, 6)
    mails = mails_of(order, "payment_information")
    assert [mail.created_at for mail in mails] == [MONDAY, day(3)]
    assert reminders_of(order) == []
    run_daily(merchant, 7, 12)
    assert sent_on(order) == [7]
    assert len(mails_of(order, "payment_information")) == 2


@pytest.mark.feature("S63")
def test_the_dates_that_are_shown_are_the_earliest_possible_ones(merchant, shop):
    set_to(shop, invoice__cancel_after_days=40, invoice__collect_after_days=60)
    order = order_of(shop, **INVOICE)
    found = plan_of(order, MONDAY)
    assert first_on(found, "reminder") == day(21).date()
    # A Saturday, and the first of May before a weekend: banks rest.
    assert (first_on(found, "cancel"), first_on(found, "collection")) == (
        day(42).date(),
        day(63).date(),
    )
    run_at(merchant, day(31))  # ten days late
    found = plan_of(order, day(31))
    assert first_on(found, "reminder") == day(42).date()  # ten days later is a Sunday
    assert first_on(found, "cancel") == day(51).date()  # the nine days after the last one are kept


@pytest.mark.feature("S44", "K22", "K23")
def test_with_the_invoice_means_that_reminders_wait_for_its_number(merchant, shop):
    set_to(shop, invoice__ask_when="with_invoice", invoice__collect_after_days=60)
    raw = wire_order(
        ordered_at="2026-03-02T08:00:00+00:00", payment_method="invoice", shop_status="processing"
    )
    receive_orders(receiver_of(shop.id), [Arrival(OrderSchema().load(raw), raw)], MONDAY)
    db.session.commit()
    order = db.session.query(Order).one()
    run_daily(merchant, 60, 63)
    assert mails_of(order) == [] and order.collection_at is None
    assert plan_of(order, day(63)).hindered == "no_invoice_number"
    raw |= {"invoices": [{"number": "R-9", "date": "2026-05-04"}]}
    receive_orders(receiver_of(shop.id), [Arrival(OrderSchema().load(raw), raw)], day(63))
    db.session.commit()
    assert first_on(plan_of(order, day(63)), "reminder") == date(2026, 5, 26)  # 25 May is a holiday


# --- what they say -------------------------------------------------------------------------------


@pytest.mark.feature("S53")
@pytest.mark.parametrize(
    ("base", "days", "shown"),
    [
        ("reminder_date", 10, "19"),
        ("order_date", 14, "16"),
        ("order_date", 3, None),
        ("x", 0, None),
    ],
)
def test_payable_until_in_a_reminder_counts_from_the_day_that_is_set(
    merchant, shop, base, days, shown
):
    if days:
        set_to(shop, reminder_payable_base=base)
    set_to(shop, prepayment__reminder_payable_days=days)
    order = order_of(shop)
    run_at(merchant, day(7))
    (mail,) = mails_of(order, "reminder")
    if shown is None:
        assert mail.facts["payable_until"] == ""
    else:
        assert mail.facts["payable_until"].startswith(shown)


def test_a_part_payment_is_taken_off_and_said(merchant, shop):
    order = order_of(shop)
    pay(order, "5.00")
    send_mails(day(1))
    run_at(merchant, day(7))
    (mail,) = mails_of(order, "reminder")
    assert mail.facts["amount_due"] == "14,90\xa0€"
    assert mail.facts["received_total"] == "5,00\xa0€"


@pytest.mark.feature("S62")
def test_the_language_of_the_order_decides(merchant, shop):
    order = order_of(shop, customer={"email": "bob@example.org", "language": "en"})
    run_at(merchant, day(7))
    assert mails_of(order, "reminder")[0].language == "en"


# --- fees ----------------------------------------------------------------------------------------


@pytest.mark.feature("S68", "K26", "K27")
def test_own_fees_of_each_level_add_up_and_are_listed(merchant, shop):
    set_to(
        shop,
        invoice__charge_fees="on",
        invoice__fee_rule="own",
        invoice__fee_1="1 EUR",
        invoice__fee_2="2.50 EUR; 5 CHF",
    )
    order = order_of(shop, **INVOICE)
    run_daily(merchant, 21, 33)
    assert [(row.level, row.fee) for row in reminders_of(order)] == [
        (1, Decimal(1)),
        (2, Decimal("2.5")),
    ]
    db.session.refresh(order)
    assert order.fee_total == Decimal("3.5")
    notice = mails_of(order, "dunning_notice")[0]
    assert (notice.facts["fee"], notice.facts["fees_total"]) == ("2,50\xa0€", "3,50\xa0€")
    assert notice.facts["amount_due"] == "23,40\xa0€"
    assert notice.facts["open_amount"] == "19,90\xa0€"


@pytest.mark.feature("N15", "K27")
def test_a_business_pays_the_flat_fee_of_the_law_once_and_interest(merchant, shop):
    db.session.merge(BaseRate(country="DE", valid_from=date(2026, 1, 1), percent=Decimal("1.27")))
    set_to(shop, invoice__charge_fees="on", invoice__charge_interest="on", invoice__reminders=3)
    business = {"email": "erika@example.org", "language": "de", "vat_id": "DE136695976"}
    order = order_of(shop, **INVOICE, customer=business, total="1000.00")
    consumer = order_of(shop, **INVOICE, total="1000.00", number="AA-2")
    run_daily(merchant, 21, 45)
    assert [row.fee for row in reminders_of(order)] == [0, 40, 0]
    assert [row.fee for row in reminders_of(consumer)] == [0, 0, 0]
    # Reminder 1 on day 21; 9, then 18 days of default at 1.27 % and 9 or 5 points.
    assert [row.interest for row in reminders_of(order)] == [0, Decimal("2.53"), Decimal("4.50")]
    assert [row.interest for row in reminders_of(consumer)][1] == Decimal("1.55")
    db.session.refresh(order)
    assert order.fee_total == Decimal("44.50"), "interest replaces that of the level before"


@pytest.mark.feature("K28")
def test_paid_without_the_fees_is_paid_unless_they_are_claimed(merchant, shop):
    set_to(shop, invoice__charge_fees="on", invoice__fee_rule="own", invoice__fee_1="2 EUR")
    order = order_of(shop, **INVOICE)
    run_at(merchant, day(21))
    pay(order, "19.90")
    db.session.refresh(order)
    assert order.payment_status == "paid"
    set_to(shop, invoice__claim_fees="on")
    other = order_of(shop, **INVOICE)
    run_at(merchant, day(21))
    pay(other, "19.90")
    db.session.refresh(other)
    assert other.payment_status == "partially_paid"
    (mail,) = mails_of(other, "partially_paid")
    assert mail.facts["amount_due"] == "2,00\xa0€"


CLAIMED_FEES = {
    "invoice__charge_fees": "on",
    "invoice__fee_rule": "own",
    "invoice__fee_1": "2 EUR",
    "invoice__claim_fees": "on",
}


def with_waiting_reminder(merchant, shop):
    """An invoice over 19.90 and the mail of its first reminder, which has not gone out yet."""
    set_to(shop, **CLAIMED_FEES)
    order = order_of(shop, **INVOICE)
    run_at(merchant, day(21))
    (mail,) = mails_of(order, "reminder")
    mail.status, mail.finished_at = "queued", None
    db.session.commit()
    return order, mail


def by_matching(order):
    make_posting(merchant_of(order), "19.90", order.payment_reference)
    match_postings(order.merchant_id, day(21))


def by_hand(order):
    mark_as_paid(order.merchant_id, order.id, actor=ANNA, at=day(21))


@pytest.mark.feature("N4", "K28")
@pytest.mark.parametrize("paid", [lambda order: pay(order, "19.90"), by_matching, by_hand])
def test_who_pays_before_he_was_told_of_a_fee_does_not_owe_it(merchant, shop, paid):
    order, mail = with_waiting_reminder(merchant, shop)
    paid(order)
    db.session.commit()
    assert mail.status == "withheld"
    db.session.refresh(order)
    assert (order.fee_total, order.payment_status) == (0, "paid")
    assert Ledger([order.id]).surplus(order) == 0
    assert mails_of(order, "partially_paid") == []


@pytest.mark.feature("N4", "K28")
def test_who_pays_a_part_before_he_was_told_of_a_fee_is_asked_for_the_rest_without_it(
    merchant, shop
):
    order, mail = with_waiting_reminder(merchant, shop)
    pay(order, "9.90")
    assert mail.status == "withheld"
    (asked,) = mails_of(order, "partially_paid")
    assert asked.facts["amount_due"] == "10,00\xa0€"


@pytest.mark.feature("N4", "S82")
def test_a_block_takes_back_what_a_waiting_reminder_charged(merchant, shop):
    order, _ = with_waiting_reminder(merchant, shop)
    block_reminders(merchant.id, order.id, actor=ANNA, at=day(21))
    db.session.commit()
    assert order.fee_total == 0
    assert [(row.level, row.fee) for row in reminders_of(order)] == [(1, 0)]


@pytest.mark.feature("N4", "K28")
def test_what_the_worker_withheld_charges_nothing_after_the_next_run(merchant, shop):
    order, mail = with_waiting_reminder(merchant, shop)
    mail.withhold("the shop is in test mode, and nobody is there to get its mails")
    block_reminders(merchant.id, order.id, actor=ANNA, at=day(21))
    run_at(merchant, day(22))
    db.session.refresh(order)
    assert order.fee_total == 0


@pytest.mark.feature("S1", "K28")
def test_a_stopped_reminder_charges_what_it_says_when_it_goes_out_after_all(merchant, shop):
    order, mail = with_waiting_reminder(merchant, shop)
    set_to(shop, stop_mails="on")
    mail.withhold(STOPPED)
    run_at(merchant, day(22))
    set_to(shop, stop_mails="off")
    release_stopped(merchant.id, day(22))
    db.session.commit()
    db.session.refresh(order)
    assert (mail.status, mail.facts["fees_total"]) == ("queued", "2,00\xa0€")
    assert (order.fee_total, reminders_of(order)[0].fee) == (2, 2)


# --- what stops them -----------------------------------------------------------------------------


def test_nobody_who_has_paid_is_reminded(merchant, shop):
    order = order_of(shop)
    mark_as_paid(merchant.id, order.id, actor=ANNA, at=day(6))
    db.session.commit()
    run_daily(merchant, 7, 9)
    assert reminders_of(order) == []


@pytest.mark.feature("S82")
def test_after_a_block_no_automatic_reminder_goes_out(merchant, shop):
    set_to(shop, prepayment__cancel_after_days=14)
    order = order_of(shop)
    block_reminders(merchant.id, order.id, actor=ANNA, at=MONDAY)
    db.session.commit()
    run_daily(merchant, 7, 20)
    db.session.refresh(order)
    assert (reminders_of(order), order.payment_status) == ([], "unpaid")
    assert plan_of(order, day(20)).hindered == "blocked"


@pytest.mark.feature("N4")
def test_a_reminder_that_a_payment_held_back_comes_again_when_the_payment_is_undone(merchant, shop):
    order = order_of(shop)
    run_at(merchant, day(7))
    (mail,) = mails_of(order, "reminder")
    mail.status = "queued"
    db.session.commit()
    booked = pay(order, "19.90")
    assert mail.status == "withheld"
    undo(merchant.id, booked.id, actor=ANNA, at=day(8))
    db.session.commit()
    ignore(booked.posting_id)
    assert first_on(plan_of(order, day(8)), "reminder") == day(8).date()
    run_at(merchant, day(8))
    (again,) = mails_of(order, "reminder")
    assert (again.status, again.created_at) == ("done", day(8))
    assert sent_on(order) == [8]
    assert events_of(order).count("reminder_sent") == 2


def test_a_changed_amount_holds_a_waiting_reminder_back_and_the_next_run_says_the_new_one(
    merchant, shop
):
    raw = wire_order(ordered_at="2026-03-02T08:00:00+00:00")
    receive_orders(receiver_of(shop.id), [Arrival(OrderSchema().load(raw), raw)], MONDAY)
    db.session.commit()
    order = db.session.query(Order).one()
    send_mails(MONDAY)
    run_at(merchant, day(7))
    (mail,) = mails_of(order, "reminder")
    mail.status = "queued"
    db.session.commit()
    raw |= {"total": "12.00"}
    receive_orders(receiver_of(shop.id), [Arrival(OrderSchema().load(raw), raw)], day(7))
    db.session.commit()
    assert mail.status == "withheld"
    run_at(merchant, day(8))
    (mail,) = mails_of(order, "reminder")
    assert mail.facts["amount_due"] == "12,00\xa0€"


@pytest.mark.feature("S61")
def test_reminders_rest_for_some_days_after_i_have_paid(merchant, shop):
    order = order_of(shop)
    claim_paid(order, paid_on=None, message="", proof=None, at=day(6))
    db.session.commit()
    run_daily(merchant, 7, 11)
    assert reminders_of(order) == []
    run_daily(merchant, 12, 15)
    assert sent_on(order) == [14]  # the first bank day after five days' rest, a Monday


def test_matched_money_comes_first(merchant, shop):
    """The posting came in the night: the matcher books it, and the run finds nothing to do."""
    order = order_of(shop)
    make_posting(merchant, "19.90", order.payment_reference, created_at=day(6.9))
    match_postings(merchant.id, day(6.9))
    db.session.commit()
    run_at(merchant, day(7))
    assert reminders_of(order) == []
