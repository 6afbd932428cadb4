"""Extract and erasure on a customer's own demand (S86, GDPR Art. 15 and 17)."""

from __future__ import annotations

import io
import json
import re
import zipfile
from decimal import Decimal
from html import unescape

import pytest

from server.dashboard import customers
from server.db import db
from server.forgetting import extract
from server.mail.suppression import suppress
from server.merchants.models import SettingChange, User
from server.orders.models import Order, OrderEvent, Refund
from tests.factories import AT, make_merchant, make_order, make_shop
from tests.server.dashboard.visitor import Visitor, member

PAGE = "/settings/customers"
FIND, EXTRACT, ERASE = (f"{PAGE}/{name}" for name in ("find", "extract", "erase"))
EMAIL = "erika@example.org"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def of_erika(shop, **over):
    values = {"customer": {"email": EMAIL, "number": "K-77"}}
    return make_order(shop, **(values | over))


def words_of(answer) -> str:
    main = answer.text.split("<main")[1]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def ticked(answer) -> list[str]:
    return re.findall(r'name="order" value="(\d+)" checked', answer.text)


def members(answer) -> dict[str, bytes]:
    """The files of a download, which is over then."""
    with answer, zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.feature("S86")
@pytest.mark.parametrize("typed", [EMAIL, "ERIKA@example.ORG ", "K-77"])
def test_he_is_found_in_all_shops(anna, merchant, shop, typed):
    own = [of_erika(shop), of_erika(make_shop(merchant, "Zweiter Laden"))]
    make_order(shop, customer={"email": "bob@example.org", "number": "K-78"}, number="BOB-1")
    answer = anna.post(FIND, {"q": typed}, page=PAGE)
    said = words_of(answer)
    assert (answer.status_code, "2 Bestellungen" in said, "BOB-1" in said) == (200, True, False)
    assert "Zweiter Laden" in said
    assert sorted(ticked(answer)) == sorted(str(one.id) for one in own)


@pytest.mark.feature("S86")
def test_what_is_searched_for_stands_in_no_address(anna, shop):
    of_erika(shop)
    assert anna.get(FIND).status_code == 405
    answer = anna.post(FIND, {"q": EMAIL}, page=PAGE)
    assert EMAIL not in "".join(re.findall(r'(?:href|action)="([^"]*)"', answer.text))
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.feature("S86")
def test_nobody_is_found_and_wrong_words_are_said_so(anna, shop):
    answer = anna.post(FIND, {"q": "niemand@example.org"}, page=PAGE)
    assert (answer.status_code, "Nichts gefunden" in words_of(answer)) == (200, True)
    for typed in ("", "  ", "a@b@c", "\x00"):
        answer = anna.post(FIND, {"q": typed}, page=PAGE)
        assert answer.status_code == 422
        assert 'aria-invalid="true"' in answer.text
    for path in (EXTRACT, ERASE):
        assert anna.post(path, {"q": ""}, page=PAGE).status_code == 422


@pytest.mark.feature("S86")
def test_several_names_under_one_number_are_pointed_out(anna, merchant, shop):
    of_erika(shop)
    assert "mehrere Namen" not in words_of(anna.post(FIND, {"q": "K-77"}, page=PAGE))
    make_order(make_shop(merchant, "B"), customer={"number": "K-77"},
               billing_address={"first_name": "Bob", "last_name": "Baum"})  # fmt: skip
    assert "mehrere Namen" in words_of(anna.post(FIND, {"q": "K-77"}, page=PAGE))


@pytest.mark.feature("S86")
def test_the_extract_is_a_zip_of_what_was_ticked(anna, shop):
    first, second = of_erika(shop), of_erika(shop)
    answer = anna.post(EXTRACT, {"q": EMAIL, "order": str(first.id)}, page=PAGE)
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    assert re.search(
        r"attachment; filename=auskunft-.*\.zip", answer.headers["Content-Disposition"]
    )
    assert answer.headers["Cache-Control"] == "no-store"
    files = members(answer)
    told = json.loads(files["customer.json"])
    assert [one["number"] for one in told["orders"]] == [first.number]
    assert second.number.encode() not in files["index.html"]
    line = db.session.query(SettingChange).filter_by(name="forgotten").one()
    assert (line.value, line.changed_by) == ({"extracts": 1}, "anna@example.org")


@pytest.mark.feature("S86")
def test_the_erasure_asks_for_the_same_words_again(anna, shop):
    order = of_erika(shop)
    for typed in ("", "erika", "bob@example.org"):
        form = {"q": EMAIL, "order": str(order.id), "confirmed": typed}
        answer = anna.post(ERASE, form, page=PAGE)
        assert (answer.status_code, "Das ist nicht" in words_of(answer)) == (422, True)
        assert ticked(answer) == [str(order.id)]
    db.session.refresh(order)
    assert order.erased_at is None


@pytest.mark.feature("S86")
def test_what_was_ticked_is_erased_and_the_log_says_how_many(anna, shop):
    first, second = of_erika(shop), of_erika(shop)
    form = {"q": EMAIL, "order": str(first.id), "confirmed": EMAIL.upper()}
    answer = anna.post(ERASE, form, page=PAGE)
    assert answer.status_code == 303
    assert "Personendaten von 1 Bestellung entfernt" in anna.get(answer.location).text
    db.session.expire_all()
    assert (first.erased_at is None, second.erased_at is None) == (False, True)
    event = db.session.query(OrderEvent).filter_by(order_id=first.id, kind="erased").one()
    assert event.actor == "anna@example.org"
    log = words_of(anna.get("/settings/changes"))
    assert "Personendaten entfernt oder herausgegeben: 1 Bestellung" in log
    assert EMAIL not in log


@pytest.mark.feature("S86", "S78")
def test_what_is_under_way_is_noted_and_said(anna, merchant, shop):
    order = of_erika(shop)
    values = {"amount": Decimal(1), "currency": "EUR", "reference": "R", "status": "held"}
    db.session.add(Refund(merchant_id=merchant.id, order_id=order.id, **values))
    db.session.commit()
    form = {"q": EMAIL, "order": str(order.id), "confirmed": EMAIL}
    answer = anna.post(ERASE, form, page=PAGE)
    assert "1 Bestellung wartet noch" in anna.get(answer.location).text
    assert "wird nachts entfernt" in words_of(anna.post(FIND, {"q": EMAIL}, page=PAGE))
    history = words_of(anna.get(f"/orders/{order.id}"))
    assert "Die Personendaten sollen weg" in history
    form = {"number": order.number}
    answer = anna.post(f"/orders/{order.id}/erase", form, page=f"/orders/{order.id}/erase")
    assert (answer.status_code, "eine Rückzahlung unterwegs" in words_of(answer)) == (422, True)


@pytest.mark.feature("S86", "S10")
def test_an_address_without_orders_is_erased_and_stays_blocked(anna, merchant):
    row = suppress(merchant.id, EMAIL, "manual", at=AT, evidence="rief an")
    db.session.commit()
    assert "die Adresse kommt vor" in words_of(anna.post(FIND, {"q": EMAIL}, page=PAGE))
    told = json.loads(members(anna.post(EXTRACT, {"q": EMAIL}, page=PAGE))["customer.json"])
    assert told["blocks"][0]["evidence"] == "rief an"
    assert anna.post(ERASE, {"q": EMAIL, "confirmed": EMAIL}, page=PAGE).status_code == 303
    db.session.expire_all()
    assert (row.address, row.evidence, row.ended_at) == ("", "", None)


@pytest.mark.feature("S86")
def test_nothing_ticked_does_nothing(anna, shop):
    order = of_erika(shop)
    for path in (EXTRACT, ERASE):
        answer = anna.post(path, {"q": "K-77", "confirmed": "K-77"}, page=PAGE)
        assert (answer.status_code, "mindestens eine" in words_of(answer)) == (422, True)
    db.session.refresh(order)
    assert order.erased_at is None


@pytest.mark.feature("S86")
def test_too_large_an_extract_is_refused(anna, shop, monkeypatch):
    monkeypatch.setattr(extract, "MOST_BYTES", 10)
    monkeypatch.setattr(customers, "IN_MEMORY_BYTES", 10)
    order = of_erika(shop)
    answer = anna.post(EXTRACT, {"q": EMAIL, "order": str(order.id)}, page=PAGE)
    assert (answer.status_code, "400 MB" in words_of(answer)) == (422, True)
    assert not db.session.query(SettingChange).filter_by(name="forgotten").count()


@pytest.mark.feature("S86")
def test_more_than_fit_are_said(anna, shop, monkeypatch):
    monkeypatch.setattr(extract, "MOST_ORDERS", 1)
    of_erika(shop)
    of_erika(shop)
    answer = anna.post(FIND, {"q": EMAIL}, page=PAGE)
    assert "Es sind mehr als 1." in words_of(answer)
    assert len(ticked(answer)) == 1


@pytest.mark.feature("S86")
def test_a_stranger_finds_and_erases_nothing(app, anna, shop):
    order = of_erika(shop)
    other = make_merchant("Bobs Laden")
    bob = member(app, other, "bob@example.org")
    assert "Nichts gefunden" in words_of(bob.post(FIND, {"q": EMAIL}, page=PAGE))
    form = {"q": EMAIL, "order": str(order.id), "confirmed": EMAIL}
    assert json.loads(members(bob.post(EXTRACT, form, page=PAGE))["customer.json"])["orders"] == []
    bob.post(ERASE, form, page=PAGE)
    db.session.expire_all()
    assert db.session.get(Order, order.id).customer_email == EMAIL


@pytest.mark.feature("S86")
def test_only_administrators_and_nobody_from_outside(app, anna, shop):
    order = of_erika(shop)
    db.session.query(User).one().is_administrator = False
    db.session.commit()
    form = {"q": EMAIL, "order": str(order.id), "confirmed": EMAIL}
    assert anna.get(PAGE).status_code == 403
    assert {anna.post(path, form).status_code for path in (FIND, EXTRACT, ERASE)} == {403}
    assert Visitor(app).get(PAGE).status_code == 303
    db.session.refresh(order)
    assert order.erased_at is None
