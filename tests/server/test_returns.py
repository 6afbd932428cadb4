"""The bank took a payment back: found, offered, booked, and undone."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from server.db import db
from server.orders.ledger import Ledger
from server.orders.models import Assignment, Order, OrderEvent, Suggestion
from server.orders.returns import (
    book_return,
    find_returned,
    offer_returns,
    own_outgoings,
    undo_return,
)
from server.orders.service import NotPossible, assign, confirm_suggestion, undo
from tests.factories import make_merchant, make_order, make_posting, make_shop, make_user
from tests.server.test_credit import customer, keep, lefts, use
from tests.server.test_differences import pay_off
from tests.server.test_ledger import (
    ACTOR,
    LATER,
    apply_updates,
    left,
    mail,
    paid_totals,
    pay,
    status,
    take_back,
    updates,
    waiting,
)

CAME = date(2026, 3, 5)
WENT = date(2026, 3, 12)


@pytest.fixture
def merchant(app):
    merchant = make_merchant()
    make_user(merchant)
    return merchant


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


def make_return(merchant, amount="-19.90", text="", **over):
    values = {"is_return": True, "booking_date": WENT, "value_date": WENT}
    return make_posting(merchant, amount, text, **(values | over))


def stranger(**over):
    """Whoever pays from another account under another name."""
    return {"counterparty_name": "Max Beispiel", "counterparty_iban": "DE02100500000054540402"} | (
        over
    )


def book(back, paid, at=LATER):
    rows = book_return(back.merchant_id, back.id, paid.id, actor=ACTOR, at=at)
    db.session.commit()
    return rows


def take_return_back(back):
    rows = undo_return(back.merchant_id, back.id, actor=ACTOR, at=LATER)
    db.session.commit()
    return rows


def found_in(back):
    return [(one.posting.id, one.is_sure) for one in find_returned(back)]


# --- finding -----------------------------------------------------------------------------------


@pytest.mark.feature("C16", "N18")
def test_the_same_end_to_end_id_finds_the_payment(merchant):
    paid = make_posting(merchant, end_to_end_id="SHOP-4711-A", **stranger())
    make_posting(merchant)
    back = make_return(merchant, end_to_end_id="shop-4711-a", counterparty_iban=None)
    (first, *_) = find_returned(back)
    assert (first.posting.id, first.is_sure) == (paid.id, True)
    assert [one.kind for one in first.reasons] == ["return_end_to_end", "return_amount"]


@pytest.mark.feature("C16", "N18")
def test_an_end_to_end_id_that_says_nothing_finds_nothing(merchant):
    make_posting(merchant, end_to_end_id="NOTPROVIDED", **stranger())
    assert find_returned(make_return(merchant, end_to_end_id="NOTPROVIDED")) == []


@pytest.mark.feature("C16", "N18")
def test_the_fee_of_the_bank_is_told(merchant):
    paid = make_posting(merchant, "19.90", end_to_end_id="E2E-1")
    back = make_return(merchant, "-24.90", end_to_end_id="E2E-1")
    (one,) = find_returned(back)
    fee = next(reason for reason in one.reasons if reason.kind == "return_fee")
    assert (one.posting.id, fee.facts) == (paid.id, {"fee": "5.00", "amount": "19.90"})
    assert find_returned(make_return(merchant, "-34.91", end_to_end_id="E2E-1")) == []
    assert find_returned(make_return(merchant, "-19.89", end_to_end_id="E2E-1")) == []


@pytest.mark.feature("C16", "N18")
def test_a_number_in_the_text_finds_what_paid_that_order(shop, merchant):
    order = make_order(shop)
    paid = make_posting(merchant, **stranger())
    pay(paid, (order, "19.90"))
    text = f"Rückruf der Zahlung {order.number.lower()} durch Auftraggeber"
    back = make_return(merchant, text=text, counterparty_name=None, counterparty_iban=None)
    (one,) = find_returned(back)
    named = one.reasons[0]
    start, end = named.span
    assert (one.posting.id, one.is_sure, named.kind) == (paid.id, True, "return_reference")
    assert text[start:end] == order.number.lower()


@pytest.mark.feature("C16", "N18")
def test_two_equal_payments_of_one_payer_are_a_question(merchant):
    ids = {make_posting(merchant).id for _ in range(2)}
    back = make_return(merchant)
    assert {(one, sure) for one, sure in found_in(back)} == {(one, False) for one in ids}


@pytest.mark.feature("C16", "N18")
def test_only_what_came_before_and_still_counts_is_found(merchant):
    same = {"end_to_end_id": "E2E-1"}
    make_posting(merchant, booking_date=date(2026, 3, 20), **same)
    make_posting(merchant, booking_date=date(2025, 1, 20), **same)
    make_posting(merchant, is_pending=True, **same)
    make_posting(merchant, is_returned=True, **same)
    make_posting(merchant, currency="CHF", **same)
    make_posting(make_merchant("Bobs Laden"), **same)
    assert find_returned(make_return(merchant, **same)) == []


@pytest.mark.feature("C16", "N18")
@pytest.mark.parametrize(
    ("over", "is_one"),
    [
        ({"transaction_code": "PMNT/ICDT/RRTN"}, True),
        ({"transaction_code": "NTRF+109"}, True),
        ({"remittance_information": "RÜCKÜBERWEISUNG KONTO ERLOSCHEN"}, True),
        ({"remittance_information": "Chargeback 4711"}, True),
        ({"remittance_information": "Miete Maerz"}, False),
        # The merchant sends money back himself: a refund, which reopens nothing.
        ({"remittance_information": "Retoure, Erstattung Ihrer Bestellung"}, False),
        ({"transaction_code": "NTRF+166"}, False),
    ],
)
def test_what_counts_as_a_return(merchant, over, is_one):
    make_posting(merchant)
    back = make_return(merchant, is_return=False, **over)
    assert bool(find_returned(back)) is is_one


# --- offering ----------------------------------------------------------------------------------


@pytest.mark.feature("C16", "N18")
def test_a_return_is_offered_with_what_it_would_reopen(shop, merchant):
    order, paid = make_order(shop), make_posting(merchant)
    pay(paid, (order, "19.90"))
    back = make_return(merchant)
    assert offer_returns(merchant.id, [back, paid], LATER) == 1
    assert offer_returns(merchant.id, [back], LATER) == 1  # again: replaced, not doubled
    (offer,) = db.session.query(Suggestion)
    assert (offer.posting_id, offer.returns_id, offer.rank) == (back.id, paid.id, 0)
    assert offer.orders == [{"order_id": order.id, "amount": "19.90"}]
    kinds = [one["kind"] for one in offer.evidence]
    assert kinds == ["return_iban", "return_amount", "return_name"]
    assert all(one.keys() == {"kind", "weight", "facts", "span"} for one in offer.evidence)
    assert offer.probability > Decimal("0.9")
    with pytest.raises(NotPossible, match="suggestion_gone"):
        confirm_suggestion(merchant.id, offer.id, actor=ACTOR, at=LATER)


@pytest.mark.feature("C16", "N18")
def test_what_is_decided_or_ignored_is_not_offered(merchant):
    paid = make_posting(merchant)
    back = make_return(merchant)
    book(back, paid)
    ignored = make_return(merchant, ignored_at=LATER, ignored_because="person")
    other = make_return(make_merchant("Bobs Laden"))
    assert offer_returns(merchant.id, [back, ignored, other], LATER) == 0
    assert db.session.query(Suggestion).count() == 0


# --- booking -----------------------------------------------------------------------------------


@pytest.mark.feature("C16", "N18")
def test_a_return_opens_the_order_and_tells_shop_and_merchant(shop, merchant):
    order, paid = make_order(shop), make_posting(merchant)
    (row,) = pay(paid, (order, "19.90"))
    apply_updates(shop)
    back = make_return(merchant, return_reason="AC04")
    (reversal,) = book(back, paid)
    assert (reversal.reverses_id, reversal.origin, reversal.amount) == (
        row.id,
        "return",
        Decimal("-19.90"),
    )
    assert (status(order), back.returns_id, paid.is_returned) == ("unpaid", paid.id, True)
    assert not paid.is_open and not paid.needs_match
    assert updates(order) == [("paid", "done"), ("unpaid", "queued")]
    assert mail(order, "payment_received").status == "withheld"
    told = mail(order, "payment_returned")
    assert (told.recipient, told.facts["shop_told"]) == (ACTOR, "yes")
    facts = [e.facts for e in db.session.query(OrderEvent).filter_by(kind="payment_returned")]
    assert facts == [{"amount": "19.90", "posting_id": back.id, "reason": "AC04"}]
    with pytest.raises(NotPossible, match="already_undone"):
        undo(merchant.id, row.id, actor=ACTOR, at=LATER)


@pytest.mark.feature("C16", "N18")
def test_a_payment_of_several_orders_is_taken_off_all_of_them(shop, merchant):
    first, second = make_order(shop, total="12.00"), make_order(shop, total="8.50")
    paid = make_posting(merchant, "20.00")
    pay(paid, (first, "12.00"))
    pay_off(paid, second, "8.00", "goodwill")
    assert (status(first), status(second)) == ("paid", "paid")
    back = make_return(merchant, "-20.00")
    assert len(book(back, paid)) == 2
    assert (status(first), status(second), left(paid)) == ("unpaid", "unpaid", 20)
    assert set(paid_totals([first.id, second.id]).values()) == {0}


@pytest.mark.feature("C16", "N18")
def test_an_unassigned_payment_only_leaves_the_inbox(merchant):
    paid, back = make_posting(merchant), make_return(merchant)
    assert book(back, paid) == []
    assert (paid.is_open, paid.is_assigned, paid.is_returned) == (False, False, True)
    with pytest.raises(NotPossible, match="posting_is_returned"):
        assign(merchant.id, paid.id, [(1, Decimal(1))], actor=ACTOR, at=LATER)
    take_return_back(back)
    assert (paid.is_open, paid.needs_match, back.returns_id) == (True, True, None)
    assert db.session.query(Suggestion).one().returns_id == paid.id  # asked again


@pytest.mark.feature("C16", "N18")
def test_what_cannot_be_a_return_is_refused(merchant):
    paid, back = make_posting(merchant), make_return(merchant)
    theirs = make_posting(make_merchant("Bobs Laden"))
    refused = [
        (paid, back, "return_wrong_direction"),
        (back, theirs, "posting_unknown"),
        (back, make_posting(merchant, currency="CHF"), "return_other_currency"),
        (back, make_posting(merchant, "20.00"), "return_other_amount"),
        (make_return(merchant, "-70.00"), paid, "return_other_amount"),
        (back, make_posting(merchant, is_pending=True), "assign_posting_not_final"),
    ]
    for one, other, key in refused:
        with pytest.raises(NotPossible, match=key):
            book(one, other)
        db.session.rollback()
    book(back, paid)
    for one, other in [(back, make_posting(merchant)), (make_return(merchant), paid)]:
        with pytest.raises(NotPossible, match="return_already_booked"):
            book(one, other)
        db.session.rollback()


# --- undone ------------------------------------------------------------------------------------


def state(order, paid):
    """What must be as before; queued mails and updates stand for what will leave the house."""
    db.session.expire_all()
    rows = Ledger([order.id]).standing(order.id)
    return (
        status(order),
        [(row.posting_id, row.amount, row.origin, row.because) for row in rows],
        waiting(order),
        [update for update in updates(order) if update[1] == "queued"],
        (left(paid), paid.is_open, paid.is_assigned, paid.is_returned, paid.is_kept),
    )


@pytest.mark.feature("N4", "N18")
def test_a_return_that_is_undone_leaves_everything_as_it_was(shop, merchant):
    order, paid = make_order(shop, total="20.00"), make_posting(merchant)
    pay_off(paid, order, "19.90", "bank_fee")
    before = state(order, paid)
    back = make_return(merchant)
    for _ in range(2):  # and once more
        book(back, paid)
        assert status(order) == "unpaid"
        take_return_back(back)
        assert state(order, paid) == before
    with pytest.raises(NotPossible, match="return_unknown"):
        take_return_back(back)


@pytest.mark.feature("N4", "N18")
def test_only_what_the_return_took_stands_again(shop, merchant):
    """What a person had undone before, and what he undoes after, stays undone."""
    order, other = make_order(shop), make_order(shop, total="5.00")
    paid = make_posting(merchant, "24.90")
    (wrong,) = pay(paid, (other, "5.00"))
    take_back(wrong)
    pay(paid, (order, "19.90"))
    back = make_return(merchant, "-24.90")
    book(back, paid)
    (again,) = take_return_back(back)
    assert (status(order), status(other), again.order_id) == ("paid", "unpaid", order.id)
    take_back(again)
    book(back, paid)
    assert take_return_back(back) == []
    assert (status(order), left(paid)) == ("unpaid", Decimal("24.90"))


@pytest.mark.feature("N18", "C12")
def test_a_return_takes_back_what_was_paid_from_credit(shop, merchant):
    order, paid = make_order(shop, total="20.00"), make_posting(merchant, "30.00")
    pay(paid, (order, "20.00"))
    keep(paid, order)
    later = make_order(shop, total="6.00", **customer())
    use(paid, later)
    assert lefts(order) == [4]
    back = make_return(merchant, "-30.00")
    book(back, paid)
    assert (status(order), status(later), lefts(order)) == ("unpaid", "unpaid", [])
    take_return_back(back)
    assert (status(order), status(later), lefts(order)) == ("paid", "paid", [4])
    assert not paid.is_open


@pytest.mark.feature("N4", "N18")
def test_a_part_that_was_read_of_is_not_asked_for_in_full_again(shop, merchant):
    order, paid = make_order(shop, total="30.00"), make_posting(merchant)
    pay(paid, (order, "19.90"))
    mail(order, "partially_paid").succeed(LATER)
    db.session.commit()
    back = make_return(merchant)
    book(back, paid)
    assert "payment_information" in [kind for kind, _ in waiting(order)]
    take_return_back(back)
    assert (status(order), waiting(order)) == ("partially_paid", [])


@pytest.mark.feature("N18")
def test_a_customer_who_has_read_our_thanks_is_not_thanked_again(shop, merchant):
    order, paid = make_order(shop), make_posting(merchant)
    pay(paid, (order, "19.90"))
    mail(order, "payment_received").succeed(LATER)
    db.session.commit()
    back = make_return(merchant)
    book(back, paid)
    take_return_back(back)
    assert waiting(order) == []


# --- our own refunds that come back ------------------------------------------------------------


@pytest.mark.feature("C16", "N18")
def test_a_refund_of_ours_that_comes_back_is_recognised(merchant):
    sent = make_posting(merchant, "-50.00", end_to_end_id="REFUND-1", booking_date=CAME)
    other = make_posting(merchant, "-50.00", end_to_end_id="REFUND-2", **stranger())
    same_id = make_posting(
        merchant, "48.50", end_to_end_id="refund-1", booking_date=WENT, **stranger()
    )
    marked = make_return(merchant, "50.00", "KONTO ERLOSCHEN")
    customers = make_posting(merchant, "50.00", "AA-10037", booking_date=WENT)
    before = make_posting(
        merchant, "50.00", end_to_end_id="REFUND-2", booking_date=date(2026, 3, 1)
    )
    everything = [same_id, marked, customers, before, sent, other]
    found = own_outgoings(merchant.id, everything)
    assert dict.fromkeys((same_id.id, marked.id), sent.id) == {
        one: posting.id for one, posting in found.items()
    }


def test_orders_and_rows_stay_with_their_merchant(shop, merchant):
    order, paid = make_order(shop), make_posting(merchant)
    pay(paid, (order, "19.90"))
    back = make_return(merchant)
    with pytest.raises(NotPossible, match="posting_unknown"):
        book_return(make_merchant("Bobs Laden").id, back.id, paid.id, actor=ACTOR, at=LATER)
    assert db.session.query(Assignment).count() == 1
    assert db.session.query(Order).one().payment_status == "paid"
