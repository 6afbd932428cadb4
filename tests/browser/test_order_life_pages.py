"""One order and many in a real browser: the menu, questions, ticks, an order by hand, the phone."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from server.db import db, now
from server.orders import claims
from server.orders.models import Order
from tests.factories import make_order, make_shop, today


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


def recent(shop, **over) -> Order:
    at = now() - timedelta(days=1)
    return make_order(shop, at=at, ordered_at=at.isoformat(), **over)


def status_of(order: Order) -> str:
    db.session.expire_all()
    return str(db.session.get_one(Order, order.id).payment_status)


@pytest.mark.feature("S56", "S81", "S82")
def test_the_menu_asks_before_it_ends_an_order_and_takes_it_back_at_once(shop, desk):
    order = recent(shop)
    page = desk.open(f"/orders/{order.id}")
    menu = page.locator("details.actions")
    menu.locator("summary").click()
    page.get_by_role("link", name="Stornieren …").click()
    expect(page.get_by_role("heading", name=f"{order.number} stornieren?")).to_be_visible()
    assert status_of(order) == "unpaid"
    page.get_by_role("button", name="Stornieren").click()
    expect(page.locator(".toast")).to_contain_text("zurücknehmen")
    assert status_of(order) == "cancelled"
    menu.locator("summary").click()
    page.keyboard.press("Escape")
    expect(menu).not_to_have_attribute("open", "")
    menu.locator("summary").click()
    page.get_by_role("button", name="Stornierung zurücknehmen").click()
    expect(page.locator(".toast")).to_have_text("Wieder offen.")
    assert status_of(order) == "unpaid"
    menu.locator("summary").click()
    page.get_by_role("button", name="Mahnsperre setzen").click()
    expect(page.locator(".head .mark")).to_have_text("Mahnsperre")
    assert desk.complaints == []


@pytest.mark.feature("K63")
def test_many_are_ticked_by_mouse_and_keys_and_asked_about(shop, desk):
    orders = [recent(shop) for _ in range(3)]
    page = desk.open("/orders")
    bar = page.locator("#bulk-bar")
    expect(bar).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(bar).to_contain_text("1 ausgewählt")
    page.locator("[data-tick-all]").check()
    expect(bar).to_contain_text("3 ausgewählt")
    bar.get_by_role("button", name="Mahnsperre").click()
    expect(page.get_by_role("heading", name="Für 3 Bestellungen")).to_be_visible()
    page.get_by_role("button", name="Mahnsperre für 3 setzen").click()
    expect(page.locator(".toast")).to_have_text("Mahnsperre für 3 Bestellungen gesetzt.")
    db.session.expire_all()
    rows = [db.session.get_one(Order, order.id) for order in orders]
    assert all(row.reminders_blocked_at for row in rows)
    assert desk.complaints == []


@pytest.mark.feature("K64")
def test_an_order_is_typed_by_hand(shop, desk):
    page = desk.open("/orders")
    page.get_by_text("Aktionen", exact=True).click()
    page.get_by_role("link", name="Bestellung von Hand anlegen …").click()
    page.get_by_label("Nummer", exact=True).fill("H-7")
    page.get_by_label("Betrag").fill("nichts")
    page.get_by_label("E-Mail").fill("erika@example.org")
    page.get_by_label("Nachname").fill("Mustermann")
    page.get_by_role("button", name="Anlegen").click()
    expect(page.get_by_text("„nichts“ ist kein Betrag")).to_be_visible()
    expect(page.get_by_label("Nachname")).to_have_value("Mustermann")
    page.get_by_label("Betrag").fill("48,00")
    page.get_by_role("button", name="Anlegen").click()
    expect(page.get_by_role("heading", name="H-7")).to_be_visible()
    expect(page.locator(".head .mark")).to_have_text("Von Hand")
    assert [one for one in desk.complaints if "422" not in one] == []


@pytest.mark.feature("S61")
def test_a_proof_is_downloaded_and_nothing_is_too_wide_for_a_phone(shop, phone):
    order = recent(shop, payment_method="invoice", shop_status="processing")
    proof = claims.ProofFile("Beleg.pdf", b"%PDF-1.7 proof")
    claims.claim_paid(order, paid_on=today(), message="Am Montag", proof=proof, at=now())
    db.session.commit()
    page = phone.open(f"/orders/{order.id}")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Beleg.pdf").click()
    assert saved.value.suggested_filename == "Beleg.pdf"
    paths = ["", "/edit", "/base-date", "/erase", "/cancel", "/send-reminder"]
    for path in [f"/orders/{order.id}{one}" for one in paths] + ["/orders", "/orders/new"]:
        page = phone.open(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not page.evaluate(too_wide), path
    page = phone.open(f"/orders/{order.id}")
    page.locator("details.actions > summary").click()
    last = page.get_by_role("link", name=re.compile("^Personendaten"))
    last.scroll_into_view_if_needed()
    expect(last).to_be_in_viewport()
    assert phone.complaints == []
