"""Assigning in a real browser: keys, the running rest, differences, credit, returns, settings."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from playwright.sync_api import expect

from server.banking.models import IgnoreRule
from server.db import db
from server.merchants.service import change_setting, settings_of
from server.orders import credit, service
from server.orders.models import Order, Suggestion
from tests.browser.conftest import Desk
from tests.factories import AT, make_order, make_posting, make_shop, today

ACTOR = "anna@example.org"


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


def suggest(posting, *parts, **over) -> None:
    values = {
        "rank": 0,
        "orders": [{"order_id": order.id, "amount": amount} for order, amount in parts],
        "probability": "0.97",
    }
    row = Suggestion(merchant_id=posting.merchant_id, posting_id=posting.id, **(values | over))
    db.session.add(row)
    db.session.commit()


def assign(merchant, posting, order, amount: str) -> None:
    part = [(order.id, Decimal(amount))]
    service.assign(merchant.id, posting.id, part, actor=ACTOR, at=AT)
    db.session.commit()


def status_of(order_id: int) -> str:
    db.session.expire_all()
    return str(db.session.get_one(Order, order_id).payment_status)


@pytest.mark.feature("C7", "C11", "N22")
def test_a_split_asks_for_reasons_only_where_something_is_missing(merchant, shop, desk):
    one, two = make_order(shop, total="50.00"), make_order(shop, total="30.00")
    posting = make_posting(merchant, "90.00", "zwei Bestellungen")
    page = desk.open(f"/postings/{posting.id}?order={one.id}&order={two.id}")
    why = page.get_by_label(f"Was bei {one.number} fehlt")
    rest, choice = page.locator("[data-rest-shown]"), page.get_by_label("Was aus dem Rest wird")
    expect(why).to_be_hidden()
    expect(choice).to_be_visible()
    page.get_by_label(f"Betrag für {one.number}").fill("60,00")
    expect(rest).to_have_text("0,00")
    expect(choice).to_be_hidden()
    page.get_by_label(f"Betrag für {one.number}").fill("48,00")
    expect(rest).to_have_text("12,00")
    expect(why).to_be_visible()
    why.select_option("bank_fee")
    choice.select_option("credit")
    page.get_by_role("button", name="Aufteilung buchen").click()
    expect(page.locator(".toast")).to_contain_text("90,00 € zugeordnet")
    assert [status_of(one.id), status_of(two.id)] == ["paid", "paid"]
    page = desk.open("/credits")
    expect(page.get_by_role("heading", name="Erika Mustermann")).to_be_visible()
    expect(page.get_by_text("12,00 €").first).to_be_visible()
    assert desk.complaints == []


@pytest.mark.feature("C12", "N18", "N22")
def test_credit_and_returns_are_booked_by_keys_and_undone_by_one(merchant, shop, desk):
    order, other = make_order(shop, total="10.00"), make_order(shop, total="49.90")
    posting = make_posting(merchant, "25.00", "mehr", booking_date=today() - timedelta(days=2))
    assign(merchant, posting, order, "10.00")
    paid = make_posting(merchant, "49.90", booking_date=today() - timedelta(days=9))
    assign(merchant, paid, other, "49.90")
    back = make_posting(merchant, "-49.90", "Rückgabe", is_return=True, booking_date=today())
    suggest(back, returns_id=paid.id)
    page = desk.open("/postings")
    shown = page.get_by_role("heading", level=2).first
    expect(shown).to_have_text("−49,90 €")
    page.keyboard.press("r")
    expect(page.locator(".toast")).to_contain_text("Rückbuchung gebucht")
    assert status_of(other.id) == "unpaid"
    page.keyboard.press("u")
    expect(page.locator(".toast")).to_contain_text("zurückgenommen")
    assert status_of(other.id) == "paid"
    desk.open(f"/postings/{posting.id}")
    page.keyboard.press("c")
    expect(page.locator(".toast")).to_contain_text("als Guthaben behalten")
    page.keyboard.press("u")
    expect(page.locator(".toast")).to_contain_text("wieder frei")
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page.get_by_role("heading", name="Guthaben")).to_be_visible()
    assert desk.complaints == []


def test_the_help_names_every_key(desk):
    page = desk.open("/postings")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Tastatur")
    for said in ("Rest als Guthaben behalten", "Rückbuchung buchen", "Umsatz aufteilen"):
        expect(dialog.get_by_text(said)).to_be_visible()


@pytest.mark.feature("K44", "N22")
def test_a_rule_shows_what_it_would_have_hit_before_it_is_made(merchant, desk):
    for amount in ("3.00", "4.00"):
        make_posting(merchant, amount, "Abo", counterparty_iban="DE12500105170648489890")
    page = desk.open("/postings")
    page.locator("#ignore > summary").click()
    page.get_by_label(re.compile("und künftig alles von")).check()
    expect(page.locator("#ignore-hits")).to_contain_text("2 Umsätze")
    page.get_by_role("button", name="Umsatz ignorieren").click()
    expect(page.locator(".toast")).to_contain_text("künftig alles")
    assert db.session.query(IgnoreRule).one().value == "DE12500105170648489890"
    assert desk.complaints == []


@pytest.mark.feature("C5")
def test_proposals_are_booked_but_for_those_that_were_unticked(merchant, shop, desk):
    orders = [make_order(shop, total=f"{10 + number}.00") for number in range(3)]
    for order in orders:
        posting = make_posting(merchant, str(order.total), order.number)
        suggest(posting, (order, str(order.total)), is_proposed=True)
    page = desk.open("/postings")
    page.get_by_role("link", name="3 Zuordnungen prüfen").click()
    page.get_by_label(re.compile("11,00")).uncheck()
    expect(page.locator("[data-ticked]")).to_have_text("2")
    page.get_by_role("button", name="Ausgewählte buchen").click()
    expect(page.locator(".toast")).to_contain_text("2 Umsätze gebucht")
    assert [status_of(order.id) for order in orders] == ["paid", "unpaid", "paid"]
    assert desk.complaints == []


@pytest.mark.feature("K21", "N3")
def test_settings_are_saved_for_one_shop_and_the_shadow_is_seen(merchant, shop, desk):
    make_shop(merchant, "Antiquariat")
    page = desk.open("/settings/assignment")
    page.get_by_label("Arbeitsweise").select_option("shadow")
    page.get_by_role("button", name="Speichern").click()
    expect(page.locator(".note.shadow")).to_contain_text("Probelauf")
    page.get_by_label("Gilt für").select_option("Antiquariat")
    expect(page.get_by_role("heading", name="Zuordnung für Antiquariat")).to_be_visible()
    page.get_by_label("Erlaubte Abweichung").fill("25")
    page.get_by_role("button", name="Speichern").click()
    expect(page.get_by_text("nur hier")).to_be_visible()
    db.session.expire_all()
    assert settings_of(merchant.id).tolerance_cents == 1
    page.get_by_role("button", name=re.compile("^Zurücksetzen")).click()
    expect(page.locator(".toast")).to_contain_text("Zurückgesetzt")
    assert desk.complaints == []


def furnished_paths(merchant, shop) -> list[str]:
    """Pages with something of everything on them, with long names."""
    long = "Buchhandlung und Antiquariat am alten Fischmarkt Obernitz-Falkenhayn OHG"
    order = make_order(shop, total="10.00", number="ANNA-2026-0000000000001")
    posting = make_posting(merchant, "25.00", "x" * 90, counterparty_name=long)
    assign(merchant, posting, order, "10.00")
    kept = make_posting(merchant, "12.00", counterparty_name=long)
    second = make_order(shop, total="10.00")
    assign(merchant, kept, second, "10.00")
    credit.keep_as_credit(merchant.id, kept.id, second.id, actor=ACTOR, at=AT)
    overpaid = make_order(shop, total="5.00")
    assign(merchant, make_posting(merchant, "9.00"), overpaid, "9.00")
    back = make_posting(merchant, "-9.00", is_return=True, counterparty_name=long)
    suggest(back, returns_id=kept.id)
    waiting = make_order(shop, total="33.00")
    proposed = make_posting(merchant, "33.00", "y" * 90, counterparty_name=long)
    suggest(proposed, (waiting, "33.00"), is_proposed=True)
    change_setting(merchant.id, "assignment", "shadow", actor=ACTOR, at=AT)
    change_setting(merchant.id, "tolerance_cents", "5", actor=ACTOR, at=AT, shop_id=shop.id)
    db.session.commit()
    return [
        f"/postings/{posting.id}?q=anna&order={waiting.id}",
        f"/postings/{kept.id}?state=kept",
        f"/postings/{back.id}",
        f"/postings/{proposed.id}",
        "/postings/proposals",
        f"/orders/{overpaid.id}",
        f"/orders/{waiting.id}",
        "/credits",
        "/settings/assignment",
        f"/settings/assignment?shop={shop.id}",
        "/settings/payers",
        "/ignore-rules",
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_makes_the_browser_complain_or_is_too_wide(merchant, shop, desk, theme):
    desk.page.emulate_media(color_scheme=theme)
    for path in furnished_paths(merchant, shop):
        page = desk.open(path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
    assert desk.complaints == []


def test_on_the_phone_everything_fits_and_can_be_hit(merchant, shop, phone):
    for path in furnished_paths(merchant, shop):
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


def test_a_split_with_a_reason_works_without_javascript(merchant, shop, live_server, chromium):
    order = make_order(shop, total="50.00")
    posting = make_posting(merchant, "48.00", "fast")
    context = chromium.new_context(java_script_enabled=False, locale="de-DE")
    desk = Desk(context, live_server.url)
    desk.log_in()
    page = desk.open(f"/postings/{posting.id}?order={order.id}")
    page.get_by_label(f"Was bei {order.number} fehlt").select_option("goodwill")
    page.get_by_role("button", name="Aufteilung buchen").click()
    assert status_of(order.id) == "paid"
    context.close()
