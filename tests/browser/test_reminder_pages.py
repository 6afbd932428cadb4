"""Reminders in a real browser: what is due, a run by hand, a run that waits, the days ahead."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from server.db import db
from server.dunning import runs
from server.dunning.models import DunningRun
from server.merchants.service import change_setting
from server.orders.models import PaymentClaim
from tests.factories import make_order, make_posting, make_shop

ACTOR = "anna@example.org"
MONDAY = datetime(2026, 3, 16, 9, 0, tzinfo=UTC)
LONG = "Buchhandlung und Antiquariat am alten Fischmarkt Obernitz-Falkenhayn OHG"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The pages look at Monday."""
    for name in ("dunning", "dunning_coming", "dunning_preview"):
        monkeypatch.setattr(f"server.dashboard.{name}.now", lambda: MONDAY)


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


def hear_bank(merchant, at=MONDAY) -> None:
    make_posting(merchant, "1.00", "Kaffee", created_at=at, is_open=False, needs_match=False)


def work(run: DunningRun) -> None:
    run.status = "running"
    while runs.step(run, MONDAY):
        db.session.commit()
    db.session.commit()


@pytest.mark.feature("S84")
def test_a_run_by_hand_is_looked_at_first_and_followed(merchant, shop, desk):
    hear_bank(merchant)
    order = make_order(shop)
    page = desk.open("/")
    page.keyboard.press("g")
    page.keyboard.press("m")
    expect(page.get_by_role("heading", name="Mahnungen", level=1)).to_be_visible()
    expect(page.get_by_text("Mahnungen dürfen hinaus.")).to_be_visible()
    page.get_by_role("link", name=re.compile("E-Mail ansehen")).click()
    mail = page.frame_locator("iframe.letter")
    expect(mail.get_by_text(order.payment_reference).first).to_be_visible()
    page.get_by_role("link", name="‹ Mahnungen").click()
    page.get_by_role("button", name="1 Schritt jetzt ausführen").click()
    expect(page.locator(".toast")).to_contain_text("Der Mahnlauf ist unterwegs.")
    work(db.session.query(DunningRun).one())
    page.reload()
    expect(page.get_by_role("link", name=order.number).first).to_be_visible()
    expect(page.get_by_text("Zahlungserinnerung")).to_be_visible()
    assert desk.complaints == []


@pytest.mark.feature("S84")
def test_a_run_that_waits_is_found_on_today_and_discarded(merchant, shop, desk, monkeypatch):
    monkeypatch.setattr(runs, "FREE_MAILS", 1)
    hear_bank(merchant)
    for _ in range(2):
        make_order(shop)
    run = DunningRun(merchant_id=merchant.id, run_date=MONDAY.date(), created_at=MONDAY)
    db.session.add(run)
    db.session.commit()
    work(run)
    page = desk.open("/")
    page.get_by_role("link", name="Ein Mahnlauf wartet auf Ihre Freigabe").click()
    expect(page.get_by_role("heading", name="2 Schritte stehen bevor")).to_be_visible()
    page.get_by_role("button", name="Verwerfen").click()
    expect(page.locator(".toast")).to_contain_text("Es wurde nichts gesendet.")
    expect(page.get_by_role("button", name="Freigeben")).to_have_count(0)
    assert desk.complaints == []


def furnished_paths(merchant, shop) -> list[str]:
    """The pages with something of everything on them, with long names."""
    hear_bank(merchant)
    away = make_shop(merchant, LONG, connector="woocommerce")
    change_setting(merchant.id, "prepayment.cancel_after_days", "10", actor=ACTOR, at=MONDAY)
    change_setting(merchant.id, "invoice.reminder_2_days", "5", actor=ACTOR, at=MONDAY)
    address = {"first_name": "Erika", "last_name": LONG, "country": "DE"}
    first = make_order(shop, total="1284.60", number="ANNA-2026-0000000000001")
    make_order(shop, billing_address=address)
    make_order(away, billing_address=address)
    for day in range(8, 16):
        for _ in range(day % 4 + 1):
            make_order(shop, ordered_at=f"2026-03-{day:02}T10:00:00+00:00", at=MONDAY)
    db.session.add(PaymentClaim(merchant_id=merchant.id, order_id=first.id))
    done = DunningRun(
        merchant_id=merchant.id,
        run_date=MONDAY.date(),
        created_at=MONDAY - timedelta(hours=1),
        due_at=MONDAY,
    )
    db.session.add(done)
    db.session.commit()
    work(done)
    make_order(shop)
    make_order(shop, billing_address=address)
    make_order(shop).held_removal = "not_open"
    waiting = DunningRun(
        merchant_id=merchant.id,
        run_date=MONDAY.date(),
        origin="person",
        actor="annabella.mustermann-beispiel@example.org",
        status="withheld",
        error=runs.TOO_MANY,
        looked_at=40,
        hindered={"shop_away": 1, "maybe_paid": 12},
        created_at=MONDAY,
    )
    db.session.add(waiting)
    db.session.commit()
    return [
        "/",
        "/dunning",
        "/dunning/coming",
        "/dunning/runs",
        f"/dunning/runs/{done.id}",
        f"/dunning/runs/{waiting.id}",
        f"/dunning/preview/{first.id}",
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
            """[...document.querySelectorAll('button, .btn, .nav a, .tabs a, select')]
               .filter((e) => e.offsetParent && !e.closest('.sr'))
               .map((e) => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
               .filter(([, box]) => Math.min(box.width, box.height) < 16)
               .map(([html]) => html)"""
        )
        assert small == [], path
    assert phone.complaints == []
