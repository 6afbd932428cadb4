"""Whom an account pays for is learned from people, and only from them (C19)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.db import db, now
from server.matching.payers import forget, known_payers
from server.matching.store import DatabaseStore
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.matching.steps import (
    ANNA,
    AT,
    assign_by_hand,
    booked,
    decisions,
    look_at_all_again,
    match_all,
    offers,
    only_assignment,
    person,
    status,
    take_back,
)

KARL = {"counterparty_name": "Karl Fremd", "counterparty_iban": "DE02100500000054540402"}
"""Pays Erika's orders from an account of his own."""


def confirm(merchant, shop, payer=KARL, **over):
    """A person has assigned a payment of this payer to an order of Erika's, or of another."""
    order = make_order(shop, total="5.00", **over)
    posting = make_posting(merchant, "5.00", needs_match=False, **payer)
    return assign_by_hand(posting, (order, "5.00"))[0]


def next_payment(merchant, shop, payer=KARL, **over):
    """An order of Erika's, and a payment for it that says nothing but the amount."""
    order = make_order(shop, total="38.47", **over)
    posting = make_posting(merchant, "38.47", "Danke", **payer)
    match_all(merchant)
    return order, posting


@pytest.mark.feature("C19")
def test_the_next_payment_of_a_known_account_needs_no_number(merchant, shop):
    unknown_order, unknown = next_payment(merchant, shop)
    assert booked(unknown) == {}
    confirm(merchant, shop)
    order = make_order(shop, total="71.30")
    posting = make_posting(merchant, "71.30", "Danke", **KARL)
    match_all(merchant)
    assert booked(posting) == {order.number: "71.30"}
    assert "payer_known" in [each["kind"] for each in decisions(posting)[-1].evidence]
    look_at_all_again(merchant)
    assert booked(unknown) == {unknown_order.number: "38.47"}


@pytest.mark.feature("C19", "S85")
def test_a_known_account_does_not_pay_for_others(merchant, shop):
    confirm(merchant, shop)
    _, posting = next_payment(merchant, shop, **person("Max", "Beispiel"))
    assert booked(posting) == {}


@pytest.mark.feature("C19")
def test_a_name_is_known_where_the_bank_tells_no_account(merchant, shop):
    confirm(merchant, shop)
    order, posting = next_payment(merchant, shop, KARL | {"counterparty_iban": None})
    assert offers(posting) == [[order.number]] or booked(posting) == {order.number: "38.47"}


@pytest.mark.feature("C19")
def test_an_account_that_pays_for_many_is_a_providers_and_tells_nothing(merchant, shop):
    for n in range(6):
        confirm(merchant, shop, **person(f"Eva{n}", "Beispiel"))
    confirm(merchant, shop)
    _, posting = next_payment(merchant, shop)
    assert booked(posting) == {}
    shared = [payer for payer in known_payers(merchant.id) if payer.is_shared]
    assert [payer.payer for payer in shared] == [KARL["counterparty_iban"], "Karl Fremd"]


@pytest.mark.feature("C19")
@pytest.mark.parametrize("times", [1, 3])
def test_what_is_forgotten_counts_no_more(merchant, shop, times):
    for _ in range(times):
        confirm(merchant, shop)
    (account, name) = known_payers(merchant.id)
    assert (account.payer, account.is_iban) == (KARL["counterparty_iban"], True)
    assert (name.payer, [paid.times for paid in name.customers]) == ("Karl Fremd", [times])
    for each in (account, name):
        forget(merchant.id, each.payer, actor=ANNA, at=now())
    db.session.commit()
    assert known_payers(merchant.id) == []
    _, posting = next_payment(merchant, shop)
    assert booked(posting) == {}


@pytest.mark.feature("C19")
def test_what_is_forgotten_may_be_learned_anew(merchant, shop):
    confirm(merchant, shop)
    for payer in KARL.values():
        forget(merchant.id, payer, actor=ANNA, at=AT)
    db.session.commit()
    order = make_order(shop, total="5.00")
    posting = make_posting(merchant, "5.00", needs_match=False, **KARL)
    assign_by_hand(posting, (order, "5.00"))
    only_assignment(order).created_at = AT + timedelta(hours=1)
    db.session.commit()
    order, posting = next_payment(merchant, shop)
    assert booked(posting) == {order.number: "38.47"}


@pytest.mark.feature("C19", "N4")
def test_what_was_undone_was_an_error_and_teaches_nothing(merchant, shop):
    take_back(confirm(merchant, shop))
    assert known_payers(merchant.id) == []
    _, posting = next_payment(merchant, shop)
    assert booked(posting) == {}


@pytest.mark.feature("C19")
def test_the_matchers_own_bookings_teach_nothing(merchant, shop):
    order = make_order(shop, total="5.00")
    paid = make_posting(merchant, "5.00", order.number, **KARL)
    match_all(merchant)
    assert booked(paid) == {order.number: "5.00"}
    assert known_payers(merchant.id) == []
    _, posting = next_payment(merchant, shop)
    assert booked(posting) == {}


@pytest.mark.feature("C19")
def test_what_another_merchant_learned_is_his_own(merchant, shop):
    bob = make_merchant("Bobs Laden")
    confirm(bob, make_shop(bob))
    _, posting = next_payment(merchant, shop)
    assert (booked(posting), known_payers(merchant.id)) == ({}, [])


@pytest.mark.feature("C19")
def test_a_customer_without_an_address_is_known_by_his_number_in_the_shop(merchant, shop):
    known = {"customer": {"number": "K-4711", "language": "de"}}
    confirm(merchant, shop, **known)
    order, posting = next_payment(merchant, shop, **known)
    assert booked(posting) == {order.number: "38.47"}


@pytest.mark.feature("C19")
def test_the_same_number_in_another_shop_is_another_customers(merchant, shop):
    known = {"customer": {"number": "K-4711", "language": "de"}}
    confirm(merchant, shop, **known)
    _, posting = next_payment(merchant, make_shop(merchant, "Zweiter Laden"), **known)
    assert booked(posting) == {}


@pytest.mark.feature("C19")
def test_an_account_that_pays_two_customers_of_one_number_in_two_shops_knows_both(merchant, shop):
    known = {"customer": {"number": "K-4711", "language": "de"}}
    other = make_shop(merchant, "Zweiter Laden")
    for each in (shop, other):
        confirm(merchant, each, **known)
        earlier = make_order(each, total="9.00", **known)
        customers = {f"number:{one.id}:K-4711" for one in (shop, other)}
        found = DatabaseStore([merchant.id]).of_customers(customers)
        assert found[f"number:{each.id}:K-4711"] == [earlier.id]
    for each, total in ((shop, "38.47"), (other, "71.30")):
        order = make_order(each, total=total, **known)
        posting = make_posting(merchant, total, "Danke", **KARL)
        match_all(merchant)
        assert booked(posting) == {order.number: total}


@pytest.mark.feature("C19", "S18")
@pytest.mark.parametrize(
    "customer",
    [{"email": "erika@example.org"}, {"number": "K-4711"}],
)
def test_a_known_payers_money_may_come_before_the_order(merchant, shop, customer):
    confirm(merchant, shop, customer=customer)
    posting = make_posting(merchant, "38.47", "Danke", **KARL)
    match_all(merchant)
    order = make_order(shop, total="38.47", customer=customer)
    match_all(merchant)
    assert (status(order), booked(posting)) == ("paid", {order.number: "38.47"})
