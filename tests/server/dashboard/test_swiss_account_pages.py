"""A Swiss account: the owner's address and the QR-IBAN are entered, checked, shown and kept."""

from __future__ import annotations

import re

import pytest

from server.banking.models import BankAccount
from server.banking.service import payees
from server.db import db
from server.mail.models import Mail
from tests.factories import IBAN, make_account, make_merchant, make_order, make_shop
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

SWISS = "CH9300762011623852957"
QR_IBAN = "CH4431999123000889012"


@pytest.fixture
def merchant(app):
    return make_merchant(account=False)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def form(**over):
    terms = {
        "iban": SWISS,
        "currency": "CHF",
        "creditor_name": "Annas Antiquariat",
        "is_payee": "1",
        "street": " Musterweg ",
        "building_number": "7",
        "postcode": "CH-8000",
        "city": "Zürich",
        "owner_country": "CH",
        "qr_iban": "CH44 3199 9123 0008 8901 2",
    }
    return terms | over


def stored() -> BankAccount:
    return db.session.query(BankAccount).one()


@pytest.mark.feature("K18", "K19")
def test_address_and_qr_iban_are_entered_and_shown(anna, merchant):
    answer = anna.post("/bank-accounts/new", form())
    assert answer.status_code == 303
    account = stored()
    assert account.qr_iban == QR_IBAN
    assert account.creditor_address == {
        "street": "Musterweg",
        "building_number": "7",
        "postcode": "8000",
        "city": "Zürich",
        "country": "CH",
    }
    (payee,) = payees(merchant.id)
    assert payee.address is not None
    assert (payee.address.name, payee.address.city) == ("Annas Antiquariat", "Zürich")
    said = words(anna.get(f"/bank-accounts/{account.id}"))
    assert "Musterweg 7, 8000 Zürich, Schweiz" in said
    assert "CH44 3199 9123 0008 8901 2" in said
    page = anna.get(f"/bank-accounts/{account.id}").text
    assert 'name="city" type="text" value="Zürich"' in page
    assert re.search(r"<details[^>]*data-swiss open>", page)


@pytest.mark.feature("K19")
def test_the_address_may_be_given_up_again(anna, merchant):
    anna.post("/bank-accounts/new", form())
    empty = dict.fromkeys(("street", "building_number", "postcode", "city", "qr_iban"), "")
    anna.post(f"/bank-accounts/{stored().id}", form(**empty))
    db.session.expire_all()
    assert (stored().creditor_address, stored().qr_iban) == ({}, None)
    assert payees(merchant.id)[0].address is None
    assert "kein Swiss QR Code" in words(anna.get(f"/bank-accounts/{stored().id}"))


@pytest.mark.feature("K19")
@pytest.mark.parametrize(
    ("over", "field", "says"),
    [
        ({"street": "x" * 71}, "street", "Höchstens 70"),
        ({"street": "Улица"}, "street", "lateinische"),
        ({"building_number": "1" * 17}, "building_number", "Höchstens 16"),
        ({"postcode": ""}, "postcode", "Postleitzahl"),
        ({"city": "  "}, "city", "Nennen Sie den Ort"),
        ({"city": "x" * 36}, "city", "höchstens 35"),
        ({"owner_country": "Schweiz"}, "owner_country", "Wählen Sie ein Land"),
        ({"creditor_name": "Анна"}, "creditor_name", "lateinischen Buchstaben"),
        ({"qr_iban": SWISS}, "qr_iban", "keine QR-IBAN"),
        ({"qr_iban": "CH00"}, "qr_iban", "keine QR-IBAN"),
        ({"qr_iban": IBAN}, "qr_iban", "keine QR-IBAN"),
    ],
)
def test_what_the_standard_does_not_take_is_said_at_its_field(anna, over, field, says):
    answer = anna.post("/bank-accounts/new", form(**over))
    assert answer.status_code == 422
    message = re.search(rf'id="{field}-error">(.*?)</p>', answer.text, re.DOTALL)
    assert message and says in message[1]
    assert re.search(r"<details[^>]*data-swiss open>", answer.text)
    assert db.session.query(BankAccount).count() == 0


def test_who_has_no_swiss_account_is_not_asked(anna, merchant):
    assert re.search(r"<details[^>]*data-swiss>", anna.get("/bank-accounts/new").text)
    account = make_account(merchant)
    assert "data-swiss" not in anna.get(f"/bank-accounts/{account.id}").text
    assert "Swiss QR" not in anna.get(f"/bank-accounts/{account.id}").text


@pytest.mark.feature("K18", "K19")
def test_the_orders_page_shows_the_code_that_the_customer_gets(anna, merchant):
    anna.post("/bank-accounts/new", form())
    address = {"last_name": "Muster", "country": "CH"}
    shop = make_shop(merchant)
    order = make_order(shop, currency="CHF", billing_address=address)
    other = make_order(shop, currency="CHF", billing_address=address)
    page = anna.get(f"/orders/{order.id}")
    assert "Swiss QR Code über" in page.text
    facts = db.session.query(Mail).filter_by(order_id=order.id).one().facts
    assert facts["payment_reference"] in words(page) and facts["iban"] in words(page)
    found = words(anna.get(f"/orders?q={facts['payment_reference'].replace(' ', '+')}"))
    assert order.number in found
    assert other.number not in found
    picture = anna.get(f"/orders/{order.id}/qr.png")
    assert picture.mimetype == "image/png" and picture.data.startswith(b"\x89PNG")
