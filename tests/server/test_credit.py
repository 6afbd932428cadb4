"""What a customer paid too much waits for his next order."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from server.db import db
from server.merchants.service import change_setting
from server.orders.credit import (
    apply_automatically,
    apply_credit,
    credit_of,
    customer_credits,
    keep_as_credit,
    orders_with_credit,
    release_credit,
    set_credit_mode,
)
from server.orders.models import Assignment, Credit, MatchRequest
from server.orders.service import NotPossible, assign, decide_duplicate, ignore_posting
from tests.factories import make_merchant, make_order, make_posting, make_shop, wire_order
from tests.server.test_ledger import (
    ACTOR,
    AT,
    LATER,
    left,
    paid_totals,
    pay,
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


def customer(email="erika@example.org", number=None):
    told = {"language": "de"} | ({"email": email} if email else {})
    return {"customer": told | ({"number": number} if number else {})}


def keep(posting, order, at=LATER):
    credit = keep_as_credit(posting.merchant_id, posting.id, order.id, actor=ACTOR, at=at)
    db.session.commit()
    return credit


def use(posting, order):
    row = apply_credit(posting.merchant_id, order.id, posting.id, actor=ACTOR, at=LATER)
    db.session.commit()
    return row


def credit_by_itself(order):
    booked = apply_automatically(order, LATER)
    db.session.commit()
    return booked


def set_value(merchant, name, typed):
    change_setting(merchant.id, name, typed, actor=ACTOR, at=AT)
    db.session.commit()


def kept(shop, merchant, amount="10.00", at=LATER, **over):
    """A posting of an order of nobody else, all of it kept for its customer."""
    posting = make_posting(merchant, amount)
    keep(posting, make_order(shop, **(customer() | over)), at)
    return posting


def lefts(order):
    return [row.left for row in credit_of(order)]


# --- keeping -----------------------------------------------------------------------------------


@pytest.mark.feature("C12")
def test_the_rest_of_a_posting_is_kept_and_leaves_the_inbox(shop, merchant):
    order, posting = make_order(shop, total="20.00"), make_posting(merchant, "25.00")
    pay(posting, (order, "20.00"))
    assert posting.is_open
    credit = keep(posting, order)
    assert (posting.is_open, posting.needs_match, posting.is_kept) == (False, False, True)
    assert (credit.customer_email, credit.from_order_id) == ("erika@example.org", order.id)
    (row,) = customer_credits(merchant.id)
    assert (row.posting.id, row.left) == (posting.id, 5)


@pytest.mark.feature("C12")
def test_a_surplus_that_is_booked_on_the_order_is_taken_off_it_first(shop, merchant):
    order, posting = make_order(shop, total="20.00"), make_posting(merchant, "25.00")
    pay(posting, (order, "25.00"))
    keep(posting, order)
    assert (paid_totals([order.id])[order.id], left(posting)) == (20, 5)
    assert (status(order), lefts(order)) == ("paid", [5])
    assert waiting(order) == [("payment_received", "20,00\u00a0€")]


@pytest.mark.feature("C12")
def test_credit_that_is_released_is_back_in_the_inbox(shop, merchant):
    posting = kept(shop, merchant)
    db.session.query(MatchRequest).delete()
    release_credit(merchant.id, posting.id, actor=ACTOR, at=LATER)
    db.session.commit()
    assert (posting.is_open, posting.needs_match, posting.is_kept) == (True, True, False)
    assert customer_credits(merchant.id) == []
    assert db.session.query(MatchRequest).count() == 1
    with pytest.raises(NotPossible, match="credit_unknown"):
        release_credit(merchant.id, posting.id, actor=ACTOR, at=LATER)


@pytest.mark.feature("C12")
def test_what_nobody_owns_or_nothing_is_left_of_cannot_be_kept(shop, merchant):
    order = make_order(shop, total="10.00")
    used = make_posting(merchant, "10.00")
    pay(used, (order, "10.00"))
    waits = make_posting(merchant, is_pending=True, is_open=False)
    refused = [
        (make_posting(merchant), make_order(shop, **customer(email=None)), "credit_without"),
        (used, order, "credit_nothing_left"),
        (waits, order, "credit_posting_not_open"),
        (make_posting(merchant, "-5.00"), order, "credit_posting_not_open"),
        (make_posting(merchant), make_order(shop, currency="CHF"), "assign_other_currency"),
        (kept(shop, merchant), order, "posting_is_kept"),
    ]
    for posting, whose, key in refused:
        with pytest.raises(NotPossible, match=key):
            keep(posting, whose)
        db.session.rollback()


@pytest.mark.feature("C12")
def test_money_that_is_kept_is_not_given_to_others(shop, merchant):
    posting, order = kept(shop, merchant), make_order(shop)
    with pytest.raises(NotPossible, match="posting_is_kept"):
        assign(merchant.id, posting.id, [(order.id, Decimal(1))], actor=ACTOR, at=LATER)
    with pytest.raises(NotPossible, match="posting_is_kept"):
        ignore_posting(merchant.id, posting.id, actor=ACTOR, at=LATER)
    posting.duplicate_of_id = make_posting(merchant).id
    with pytest.raises(NotPossible, match="duplicate_is_assigned"):
        decide_duplicate(merchant.id, posting.id, is_same=True, actor=ACTOR, at=LATER)


# --- whose it is -------------------------------------------------------------------------------


@pytest.mark.feature("C12")
def test_a_customer_is_known_by_his_address_or_his_number_in_that_shop(shop, merchant):
    other = make_shop(merchant, "Zweiter Laden")
    kept(shop, merchant, **customer("Erika@Example.org", "K-7"))
    assert lefts(make_order(other, **customer("erika@example.org"))) == [10]
    assert lefts(make_order(shop, **customer("max@example.org", "K-7"))) == [10]
    assert lefts(make_order(other, **customer("max@example.org", "K-7"))) == []
    assert lefts(make_order(shop, **customer("max@example.org"))) == []
    assert lefts(make_order(shop, currency="CHF")) == []
    assert lefts(make_order(make_shop(make_merchant("Bobs Laden")))) == []


@pytest.mark.feature("C12")
def test_one_look_tells_which_orders_may_be_paid_from_credit(shop, merchant):
    kept(shop, merchant, **customer("erika@example.org", "K-7"))
    his = [
        make_order(shop, **customer("ERIKA@example.org")),
        make_order(shop, **customer(None, "K-7")),
    ]
    others = [make_order(shop, **customer("max@example.org", "K-8"))]
    ids = {order.id for order in his}
    assert orders_with_credit(merchant.id, ids | {order.id for order in others}) == ids
    assert all(lefts(order) for order in his)
    assert orders_with_credit(merchant.id, []) == set()
    assert orders_with_credit(make_merchant("Bobs Laden").id, ids) == set()


# --- using it ----------------------------------------------------------------------------------


@pytest.mark.feature("C12")
def test_credit_pays_an_order_as_far_as_it_reaches(shop, merchant):
    posting = kept(shop, merchant, "10.00")
    order = make_order(shop, total="12.00")
    row = use(posting, order)
    assert (row.amount, row.origin, row.decided_by) == (10, "credit", ACTOR)
    assert (status(order), left(posting), posting.is_open) == ("partially_paid", 0, False)
    assert credit_of(order) == customer_credits(merchant.id) == []
    with pytest.raises(NotPossible, match="credit_nothing_left"):
        use(posting, order)


@pytest.mark.feature("C12")
def test_what_is_left_after_an_order_is_still_credit(shop, merchant):
    posting = kept(shop, merchant, "10.00")
    order = make_order(shop, total="7.50")
    use(posting, order)
    assert (status(order), lefts(order)) == ("paid", [Decimal("2.50")])
    assert updates(order) == [("paid", "queued")]
    with pytest.raises(NotPossible, match="already_paid"):
        use(posting, order)


@pytest.mark.feature("C12", "N4")
def test_a_use_of_credit_that_is_undone_is_credit_again(shop, merchant):
    posting = kept(shop, merchant, "10.00")
    order = make_order(shop, total="10.00")
    before = (status(order), waiting(order), lefts(order), posting.is_open, posting.is_kept)
    row = use(posting, order)
    assert lefts(order) == []
    take_back(row)
    after = (status(order), waiting(order), lefts(order), posting.is_open, posting.is_kept)
    assert after == before


@pytest.mark.feature("C12", "N4")
def test_when_the_payment_itself_is_undone_all_of_it_is_in_the_inbox(shop, merchant):
    """Whose money it is is in question again, so it must not wait for his next order."""
    order, posting = make_order(shop, total="20.00"), make_posting(merchant, "25.00")
    (row,) = pay(posting, (order, "20.00"))
    keep(posting, order)
    take_back(row)
    assert (left(posting), posting.is_open, posting.is_kept) == (25, True, False)
    assert db.session.query(Credit).count() == 0


@pytest.mark.feature("C12")
def test_credit_of_another_customer_pays_nothing(shop, merchant):
    posting = kept(shop, merchant)
    with pytest.raises(NotPossible, match="credit_of_another"):
        use(posting, make_order(shop, **customer("max@example.org")))
    with pytest.raises(NotPossible, match="credit_unknown"):
        use(make_posting(merchant), make_order(shop))


# --- by itself ---------------------------------------------------------------------------------


@pytest.mark.feature("C12")
def test_the_next_order_is_paid_by_itself_if_the_merchant_wishes_so(shop, merchant):
    young = kept(shop, merchant, "6.00", at=LATER + timedelta(days=1))
    old = kept(shop, merchant, "5.00", at=LATER)
    order = make_order(shop, total="8.00")
    assert not credit_by_itself(order)  # the default: a person decides
    set_value(merchant, "credit_mode", "automatic")
    assert credit_by_itself(order)
    assert (status(order), left(old), left(young)) == ("paid", 0, 3)
    rows = db.session.query(Assignment).filter_by(order_id=order.id).order_by(Assignment.id)
    assert [(row.origin, row.decided_by) for row in rows] == [("credit", "Kontor")] * 2
    assert not credit_by_itself(order)


@pytest.mark.feature("C12")
def test_a_customer_may_be_treated_otherwise_than_the_others(shop, merchant):
    posting, other = kept(shop, merchant), kept(shop, merchant, "1.00")
    whose = kept(shop, merchant, **customer("max@example.org"))
    set_credit_mode(merchant.id, posting.id, "automatic", actor=ACTOR, at=LATER)
    db.session.commit()
    modes = {row.posting.id: row.credit.mode for row in customer_credits(merchant.id)}
    assert modes == {posting.id: "automatic", other.id: "automatic", whose.id: None}
    later = kept(shop, merchant, "2.00")  # what comes later for him follows
    assert db.session.query(Credit).filter_by(posting_id=later.id).one().mode == "automatic"
    assert credit_by_itself(make_order(shop))
    assert not credit_by_itself(make_order(shop, **customer("max@example.org")))
    set_value(merchant, "credit_mode", "automatic")
    set_credit_mode(merchant.id, whose.id, "manual", actor=ACTOR, at=LATER)
    assert not credit_by_itself(make_order(shop, **customer("max@example.org")))
    with pytest.raises(NotPossible, match="credit_mode_unknown"):
        set_credit_mode(merchant.id, whose.id, "sometimes", actor=ACTOR, at=LATER)


@pytest.mark.feature("C12")
def test_what_a_person_took_back_is_not_applied_again(shop, merchant):
    set_value(merchant, "credit_mode", "automatic")
    kept(shop, merchant)
    order = make_order(shop, total="10.00")
    assert credit_by_itself(order)
    take_back(db.session.query(Assignment).filter_by(order_id=order.id).one())
    assert not credit_by_itself(order)
    assert lefts(order) == [10]


@pytest.mark.feature("C12", "C5", "N3")
@pytest.mark.parametrize("mode", ["review", "shadow"])
def test_where_a_person_books_credit_is_not_applied_either(shop, merchant, mode):
    set_value(merchant, "credit_mode", "automatic")
    set_value(merchant, "assignment", mode)
    kept(shop, merchant)
    assert not credit_by_itself(make_order(shop))


@pytest.mark.feature("C12", "K29")
def test_what_is_paid_at_the_door_is_not_paid_from_credit(shop, merchant):
    set_value(merchant, "credit_mode", "automatic")
    kept(shop, merchant)
    raw = wire_order()
    order = make_order(shop, **(raw | {"payment_method": "cod", "shop_status": "processing"}))
    assert order.payment_code == "cash_on_delivery"
    assert not credit_by_itself(order)
