"""Collection in a real browser: an order is handed over, its case is looked at, wide and small."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from server.db import db
from server.jobs import drain
from server.orders.models import CollectionCase
from tests.browser.conftest import PHONE, Desk
from tests.factories import make_shop
from tests.server.collection.steps import invoice_of, name_partner


@pytest.fixture
def order(merchant):
    return invoice_of(make_shop(merchant))


@pytest.mark.feature("S79", "S64", "K62")
def test_an_order_goes_to_the_partner_and_its_case_is_recorded(merchant, order, desk: Desk):
    name_partner(merchant, "folder")
    page = desk.open(f"/orders/{order.id}")
    page.get_by_text("Aktionen").first.click()
    page.get_by_role("link", name="An Inkasso übergeben").click()
    expect(page.get_by_text("Von selbst gäbe Kontor")).to_be_visible()
    page.get_by_label("Trotzdem abgeben").check()
    page.get_by_role("button", name="An Inkasso übergeben").click()
    expect(page.locator(".toast")).to_have_text("An Inkasso übergeben.")
    page.get_by_role("link", name="Inkasso-Details anzeigen").first.click()
    expect(page.get_by_text("Bis dahin erfährt niemand davon")).to_be_visible()
    page.get_by_role("button", name="Jetzt übergeben").click()
    expect(page.locator(".toast")).to_contain_text("geht jetzt an den Partner")
    drain("collection_case")
    page.reload()
    expect(page.get_by_text("Die Akte ist übergeben.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Akte").click()
    assert download.value.suggested_filename.startswith("K-")
    page.get_by_label("Stand").select_option("Angenommen")
    page.get_by_label("Notiz").fill("Az. 4711")
    page.get_by_role("button", name="Eintragen").click()
    expect(page.get_by_text("Az. 4711")).to_be_visible()
    db.session.rollback()
    assert db.session.query(CollectionCase).one().state == "accepted"
    assert desk.complaints == []


@pytest.mark.feature("K61")
def test_a_partner_is_named_on_a_phone(merchant, order, desk: Desk):
    desk.page.set_viewport_size(PHONE)
    page = desk.open("/settings/collection")
    page.get_by_label("Name des Partners").fill("Kanzlei Beispiel")
    page.get_by_label("Telefon").fill("0123 456789-0")
    page.get_by_role("radio", name="E-Mail").check()
    page.get_by_role("button", name="Speichern").click()
    expect(page.get_by_text("Das fehlt.")).to_be_visible()
    page.get_by_label("E-Mail-Adresse des Partners").fill("kanzlei@example.com")
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator(".toast")).to_contain_text("Gespeichert.")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE["width"]
    assert all("422" in one for one in desk.complaints)
