"""Payers err, pay for others, and pay several orders at once."""

from __future__ import annotations

import pytest

from server.matching.service import book_proposals
from tests.factories import make_order, make_posting, wire_order
from tests.server.matching.steps import (
    ANNA,
    AT,
    BOB,
    assign_by_hand,
    best_offer,
    booked,
    decisions,
    match_all,
    offers,
    person,
    push,
    settle_on,
    status,
    vetoes,
)

STRANGERS = [("Max", "Beispiel", "71.30"), ("Lena", "Probst", "38.52"), ("Ole", "Tamm", "19.90")]


@pytest.fixture
def order(shop):
    """Erika's, among others whose numbers are near."""
    for place, (first_name, last_name, total) in enumerate(STRANGERS):
        make_order(shop, number=f"AA-7002{place}", total=total, **person(first_name, last_name))
    return make_order(shop, number="AA-70017", total="38.47")


def pay(merchant, amount, text, **over):
    posting = make_posting(merchant, amount, text, **over)
    match_all(merchant)
    return posting


@pytest.mark.feature("K43")
@pytest.mark.parametrize(
    ("amount", "text", "over"),
    [
        ("38.47", "Bestellung AA-70071", {}),  # a typo
        ("38.47", "Bestellung AA-7017", {}),
        ("38.47", "Bestellung AA-7OO17", {}),  # read wrongly
        ("38.47", "AA-70017", BOB),  # another payer
        ("20.00", "AA-70017", {}),  # another amount
        ("45.00", "AA-70017", {}),
        ("38.47", "", {}),  # nothing is written at all
        ("38.47", "vielen Dank", {"counterparty_name": "MUSTERMANN, ERIKA U. KARL"}),
        ("38.47", "fuer Erika Mustermann AA 700 17", BOB),
    ],
)
def test_what_payers_get_wrong_is_understood(merchant, order, amount, text, over):
    posting = pay(merchant, amount, text, **over)
    assert booked(posting).keys() == {"AA-70017"}


@pytest.mark.feature("K43")
@pytest.mark.parametrize(
    ("amount", "text", "over"),
    [
        ("38.47", "Bestellung AA-70071", BOB),  # the amount only
        ("20.00", "AA-70017", BOB),  # the number only, and an amount that nobody asked for
        ("38.47", "", {"counterparty_name": "Mustermann"}),
        ("31.00", "AA-70071", {"counterparty_name": "Erika Mustermann"}),
    ],
)
def test_what_is_not_sure_is_offered_to_a_person(merchant, order, amount, text, over):
    posting = pay(merchant, amount, text, **over)
    assert (booked(posting), status(order)) == ({}, "unpaid")
    assert offers(posting)[0] == ["AA-70017"]


@pytest.mark.feature("K43")
def test_what_is_nobodys_stays_in_the_inbox(merchant, order):
    posting = pay(merchant, "12.00", "Miete", **BOB)
    assert (posting.is_open, offers(posting)) == (True, [])


# --- several orders ----------------------------------------------------------------------------

INVOICED = {
    "payment_terms": {"discount_percent": "2", "discount_days": 14, "net_days": 30},
    "invoices": [],
}


def three(shop, *totals, **over):
    """Erika's orders AA-1.. with these totals."""
    return [
        make_order(shop, number=f"AA-8{place}0{place}5", total=total, **over)
        for place, total in enumerate(totals, 1)
    ]


@pytest.mark.feature("C11", "N7")
def test_one_posting_pays_all_the_orders_that_it_names(merchant, shop):
    one, two, three_ = three(shop, "19.90", "31.20", "8.05")
    posting = pay(merchant, "59.15", f"{one.number}, {two.number} u. {three_.number}", **BOB)
    assert booked(posting) == {one.number: "19.90", two.number: "31.20", three_.number: "8.05"}
    assert [status(each) for each in (one, two, three_)] == ["paid"] * 3
    assert not posting.is_open


@pytest.mark.feature("C11", "N7")
def test_only_some_are_named_and_the_others_are_the_same_customers(merchant, shop):
    one, two, three_ = three(shop, "19.90", "31.20", "8.05")
    posting = pay(merchant, "27.95", f"{one.number} und die andere")
    assert booked(posting) == {one.number: "19.90", three_.number: "8.05"}
    assert status(two) == "unpaid"


@pytest.mark.feature("C11", "N7", "C19")
def test_none_is_named_but_the_payer_is_known(merchant, shop):
    earlier = make_order(shop, total="5.00")
    assign_by_hand(make_posting(merchant, "5.00", needs_match=False), (earlier, "5.00"))
    one, two, three_ = three(shop, "19.90", "31.20", "8.05")
    posting = pay(merchant, "51.10", "meine Bestellungen")
    assert booked(posting) == {one.number: "19.90", two.number: "31.20"}
    assert status(three_) == "unpaid"


@pytest.mark.feature("C11", "N7")
def test_none_is_named_and_the_payer_is_not_known_so_it_is_only_offered(merchant, shop):
    one, two, _ = three(shop, "19.90", "31.20", "8.05")
    posting = pay(merchant, "51.10", "meine Bestellungen")
    assert (booked(posting), offers(posting)[0]) == ({}, [one.number, two.number])
    assert vetoes(posting) == ["no_reference"]


@pytest.mark.feature("C11", "N7", "N16")
def test_each_order_of_a_sum_may_be_paid_with_its_discount(merchant, shop):
    one, two = three(shop, "100.00", "250.00", **INVOICED)
    posting = pay(merchant, "343.00", f"{one.number} {two.number}")
    assert booked(posting) == {one.number: "98.00", two.number: "245.00"}
    assert (status(one), status(two)) == ("paid", "paid")


@pytest.mark.feature("C11", "N7", "N16")
def test_discount_may_be_taken_on_one_order_only(merchant, shop):
    (one,) = three(shop, "100.00", **INVOICED)
    two = make_order(shop, number="AA-90909", total="250.00")
    posting = pay(merchant, "348.00", f"{one.number} {two.number}")
    assert booked(posting) == {one.number: "98.00", two.number: "250.00"}


@pytest.mark.feature("C11", "N7")
def test_a_credit_note_has_made_one_of_them_cheaper(merchant, shop):
    """The shop records the credit: the total is what the customer owes after it."""
    raw = wire_order(number="AA-90909", total="50.00")
    make_order(shop, **raw)
    one, _ = three(shop, "19.90", "31.20")
    posting = pay(merchant, "59.90", f"AA-90909 {one.number} abzgl. Gutschrift")
    assert booked(posting) == {}
    push(shop, raw | {"total": "40.00"})
    match_all(merchant)
    assert booked(posting) == {"AA-90909": "40.00", one.number: "19.90"}


@pytest.mark.feature("C11", "N7")
def test_where_two_sums_are_possible_nothing_is_booked(merchant, shop):
    """20 + 30 and 15 + 35: only a person can know."""
    earlier = make_order(shop, total="5.00")
    assign_by_hand(make_posting(merchant, "5.00", needs_match=False), (earlier, "5.00"))
    orders = three(shop, "20.10", "30.25", "15.05", "35.30")
    posting = pay(merchant, "50.35", "meine Bestellungen")
    assert (booked(posting), posting.is_open) == ({}, True)
    assert "not_unique" in vetoes(posting)
    numbers = [order.number for order in orders]
    assert {tuple(offer) for offer in offers(posting)[:2]} == {
        (numbers[0], numbers[1]),
        (numbers[2], numbers[3]),
    }


@pytest.mark.feature("C11", "N7", "C5")
def test_a_sum_is_proposed_in_review_and_booked_as_a_whole(merchant, shop):
    settle_on(merchant, assignment="review")
    one, two = three(shop, "100.00", "250.00", **INVOICED)
    posting = pay(merchant, "343.00", f"{one.number} {two.number}")
    assert booked(posting) == {}
    assert best_offer(posting).is_proposed
    assert book_proposals(merchant.id, [posting.id], actor=ANNA, at=AT) == 1
    assert booked(posting) == {one.number: "98.00", two.number: "245.00"}
    assert (status(one), status(two)) == ("paid", "paid")


@pytest.mark.feature("C11", "N7")
def test_named_orders_of_another_sum_are_offered_in_turn(merchant, shop):
    one, two = three(shop, "19.90", "31.20")
    posting = pay(merchant, "40.00", f"{one.number} {two.number}")
    assert (booked(posting), vetoes(posting)) == ({}, ["several_orders_named"])
    assert best_offer(posting).orders == [
        {"order_id": one.id, "amount": "19.90"},
        {"order_id": two.id, "amount": "20.10"},
    ]
    (decision,) = decisions(posting)
    assert decision.choice == "suggest"
