"""Orders that a person brings in: typed by hand, or fetched from their shop by number (K64)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import select

from server.db import db, now
from server.mail.models import Mail
from server.orders import service
from server.orders.models import Order
from server.shops.models import OrderRequest, PaymentUpdate
from tests.factories import make_merchant, make_order, make_shop
from tests.server.dashboard.test_order_pages import words
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


def typed(by, **over) -> dict[str, str]:
    values = {
        "shop": str(by.id),
        "number": "H-1",
        "ordered_on": "2026-11-20",
        "code": "invoice",
        "total": "1.249,50",
        "currency": "EUR",
        "email": "erika@example.org",
        "first_name": "Erika",
        "last_name": "Mustermann",
        "country": "AT",
        "language": "en",
        "invoice_number": "R-2026-1",
        "invoice_date": "2026-11-20",
    }
    return values | over


@pytest.mark.feature("K64")
def test_an_order_by_hand_is_asked_for_and_no_shop_hears_of_its_payment(merchant, shop, anna):
    answer = anna.post("/orders/new", typed(shop))
    order = db.session.scalars(select(Order)).one()
    assert answer.location == f"/orders/{order.id}?done=manual_created"
    assert (order.sync, order.number, order.total) == ("manual", "H-1", Decimal("1249.50"))
    assert (order.payment_code, order.language) == ("invoice", "en")
    page = words(anna.get(answer.location))
    assert "Von Hand" in page and "R-2026-1" in page and "Aus dem Shop neu lesen" not in page
    assert db.session.query(Mail).filter_by(kind="payment_information").count() == 1
    service.mark_as_paid(merchant.id, order.id, actor="x", at=now())
    db.session.commit()
    assert db.session.query(PaymentUpdate).count() == 0


@pytest.mark.feature("K64")
@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"number": " "}, "Geben Sie eine Nummer an."),
        ({"total": "viel"}, "„viel“ ist kein Betrag"),
        ({"total": "-5"}, "größer als null"),
        ({"ordered_on": "gestern"}, "Das ist kein Datum."),
        ({"ordered_on": "1990-01-01"}, "zu weit weg"),
        ({"email": "kein at"}, "Das ist keine E-Mail-Adresse."),
        ({"currency": "XXQ"}, "Nicht lesbar: currency"),
        ({"shop": "99999999"}, "Diesen Shop gibt es nicht."),
    ],
)
def test_what_cannot_be_is_said_and_nothing_typed_is_lost(shop, anna, over, said):
    answer = anna.post("/orders/new", typed(shop, **over))
    assert answer.status_code == 422 and said in words(answer)
    assert 'value="R-2026-1"' in answer.text
    assert db.session.query(Order).count() == 0


def test_a_number_is_given_once(shop, anna):
    anna.post("/orders/new", typed(shop))
    again = anna.post("/orders/new", typed(shop))
    assert again.status_code == 422 and "H-1 gibt es in diesem Shop schon." in again.text


def test_without_a_shop_the_pages_say_what_to_do_first(anna):
    for path in ("/orders/new", "/orders/import"):
        assert "Noch kein Shop" in anna.get(path).text


@pytest.mark.feature("K64")
@pytest.mark.parametrize(
    ("name", "wanted"), [("AA-17", ("AA-17", None)), ("orderid: 1234", (None, "1234"))]
)
def test_one_order_is_asked_of_its_shop_by_number_or_id(shop, anna, name, wanted):
    answer = anna.post("/orders/import", {"shop": str(shop.id), "order": name})
    assert answer.location == "/orders/import?done=order_asked"
    request = db.session.scalars(select(OrderRequest)).one()
    assert (request.number, request.external_id) == wanted
    page = anna.get(answer.location)
    assert "Der Shop wird nach der Bestellung gefragt." in page.text and "hx-trigger" in page.text


@pytest.mark.feature("K64")
def test_what_became_of_a_request_is_told_with_the_order_once_it_is_here(shop, anna):
    order = make_order(shop, number="AA-17")
    for number, outcome in (("AA-17", "found"), ("AA-18", "unknown")):
        row = OrderRequest(
            merchant_id=shop.merchant_id, shop_id=shop.id, number=number, outcome=outcome
        )
        db.session.add(row)
        row.succeed(now())
    db.session.commit()
    page = anna.get("/orders/import")
    assert f'href="/orders/{order.id}"' in page.text
    assert "Der Shop kennt keine solche Bestellung." in page.text
    assert "hx-trigger" not in page.text, "nothing is waited for"


@pytest.mark.parametrize(
    ("name", "said"), [("", "höchstens 64 Zeichen"), ("x" * 65, "höchstens 64 Zeichen")]
)
def test_a_name_that_is_none_is_said(shop, anna, name, said):
    answer = anna.post("/orders/import", {"shop": str(shop.id), "order": name})
    assert answer.status_code == 422 and said in answer.text


def test_the_shop_of_another_is_none(shop, anna):
    other = make_shop(make_merchant("Bobs Laden"))
    answer = anna.post("/orders/import", {"shop": str(other.id), "order": "AA-1"})
    assert answer.status_code == 422 and db.session.query(OrderRequest).count() == 0


def test_too_many_requests_wait_for_their_answers(shop, anna):
    for number in range(20):
        anna.post("/orders/import", {"shop": str(shop.id), "order": f"AA-{number}"})
    answer = anna.post("/orders/import", {"shop": str(shop.id), "order": "AA-99"})
    assert answer.status_code == 422 and "schon nach vielen Bestellungen gefragt" in answer.text
