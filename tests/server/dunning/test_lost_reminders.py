"""A reminder whose mail did not arrive charges nothing, until it is sent again (K28, N4)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import select

from server.db import db
from server.dunning.models import BaseRate
from server.dunning.service import reminder_by_hand
from server.mail.models import Mail
from server.matching.service import match_postings
from server.orders.credit import (
    apply_automatically,
    apply_credit,
    keep_as_credit,
    set_credit_mode,
)
from server.orders.ledger import Ledger, NotPossible
from server.orders.mail_actions import readdress_mail, resend_mail
from server.orders.models import Order
from server.orders.service import assign, mark_as_paid, move_surplus
from tests.factories import make_posting
from tests.server.dunning.steps import (
    ANNA,
    bank_is_heard,
    day,
    mails_of,
    merchant_of,
    order_of,
    reminders_of,
    run_at,
    run_daily,
    send_mails,
    set_to,
)

OWN_FEES = {
    "invoice__charge_fees": "on",
    "invoice__fee_rule": "own",
    "invoice__fee_1": "2 EUR",
    "invoice__fee_2": "3 EUR",
    "invoice__claim_fees": "on",
}
INVOICE = {"payment_method": "invoice"}
BUSINESS = {"email": "erika@example.org", "language": "de", "vat_id": "DE136695976"}


def fail(mail: Mail) -> None:
    """The server knows nobody of that name."""
    mail.status, mail.failure = "failed", "no_such_mailbox"
    db.session.commit()


def bounce(mail: Mail) -> None:
    """It was taken, and came back."""
    mail.status, mail.delivery = "done", "bounced"
    db.session.commit()


def reminded(shop) -> tuple[Order, Mail]:
    """An invoice over 19.90 and the mail of its first reminder, which charges 2.00 and is gone."""
    set_to(shop, **OWN_FEES)
    order = order_of(shop, **INVOICE)
    run_at(merchant_of(order), day(21))
    (mail,) = mails_of(order, "reminder")
    db.session.refresh(order)
    assert (order.fee_total, mail.status) == (2, "done")
    return order, mail


def fresh(order: Order) -> Order:
    db.session.refresh(order)
    return order


@pytest.mark.feature("K28", "N4")
@pytest.mark.parametrize("lose", [fail, bounce])
def test_after_the_next_run_nobody_owes_the_fee_of_a_mail_that_did_not_arrive(merchant, shop, lose):
    order, mail = reminded(shop)
    lose(mail)
    run_at(merchant, day(22))
    assert fresh(order).fee_total == 0
    assert Ledger([order.id]).owed(order) == Decimal("19.90")
    assert [(row.level, row.fee) for row in reminders_of(order)] == [(1, 2)], "kept, for a resend"


@pytest.mark.feature("K28", "N4")
@pytest.mark.parametrize("delivery", ["accepted", "delayed", "delivered", "complained"])
def test_what_arrived_is_charged_whatever_else_is_known_of_it(merchant, shop, delivery):
    order, mail = reminded(shop)
    mail.delivery = delivery
    db.session.commit()
    run_at(merchant, day(22))
    assert fresh(order).fee_total == 2


def by_hand(order: Order) -> None:
    posting = make_posting(merchant_of(order), "19.90", needs_match=False)
    booked = [(order.id, Decimal("19.90"))]
    assign(order.merchant_id, posting.id, booked, actor=ANNA, at=day(21))


def by_matching(order: Order) -> None:
    make_posting(merchant_of(order), "19.90", order.payment_reference)
    match_postings(order.merchant_id, day(21))


def by_a_persons_word(order: Order) -> None:
    mark_as_paid(order.merchant_id, order.id, actor=ANNA, at=day(21))


@pytest.mark.feature("K28", "N4")
@pytest.mark.parametrize("pays", [by_hand, by_matching, by_a_persons_word])
def test_who_pays_before_the_next_run_owes_it_neither(merchant, shop, pays):
    order, mail = reminded(shop)
    fail(mail)
    pays(order)
    db.session.commit()
    assert (fresh(order).fee_total, order.payment_status) == (0, "paid")
    assert Ledger([order.id]).paid(order.id) == Decimal("19.90")
    assert mails_of(order, "partially_paid") == []


def by_credit(order: Order, posting_id: int) -> None:
    apply_credit(order.merchant_id, order.id, posting_id, actor=ANNA, at=day(21))


def by_automatic_credit(order: Order, posting_id: int) -> None:
    set_credit_mode(order.merchant_id, posting_id, "automatic", actor=ANNA, at=day(21))
    assert apply_automatically(order, day(21))


@pytest.mark.feature("K28", "N4")
@pytest.mark.parametrize("pays", [by_credit, by_automatic_credit])
def test_no_credit_is_used_up_for_it_either(merchant, shop, pays):
    order, mail = reminded(shop)
    kept = make_posting(merchant, "30.00", needs_match=False)
    keep_as_credit(merchant.id, kept.id, order.id, actor=ANNA, at=day(21))
    fail(mail)
    pays(order, kept.id)
    db.session.commit()
    assert (fresh(order).fee_total, order.payment_status) == (0, "paid")
    assert Ledger([order.id]).paid(order.id) == Decimal("19.90")


@pytest.mark.feature("K28", "N4")
def test_what_only_lacks_a_lost_fee_is_paid_without_credit(merchant, shop):
    order, mail = reminded(shop)
    by_hand(order)
    kept = make_posting(merchant, "30.00", needs_match=False)
    keep_as_credit(merchant.id, kept.id, order.id, actor=ANNA, at=day(21))
    set_credit_mode(merchant.id, kept.id, "automatic", actor=ANNA, at=day(21))
    fail(mail)
    assert fresh(order).payment_status == "partially_paid"
    assert not apply_automatically(order, day(21))
    db.session.commit()
    assert (fresh(order).fee_total, order.payment_status) == (0, "paid")


@pytest.mark.feature("C13", "K28", "N4")
def test_no_more_of_a_surplus_is_moved_for_it(merchant, shop):
    order, mail = reminded(shop)
    overpaid = order_of(shop, **INVOICE, number="7002")
    posting = make_posting(merchant, "60.00", needs_match=False)
    booked = [(overpaid.id, Decimal("60.00"))]
    assign(merchant.id, posting.id, booked, actor=ANNA, at=day(21))
    fail(mail)
    move_surplus(merchant.id, overpaid.id, order.id, actor=ANNA, at=day(21))
    db.session.commit()
    assert (fresh(order).fee_total, order.payment_status) == (0, "paid")
    assert Ledger([order.id]).paid(order.id) == Decimal("19.90")


@pytest.mark.feature("K28", "N4")
def test_what_was_paid_for_a_lost_fee_is_kept_as_credit(merchant, shop):
    order, mail = reminded(shop)
    posting = make_posting(merchant, "25.00", needs_match=False)
    booked = [(order.id, Decimal("25.00"))]
    assign(merchant.id, posting.id, booked, actor=ANNA, at=day(21))
    fail(mail)
    keep_as_credit(merchant.id, posting.id, order.id, actor=ANNA, at=day(21))
    db.session.commit()
    assert (fresh(order).fee_total, order.payment_status) == (0, "paid")
    assert Ledger([order.id]).paid(order.id) == Decimal("19.90")


@pytest.mark.feature("K21", "K28")
def test_a_lost_fee_is_no_difference(merchant, shop):
    set_to(shop, tolerance_cents=200)
    order, mail = reminded(shop)
    fail(mail)
    by_hand(order)
    db.session.commit()
    assert [row.origin for row in Ledger([order.id]).standing(order.id)] == ["person"]


@pytest.mark.feature("K28", "S70")
def test_sent_again_it_charges_again_and_counts_by_the_mail_that_left(merchant, shop):
    order, mail = reminded(shop)
    fail(mail)
    run_at(merchant, day(22))
    new = resend_mail(merchant.id, mail.id, actor=ANNA, at=day(23))
    send_mails(day(23))
    (row,) = reminders_of(order)
    assert (row.mail_id, fresh(order).fee_total) == (new.id, 2)
    run_at(merchant, day(24))
    assert fresh(order).fee_total == 2
    bounce(new)
    run_at(merchant, day(25))
    assert fresh(order).fee_total == 0


@pytest.mark.feature("K28", "S70")
def test_sent_to_another_address_it_charges_again(merchant, shop):
    order, mail = reminded(shop)
    bounce(mail)
    run_at(merchant, day(22))
    new = readdress_mail(merchant.id, mail.id, "e@example.com", actor=ANNA, at=day(23))
    db.session.commit()
    assert (reminders_of(order)[0].mail_id, new.recipient) == (new.id, "e@example.com")
    assert fresh(order).fee_total == 2


@pytest.mark.feature("K28", "S70")
def test_after_a_second_failure_the_first_mail_may_be_sent_again_as_well(merchant, shop):
    order, mail = reminded(shop)
    fail(mail)
    fail(resend_mail(merchant.id, mail.id, actor=ANNA, at=day(22)))
    third = resend_mail(merchant.id, mail.id, actor=ANNA, at=day(23))
    send_mails(day(23))
    assert reminders_of(order)[0].mail_id == third.id
    run_at(merchant, day(24))
    assert fresh(order).fee_total == 2


@pytest.mark.feature("K28", "S70")
def test_a_copy_of_what_arrived_changes_nothing(merchant, shop):
    order, mail = reminded(shop)
    copy = resend_mail(merchant.id, mail.id, actor=ANNA, at=day(22))
    fail(copy)
    run_at(merchant, day(23))
    assert (reminders_of(order)[0].mail_id, fresh(order).fee_total) == (mail.id, 2)


@pytest.mark.feature("K28", "S70")
def test_after_a_part_was_paid_an_old_reminder_is_not_sent_again(merchant, shop):
    set_to(shop, invoice__reminders=2)
    order, mail = reminded(shop)
    posting = make_posting(merchant, "5.00", needs_match=False)
    assign(merchant.id, posting.id, [(order.id, Decimal("5.00"))], actor=ANNA, at=day(22))
    db.session.commit()
    assert refused(merchant, mail, day(22)) == "mail_other_amount"
    run_daily(merchant, 23, 60)
    (notice,) = mails_of(order, "dunning_notice")
    assert resend_mail(merchant.id, notice.id, actor=ANNA, at=day(61)).status == "queued"
    fail(notice)
    assert resend_mail(merchant.id, notice.id, actor=ANNA, at=day(62)).status == "queued"
    assert refused(merchant, mail, day(62)) == "mail_other_amount"


def refused(merchant, mail: Mail, at) -> str:
    with pytest.raises(NotPossible) as caught:
        resend_mail(merchant.id, mail.id, actor=ANNA, at=at)
    return str(caught.value.args[0])


@pytest.mark.feature("N4", "S70")
def test_what_was_sent_again_and_held_back_is_written_anew(merchant, shop):
    order, mail = reminded(shop)
    fail(mail)
    new = resend_mail(merchant.id, mail.id, actor=ANNA, at=day(22))
    new.withhold("the order changed before it was sent")
    db.session.commit()
    run_at(merchant, day(23))
    (row,) = reminders_of(order)
    written = db.session.get_one(Mail, row.mail_id)
    assert written.id not in (mail.id, new.id) and written.status == "done"
    assert (row.fee, fresh(order).fee_total) == (2, 2)


@pytest.mark.feature("K28", "S68")
def test_the_next_reminder_asks_for_what_is_owed_and_the_lost_fee_is_gone_for_good(merchant, shop):
    set_to(shop, invoice__reminders=2)
    order, mail = reminded(shop)
    fail(mail)
    charge = reminder_by_hand(order, day(31))
    assert charge is not None and (charge.fee, charge.before) == (3, 0)
    run_daily(merchant, 22, 40)
    (notice,) = mails_of(order, "dunning_notice")
    assert notice.facts["fees_total"] == "3,00\xa0€"
    assert notice.facts["amount_due"] == "22,90\xa0€"
    assert fresh(order).fee_total == 3
    assert refused(merchant, mail, day(41)) == "mail_other_amount"
    run_at(merchant, day(42))
    assert fresh(order).fee_total == 3, "no mail has ever asked for more"


@pytest.mark.feature("N15", "K27")
def test_the_flat_fee_of_the_law_is_owed_once_when_the_first_notice_was_lost(merchant, shop):
    set_to(shop, invoice__charge_fees="on", invoice__reminders=3)
    order = order_of(shop, **INVOICE, customer=BUSINESS, total="1000.00")
    run_daily(merchant, 21, 32)
    (notice,) = mails_of(order, "dunning_notice")
    fail(notice)
    run_daily(merchant, 33, 45)
    (_, second) = mails_of(order, "dunning_notice")
    assert second.facts["fees_total"] == "40,00\xa0€"
    resend_mail(merchant.id, notice.id, actor=ANNA, at=day(46))
    send_mails(day(46))
    run_at(merchant, day(47))
    assert fresh(order).fee_total == 40


@pytest.mark.feature("N15")
def test_a_reminder_that_did_not_arrive_puts_nobody_in_default(merchant, shop):
    db.session.merge(BaseRate(country="DE", valid_from=date(2026, 1, 1), percent=Decimal("1.27")))
    set_to(shop, invoice__charge_interest="on", invoice__reminders=3)
    order = order_of(shop, **INVOICE, total="1000.00")
    run_at(merchant, day(21))
    fail(mails_of(order, "reminder")[0])
    run_daily(merchant, 22, 45)
    interest = [row.interest for row in reminders_of(order)]
    assert interest[1] == 0, "level 2 is the first that he read"
    assert interest[2] > 0
    assert fresh(order).fee_total == interest[2]


@pytest.mark.feature("N15")
def test_interest_that_a_lost_mail_told_of_gives_way_to_that_of_the_one_before(merchant, shop):
    db.session.merge(BaseRate(country="DE", valid_from=date(2026, 1, 1), percent=Decimal("1.27")))
    set_to(shop, invoice__charge_interest="on", invoice__reminders=3)
    order = order_of(shop, **INVOICE, total="1000.00")
    run_daily(merchant, 21, 45)
    told = reminders_of(order)[1].interest
    assert 0 < told < fresh(order).fee_total
    bounce(mails_of(order, "dunning_notice")[-1])
    run_at(merchant, day(46))
    assert fresh(order).fee_total == told


@pytest.mark.feature("K28")
def test_many_lost_ones_hinder_no_later_recount(merchant, shop, monkeypatch):
    """What was recounted once is not looked at again, so the limit of a run is for what is new."""
    monkeypatch.setattr("server.dunning.service.RECOUNTED_AT_ONCE", 1)
    set_to(shop, **OWN_FEES)
    orders = [order_of(shop, **INVOICE, number=f"AA-{count}") for count in range(2)]
    run_at(merchant, day(21))
    for order in orders:
        fail(mails_of(order, "reminder")[0])
    for count in (22, 23):
        bank_is_heard(merchant, day(count))
        run_at(merchant, day(count))
    assert db.session.scalars(select(Order.fee_total)).all() == [0, 0]
