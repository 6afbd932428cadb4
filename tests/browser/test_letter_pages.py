"""Letters in a real browser: asked for, seen, cancelled; the print service entered; on a phone."""

from __future__ import annotations

from decimal import Decimal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from server.db import db, now
from server.letters.models import Letter
from server.letters.services import save_service
from server.orders.letter_actions import send_transfer_form
from tests.browser.conftest import Desk
from tests.factories import make_order, make_shop

ANNA = "anna@example.org"
AXE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, "Papier & Feder")


@pytest.fixture
def letters(merchant, shop) -> list[Letter]:
    """One that waits, one that came back, one of which nobody knows, one that was cancelled."""
    save_service(merchant.id, "folder", {}, {"first_sheet": "0.98"}, "EUR", actor=ANNA, at=now())
    made = []
    for status, delivery in (
        ("queued", None),
        ("done", "returned"),
        ("unknown", None),
        ("withheld", None),
    ):
        order = make_order(shop)
        letter_id = send_transfer_form(merchant.id, order.id, actor=ANNA, at=now())
        letter = db.session.get_one(Letter, letter_id)
        letter.status, letter.delivery = status, delivery
        made.append(letter)
    made[1].cost, made[1].cost_currency = Decimal("1.05"), "EUR"
    made[1].delivery_words = "Empfänger unter der Anschrift nicht zu ermitteln"
    made[1].finished_at, made[1].delivered_at, made[1].pages = now(), now(), 1
    made[2].error = "The print service did not answer."
    made[3].cancelled_by = ANNA
    db.session.commit()
    return made


def violations(desk: Desk) -> list[str]:
    """What axe finds on the page, with the first place of each."""
    found = Axe().run(desk.page, options=AXE).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['target']}" for one in found]


@pytest.mark.feature("S77", "S73")
def test_a_form_by_letter_is_asked_for_seen_and_cancelled(merchant, shop, desk: Desk):
    save_service(merchant.id, "folder", {}, {"first_sheet": "0.98"}, "EUR", actor=ANNA, at=now())
    order = make_order(shop)
    page = desk.open(f"/orders/{order.id}")
    page.get_by_text("Aktionen").click()
    page.get_by_role("link", name="Überweisungsträger per Brief senden").click()
    expect(page.locator("main")).to_contain_text("etwa 0,98")
    assert violations(desk) == []
    page.get_by_role("button", name="Überweisungsträger per Brief senden").click()
    expect(page.locator(".toast")).to_contain_text("Der Brief ist geschrieben")
    section = page.get_by_role("region", name="Briefe")
    expect(section).to_contain_text("Wartet")
    section.get_by_role("link", name="Einzelheiten").click()
    expect(page.get_by_role("heading", name="Überweisungsträger")).to_be_visible()
    assert violations(desk) == []
    page.get_by_role("button", name="Abbrechen").click()
    expect(page.locator(".toast")).to_contain_text("wird nicht gedruckt")
    expect(page.get_by_role("button", name="Abbrechen")).to_have_count(0)
    assert desk.complaints == []


@pytest.mark.feature("S83")
def test_a_reminder_goes_by_mail_and_letter_with_two_ticks(merchant, shop, desk: Desk):
    order = make_order(shop, at=now(), ordered_at=now().isoformat())
    page = desk.open(f"/orders/{order.id}/send-reminder")
    expect(page.get_by_label("Per E-Mail")).to_be_checked()
    page.get_by_label("Per Brief").check()
    assert violations(desk) == []
    page.get_by_role("button", name="Zahlungserinnerung jetzt senden").click()
    page.get_by_label("Trotzdem").check()  # no bank was ever heard
    expect(page.get_by_label("Per Brief")).to_be_checked()
    page.get_by_role("button", name="Zahlungserinnerung jetzt senden").click()
    expect(page.get_by_role("region", name="Briefe")).to_contain_text("Zahlungserinnerung")


@pytest.mark.feature("K60", "K39")
def test_a_print_service_is_chosen_and_a_test_letter_made(shop, desk: Desk):
    page = desk.open("/letters")
    expect(page.locator("main")).to_contain_text("Noch keine Briefe")
    assert violations(desk) == []
    page.get_by_role("link", name="Druckdienst eintragen").first.click()
    page.get_by_role("link", name="LetterXpress").click()
    page.get_by_label("Benutzername").fill("anna")
    page.get_by_label("API-Schlüssel").fill("geheim-4711")
    page.get_by_label("Erstes Blatt").fill("viel")
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator(".error")).to_contain_text("Das ist kein Preis")
    expect(page.get_by_label("Benutzername")).to_have_value("anna")
    page.get_by_role("link", name="Selbst drucken").click()
    page.get_by_label("Erstes Blatt").fill("0,98")
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator(".toast")).to_contain_text("Gespeichert")
    page.get_by_role("button", name="Jetzt prüfen").click()
    expect(page.get_by_role("status").first).to_contain_text("Der Druckdienst antwortet")
    assert violations(desk) == []
    page.get_by_role("button", name="Testbrief anlegen").click()
    expect(page.locator("main")).to_contain_text("kostet nichts")
    expected = [one for one in desk.complaints if "422" not in one]
    assert expected == []


def test_the_list_fits_a_phone(letters, phone: Desk):
    page = phone.open("/letters")
    for word in ("Wartet", "Kam zurück", "Ungewiss", "Abgebrochen"):
        expect(page.locator("table")).to_contain_text(word)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(phone) == []
    for path in (f"/letters/{letters[1].id}", f"/letters/{letters[2].id}", "/letters/service"):
        page = phone.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert violations(phone) == [], path
    assert phone.complaints == []
