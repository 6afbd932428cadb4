"""The bank's postings close repayments and bring them back."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from server.banking.models import Posting
from server.db import db, now
from server.jobs import drain_match_request, drain_payment_update
from server.matching.service import match_postings
from server.orders.models import Refund, Suggestion
from server.orders.service import request_match
from server.refunds import service
from server.refunds.recognition import recognise
from server.refunds.service import has_planned
from tests.factories import make_merchant, make_order, make_posting, make_shop, today
from tests.server.refunds.steps import (
    AT,
    OTHER_IBAN,
    PAYER,
    do,
    hand_in,
    mails,
    repay,
    send_back,
    status,
)
from tests.server.test_ledger import pay

DAY = AT + timedelta(days=2)
BOOKED = DAY.date()


def arrives(merchant, amount, text="", **over):
    """A posting comes, and the worker looks at it."""
    row = make_posting(
        merchant, amount, text, **({"booking_date": BOOKED, "needs_match": True} | over)
    )
    recognise(merchant.id, DAY)
    match_postings(merchant.id, DAY)
    db.session.commit()
    return row


@pytest.mark.feature("S78", "K10")
@pytest.mark.parametrize(
    "carries",
    [
        lambda one: {"end_to_end_id": one.reference},
        lambda one: {"remittance_information": f"AA-1\n{one.reference[:6]}\n{one.reference[6:]}"},
        lambda one: {"remittance_information": one.reference.replace("-", " ").lower()},
        lambda one: {},
    ],
    ids=["end to end", "broken text", "spaced text", "account and amount"],
)
def test_the_posting_that_took_it_closes_it(merchant, order, posting, carries):
    refund = repay(order, "40.00")
    hand_in(refund)
    out = arrives(merchant, "-40.00", **carries(refund))
    assert (refund.status, refund.sent_posting_id) == ("processed", out.id)
    assert status(order) == "refunded"
    assert mails(order, "refund_executed")[0].facts["refunded_on"]


def test_another_amount_or_account_closes_nothing(merchant, order, posting):
    refund = repay(order, "40.00")
    hand_in(refund)
    arrives(merchant, "-39.00", refund.reference)
    arrives(merchant, "-40.00", counterparty_iban=OTHER_IBAN)
    arrives(merchant, "-40.00", counterparty_iban=None)
    assert refund.status == "in_process"


def test_who_paid_it_himself_under_its_reference_has_paid_it(merchant, order, posting):
    refund = repay(order, "40.00")
    arrives(merchant, "-40.00", f"Retoure {refund.reference}")
    assert refund.status == "processed"


def test_a_debit_without_a_batch_is_none_of_ours(merchant, order, posting):
    refund = repay(order, "40.00")
    arrives(merchant, "-40.00")
    assert refund.status == "planned"


@pytest.mark.feature("C15")
@pytest.mark.parametrize("is_named", [True, False])
def test_one_debit_for_the_batch_closes_all_of_it(merchant, shop, order, posting, is_named):
    other = make_order(shop, total="25.00")
    pay(make_posting(merchant, "25.00", booking_date=date(2026, 3, 6)), (other, "25.00"))
    refunds = [repay(order, "40.00"), repay(other, "25.00")]
    batch = hand_in(*refunds)
    text = f"SAMMLER {batch.message_id}" if is_named else ""
    arrives(merchant, "-65.00", text, counterparty_iban=None, counterparty_name=None)
    assert [one.status for one in refunds] == ["processed", "processed"]
    assert (status(order), status(other)) == ("refunded", "refunded")


def test_each_of_two_that_look_the_same_is_closed_once(merchant):
    first, second = (
        make_posting(merchant, "20.00"),
        make_posting(merchant, "20.00", booking_date=date(2026, 1, 5)),
    )
    refunds = [send_back(first, "20.00"), send_back(second, "20.00")]
    hand_in(*refunds)
    arrives(merchant, "-20.00")
    assert sorted(one.status for one in refunds) == ["in_process", "processed"]
    arrives(merchant, "-20.00")
    assert {one.status for one in refunds} == {"processed"}


@pytest.mark.feature("S78")
@pytest.mark.parametrize("is_named", [True, False])
def test_one_debit_closes_one_however_often_it_is_looked_at(merchant, is_named):
    """The matcher takes fewer postings at once, so the worker looks at some of them again."""
    first, second = (
        make_posting(merchant, "20.00"),
        make_posting(merchant, "20.00", booking_date=date(2026, 1, 5)),
    )
    refunds = [send_back(first, "20.00"), send_back(second, "20.00")]
    hand_in(*refunds)
    named = {"end_to_end_id": refunds[0].reference} if is_named else {}
    make_posting(merchant, "-20.00", booking_date=BOOKED, needs_match=True, **named)
    recognise(merchant.id, DAY)
    recognise(merchant.id, DAY)
    db.session.commit()
    assert [one.status for one in refunds] == ["processed", "in_process"]


@pytest.mark.feature("S78")
def test_a_debit_that_names_a_closed_one_closes_no_other(merchant):
    """The bank has told it a second time, by another access."""
    first, second = (
        make_posting(merchant, "20.00"),
        make_posting(merchant, "20.00", booking_date=date(2026, 1, 5)),
    )
    refunds = [send_back(first, "20.00"), send_back(second, "20.00")]
    hand_in(*refunds)
    for _ in range(2):
        arrives(merchant, "-20.00", end_to_end_id=refunds[0].reference)
    assert [one.status for one in refunds] == ["processed", "in_process"]


@pytest.mark.feature("C16", "N18", "S78")
@pytest.mark.parametrize(
    ("over", "after"),
    [
        ({"is_return": True, "return_reason": "MD07"}, "failed"),
        ({"is_return": True, "return_reason": "AC04"}, "bank_details_missing"),
        ({"transaction_code": "PMNT+RCDT+RRTN"}, "failed"),
    ],
)
def test_what_comes_back_reopens_it_and_is_no_payment(merchant, order, posting, over, after):
    refund = repay(order, "40.00")
    reference = refund.reference
    hand_in(refund)
    arrives(merchant, "-40.00", end_to_end_id=reference)
    assert status(order) == "refunded"
    back = arrives(
        merchant, "40.00", f"{reference} {order.number}", end_to_end_id=reference, **over
    )
    assert (refund.status, refund.returned_posting_id) == (after, back.id)
    assert refund.error.startswith("returned: ") and refund.processed_at is None
    assert (back.ignored_because, back.is_open, back.is_assigned) == ("refund_back", False, False)
    assert status(order) == "paid" and db.session.query(Suggestion).count() == 0
    if after == "bank_details_missing":
        assert refund.payee_iban is None and refund.reference != reference
        assert len(mails(order, "bank_details_request")) == 1
    else:
        do(service.try_again, refund)
        assert refund.reference != reference


def test_a_return_without_our_reference_is_known_by_its_transfer(merchant, order, posting):
    refund = repay(order, "40.00")
    hand_in(refund)
    out = arrives(merchant, "-40.00")
    assert refund.sent_posting_id == out.id
    back = arrives(merchant, "39.50", "Rücküberweisung", is_return=True)
    assert (refund.status, back.ignored_because) == ("failed", "refund_back")


def test_a_customer_who_quotes_the_reference_has_paid(merchant, shop, order, posting):
    refund = repay(order, "40.00")
    hand_in(refund)
    arrives(merchant, "-40.00", end_to_end_id=refund.reference)
    again = arrives(merchant, "40.00", f"wegen {refund.reference}")
    assert refund.status == "processed" and again.ignored_at is None and again.is_open
    assert status(order) == "refunded", "nothing is booked on it by itself"


def test_nobody_elses_postings_are_looked_at(order, posting):
    refund = repay(order, "40.00")
    hand_in(refund)
    stranger = make_merchant("Bob")
    make_order(make_shop(stranger))
    out = make_posting(stranger, "-40.00", end_to_end_id=refund.reference, needs_match=True)
    assert not recognise(stranger.id, DAY)
    assert refund.status == "in_process" and out.ignored_at is None


def test_the_next_return_of_an_order_is_not_mixed_up(merchant, order, posting):
    first, second = repay(order, "10.00"), repay(order, "11.00")
    hand_in(first, second)
    arrives(merchant, "-10.00", end_to_end_id=first.reference)
    arrives(merchant, "-11.00", end_to_end_id=second.reference)
    arrives(merchant, "11.00", is_return=True, counterparty_iban=PAYER.iban)
    assert (first.status, second.status) == ("processed", "failed")
    assert status(order) == "partially_refunded"


@pytest.mark.feature("C16", "S78")
def test_the_worker_looks_before_it_matches(merchant, order, posting):
    refund = repay(order, "40.00", at=now())
    hand_in(refund, at=now())
    day = today()
    make_posting(merchant, "-40.00", end_to_end_id=refund.reference, booking_date=day)
    db.session.query(Posting).filter(Posting.amount < 0).update({"needs_match": True})
    back = make_posting(
        merchant, "40.00", order.number, end_to_end_id=refund.reference, is_return=True
    )
    request_match(merchant.id, now())
    db.session.commit()
    drain_match_request()
    assert (refund.status, back.ignored_because) == ("failed", "refund_back")
    assert status(order) == "paid"


@pytest.mark.feature("K33")
def test_the_worker_lets_go_what_was_planned_for_today(merchant, order, posting):
    refund = repay(order, "40.00", at=now())
    assert not has_planned(now())
    refund.planned_for = now().date()
    db.session.commit()
    assert has_planned(now())
    drain_payment_update()
    assert db.session.get_one(Refund, refund.id).status == "new" and not has_planned(now())
