"""Postings: confirm in one click, assign, split, ignore, and all of it undone."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from sqlalchemy import select

from server.db import db
from server.orders.models import Assignment, Suggestion
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.visitor import member


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def suggest(posting, *parts, probability="0.97", rank=0, evidence=(), vetoes=()) -> Suggestion:
    row = Suggestion(
        merchant_id=posting.merchant_id,
        posting_id=posting.id,
        rank=rank,
        orders=[{"order_id": order.id, "amount": amount} for order, amount in parts],
        probability=probability,
        evidence=list(evidence),
        vetoes=list(vetoes),
    )
    db.session.add(row)
    db.session.commit()
    return row


def ground(kind: str, weight: float, **facts: str) -> dict[str, object]:
    return {"kind": kind, "weight": weight, "facts": facts, "span": None}


def booked() -> list[tuple[int, Decimal]]:
    return [(row.order_id, row.amount) for row in db.session.scalars(select(Assignment))]


def test_the_inbox_says_why_and_marks_what_was_found(merchant, shop, anna):
    order = make_order(shop)
    written = order.number.replace("-", " ").lower()
    posting = make_posting(merchant, "19.90", f"Best. {written} <danke>")
    found = ground("number", 6.5, written=written, what="order number", number=order.number)
    found["span"] = ["remittance_information", 6, 6 + len(written)]
    exact = ground("amount_exact", 2.0, amount="19.90")
    suggest(posting, (order, "19.90"), evidence=[found, exact], vetoes=["competing_posting"])
    page = anna.get("/postings").text
    assert f"<mark>{written}</mark> &lt;danke&gt;" in page
    assert "19,90\u00a0€ ist genau der offene Betrag" in page
    assert "Dafür: </span>„" in page and "(stark)" in page
    assert "Ein anderer Umsatz passt ebenso gut" in page
    assert "97\u00a0% sicher" in page


def test_a_suggestion_is_confirmed_in_one_click_and_undone_in_another(merchant, shop, anna):
    order = make_order(shop)
    posting = make_posting(merchant, "19.90", order.number)
    suggestion = suggest(posting, (order, "19.90"))
    answer = anna.post(f"/postings/{posting.id}/confirm", {"suggestion": suggestion.id})
    assert answer.status_code == 303
    assert (order.payment_status, booked()) == ("paid", [(order.id, Decimal("19.90"))])
    page = anna.get(answer.location).text
    assert "19,90\u00a0€ zugeordnet." in page
    assert "Alles zugeordnet" in page
    undo = re.search(r'action="(/postings/\d+/undo)"', page)
    assert undo
    back = anna.post(undo[1], {"assignment": "all"})
    assert order.payment_status == "unpaid" and posting.is_open
    assert "Zuordnung rückgängig gemacht." in anna.get(back.location).text


def test_a_suggestion_that_is_gone_is_said_to_be_gone(merchant, shop, anna):
    order = make_order(shop)
    posting, other = make_posting(merchant, "19.90"), make_posting(merchant, "5.00")
    suggestion = suggest(other, (order, "5.00"))
    for wanted in (suggestion.id, 99, "x", ""):
        answer = anna.post(f"/postings/{posting.id}/confirm", {"suggestion": wanted})
        assert answer.status_code == 409 and "Diesen Vorschlag gibt es nicht mehr" in answer.text
    assert booked() == []


def test_an_order_that_was_searched_is_assigned(merchant, shop, anna):
    order = make_order(shop, total="50.00")
    posting = make_posting(merchant, "60.00")
    page = anna.get(f"/postings/{posting.id}?q={order.number}").text
    assert f'name="amount-{order.id}" value="50,00"' in page
    found = anna.get(f"/postings/{posting.id}/orders?q=muster").text
    assert order.number in found and "<html" not in found
    assert "gibt es keine Bestellung" in anna.get(f"/postings/{posting.id}/orders?q=nix").text
    answer = anna.post(f"/postings/{posting.id}/assign", {f"amount-{order.id}": "50,00"})
    assert booked() == [(order.id, Decimal("50.00"))] and posting.is_open
    assert f"/postings/{posting.id}" in answer.location
    assert "noch 10,00\u00a0€ übrig" in anna.get(answer.location).text


def test_one_posting_is_split_over_several_orders(merchant, shop, anna):
    one, two, three = (make_order(shop, total=total) for total in ("10.00", "20.00", "5.00"))
    posting = make_posting(merchant, "32.00")
    page = anna.get(f"/postings/{posting.id}?order={one.id}&order={two.id}&order={three.id}").text
    proposed = dict(re.findall(r'name="amount-(\d+)" value="([\d,]+)" aria-label', page))
    assert proposed == {str(one.id): "10,00", str(two.id): "20,00", str(three.id): "2,00"}
    form = {f"amount-{one.id}": "10", f"amount-{two.id}": "20.00", f"amount-{three.id}": ""}
    anna.post(f"/postings/{posting.id}/assign", form)
    assert sorted(booked()) == [(one.id, Decimal(10)), (two.id, Decimal(20))]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("zwölf", "„zwölf“ ist kein Betrag"),
        ("-5", "größer als null"),
        ("19,91", "So viel ist von diesem Umsatz nicht übrig"),
        ("", "mindestens einen Betrag"),
        ("0", "mindestens einen Betrag"),
    ],
)
def test_amounts_that_cannot_be_booked_are_explained(merchant, shop, anna, typed, said):
    order = make_order(shop)
    posting = make_posting(merchant, "19.90")
    answer = anna.post(f"/postings/{posting.id}/assign", {f"amount-{order.id}": typed})
    assert answer.status_code == 409 and said in answer.text
    assert booked() == []


def test_orders_of_somebody_else_cannot_be_paid(merchant, anna):
    foreign = make_order(make_shop(make_merchant("Bobs Laden", account=False)))
    posting = make_posting(merchant, "19.90")
    answer = anna.post(f"/postings/{posting.id}/assign", {f"amount-{foreign.id}": "19.90"})
    assert answer.status_code == 409 and "Diese Bestellung gibt es nicht" in answer.text
    page = anna.get(f"/postings/{posting.id}?order={foreign.id}&q={foreign.number}").text
    assert f"/orders/{foreign.id}" not in page


def test_a_posting_is_ignored_and_comes_back(merchant, anna):
    posting = make_posting(merchant, "12.00", "Zinsen")
    answer = anna.post(f"/postings/{posting.id}/ignore")
    assert not posting.is_open
    assert "12,00\u00a0€ ignoriert" in anna.get(answer.location).text
    assert "Zinsen" not in anna.get("/postings").text
    assert "Zinsen" in anna.get("/postings?state=ignored").text
    anna.post(f"/postings/{posting.id}/unignore")
    assert posting.is_open and "Zinsen" in anna.get("/postings").text


def test_returns_are_shown_but_never_offered(merchant, anna):
    make_posting(merchant, "-19.90", "Rückgabe", is_return=True)
    assert "Rückgabe" not in anna.get("/postings").text
    page = anna.get("/postings?state=all").text
    assert "Rückbuchung" in page and "\u221219,90\u00a0€" in page
    assert "find-form" not in page


def test_the_list_goes_on_by_pages(merchant, anna, monkeypatch):
    monkeypatch.setattr("server.dashboard.bank_queries.POSTINGS_A_PAGE", 2)
    for number in range(5):
        make_posting(merchant, "1.00", f"Text {number}")
    seen, page = [], anna.get("/postings").text
    while True:
        seen += re.findall(r'said-short">(Text \d)<', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        if older is None:
            break
        page = anna.get(older[1].replace("&amp;", "&")).text
    assert seen == [f"Text {number}" for number in (4, 3, 2, 1, 0)]
