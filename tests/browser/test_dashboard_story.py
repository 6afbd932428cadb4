"""The dashboard in a real browser: the main story, the keyboard, the phone, the policy."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from server.db import db
from server.mail.models import Mail
from server.orders.models import Order, Suggestion
from server.shops.models import PaymentUpdate
from tests.factories import make_order, make_posting, make_shop

LONG_NAME = "Maria-Theresia von Obernitz-Falkenhayn-Waldburg"


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def order(shop):
    return make_order(shop, total="1284.60")


def suggest(posting, order, amount: str) -> None:
    at = posting.remittance_information.find(order.number)
    found = {
        "kind": "number",
        "weight": 6.5,
        "facts": {"written": order.number, "what": "order number", "number": order.number},
        "span": ["remittance_information", at, at + len(order.number)] if at >= 0 else None,
    }
    row = Suggestion(
        merchant_id=posting.merchant_id,
        posting_id=posting.id,
        rank=0,
        orders=[{"order_id": order.id, "amount": amount}],
        probability="0.97",
        evidence=[found],
        vetoes=["competing_posting"],
    )
    db.session.add(row)
    db.session.commit()


def status_of(order_id: int) -> str:
    db.session.expire_all()
    return str(db.session.get_one(Order, order_id).payment_status)


@pytest.mark.feature("S18", "S56")
def test_from_the_log_in_to_a_paid_order(merchant, order, desk):
    posting = make_posting(merchant, "1284.60", f"Bestellung {order.number} danke")
    suggest(posting, order, "1284.60")
    page = desk.open("/")
    page.get_by_role("link", name="1 Umsatz ohne Zuordnung").click()
    expect(page.get_by_role("heading", name="1.284,60 €")).to_be_visible()
    expect(page.locator("mark")).to_have_text(order.number)
    page.get_by_role("button", name=re.compile("^Zuordnen")).click()
    expect(page.get_by_role("status").filter(has_text="zugeordnet")).to_be_visible()
    expect(page.get_by_text("Alles zugeordnet")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.get_by_role("link", name=order.number).click()
    expect(page.locator(".head .badge")).to_have_text("Bezahlt")
    assert status_of(order.id) == "paid"
    update = db.session.query(PaymentUpdate).one()
    assert update.intent == "paid"
    assert db.session.query(Mail).filter_by(kind="payment_received").count() == 1
    page.get_by_role("button", name=re.compile("^Rückgängig")).click()
    expect(page.locator(".head .badge")).to_have_text("Offen")
    assert status_of(order.id) == "unpaid"
    assert desk.complaints == []


def test_the_inbox_is_worked_by_keyboard_alone(merchant, shop, desk):
    orders = [make_order(shop, total=f"{10 + number}.00") for number in range(3)]
    for order in orders:
        posting = make_posting(merchant, f"{order.total:.2f}", order.number)
        suggest(posting, order, str(order.total))
    page = desk.open("/postings")
    shown = page.get_by_role("heading", level=2).first
    expect(shown).to_have_text("12,00 €")
    page.keyboard.press("j")
    expect(shown).to_have_text("11,00 €")
    page.keyboard.press("k")
    expect(shown).to_have_text("12,00 €")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("12,00 € zugeordnet")
    assert status_of(orders[2].id) == "paid"
    page.keyboard.press("u")
    expect(page.locator(".toast")).to_contain_text("rückgängig")
    assert status_of(orders[2].id) == "unpaid"
    page.keyboard.press("i")
    expect(page.locator(".toast")).to_contain_text("ignoriert")
    page.keyboard.press("s")
    expect(page.get_by_label(f"Betrag für {orders[1].number}")).to_be_focused()
    page.keyboard.type("j")
    expect(shown).to_have_text("11,00 €")
    assert desk.complaints == []


def test_keys_can_be_switched_off(desk):
    page = desk.open("/account")
    page.get_by_label("Tasten zum schnellen Arbeiten").uncheck()
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator("html.js body[data-keys=off]")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_label("Tasten zum schnellen Arbeiten").check()
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator("html.js body:not([data-keys])")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Tastatur")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_first_tab_leads_past_the_menu_and_focus_is_seen(desk):
    page = desk.open("/orders")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Zum Inhalt")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_filters_apply_themselves_and_stay_in_the_url(shop, order, desk):
    make_order(shop, payment_method="invoice", shop_status="processing")
    page = desk.open("/orders?period=all")
    page.get_by_label("Art", exact=True).select_option("prepayment")
    page.wait_for_url("**/orders?code=prepayment&period=all")
    expect(page.locator(".rows tbody tr")).to_have_count(1)
    page.get_by_label("Zeitraum").select_option("range")
    expect(page.get_by_label("von", exact=True)).to_be_visible()
    page.keyboard.press("/")


def test_an_order_is_found_while_typing_and_split(merchant, shop, desk):
    one, two = make_order(shop, total="10.00"), make_order(shop, total="20.00")
    make_posting(merchant, "30.00", "ohne alles")
    page = desk.open("/postings")
    page.get_by_label("Bestellung suchen").press_sequentially(one.number)
    page.get_by_role("link", name=f"Zur Aufteilung {one.number}").click()
    page.get_by_label("Bestellung suchen").press_sequentially(two.number)
    page.get_by_role("link", name=f"Zur Aufteilung {two.number}").click()
    field = page.get_by_label(f"Betrag für {two.number}")
    field.fill("15,50")
    expect(page.locator("output")).to_have_text("4,50")
    field.fill("20,00")
    page.get_by_role("button", name="Aufteilung buchen").click()
    expect(page.locator(".toast")).to_contain_text("30,00 € zugeordnet")
    assert [status_of(one.id), status_of(two.id)] == ["paid", "paid"]
    assert desk.complaints == []


@pytest.mark.feature("S80")
def test_marking_as_paid_asks_first(order, desk):
    page = desk.open(f"/orders/{order.id}")
    page.get_by_role("link", name="Als bezahlt markieren").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{order.number} als bezahlt markieren?")
    dialog.get_by_role("link", name="Abbrechen").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("link", name="Als bezahlt markieren").click()
    page.get_by_role("dialog").get_by_role("button", name="Als bezahlt markieren").click()
    expect(page.locator(".head .badge")).to_have_text("Bezahlt")
    assert desk.complaints == []


def test_a_mail_is_shown_as_the_customer_sees_it(order, desk):
    mail = db.session.query(Mail).one()
    page = desk.open(f"/mails/{mail.id}")
    letter = page.frame_locator("iframe")
    expect(letter.get_by_text("1.284,60 €").filter(visible=True).first).to_be_visible()
    code = letter.locator("img").first
    expect(code).to_be_visible()
    assert code.evaluate("image => image.naturalWidth") > 100
    assert desk.complaints == []


def test_an_uploaded_statement_shows_its_progress_until_it_is_read(merchant, desk):
    from server.banking.models import Statement

    page = desk.open("/statements")
    with page.expect_response("**/statements"):
        page.set_input_files(
            "#file", [{"name": "november.sta", "mimeType": "text/plain", "buffer": b":20:x"}]
        )
    expect(page.locator("[id^=statement-]").get_by_role("progressbar")).to_be_visible()
    row = db.session.query(Statement).one()
    row.status, row.postings_new = "done", 35
    db.session.commit()
    expect(page.get_by_text("35 neue Umsätze")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    assert desk.complaints == []


def every_path(merchant, shop) -> list[str]:
    name = {"first_name": "", "last_name": LONG_NAME, "company": "Buchhandlung am Fischmarkt"}
    mail = f"{'lang' * 12}@sehr-lange-domain.example.org"
    order = make_order(
        shop,
        billing_address=name,
        customer={"email": mail, "language": "de"},
        items=[{"name": "Donaudampfschifffahrtsgesellschaftskapitän " * 3}],
    )
    text = "EREF+" + "X" * 90 + f" {order.number} " + "wort " * 40
    posting = make_posting(merchant, "19.90", text, counterparty_name=LONG_NAME)
    suggest(posting, order, "19.90")
    letter = db.session.query(Mail).filter_by(order_id=order.id).one()
    return [
        "/",
        "/orders?period=all",
        "/orders?q=nichts",
        f"/orders/{order.id}",
        f"/orders/{order.id}/mark-as-paid",
        f"/mails/{letter.id}",
        "/postings",
        f"/postings/{posting.id}?q={order.number}&order={order.id}",
        "/postings?state=all",
        "/statements",
        "/shops",
        "/shops/new",
        f"/shops/{shop.id}",
        "/bank-account",
        "/account",
        "/credits",
        "/postings/proposals",
        "/settings/assignment",
        f"/settings/assignment?shop={shop.id}",
        "/settings/payers",
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_makes_the_browser_complain(merchant, shop, desk, theme):
    desk.page.emulate_media(color_scheme=theme)
    for path in every_path(merchant, shop):
        desk.open(path)
        assert desk.complaints == [], path
        wide = desk.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, path


def test_on_the_phone_nothing_is_wider_than_the_screen(merchant, shop, phone):
    for path in every_path(merchant, shop):
        page = phone.open(path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        small = page.evaluate(
            """[...document.querySelectorAll('button, .btn, .nav a, select, [type=checkbox]')]
               .filter((e) => e.offsetParent && !e.closest('.sr'))
               .map((e) => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
               .filter(([, box]) => Math.min(box.width, box.height) < 16)
               .map(([html]) => html)"""
        )
        assert small == [], path
    assert phone.complaints == []


def test_on_the_phone_the_inbox_is_a_list_and_then_one_posting(merchant, shop, phone):
    posting = make_posting(merchant, "19.90", "Text")
    page = phone.open("/postings")
    expect(page.locator(".posting")).to_be_hidden()
    page.get_by_role("link", name="Erika Mustermann").click()
    expect(page.get_by_role("heading", name="19,90 €")).to_be_visible()
    assert phone.path() == f"/postings/{posting.id}"
    page.get_by_role("link", name="‹ Umsätze").click()
    expect(page.locator(".queue")).to_be_visible()


def test_everything_works_without_javascript(merchant, order, live_server, chromium):
    from tests.browser.conftest import Desk

    posting = make_posting(merchant, "1284.60", order.number)
    suggest(posting, order, "1284.60")
    context = chromium.new_context(java_script_enabled=False, locale="de-DE")
    desk = Desk(context, live_server.url)
    desk.log_in()
    page = desk.open("/orders?period=all")
    page.get_by_label("Status").select_option("paid")
    page.get_by_role("button", name="Filtern").click()
    expect(page.get_by_text("Nichts gefunden")).to_be_visible()
    page = desk.open(f"/orders/{order.id}")
    page.get_by_role("link", name="Als bezahlt markieren").click()
    page.get_by_role("button", name="Als bezahlt markieren").click()
    expect(page.locator(".head .badge")).to_have_text("Bezahlt")
    page = desk.open("/postings")
    page.get_by_label("Andere Bestellung suchen").fill("Mustermann")
    page.get_by_role("button", name="Suchen").click()
    expect(page.get_by_role("link", name=order.number).first).to_be_visible()
    page = desk.open("/statements")
    page.set_input_files("#file", [{"name": "a.sta", "mimeType": "text/plain", "buffer": b":20:x"}])
    page.get_by_role("button", name="Auszug hochladen").click()
    expect(page.get_by_text("a.sta")).to_be_visible()
    context.close()


def test_a_foreign_site_cannot_frame_or_post(desk, live_server):
    page = desk.open("/account")
    answer = page.request.post(
        live_server.url + "/account/log-out-everywhere", headers={"Origin": "https://evil.example"}
    )
    assert answer.status == 403
    expect(desk.open("/").get_by_role("heading", name="Willkommen, Anna")).to_be_visible()
