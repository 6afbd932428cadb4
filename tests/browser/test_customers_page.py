"""A customer asks for his data, and then to be removed: in a real browser, also on a phone."""

from __future__ import annotations

import json
import zipfile

import pytest
from playwright.sync_api import expect

from server.db import db
from tests.factories import make_order, make_shop

EMAIL = "erika@example.org"


@pytest.mark.feature("S86")
def test_an_extract_is_downloaded_and_the_person_removed(merchant, desk):
    shop = make_shop(merchant)
    kept, gone = make_order(shop), make_order(shop)
    page = desk.open("/settings/customers")
    page.get_by_label("E-Mail-Adresse oder Kundennummer").fill(EMAIL)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="2 Bestellungen")).to_be_visible()
    page.get_by_role("checkbox", name=kept.number).uncheck()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Auskunft herunterladen").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        told = json.loads(archive.read("customer.json"))
    assert [one["number"] for one in told["orders"]] == [gone.number]
    page.get_by_label(f"Zur Bestätigung „{EMAIL}“").fill("bob@example.org")
    page.get_by_role("button", name="Personendaten entfernen").click()
    expect(page.get_by_text("Das ist nicht „erika@example.org“.")).to_be_visible()
    expect(page.get_by_role("checkbox", name=kept.number)).not_to_be_checked()
    page.get_by_label(f"Zur Bestätigung „{EMAIL}“").fill(EMAIL)
    page.get_by_role("button", name="Personendaten entfernen").click()
    expect(page.locator(".toast")).to_have_text("Personendaten von 1 Bestellung entfernt.")
    assert EMAIL not in page.url
    db.session.expire_all()
    assert (kept.erased_at is None, gone.erased_at is None) == (True, False)
    assert [one for one in desk.complaints if "422" not in one] == []


@pytest.mark.feature("S86")
def test_it_fits_on_a_phone(merchant, phone):
    shop = make_shop(merchant, "Ein Laden mit einem wirklich langen Namen")
    make_order(shop, billing_address={"first_name": "Bob", "last_name": "B" * 60})
    make_order(shop)
    page = phone.open("/settings/customers")
    page.get_by_label("E-Mail-Adresse oder Kundennummer").fill(EMAIL)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Hier stehen mehrere Namen.")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.complaints == []
