"""Many orders at once: who fits, who is left out and why; and the export of the list (K63)."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from datetime import timedelta

import pytest

from server.dashboard import export, order_bulk, order_export
from server.db import db, now
from server.mail.models import Mail
from server.orders import lifecycle, service
from server.orders.models import Order
from server.orders.tables import BOM
from tests.factories import make_merchant, make_order, make_shop
from tests.server.dashboard.test_order_pages import numbers, words
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


def recent(shop, **over) -> Order:
    at = now() - timedelta(days=1)
    return make_order(shop, at=at, ordered_at=at.isoformat(), **over)


def statuses(*orders: Order) -> list[str]:
    for order in orders:
        db.session.refresh(order)
    return [order.payment_status for order in orders]


@pytest.mark.feature("K63")
def test_a_page_says_how_many_fit_and_who_is_left_out_before_anything_is_done(merchant, shop, anna):
    one, two, paid = recent(shop), recent(shop), recent(shop)
    bob = make_order(make_shop(make_merchant("Bobs Laden")))
    service.mark_as_paid(merchant.id, paid.id, actor="x", at=now())
    db.session.commit()
    form = {"act": "cancel", "order": [one.id, two.id, paid.id, bob.id]}
    asked = anna.post("/orders/bulk", form)
    assert asked.status_code == 200
    text = words(asked)
    assert "Für 2 Bestellungen" in text and "1 bleibt außen vor" in text
    assert text.endswith("Bezahlt") or f"{paid.number} Erika Mustermann Bezahlt" in text
    assert bob.number not in asked.text
    assert statuses(one, two, paid) == ["unpaid", "unpaid", "paid"]
    done = anna.post("/orders/bulk", form | {"confirmed": "yes"})
    assert done.location == "/orders?done=bulk_cancel&n=2"
    assert statuses(one, two, paid, bob) == ["cancelled", "cancelled", "paid", "unpaid"]
    assert "2 Bestellungen storniert oder überfällig." in anna.get(done.location).text


@pytest.mark.feature("K63", "S82", "S83")
def test_nobody_is_reminded_in_a_crowd_whom_somebody_wanted_left_alone(merchant, shop, anna):
    one, blocked, silent = recent(shop), recent(shop), recent(shop, customer={"language": "de"})
    lifecycle.block_reminders(merchant.id, blocked.id, actor="x", at=now())
    db.session.commit()
    ids = [one.id, blocked.id, silent.id]
    text = words(anna.post("/orders/bulk", {"act": "send_reminder", "order": ids}))
    assert "Für 1 Bestellung" in text and "2 bleiben außen vor" in text
    assert "Mahnsperre" in text and "keine E-Mail-Adresse" in text


@pytest.mark.feature("K63")
def test_one_that_fails_never_stops_the_others_and_is_named(shop, anna):
    """No bank data: a reminder is refused for each, and each is said."""
    orders = [recent(shop) for _ in range(3)]
    form = {"act": "send_reminder", "order": [o.id for o in orders], "confirmed": "yes"}
    orders[1].customer_email = None
    db.session.commit()
    answer = anna.post("/orders/bulk", form)
    assert db.session.query(Mail).filter_by(kind="reminder").count() == 0
    page = anna.get(answer.location)
    said = words(page)
    assert "Bei diesen Bestellungen ging es nicht:" in said
    for order in (orders[0], orders[2]):
        assert f"{order.number} : Die Bankdaten sind zu alt" in said
    forged = anna.get(f"/orders?failed={orders[0].id}-x.{orders[1].id}-already_paid.7-y&failures=3")
    assert "nicht möglich" in forged.text and "ist schon bezahlt" in forged.text


@pytest.mark.feature("K63")
def test_a_fault_in_one_order_does_not_reach_the_others(shop, anna, caplog):
    orders = [recent(shop) for _ in range(3)]
    before = db.session.query(Mail).count()
    orders[1].wire = {}
    db.session.commit()
    ids = [order.id for order in orders]
    form = {"act": "send_payment_information", "order": ids, "confirmed": "yes"}
    answer = anna.post("/orders/bulk", form)
    assert "n=2" in answer.location and db.session.query(Mail).count() == before + 2
    assert f"{orders[1].number} : nicht möglich" in words(anna.get(answer.location))
    assert "failed for order" in caplog.text


@pytest.mark.feature("K63")
def test_all_of_a_filter_at_once_but_only_so_many(merchant, shop, anna, monkeypatch):
    monkeypatch.setattr(order_bulk, "MOST_AT_ONCE", 2)
    orders = [recent(shop) for _ in range(3)]
    other = recent(make_shop(merchant, "Zweiter Laden"))
    asked = anna.post(f"/orders/bulk?shop={shop.id}", {"act": "block_reminders", "all": "yes"})
    text = words(asked)
    assert "höchstens 2 Bestellungen" in text and other.number not in text
    fields = re.findall(r'name="order" value="(\d+)"', asked.text)
    assert len(fields) == 2
    anna.post("/orders/bulk", {"act": "block_reminders", "order": fields, "confirmed": "yes"})
    blocked = db.session.query(Order).filter(Order.reminders_blocked_at.is_not(None)).all()
    assert {order.id for order in blocked} == {int(one) for one in fields} < {o.id for o in orders}
    many = anna.post("/orders/bulk", {"act": "block_reminders", "order": [1, 2, 3]})
    assert many.status_code == 422


@pytest.mark.parametrize("form", [{}, {"act": "mark_as_paid"}, {"act": "cancel"}])
def test_nothing_ticked_or_nothing_known_is_said(anna, form):
    assert anna.post("/orders/bulk", form).status_code == 422


@pytest.mark.feature("K63")
def test_the_export_is_what_the_filter_shows(merchant, shop, anna):
    one = recent(shop, invoices=[{"number": "R-1", "date": None}, {"number": "R-2", "date": None}])
    two = recent(shop, payment_method="invoice", shop_status="processing")
    one.customer_name = "=cmd"
    db.session.commit()
    answer = anna.get("/orders/export.csv?code=prepayment")
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix(BOM)), delimiter=";"))
    assert len(rows) == 2 and len(rows[0]) == len(order_export.COLUMNS)
    found = dict(zip(rows[0], rows[1], strict=True))
    assert found["Nummer"] == one.number and found["Status"] == "Offen"
    assert (found["Betrag"], found["Offen"], found["Währung"]) == ("19,90", "19,90", "EUR")
    assert found["Rechnungen"] == "R-1, R-2" and found["Mahnstufe"] == "0"
    assert found["Kunde"] == "'=cmd", "a spreadsheet must not take it for a formula"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=Bestellungen-")
    everything = anna.get("/orders/export.csv").text
    assert one.number in everything and two.number in everything
    sheet = anna.get("/orders/export.xlsx?code=invoice")
    with zipfile.ZipFile(io.BytesIO(sheet.data)) as book:
        texts = book.read("xl/worksheets/sheet1.xml").decode()
    assert two.number in texts and one.number not in texts


@pytest.mark.feature("K63")
def test_the_export_is_written_in_slices_without_gaps(shop, anna, monkeypatch):
    monkeypatch.setattr(order_export, "EXPORT_SLICE", 2)
    orders = [recent(shop) for _ in range(5)]
    lines = anna.get("/orders/export.csv").text.splitlines()[1:]
    assert [line.split(";")[0] for line in lines] == [o.number for o in reversed(orders)]


def test_too_much_to_export_is_said(shop, anna, monkeypatch):
    monkeypatch.setattr(export, "MOST_ROWS", 1)
    recent(shop)
    assert anna.get("/orders/export.csv").status_code == 200
    recent(shop)
    for ending in ("csv", "xlsx"):
        answer = anna.get(f"/orders/export.{ending}")
        assert answer.status_code == 422 and 'role="alert"' in answer.text


@pytest.mark.feature("K63")
def test_the_list_says_what_comes_next(merchant, shop, anna):
    order = recent(shop)
    assert re.search(r"Erinnerung ab \d+\.\d+\.", words(anna.get("/orders")))
    lifecycle.block_reminders(merchant.id, order.id, actor="x", at=now())
    db.session.commit()
    assert "Mahnsperre" in words(anna.get("/orders")) and numbers(anna.get("/orders"))
