"""Repayments from arranged to executed, and what people may do with them on the way."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from server.db import db
from server.mail.languages import day as day_text
from server.orders.brakes import STOPPED
from server.orders.credit import credit_of, keep_as_credit
from server.orders.ledger import Ledger, NotPossible, taken_totals
from server.orders.lifecycle import mark_as_unpaid
from server.orders.models import Order, Refund
from server.orders.returns import book_return
from server.orders.service import move_surplus, undo
from server.refunds import batches, notices, service
from server.refunds.rules import BankDetails, next_bank_day
from tests.factories import make_merchant, make_order, make_posting, make_shop, make_user
from tests.server.refunds.steps import (
    ANNA,
    AT,
    BERT,
    OTHER_IBAN,
    PAYER,
    do,
    hand_in,
    history,
    mails,
    ready,
    repay,
    send_back,
    set_to,
    status,
)
from tests.server.test_ledger import pay, updates


@pytest.mark.feature("S78", "K5", "K10", "K55")
def test_all_of_an_order_goes_back_to_where_it_came_from(order, posting):
    refund = repay(order, "40.00")
    assert (refund.payee_name, refund.payee_iban) == (PAYER.name, PAYER.iban)
    assert refund.details_by == "bank" and refund.posting_id == posting.id
    assert status(order) == "paid"
    hand_in(refund)
    assert refund.status == "in_process" and status(order) == "paid"
    do(service.mark_processed, refund)
    assert (refund.status, status(order)) == ("processed", "refunded")
    assert updates(order)[-1] == ("refunded", "queued")
    assert Ledger([order.id]).rest(order) == 0


@pytest.mark.feature("K5")
def test_a_part_that_goes_back_leaves_it_partially_refunded(order, posting):
    do(service.mark_processed, repay(order, "15.00"))
    assert status(order) == "partially_refunded"
    assert updates(order)[-1] == ("partially_refunded", "queued")
    do(service.mark_processed, repay(order, "25.00"))
    assert status(order) == "refunded"


@pytest.mark.feature("K5", "C14")
def test_a_surplus_goes_back_and_the_order_stays_paid(merchant, order):
    posting = make_posting(merchant, "50.00")
    pay(posting, (order, "50.00"))
    assert service.proposal(merchant.id, order_id=order.id).usual == 10
    refund = repay(order, "10.00")
    do(service.mark_processed, refund)
    assert status(order) == "paid" and Ledger([order.id]).surplus(order) == 0
    assert refund.reference.startswith(f"R-{order.payment_reference}-1")


def test_what_is_left_on_the_posting_is_booked_before_it_goes_back(merchant, order):
    posting = make_posting(merchant, "45.00")
    pay(posting, (order, "40.00"))
    found = service.proposal(merchant.id, order_id=order.id)
    assert (found.usual, found.largest) == (5, 80)
    refund = repay(order, "5.00")
    assert Ledger([order.id]).paid(order.id) == 45 and not posting.is_open
    do(service.mark_processed, refund)
    assert status(order) == "paid"


@pytest.mark.feature("K55")
def test_money_that_pays_no_order_goes_back_from_its_posting(merchant):
    posting = make_posting(merchant, "30.00")
    refund = send_back(posting, "20.00")
    assert taken_totals([posting.id])[posting.id] == 20 and posting.is_open
    with pytest.raises(NotPossible, match="refund_above_limit"):
        send_back(posting, "10.01", at=AT + timedelta(hours=1))
    rest = send_back(posting, "10.00")
    assert not posting.is_open and refund.status == rest.status == "new"
    do(service.cancel, rest)
    assert posting.is_open and taken_totals([posting.id])[posting.id] == 20


@pytest.mark.feature("K57")
def test_twice_the_order_is_the_most(merchant, order, posting):
    assert service.proposal(merchant.id, order_id=order.id).largest == 80
    repay(order, "40.00")
    with pytest.raises(NotPossible, match="refund_above_limit") as problem:
        repay(order, "40.01")
    assert problem.value.facts == {"largest": "40.00"}
    db.session.rollback()
    more = repay(order, "39.99")
    assert (more.status, more.holds) == ("held", ["above_receipt"])


def test_nothing_goes_back_of_an_order_that_nobody_paid(order):
    with pytest.raises(NotPossible, match="refund_nothing_paid"):
        repay(order, "1.00")


@pytest.mark.parametrize("amount", ["0", "-1.00", "0.001", "NaN", "Infinity"])
def test_amounts_that_no_transfer_carries_are_refused(order, posting, amount):
    with pytest.raises(NotPossible, match="refund_amount_invalid"):
        repay(order, amount)


def test_a_double_click_is_one_repayment(order, posting):
    assert repay(order, "40.00").id == repay(order, "40.00", at=AT + timedelta(seconds=5)).id
    assert db.session.query(Refund).count() == 1


# --- nothing takes the money from under it ------------------------------------------------------


def test_what_goes_back_cannot_be_undone_moved_kept_or_unpaid(merchant, shop, order):
    posting = make_posting(merchant, "50.00")
    row = pay(posting, (order, "50.00"))[0]
    other = make_order(shop, total="10.00")
    refund = repay(order, "10.00")
    for act in (
        lambda: undo(merchant.id, row.id, actor=ANNA, at=AT),
        lambda: mark_as_unpaid(merchant.id, order.id, actor=ANNA, at=AT),
    ):
        with pytest.raises(NotPossible, match="refund_under_way"):
            act()
        db.session.rollback()
    with pytest.raises(NotPossible, match="move_no_surplus"):
        move_surplus(merchant.id, order.id, other.id, actor=ANNA, at=AT)
    db.session.rollback()
    with pytest.raises(NotPossible, match="credit_nothing_left"):
        keep_as_credit(merchant.id, posting.id, order.id, actor=ANNA, at=AT)
    db.session.rollback()
    do(service.cancel, refund)
    assert len(move_surplus(merchant.id, order.id, other.id, actor=ANNA, at=AT)) == 1


@pytest.mark.feature("N9", "N18")
def test_a_payment_that_the_bank_takes_back_holds_its_repayment(merchant, order, posting):
    refund = ready(repay(order, "40.00"))
    back = make_posting(merchant, "-40.00", is_return=True)
    book_return(merchant.id, back.id, posting.id, actor=ANNA, at=AT)
    db.session.commit()
    assert (refund.status, refund.holds) == ("held", ["payment_returned"])
    do(service.approve, refund, actor=BERT)
    assert refund.status == "new"


def taken_back(merchant, posting):
    back = make_posting(merchant, "-40.00", is_return=True)
    book_return(merchant.id, back.id, posting.id, actor=ANNA, at=AT)
    db.session.commit()


@pytest.mark.feature("N9", "N18")
def test_what_stands_in_a_file_is_held_when_the_file_is_dropped(merchant, order, posting):
    refund = repay(order, "40.00")
    batch = hand_in(refund, is_sent=False)
    taken_back(merchant, posting)
    assert refund.status == "in_process", "the file may be at the bank"
    batches.drop_batch(batch, actor=ANNA, at=AT)
    db.session.commit()
    assert (refund.status, refund.holds) == ("held", ["payment_returned"])
    do(service.approve, refund, actor=BERT)
    assert refund.status == "new"


@pytest.mark.feature("N9", "N18")
def test_what_has_failed_is_held_when_it_is_tried_again(merchant, order, posting):
    refund = repay(order, "40.00")
    hand_in(refund)
    service.mark_failed(refund, "account closed", actor=ANNA, at=AT)
    taken_back(merchant, posting)
    assert (refund.status, refund.error) == ("failed", "account closed")
    do(service.try_again, refund)
    assert (refund.status, "payment_returned" in refund.holds) == ("held", True)


@pytest.mark.feature("C14")
def test_money_is_kept_on_purpose(merchant, order):
    pay(make_posting(merchant, "50.00"), (order, "50.00"))
    with pytest.raises(NotPossible, match="refund_reason_missing"):
        service.keep_money(merchant.id, order.id, reason=" ", actor=ANNA, at=AT)
    kept = service.keep_money(merchant.id, order.id, reason="gift", actor=ANNA, at=AT)
    db.session.commit()
    assert (kept.amount, kept.status, status(order)) == (0, "processed", "paid")
    assert Ledger([order.id]).surplus(order) == 0
    again = service.keep_money(merchant.id, order.id, reason="gift", actor=ANNA, at=AT)
    assert again.id == kept.id
    assert "money_kept" in history(order) and mails(order, "refund_executed") == []


# --- bank details, holds, the second person -----------------------------------------------------


@pytest.mark.feature("K56", "K31")
@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"counterparty_iban": None}, "no_iban"),
        ({"counterparty_iban": "US123"}, "no_iban"),
        ({"counterparty_name": "PayPal (Europe) S.a.r.l. et Cie"}, "provider"),
        ({"counterparty_name": "DHL Express Germany GmbH"}, "carrier"),
        ({"counterparty_iban": "DE02120300000000202051"}, "own_account"),
        ({"remittance_information": "Bareinzahlung 05.03."}, "cash"),
        ({"counterparty_name": "Эрика"}, "no_name"),
    ],
)
def test_an_account_that_cannot_be_paid_is_asked_for(merchant, order, over, why):
    pay(make_posting(merchant, "40.00", **over), (order, "40.00"))
    assert service.proposal(merchant.id, order_id=order.id).unusable == why
    refund = repay(order, "40.00")
    assert refund.status == "bank_details_missing" and refund.payee_iban is None
    assert len(mails(order, "bank_details_request")) == 1
    assert [one.id for one in service.waiting_for_customer(order)] == [refund.id]


@pytest.mark.feature("K31")
def test_a_merchant_who_asks_himself_has_no_mail_written(merchant, order):
    set_to(merchant, "refund_ask_customer", "off")
    pay(make_posting(merchant, "40.00", counterparty_iban=None), (order, "40.00"))
    refund = repay(order, "40.00")
    assert refund.announced_at is None and mails(order, "bank_details_request") == []


@pytest.mark.feature("K33", "K56")
def test_the_customer_confirms_and_it_goes_at_once(order, posting):
    refund = repay(order, "40.00")
    assert refund.status == "planned" and len(mails(order, "refund_announced")) == 1
    service.confirm_details(order, refund.id, name=PAYER.name, iban=PAYER.iban, at=AT)
    assert refund.status == "new" and refund.confirmed_at == AT
    assert service.waiting_for_customer(order) == []


@pytest.mark.feature("K33", "K58")
@pytest.mark.parametrize("iban", [PAYER.iban, None], ids=["known", "missing"])
def test_who_confirms_ends_the_waiting_and_not_what_the_merchant_wants(merchant, order, iban):
    """Not before the goods are back, say."""
    pay(make_posting(merchant, "40.00", counterparty_iban=iban), (order, "40.00"))
    day = next_bank_day((AT + timedelta(days=30)).date())
    refund = repay(order, "40.00", planned_for=day)
    service.confirm_details(order, refund.id, name=PAYER.name, iban=PAYER.iban, at=AT)
    assert (refund.status, refund.planned_for) == ("planned", day)


@pytest.mark.feature("K33", "K58")
def test_the_customer_reads_the_day_on_which_it_goes(order, posting):
    """A day before his term ends is not one."""
    refund = repay(order, "40.00", planned_for=(AT + timedelta(days=1)).date())
    (mail,) = mails(order, "refund_announced")
    assert mail.facts["refund_on"] == day_text(refund.planned_for, "de")
    assert mail.facts["refund_on"] == mail.facts["answer_until"]


@pytest.mark.feature("K33", "N9")
def test_another_account_of_the_customer_is_held(order, posting):
    refund = repay(order, "40.00")
    service.confirm_details(order, refund.id, name=PAYER.name, iban=OTHER_IBAN, at=AT)
    assert (refund.status, refund.holds, refund.details_by) == (
        "held",
        ["iban_changed"],
        "customer",
    )
    do(service.approve, refund)
    assert refund.status == "new" and refund.payee_iban == OTHER_IBAN


@pytest.mark.feature("K56")
def test_missing_details_from_the_customer_let_it_go(merchant, order):
    pay(make_posting(merchant, "40.00", counterparty_iban=None), (order, "40.00"))
    refund = repay(order, "40.00")
    for name, iban, why in [
        (PAYER.name, "DE00", "iban_invalid"),
        (PAYER.name, "BR1800360305000010009795493C1", "refund_iban_not_sepa"),
        (PAYER.name, "DE02120300000000202051", "refund_own_account"),
        (" ", PAYER.iban, "refund_name_missing"),
        ("Эрика", PAYER.iban, "refund_name_not_latin"),
        ("x" * 71, PAYER.iban, "refund_name_too_long"),
    ]:
        with pytest.raises(NotPossible, match=why):
            service.confirm_details(order, refund.id, name=name, iban=iban, at=AT)
    service.confirm_details(order, refund.id, name="E. Mustermann", iban=PAYER.iban, at=AT)
    assert (refund.status, refund.holds) == ("new", [])


def test_nobody_confirms_a_repayment_of_another_order(shop, order, posting):
    refund = repay(order, "40.00")
    other = make_order(shop)
    with pytest.raises(NotPossible, match="refund_not_waiting"):
        service.confirm_details(other, refund.id, name=PAYER.name, iban=PAYER.iban, at=AT)


@pytest.mark.feature("C18", "N9")
def test_a_large_one_needs_a_second_person(merchant, order, posting):
    set_to(merchant, "refund_second_from", "40")
    refund = repay(order, "40.00")
    assert (refund.status, refund.holds) == ("held", ["second_person"])
    assert mails(order, "refund_announced") == []
    with pytest.raises(NotPossible, match="refund_needs_another"):
        do(service.approve, refund)
    db.session.rollback()
    do(service.approve, refund, actor=BERT)
    assert (refund.status, refund.approved_by) == ("planned", BERT)
    assert len(mails(order, "refund_announced")) == 1


@pytest.mark.feature("C18")
def test_the_only_administrator_types_the_amount(app):
    merchant = make_merchant()
    make_user(merchant, ANNA)
    set_to(merchant, "refund_second_from", "1")
    order = make_order(make_shop(merchant), total="40.00")
    pay(make_posting(merchant, "40.00"), (order, "40.00"))
    refund = repay(order, "40.00")
    assert service.approval_by(refund, ANNA) == "alone"
    for typed in (None, Decimal("4.00")):
        with pytest.raises(NotPossible, match="refund_type_amount"):
            do(service.approve, refund, typed_amount=typed)
        db.session.rollback()
    do(service.approve, refund, typed_amount=Decimal("40.00"))
    assert refund.status == "planned"


@pytest.mark.feature("N9", "K58")
def test_whoever_changes_the_payee_does_not_approve_it(order, posting):
    refund = repay(order, "40.00")
    do(service.change, refund, actor=BERT, payee=BankDetails("Bob Fremd", OTHER_IBAN))
    assert (refund.status, refund.holds) == ("held", ["payee_not_payer", "iban_changed"])
    with pytest.raises(NotPossible, match="refund_needs_another"):
        do(service.approve, refund, actor=BERT)
    db.session.rollback()
    do(service.approve, refund, actor=ANNA)
    do(service.change, refund, actor=BERT, payee=BankDetails("Rob Fremd", OTHER_IBAN))
    assert refund.status == "held", "approved was another payee"


@pytest.mark.feature("N9", "K46")
def test_what_may_be_told_twice_is_held(merchant, order, posting):
    make_posting(merchant, "40.00")
    refund = repay(order, "40.00")
    assert (refund.status, refund.holds) == ("held", ["possible_duplicate"])


@pytest.mark.feature("N9")
def test_far_too_much_paid_is_looked_at(merchant, order):
    pay(make_posting(merchant, "500.00"), (order, "500.00"))
    assert repay(order, "460.00").holds == ["overpay_pattern"]


@pytest.mark.feature("K58", "K33")
def test_another_payee_is_announced_anew_and_the_old_mail_is_not_sent(order, posting):
    refund = repay(order, "40.00")
    family = BankDetails("Erika Mustermann-Gabler", PAYER.iban)
    do(service.change, refund, payee=family, at=AT + timedelta(minutes=1))
    assert (refund.status, refund.holds) == ("planned", [])
    said = [mail.facts["refund_holder"] for mail in mails(order, "refund_announced")]
    assert said == [family.name]


@pytest.mark.feature("K55", "C12")
def test_a_customers_credit_goes_back_as_well(merchant, order):
    posting = make_posting(merchant, "50.00")
    pay(posting, (order, "40.00"))
    keep_as_credit(merchant.id, posting.id, order.id, actor=ANNA, at=AT)
    db.session.commit()
    send_back(posting, "10.00")
    assert credit_of(order) == [] and status(order) == "paid"


@pytest.mark.feature("K58")
def test_day_and_reason_change_until_it_is_sent(order, posting):
    refund = repay(order, "40.00")
    day = (AT + timedelta(days=30)).date()
    do(service.change, refund, planned_for=day, reason="returned goods")
    planned, arrives = service.arrival(refund, AT)
    assert planned == refund.planned_for >= day and arrives > planned
    hand_in(refund)
    with pytest.raises(NotPossible, match="refund_does_not_fit"):
        do(service.change, refund, reason="too late")


@pytest.mark.feature("K10", "K33")
def test_what_is_planned_may_go_when_its_day_has_come(order, posting):
    refund = repay(order, "40.00")
    assert not service.has_planned(AT)
    later = AT + timedelta(days=14)
    assert service.has_planned(later) and service.pass_time(later) == 1
    db.session.commit()
    assert refund.status == "new" and not service.has_planned(later)


@pytest.mark.feature("K10")
def test_one_merchants_day_waits_for_no_other(order, posting):
    """Each merchant's lock is held for his own repayments only."""
    stranger = make_merchant("Bob")
    other = make_order(make_shop(stranger), total="40.00")
    pay(make_posting(stranger, "40.00"), (other, "40.00"))
    refunds = [repay(order, "40.00"), repay(other, "40.00")]
    later = AT + timedelta(days=14)
    for first, second in (("new", "planned"), ("new", "new")):
        assert service.pass_time(later) == 1
        db.session.commit()
        assert [one.status for one in refunds] == [first, second]
    assert service.pass_time(later) == 0


@pytest.mark.feature("K37", "S78")
def test_a_cancelled_one_is_not_announced(order, posting):
    refund = repay(order, "40.00")
    do(service.cancel, refund)
    assert mails(order, "refund_announced") == [] and refund.cancelled_at == AT
    with pytest.raises(NotPossible, match="refund_does_not_fit"):
        do(service.mark_processed, refund)


@pytest.mark.feature("K37", "S78")
def test_what_was_stopped_with_all_mails_is_not_sent_later_of_a_cancelled_one(order, posting):
    refund = repay(order, "40.00")
    (mail,) = mails(order, "refund_announced")
    mail.withhold(STOPPED)
    db.session.commit()
    do(service.cancel, refund)
    db.session.refresh(mail)
    assert (mail.status, mail.error) == ("withheld", notices.OVER)


def test_the_customer_reads_that_it_was_executed_once(order, posting):
    refund = repay(order, "40.00")
    do(service.mark_processed, refund)
    facts = [mail.facts for mail in mails(order, "refund_executed")]
    assert [one["refund_iban"] for one in facts] == ["DE89 •••• 3000"]
    assert mails(order, "refund_announced") == []


@pytest.mark.feature("K10")
def test_a_failed_one_keeps_its_money_and_is_tried_again_under_a_new_reference(order, posting):
    refund = repay(order, "40.00")
    batch, first = hand_in(refund), refund.reference
    service.mark_failed(refund, "account closed", actor=ANNA, at=AT)
    db.session.commit()
    assert (refund.status, refund.error, status(order)) == ("failed", "account closed", "paid")
    assert Ledger([order.id]).arranged(order.id) == 40
    do(service.try_again, refund)
    assert refund.status == "new" and refund.batch_id is None and batch.status == "sent"
    assert refund.reference not in (first, "") and refund.error is None


def test_nobody_is_reminded_while_his_part_payment_goes_back(merchant, shop):
    order = make_order(shop, total="40.00")
    pay(make_posting(merchant, "10.00"), (order, "10.00"))
    refund = repay(order, "10.00")
    assert db.session.get_one(Order, order.id).paused_until > AT.date()
    do(service.mark_processed, refund)
    assert status(order) == "refunded" and Ledger([order.id]).rest(order) == 0
