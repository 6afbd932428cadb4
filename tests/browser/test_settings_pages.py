"""Settings, a shop's mapping and the customer's page in a real browser: wide, on a phone, dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from server.db import db
from server.merchants.service import settings_of
from server.orders.claims import claims_of, proofs_of
from server.orders.links import page_url
from server.shops.models import Shop
from tests.browser.conftest import PHONE, Desk
from tests.factories import make_order, make_shop, today

DISCOVERY = {
    "payment_methods": [
        {"code": "bacs", "name": "Direkte Banküberweisung"},
        {"code": "invoice", "name": "Kauf auf Rechnung"},
        {"code": "b2b", "name": "Rechnung für Firmen"},
    ],
    "statuses": [{"code": "processing", "name": "In Bearbeitung"}],
}


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, "Papier & Feder", discovery=DISCOVERY)


@pytest.mark.feature("S43", "S46", "S48")
def test_a_shop_gets_its_own_days_and_the_drawing_follows(merchant, shop, desk: Desk):
    make_shop(merchant, "Antiquariat")
    page = desk.open("/settings/prepayment")
    page.get_by_label("Gilt für").select_option("Papier & Feder")
    page.wait_for_url("**shop=*")
    page.get_by_label("Zahlungserinnerung nach").fill("5")
    page.get_by_label("Stornieren nach").fill("21")
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator(".toast")).to_have_text("Gespeichert.")
    means = page.get_by_role("region", name="Was das bedeutet")
    expect(means.get_by_role("listitem")).to_have_count(3)
    expect(means).to_contain_text("Tag 5")
    assert settings_of(merchant.id, shop.id).prepayment.first_reminder_days == 5
    page.get_by_role("link", name="Rechnung").first.click()
    expect(page.get_by_role("heading", name="Rechnung für Papier & Feder")).to_be_visible()
    hidden = page.get_by_label("4. Mahnung nach")
    expect(hidden).to_be_hidden()
    page.get_by_text("weitere ohne Wirkung").first.click()
    expect(hidden).to_be_visible()
    assert desk.complaints == []


@pytest.mark.feature("S22", "S23")
def test_a_second_method_is_ticked_by_the_shops_own_name(shop, desk: Desk):
    page = desk.open(f"/shops/{shop.id}/mapping")
    section = page.get_by_role("region", name="Rechnung")
    section.get_by_label("Rechnung für Firmen").check()
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator(".toast")).to_contain_text("Gespeichert.")
    db.session.expire_all()
    assert db.session.get_one(Shop, shop.id).mapping["invoice"]["methods"] == ["invoice", "b2b"]
    assert desk.complaints == []


PATHS = (
    "/settings/prepayment /settings/invoice /settings/cash-on-delivery /settings/more "
    "/settings/assignment /settings/changes /settings/file /shops /shops/{shop} "
    "/shops/{shop}/edit /shops/{shop}/mode /shops/{shop}/mapping /shops/{shop}/removals"
).split()


def test_no_page_is_wider_than_a_phone(shop, phone: Desk):
    orders = [make_order(shop) for _ in range(2)]
    for order in orders:
        order.held_removal = "not_open"
    db.session.commit()
    too_wide = []
    for path in PATHS:
        page = phone.open(path.format(shop=shop.id))
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(path)
    assert too_wide == []
    assert phone.complaints == []


@pytest.mark.feature("S61")
def test_a_customer_says_that_he_has_paid_without_any_script(
    merchant, shop, live_server, chromium, tmp_path
):
    order = make_order(shop, total="1284.60")
    proof = tmp_path / "Kontoauszug.pdf"
    proof.write_bytes(b"%PDF-1.7 test")
    context = chromium.new_context(
        viewport=PHONE, locale="de-DE", java_script_enabled=False, color_scheme="dark"
    )
    customer = Desk(context, live_server.url)
    page = customer.open("/pay/" + page_url(order).rpartition("/")[2])
    expect(page.get_by_text("1.284,60 €").first).to_be_visible()
    expect(page.get_by_alt_text("GiroCode")).to_be_visible()
    page.get_by_label("Wann?", exact=True).fill(today().isoformat())
    paid = page.get_by_role("region", name="Ich habe bezahlt")
    paid.get_by_label("Nachricht").fill("Gestern überwiesen")
    paid.get_by_label("Beleg").set_input_files(proof)
    paid.get_by_role("button", name="Absenden").click()
    expect(page.get_by_role("status").first).to_contain_text("Vorerst erinnern wir Sie nicht")
    db.session.expire_all()
    assert claims_of(order.id)[0].message == "Gestern überwiesen"
    assert proofs_of(order.id)[0].filename == "Kontoauszug.pdf"
    assert customer.complaints == []
    context.close()
