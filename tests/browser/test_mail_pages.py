"""The look and words of mails in a real browser: the preview follows, with and without script."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from server.db import db
from server.mail import texts
from server.mail.models import Mail
from server.orders.identity import theme_of
from server.shops.models import Shop
from tests.browser.conftest import Desk
from tests.factories import make_shop
from tests.server.mail.test_pictures import png

KIND = "/settings/mail-kinds/words?kind=payment_information&edition=de"


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, "Papier & Feder")


@pytest.mark.feature("S2", "S3")
def test_the_preview_follows_the_form_before_anything_is_saved(shop, desk: Desk, tmp_path):
    page = desk.open("/settings/look")
    frame = page.frame_locator("#look-frame")
    head = frame.locator(".head div").first
    expect(head).to_have_text("Papier & Feder")
    steps = page.evaluate("history.length")
    page.get_by_label("Kopf, Hintergrund", exact=True).fill("#7a2e2e")
    expect(frame.locator(".sheet [style*='#7a2e2e']").first).to_be_visible()
    expect(page.get_by_label("Kopf, Hintergrund auswählen")).to_have_value("#7a2e2e")
    page.get_by_label("Hauptfarbe auswählen").fill("#123456")
    expect(page.get_by_label("Hauptfarbe", exact=True)).to_have_value("#123456")
    page.get_by_role("button", name="Dunkel").click()
    expect(frame.locator("meta[name=color-scheme]")).to_have_attribute("content", "dark")
    assert page.evaluate("history.length") == steps
    assert db.session.get_one(Shop, shop.id).look == {}
    picture = tmp_path / "kopf.png"
    picture.write_bytes(png(1200, 240))
    page.get_by_label("Bild hochladen").set_input_files(picture)
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator(".toast")).to_contain_text("Gespeichert")
    expect(page.get_by_alt_text("Das jetzige Bild")).to_be_visible()
    expect(frame.get_by_alt_text("Papier & Feder")).to_be_visible()
    db.session.expire_all()
    theme = theme_of(db.session.get_one(Shop, shop.id).look)
    assert (theme.header_background, theme.primary) == ("#7a2e2e", "#123456")
    page.get_by_role("button", name="Farben von Kontor").click()
    expect(page.get_by_label("Hauptfarbe", exact=True)).to_have_value("#1d5b79")
    assert desk.complaints == []


@pytest.mark.feature("K39", "S9")
def test_a_merchant_writes_a_title_tries_it_keeps_it_and_sends_a_test(merchant, shop, desk: Desk):
    page = desk.open(KIND)
    frame = page.frame_locator("#mail-frame")
    expect(frame.locator("h1")).to_have_text("So können Sie Ihre Bestellung bezahlen")
    title = page.get_by_label("Überschrift", exact=True)
    title.fill("Bitte zahlen Sie ")
    page.get_by_role("button", name="{amount_due}").click()
    expect(title).to_have_value("Bitte zahlen Sie {amount_due}")
    expect(title).to_be_focused()
    page.get_by_role("button", name="Vorschau").click()
    expect(frame.locator("h1")).to_have_text("Bitte zahlen Sie 1.284,60\u00a0€")
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator(".toast")).to_contain_text("Ab jetzt gelten Ihre Worte")
    expect(frame.locator("h1")).to_have_text("Bitte zahlen Sie 1.284,60\u00a0€")
    db.session.expire_all()
    row = texts.in_force(merchant.id, None, "payment_information", "de")
    assert row is not None and row.words == {"title": "Bitte zahlen Sie {amount_due}"}
    page.get_by_role("link", name="Handy").click()
    page.wait_for_url("**view=phone*")
    assert page.locator("#mail-frame").bounding_box()["width"] == 390
    page.get_by_label("An", exact=True).fill("pruefer@example.com")
    page.get_by_role("button", name="Senden").click()
    expect(page.locator(".toast")).to_contain_text("Die Testmail ist unterwegs")
    expect(page.get_by_role("link", name="pruefer@example.com")).to_be_visible()
    assert db.session.query(Mail).one().recipient == "pruefer@example.com"
    assert desk.complaints == []


def test_without_scripts_the_buttons_do_the_same(shop, desk: Desk, chromium):
    cookies = desk.context.storage_state()
    context = chromium.new_context(locale="de-DE", java_script_enabled=False, storage_state=cookies)
    plain = Desk(context, desk.url)
    page = plain.open("/settings/look")
    page.get_by_label("Kopf, Hintergrund", exact=True).fill("#7a2e2e")
    page.get_by_role("button", name="Vorschau").click()
    frame = page.frame_locator("#look-frame")
    expect(frame.locator(".sheet [style*='#7a2e2e']").first).to_be_visible()
    page = plain.open(KIND)
    page.get_by_label("Überschrift", exact=True).fill("Ganz ohne Skript")
    page.get_by_role("button", name="Vorschau").click()
    expect(page.frame_locator("#mail-frame").locator("h1")).to_have_text("Ganz ohne Skript")
    assert plain.complaints == []
    context.close()


PATHS = ("/settings/look", "/settings/mail-kinds", KIND, f"{KIND}&view=phone&scheme=dark")


def test_no_page_is_wider_than_a_phone(merchant, shop, phone: Desk):
    shop.sender_address = "eine-sehr-lange-absenderadresse@papier-und-feder.example.org"
    db.session.commit()
    too_wide = []
    for path in PATHS:
        page = phone.open(path)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(path)
    assert too_wide == []
    assert phone.complaints == []
