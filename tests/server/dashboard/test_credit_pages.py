"""Credits by customer, their mode and release, overpaid orders, and both as CSV."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from sqlalchemy import select

from server.db import db
from server.merchants.service import change_setting
from server.orders import credit, service
from server.orders.models import Credit
from tests.factories import AT, make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.visitor import member

ACTOR = "anna@example.org"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def keep(merchant, shop, paid: str, owed: str = "10.00", email: str = "erika@example.org", **over):
    """A posting of which more than the order owes is kept for the customer."""
    order = make_order(shop, total=owed, customer={"email": email}, **over)
    posting = make_posting(merchant, paid, order.number, currency=order.currency)
    part = [(order.id, Decimal(owed))]
    service.assign(merchant.id, posting.id, part, actor=ACTOR, at=AT)
    credit.keep_as_credit(merchant.id, posting.id, order.id, actor=ACTOR, at=AT)
    db.session.commit()
    return order, posting


def rows_of(answer) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.text.lstrip("\ufeff")), delimiter=";"))


@pytest.mark.feature("C12")
def test_credits_stand_by_customer_with_a_sum_for_each_currency(merchant, shop, anna):
    for paid in ("12.00", "13.00"):
        keep(merchant, shop, paid)
    keep(merchant, shop, "11.00", currency="CHF")
    keep(merchant, shop, "14.00", email="max@example.org",
         billing_address={"first_name": "Max", "last_name": "Beispiel"})  # fmt: skip
    page = anna.get("/credits").text
    assert page.count('id="customer-') == 2
    assert page.index("Erika Mustermann") < page.index("Max Beispiel")
    assert "5,00\u00a0€" in page and "1,00\u00a0CHF" in page and "4,00\u00a0€" in page


def test_without_credit_the_page_says_how_there_comes_to_be_some(anna):
    page = anna.get("/credits").text
    assert "Kein Guthaben" in page and "„als Guthaben“" in page


@pytest.mark.feature("C12")
def test_the_mode_is_the_customers_in_all_his_credits(merchant, shop, anna):
    _, first = keep(merchant, shop, "12.00")
    keep(merchant, shop, "13.00")
    answer = anna.post(f"/credits/{first.id}/mode", {"mode": "automatic"})
    assert answer.status_code == 303
    assert set(db.session.scalars(select(Credit.mode))) == {"automatic"}
    assert '<option value="automatic" selected>' in anna.get("/credits").text
    anna.post(f"/credits/{first.id}/mode", {"mode": "nonsense"})
    assert set(db.session.scalars(select(Credit.mode))) == {None}
    change_setting(merchant.id, "credit_mode", "automatic", actor=ACTOR, at=AT)
    db.session.commit()
    assert "wie allgemein: wird verrechnet" in anna.get("/credits").text


def test_a_credit_is_released_and_a_second_time_refused(merchant, shop, anna):
    _, posting = keep(merchant, shop, "12.00")
    assert anna.post(f"/credits/{posting.id}/release").status_code == 303
    assert posting.is_open and not posting.is_kept
    answer = anna.post(f"/credits/{posting.id}/release")
    assert answer.status_code == 409 and "Guthaben gibt es nicht mehr" in answer.text
    assert anna.post(f"/credits/{posting.id}/mode", {"mode": "manual"}).status_code == 409


@pytest.mark.feature("C13")
def test_overpaid_orders_are_listed_and_exported(merchant, shop, anna):
    order = make_order(shop, total="19.90", billing_address={"company": "=HYPERLINK()"})
    posting = make_posting(merchant, "29.90")
    part = [(order.id, Decimal("29.90"))]
    service.assign(merchant.id, posting.id, part, actor=ACTOR, at=AT)
    make_order(shop)
    db.session.commit()
    page = anna.get("/credits").text
    assert order.number in page and "10,00\u00a0€" in page
    answer = anna.get("/credits/overpaid.csv")
    assert "attachment" in answer.headers["Content-Disposition"]
    head, line = rows_of(answer)
    found = dict(zip(head, line, strict=True))
    assert found["Bestellung"] == order.number
    assert found["Kunde"] == "'=HYPERLINK()"
    assert (found["Betrag"], found["Bezahlt"], found["Überzahlt"], found["Währung"]) == (
        "19,90", "29,90", "10,00", "EUR",
    )  # fmt: skip


@pytest.mark.feature("C13")
def test_credits_are_exported(merchant, shop, anna):
    order, _ = keep(merchant, shop, "12.00")
    head, line = rows_of(anna.get("/credits/export.csv"))
    found = dict(zip(head, line, strict=True))
    assert (found["E-Mail"], found["Aus Bestellung"]) == ("erika@example.org", order.number)
    assert (found["Umsatz"], found["Guthaben"], found["Währung"]) == ("12,00", "2,00", "EUR")
    assert found["Nächste Bestellung"] == "wartet auf Sie"
