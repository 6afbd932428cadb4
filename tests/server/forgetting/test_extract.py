"""What is handed to a customer who asks: everything of his, nothing of others (GDPR Art. 15)."""

from __future__ import annotations

import io
import json
import zipfile
from html.parser import HTMLParser

import pytest

from server.db import db
from server.forgetting import extract
from server.forgetting.extract import Customer, orders_of_address, orders_of_number, write_extract
from server.forgetting.service import erase_personal_data
from server.mail.suppression import suppress
from server.orders.ledger import NotPossible
from server.orders.models import Order
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.forgetting.life import (
    AT_NIGHT,
    EMAIL,
    NAME,
    NUMBER,
    WANTED,
    WORDS,
    lived,
    ordered,
)
from tests.server.forgetting.search import Wanted, readings
from tests.server.life.steps import ANNA, push, pushed, send_all

BOB = Wanted("Bob Baum", "bob@example.net", "DE02500105170137075030")


@pytest.fixture
def order(merchant, shop, place):
    made = lived(merchant, shop, place / "inbox")
    other = make_order(
        shop,
        customer={"email": "bob@example.net"},
        billing_address={"first_name": "Bob", "last_name": "Baum"},
    )
    make_posting(merchant, "1.00", other.number, counterparty_name="Bob Baum",
                 counterparty_iban="DE02500105170137075030")  # fmt: skip
    return made


def unpacked(customer: Customer, language: str = "de") -> dict[str, bytes]:
    target = io.BytesIO()
    write_extract(customer, target, language=language, at=AT_NIGHT)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def customer_of(order: Order) -> Customer:
    return Customer(order.merchant_id, [order.id], EMAIL)


@pytest.mark.feature("S86")
def test_everything_of_his_is_in_it_and_nothing_of_others(order):
    files = unpacked(customer_of(order))
    text = "\n".join(one for raw in files.values() for one in readings(raw))
    assert set(WANTED.in_text(text)) == set(WORDS)
    assert BOB.in_text(text) == []
    assert ANNA not in text, "who works for the merchant is his own affair"


@pytest.mark.feature("S86")
def test_the_files_themselves_lie_beside(order):
    names = sorted(unpacked(customer_of(order)))
    folder = f"{order.id}-{order.number}"
    kinds = {name.split("/")[1] for name in names if name.startswith(f"{folder}/")}
    assert kinds == {"mails", "letters", "invoices", "proofs", "reports"}
    assert f"{folder}/invoices/R-1.pdf" in names
    assert {"customer.json", "index.html"} <= set(names)
    assert all(NAME not in name and EMAIL not in name for name in names)


@pytest.mark.feature("S86")
def test_machines_read_every_section(order):
    told = json.loads(unpacked(customer_of(order))["customer.json"])
    assert (told["version"], told["merchant"]) == (1, "Annas Antiquariat")
    (one,) = told["orders"]
    assert set(one) == {
        *("number", "files", "order_facts", "told_by_shop", "invoices", "payments", "bookings"),
        *("decisions", "credits", "mails", "letters", "claims", "deferrals"),
        *("proofs", "refunds", "cases", "history", "reports"),
    }
    assert one["payments"][0]["counterparty_name"] == NAME
    assert one["refunds"][0]["amount"] == "4.900"
    assert {event["by"] for event in one["history"]} <= {"kontor", "merchant"}
    assert [row["reason"] for row in told["blocks"]] == ["bounced"]
    assert len(told["relay"]) == 1


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]


@pytest.mark.feature("S86")
@pytest.mark.parametrize(("language", "word"), [("de", "Auskunft"), ("en", "Extract")])
def test_people_read_a_page(order, language, word):
    files = unpacked(customer_of(order), language)
    page = Page()
    page.feed(files["index.html"].decode())
    assert word in files["index.html"].decode()
    assert "table" in page.tags
    assert {"script", "img", "link"}.isdisjoint(page.tags), "nothing comes from elsewhere"
    assert set(page.links) == set(files) - {"index.html", "customer.json"}


@pytest.mark.feature("S86")
def test_what_he_typed_is_text_on_that_page(merchant, shop):
    order = make_order(shop, billing_address={"last_name": "<script>alert(1)</script>"})
    page = unpacked(customer_of(order))["index.html"].decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.feature("S86")
def test_the_same_gives_the_same(order):
    first, second = io.BytesIO(), io.BytesIO()
    for target in (first, second):
        write_extract(customer_of(order), target, language="de", at=AT_NIGHT)
    assert first.getvalue() == second.getvalue()


@pytest.mark.feature("S86")
def test_too_much_is_said_and_not_begun_to_be_sent(order, monkeypatch):
    monkeypatch.setattr(extract, "MOST_BYTES", 1_000)
    with pytest.raises(NotPossible, match="extract_too_large"):
        unpacked(customer_of(order))


@pytest.mark.feature("S86")
def test_an_order_of_somebody_else_is_not_handed_out(order):
    bob = make_merchant("Bobs Laden")
    told = json.loads(unpacked(Customer(bob.id, [order.id]))["customer.json"])
    assert told["orders"] == []


@pytest.mark.feature("S86")
def test_nothing_is_left_to_hand_out_after_the_erasure(merchant, order):
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=AT_NIGHT)
    db.session.commit()
    files = unpacked(Customer(merchant.id, [order.id], EMAIL))
    text = "\n".join(one for raw in files.values() for one in readings(raw))
    assert WANTED.in_text(text) == []


# --- who it is -----------------------------------------------------------------------------------


@pytest.mark.feature("S86")
def test_an_address_finds_orders_of_all_shops_in_any_case_and_of_before(merchant, shop):
    own = ordered(shop)
    second = ordered(make_shop(merchant, "Zweiter Laden"), customer={"email": EMAIL.upper()})
    raw, moved = pushed(shop, customer={"email": EMAIL})
    send_all(moved)
    push(shop, {**raw, "customer": {"email": "neu@example.org"}})
    make_order(shop, customer={"email": f"x{EMAIL}"})
    ordered(make_shop(make_merchant("Bobs Laden"), "Bob"))
    found = orders_of_address(merchant.id, EMAIL.title())
    assert {one.id for one in found} == {own.id, second.id, moved.id}


@pytest.mark.feature("S86")
def test_a_number_finds_exactly_that_number(merchant, shop):
    own = ordered(shop)
    make_order(shop, customer={"number": f"{NUMBER}8"})
    make_order(shop, customer={})
    assert [one.id for one in orders_of_number(merchant.id, NUMBER)] == [own.id]
    erase_personal_data(merchant.id, own.id, actor=ANNA, at=AT_NIGHT)
    assert orders_of_number(merchant.id, NUMBER) == []


@pytest.mark.feature("S86")
def test_an_address_without_orders_may_be_known(merchant):
    assert not extract.is_known(merchant.id, EMAIL)
    suppress(merchant.id, EMAIL, "manual", at=AT_NIGHT)
    db.session.commit()
    assert extract.is_known(merchant.id, EMAIL.upper())
