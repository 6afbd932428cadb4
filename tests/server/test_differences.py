"""A little is missing, and the order is paid all the same: tolerance, fees, discount, goodwill."""

from __future__ import annotations

from decimal import Decimal

import pytest

from server.db import db
from server.merchants.service import change_setting
from server.orders.ledger import Ledger
from server.orders.models import Assignment, Order, OrderEvent, Suggestion
from server.orders.service import (
    NotPossible,
    assign,
    confirm_suggestion,
    mark_as_paid,
    move_surplus,
    undo,
)
from tests.factories import make_merchant, make_order, make_posting, make_shop, wire_order
from tests.server.test_ledger import (
    ACTOR,
    AT,
    LATER,
    left,
    mail,
    paid_totals,
    pay,
    push,
    status,
    take_back,
    updates,
    waiting,
)


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


def set_value(merchant, name, typed, shop=None):
    shop_id = shop.id if shop else None
    change_setting(merchant.id, name, typed, actor=ACTOR, at=AT, shop_id=shop_id)
    db.session.commit()


def pay_off(posting, order, amount, because):
    """Assign the amount, and book the rest away."""
    part = [(order.id, Decimal(amount))]
    rows = assign(
        posting.merchant_id,
        posting.id,
        part,
        actor=ACTOR,
        at=LATER,
        differences={order.id: because},
    )
    db.session.commit()
    return rows[0]


def ledger(order):
    """(amount, origin, because) of every row of the order."""
    rows = db.session.query(Assignment).filter_by(order_id=order.id).order_by(Assignment.id)
    return [(row.amount, row.origin, row.because) for row in rows]


def events(order):
    rows = db.session.query(OrderEvent).filter_by(order_id=order.id).order_by(OrderEvent.id)
    return [(row.kind, row.facts) for row in rows]


# --- by itself ---------------------------------------------------------------------------------


@pytest.mark.feature("K21", "C7")
def test_a_cent_is_not_asked_for(shop, merchant):
    order, posting = make_order(shop, total="20.00"), make_posting(merchant, "19.99")
    pay(posting, (order, "19.99"))
    assert status(order) == "paid"
    assert ledger(order) == [
        (Decimal("19.99"), "person", None),
        (Decimal("0.01"), "difference", "tolerance"),
    ]
    assert waiting(order) == [("payment_received", "19,99\u00a0€")]
    assert ("difference_booked", {"amount": "0.01", "because": "tolerance"}) in events(order)


@pytest.mark.feature("K21")
@pytest.mark.parametrize(
    ("amount", "paid", "told"),
    [
        ("19.94", "paid", "payment_received"),
        ("19.93", "partially_paid", "partially_paid"),
        ("20.04", "paid", "payment_received"),
        ("20.05", "paid", "overpaid"),
    ],
)
def test_the_allowed_deviation_counts_up_and_down(shop, merchant, amount, paid, told):
    """The example of the specification: 19.99 due, 5 cents allowed."""
    set_value(merchant, "tolerance_cents", "5")
    order = make_order(shop, total="19.99")
    pay(make_posting(merchant, amount), (order, amount))
    assert (status(order), [kind for kind, _ in waiting(order)]) == (paid, [told])


@pytest.mark.feature("K21", "S43")
def test_each_shop_has_its_own_tolerance_even_in_one_posting(shop, merchant):
    other = make_shop(merchant, "Zweiter Laden")
    set_value(merchant, "tolerance_cents", "0")
    set_value(merchant, "tolerance_cents", "100", other)
    strict, lax = make_order(shop, total="10.00"), make_order(other, total="10.00")
    pay(make_posting(merchant, "20.00"), (strict, "9.99"), (lax, "9.01"))
    assert (status(strict), status(lax)) == ("partially_paid", "paid")


@pytest.mark.feature("K21")
def test_nothing_at_all_is_never_within_the_tolerance(shop, merchant):
    set_value(merchant, "tolerance_cents", "500")
    order = make_order(shop, total="3.00")
    assert status(order) == "unpaid"


# --- by a person -------------------------------------------------------------------------------


@pytest.mark.feature("C7", "K30")
@pytest.mark.parametrize("because", ["bank_fee", "discount", "goodwill", "other", "tolerance"])
def test_a_person_says_why_the_rest_is_not_asked_for(shop, merchant, because):
    order = make_order(shop, total="100.00")
    row = pay_off(make_posting(merchant, "95.00"), order, "95.00", because)
    assert status(order) == "paid"
    assert paid_totals([order.id])[order.id] == 100
    first, second = db.session.query(Assignment).order_by(Assignment.id)
    assert (first.id, second.completes_id, second.posting_id) == (row.id, row.id, None)
    assert (second.amount, second.because, second.decided_by) == (5, because, ACTOR)
    assert updates(order) == [("paid", "queued")]
    facts = mail(order, "payment_received").facts
    assert facts["received_total"] == "95,00\u00a0€"
    assert [one["amount"] for one in facts["payments"]] == ["95,00\u00a0€"]


@pytest.mark.feature("C7")
def test_an_unknown_reason_is_refused(shop, merchant):
    order, posting = make_order(shop), make_posting(merchant, "10.00")
    with pytest.raises(NotPossible, match="difference_reason_unknown"):
        pay_off(posting, order, "10.00", "mood")
    db.session.rollback()
    assert ledger(order) == []


@pytest.mark.feature("C7")
def test_where_nothing_is_missing_a_reason_books_nothing(shop, merchant):
    order = make_order(shop, total="10.00")
    pay_off(make_posting(merchant, "10.00"), order, "10.00", "discount")
    assert ledger(order) == [(10, "person", None)]


@pytest.mark.feature("C7", "N16")
def test_a_suggestion_may_carry_its_reason(shop, merchant):
    order, posting = make_order(shop, total="100.00"), make_posting(merchant, "98.00")
    suggestion = Suggestion(
        merchant_id=merchant.id,
        posting_id=posting.id,
        rank=0,
        orders=[{"order_id": order.id, "amount": "98.00", "because": "discount"}],
        probability=Decimal("0.9"),
    )
    db.session.add(suggestion)
    db.session.commit()
    confirm_suggestion(merchant.id, suggestion.id, actor=ACTOR, at=LATER)
    db.session.commit()
    assert ledger(order)[1] == (2, "difference", "discount")


# --- undone ------------------------------------------------------------------------------------


@pytest.mark.feature("N4", "C7")
def test_an_undo_takes_the_difference_with_it(shop, merchant):
    order, posting = make_order(shop, total="100.00"), make_posting(merchant, "98.00")
    before = waiting(order)
    row = pay_off(posting, order, "98.00", "discount")
    take_back(row)
    assert [amount for amount, _, _ in ledger(order)] == [98, 2, -98, -2]
    assert (status(order), left(posting), waiting(order)) == ("unpaid", 98, before)
    row = pay_off(posting, order, "98.00", "goodwill")
    assert (status(order), Ledger([order.id]).standing(order.id)[-1].because) == (
        "paid",
        "goodwill",
    )


@pytest.mark.feature("N4", "C7")
def test_the_difference_alone_is_undone_and_the_rest_is_asked_for(shop, merchant):
    order, posting = make_order(shop, total="100.00"), make_posting(merchant, "98.00")
    row = pay_off(posting, order, "98.00", "discount")
    difference = db.session.query(Assignment).filter_by(completes_id=row.id).one()
    take_back(difference)
    assert (status(order), left(posting)) == ("partially_paid", 0)
    assert updates(order)[-1] == ("partially_paid", "queued")
    with pytest.raises(NotPossible, match="already_undone"):
        undo(merchant.id, difference.id, actor=ACTOR, at=LATER)
    db.session.rollback()
    take_back(row)  # its difference is gone already
    assert (status(order), paid_totals([order.id])[order.id]) == ("unpaid", 0)


@pytest.mark.feature("C7")
def test_an_undone_first_part_leaves_the_difference_of_the_second(shop, merchant):
    order = make_order(shop, total="100.00")
    (first,) = pay(make_posting(merchant, "50.00"), (order, "50.00"))
    pay_off(make_posting(merchant, "48.00"), order, "48.00", "discount")
    take_back(first)
    assert (status(order), paid_totals([order.id])[order.id]) == ("partially_paid", 50)


# --- a difference is no money ------------------------------------------------------------------


@pytest.mark.feature("C7")
def test_the_missing_rest_that_comes_after_all_is_no_surplus(shop, merchant):
    order = make_order(shop, total="100.00")
    pay_off(make_posting(merchant, "98.00"), order, "98.00", "goodwill")
    late = make_posting(merchant, "2.00")
    (row,) = pay(late, (order, "2.00"))
    assert Ledger([order.id]).surplus(order) == 0
    assert mail(order, "overpaid") is None
    take_back(row)
    assert (status(order), left(late)) == ("paid", 2)


@pytest.mark.feature("C7", "K3")
def test_a_total_that_drops_to_what_was_paid_is_no_surplus(shop, merchant):
    raw = wire_order(total="100.00")
    push(shop, raw, AT)
    order = db.session.query(Order).one()
    pay_off(make_posting(merchant, "98.00"), order, "98.00", "discount")
    push(shop, raw | {"total": "98.00"})
    assert (status(order), Ledger([order.id]).surplus(order)) == ("paid", 0)


# --- a surplus pays another order --------------------------------------------------------------


def move(source, target, amount=None):
    rows = move_surplus(
        source.merchant_id,
        source.id,
        target.id,
        actor=ACTOR,
        at=LATER,
        amount=Decimal(amount) if amount else None,
    )
    db.session.commit()
    return rows


@pytest.mark.feature("C13")
def test_a_surplus_pays_another_order(shop, merchant):
    source, target = make_order(shop, total="20.00"), make_order(shop, total="8.00")
    posting = make_posting(merchant, "30.00")
    pay(posting, (source, "30.00"))
    (row,) = move(source, target)
    assert (row.amount, row.posting_id, row.origin) == (8, posting.id, "person")
    assert (status(source), status(target), left(posting)) == ("paid", "paid", 0)
    totals = paid_totals([source.id, target.id])
    assert totals == {source.id: 22, target.id: 8}
    assert waiting(source) == [("overpaid", "22,00\u00a0€")]
    assert waiting(target) == [("payment_received", "8,00\u00a0€")]
    assert ("surplus_moved", _moved("8.00", target)) in events(source)
    assert ("surplus_received", _moved("8.00", source)) in events(target)
    take_back(row)
    assert (status(target), left(posting)) == ("unpaid", 8)


def _moved(amount, order):
    return {"amount": amount, "order_id": order.id, "number": order.number}


@pytest.mark.feature("C13")
def test_the_newest_payments_are_taken_first(shop, merchant):
    source, target = make_order(shop, total="20.00"), make_order(shop, total="50.00")
    old, new = make_posting(merchant, "25.00"), make_posting(merchant, "10.00")
    pay(old, (source, "25.00"))
    pay(new, (source, "10.00"))
    rows = move(source, target, "12.00")
    assert {row.posting_id: row.amount for row in rows} == {new.id: 10, old.id: 2}
    assert paid_totals([source.id])[source.id] == 23
    assert (left(old), left(new)) == (0, 0)


@pytest.mark.feature("C13")
def test_a_customer_who_was_not_told_of_the_surplus_is_simply_thanked(shop, merchant):
    source, target = make_order(shop, total="20.00"), make_order(shop, total="10.00")
    pay(make_posting(merchant, "30.00"), (source, "30.00"))
    move(source, target)
    assert waiting(source) == [("payment_received", "20,00\u00a0€")]


@pytest.mark.feature("C13")
def test_what_cannot_be_moved_is_refused(shop, merchant):
    source, target = make_order(shop, total="20.00"), make_order(shop, total="8.00")
    with pytest.raises(NotPossible, match="move_no_surplus"):
        move(source, target)
    pay(make_posting(merchant, "30.00"), (source, "30.00"))
    francs = make_order(shop, total="8.00", currency="CHF")
    refused = [
        (source, source, None, "move_same_order"),
        (source, francs, None, "assign_other_currency"),
        (source, target, "10.01", "move_more_than_surplus"),
        (source, target, "-1.00", "assign_amount_not_positive"),
    ]
    for one, other, amount, key in refused:
        with pytest.raises(NotPossible, match=key):
            move(one, other, amount)
        db.session.rollback()
    mark_as_paid(merchant.id, target.id, actor=ACTOR, at=LATER)
    db.session.commit()
    with pytest.raises(NotPossible, match="already_paid"):
        move(source, target)
    db.session.rollback()
    stranger = make_order(make_shop(make_merchant("Bobs Laden")))
    with pytest.raises(NotPossible, match="order_unknown"):
        move(source, stranger)
