"""What goes back by itself, and what never does (K59)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from server.db import db
from server.matching.service import match_postings
from server.orders.ledger import Ledger
from server.orders.models import Refund
from server.refunds import service
from server.refunds.surpluses import repay_surpluses
from tests.factories import make_posting
from tests.server.refunds.steps import ANNA, AT, do, mails, set_to, status
from tests.server.test_ledger import pay

SOON = AT + timedelta(days=8)


@pytest.fixture
def wanting(merchant, shop):
    set_to(merchant, "repay_surplus", "on")
    return merchant


def paid_by_machine(merchant, order, amount, at=AT, **over):
    row = make_posting(merchant, amount, order.number, **over)
    match_postings(merchant.id, at)
    db.session.commit()
    return row


def run(merchant, at=AT):
    arranged = repay_surpluses(merchant.id, at)
    db.session.commit()
    return arranged


@pytest.mark.feature("K59")
def test_it_is_off_unless_switched_on(merchant, order):
    paid_by_machine(merchant, order, "45.00")
    assert run(merchant) == []


@pytest.mark.feature("K59")
def test_what_came_too_much_goes_back_once(wanting, order):
    posting = paid_by_machine(wanting, order, "45.00")
    refund = run(wanting)[0]
    assert (refund.amount, refund.is_automatic, refund.status) == (5, True, "planned")
    assert not posting.is_open and len(mails(order, "refund_announced")) == 1
    assert run(wanting) == []
    do(service.mark_processed, refund)
    assert status(order) == "paid" and run(wanting) == []


def test_what_a_person_has_cancelled_does_not_come_again(wanting, order):
    paid_by_machine(wanting, order, "45.00")
    do(service.cancel, run(wanting)[0])
    assert run(wanting) == [] and Ledger([order.id]).surplus(order) == 5


@pytest.mark.feature("K59")
def test_a_second_payment_from_the_same_account_goes_back(wanting, order):
    paid_by_machine(wanting, order, "40.00")
    twice = paid_by_machine(wanting, order, "40.00", SOON, booking_date=date(2026, 3, 12))
    refund = run(wanting, SOON)[0]
    assert (refund.amount, refund.posting_id, refund.status) == (40, twice.id, "planned")
    do(service.mark_processed, refund)
    assert status(order) == "paid" and run(wanting, SOON) == []


@pytest.mark.feature("K59", "N9", "K46")
@pytest.mark.parametrize(
    "over",
    [
        {"booking_date": date(2026, 3, 6)},
        {"booking_date": date(2026, 3, 12), "counterparty_iban": "AT611904300234573201"},
    ],
    ids=["so soon that it may be the same", "from another account"],
)
def test_a_second_payment_in_doubt_waits_for_a_person(wanting, order, over):
    paid_by_machine(wanting, order, "40.00")
    twice = paid_by_machine(wanting, order, "40.00", SOON, **over)
    assert run(wanting, SOON) == [] and twice.is_open


def test_what_a_person_assigned_is_his_matter(wanting, order):
    pay(make_posting(wanting, "45.00"), (order, "45.00"))
    assert run(wanting) == []


def test_little_is_not_sent_back(wanting, order):
    paid_by_machine(wanting, order, "40.99")
    assert run(wanting) == []


@pytest.mark.feature("K59", "C12")
def test_credit_that_is_used_by_itself_comes_first(wanting, order):
    set_to(wanting, "credit_mode", "automatic")
    paid_by_machine(wanting, order, "45.00")
    assert run(wanting) == [] and db.session.query(Refund).count() == 0


def test_what_was_paid_long_ago_is_left_alone(wanting, order):
    paid_by_machine(wanting, order, "45.00")
    assert run(wanting, AT + timedelta(days=4)) == []


@pytest.mark.feature("K59")
def test_a_second_payment_from_before_it_was_switched_on_is_left_alone(wanting, order):
    """Somebody may have sent it back long ago, without a word to us."""
    paid_by_machine(wanting, order, "40.00")
    twice = paid_by_machine(wanting, order, "40.00", SOON, booking_date=date(2026, 3, 12))
    twice.created_at = SOON - timedelta(days=4)
    db.session.commit()
    assert run(wanting, SOON) == [] and twice.is_open


@pytest.mark.feature("C18", "K59")
def test_what_needs_a_second_person_is_arranged_and_held(wanting, order):
    set_to(wanting, "refund_second_from", "5")
    paid_by_machine(wanting, order, "45.00")
    held = run(wanting)
    assert [(one.status, one.holds) for one in held] == [("held", ["second_person"])]
    assert service.approval_by(held[0], ANNA) == "", "nobody of the house has asked for it"
