"""Order and posting find each other, whichever comes first (S18), also by what is added (S85)."""

from __future__ import annotations

import pytest

from server.banking.models import BankAccount, Posting
from server.banking.sharing import add_member, share_account
from server.db import db
from server.orders.models import Suggestion
from server.orders.service import NotPossible, set_additional
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.matching.steps import ANNA, AT, BOB, booked, match_all, offers, status

TERMS = {"discount_percent": "2", "discount_days": 14, "net_days": 30}


def order_then_posting(merchant, shop, order, posting):
    made = make_order(shop, **order)
    match_all(merchant)
    return made, make_posting(merchant, **posting)


def posting_then_order(merchant, shop, order, posting):
    paid = make_posting(merchant, **posting)
    match_all(merchant)
    assert paid.is_open and not paid.needs_match
    return make_order(shop, **order), paid


@pytest.mark.feature("S18")
@pytest.mark.parametrize("arrive", [order_then_posting, posting_then_order])
@pytest.mark.parametrize(
    "posting",
    [
        {"text": "Bestellung AA-70017", **BOB},
        {"text": "aa 70071"},  # a slip of the pen: name and amount confirm it
        {"text": "Rechnung RE-2026-0815", **BOB},
        {"text": "", "end_to_end_id": "AA-70017", **BOB},
        {"text": "Danke!"},  # no number at all
    ],
)
def test_either_may_arrive_first(merchant, shop, arrive, posting):
    told = {
        "number": "AA-70017",
        "total": "38.47",
        "invoices": [{"number": "RE-2026-0815", "date": "2026-03-01"}],
    }
    order, paid = arrive(merchant, shop, told, {"amount": "38.47"} | posting)
    match_all(merchant)
    assert (status(order), booked(paid)) == ("paid", {"AA-70017": f"{paid.amount:.2f}"})


@pytest.mark.feature("S18")
@pytest.mark.parametrize("arrive", [order_then_posting, posting_then_order])
def test_without_a_number_and_a_cent_short_it_is_offered(merchant, shop, arrive):
    order, paid = arrive(merchant, shop, {"total": "38.47"}, {"amount": "38.46", "text": "Danke!"})
    match_all(merchant)
    offered = db.session.query(Suggestion).filter_by(posting_id=paid.id, rank=0).one()
    assert [part["order_id"] for part in offered.orders] == [order.id]


@pytest.mark.feature("S18", "N16")
@pytest.mark.parametrize("arrive", [order_then_posting, posting_then_order])
def test_discount_without_a_number_is_offered_either_way(merchant, shop, arrive):
    told = {"total": "150.00", "payment_terms": TERMS}
    order, paid = arrive(merchant, shop, told, {"amount": "147.00", "text": "Danke!"})
    match_all(merchant)
    assert booked(paid) == {} and offers(paid) == [[order.number]]


@pytest.mark.feature("S18")
def test_an_order_that_becomes_known_later_is_suggested_where_it_is_not_sure(merchant, shop):
    posting = make_posting(merchant, "38.47", "", counterparty_name="Mustermann")
    match_all(merchant)
    assert offers(posting) == []
    order = make_order(shop, total="38.47")
    match_all(merchant)
    assert offers(posting) == [[order.number]]


@pytest.mark.feature("S18", "K50")
@pytest.mark.parametrize("text", ["AA-70017", "AA-7017", "Danke!"])
def test_on_a_shared_account_too(app, text):
    operator = make_merchant("Betreiber GmbH")
    operator.is_operator = True
    account = db.session.query(BankAccount).filter_by(merchant_id=operator.id).one()
    share_account(operator, account.id)
    anna = make_merchant(account=False)
    add_member(operator, account.id, anna.id)
    came = make_posting(operator, "38.47", text)
    match_all(operator)
    order = make_order(make_shop(anna), number="AA-70017", total="38.47")
    assert status(order) == "unpaid"
    for merchant in (anna, operator, anna):  # each rings the next one's bell
        match_all(merchant)
    copy = db.session.query(Posting).filter_by(passed_on_from_id=came.id).one()
    assert (status(order), booked(copy)) == ("paid", {"AA-70017": "38.47"})


# --- what a person adds ------------------------------------------------------------------------


def add(order, *, name=None, number=None):
    set_additional(order.merchant_id, order.id, name=name, number=number, actor=ANNA, at=AT)
    db.session.commit()


@pytest.mark.feature("S85", "S18")
@pytest.mark.parametrize("is_added_first", [True, False])
def test_an_additional_number_is_found_like_the_orders_own(merchant, shop, is_added_first):
    order = make_order(shop, total="38.47")
    if is_added_first:
        add(order, number="PRJ-2026/44")
    posting = make_posting(merchant, "38.47", "Projekt prj 2026-44", **BOB)
    match_all(merchant)
    if not is_added_first:
        assert booked(posting) == {}
        add(order, number="PRJ-2026/44")
        match_all(merchant)
    assert booked(posting) == {order.number: "38.47"}


@pytest.mark.feature("S85", "S18")
@pytest.mark.parametrize("is_added_first", [True, False])
@pytest.mark.parametrize(
    ("name", "payer"),
    [
        ("Karla Sommerfeld", "Sommerfeld, Karla"),
        ("Sommerfeld", "Sommerfeld GmbH"),
        ("Sommerfeld Bau GmbH & Co. KG", "SOMMERFELD BAU GMBH U. CO.KG"),
    ],
)
def test_an_additional_name_is_a_name_of_the_customer(merchant, shop, is_added_first, name, payer):
    order = make_order(shop, total="38.47")
    if is_added_first:
        add(order, name=name)
    posting = make_posting(merchant, "38.47", "Danke", counterparty_name=payer)
    match_all(merchant)
    if not is_added_first:
        assert booked(posting) == {}
        add(order, name=name)
        match_all(merchant)
    assert booked(posting) == {order.number: "38.47"}


@pytest.mark.feature("S85")
@pytest.mark.parametrize(
    ("name", "payer"),
    [
        ("Sommerfeld GmbH & Co. KG", "Winterberg GmbH & Co. KG"),
        ("Hausverwaltung Nord Berlin", "Wohnbau Nord Berlin"),
        ("Karla Sommerfeld", "Karla Winterberg"),
    ],
)
def test_a_company_is_not_another_one_of_the_same_form(merchant, shop, name, payer):
    add(make_order(shop, total="38.47"), name=name)
    posting = make_posting(merchant, "38.47", "Danke", counterparty_name=payer)
    match_all(merchant)
    assert booked(posting) == {}


@pytest.mark.feature("S85")
def test_what_was_taken_away_again_is_found_no_more(merchant, shop):
    order = make_order(shop, total="38.47")
    add(order, number="PRJ-2026/44", name="Kanzlei Sommerfeld")
    add(order)
    posting = make_posting(merchant, "38.47", "PRJ-2026/44", counterparty_name="Kanzlei Sommerfeld")
    match_all(merchant)
    assert booked(posting) == {}


@pytest.mark.feature("S85")
def test_additions_are_for_what_is_not_fully_paid(merchant, shop):
    order = make_order(shop, total="38.47")
    make_posting(merchant, "20.00", order.number)
    match_all(merchant)
    assert status(order) == "partially_paid"
    add(order, number="PRJ-2026/44")
    rest = make_posting(merchant, "18.47", "PRJ-2026/44", **BOB)
    match_all(merchant)
    assert (status(order), booked(rest)) == ("paid", {order.number: "18.47"})
    with pytest.raises(NotPossible, match="additional_only_while_open"):
        add(order, number="PRJ-2026/45")
