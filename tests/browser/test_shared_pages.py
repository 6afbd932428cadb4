"""Shared accounts in a real browser: operator and member, phone, without scripts."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from server.banking import sharing
from server.banking.models import AccountMovement, BankAccount, Posting
from server.db import db, now
from tests.browser.conftest import PHONE, WIDE, Desk
from tests.factories import make_merchant, make_order, make_posting, make_shop, make_user, today
from tests.server.dashboard.visitor import PASSWORD

LONG_NAME = "Teehaus Sonnenschein Inhaberin Maria-Theresia von Obernitz-Falkenhayn-Waldburg"
PAYOUT_IBAN = "DE02 5001 0517 0137 0750 30"


@pytest.fixture
def shared(merchant):
    """Anna runs the installation; her account is a shared one."""
    merchant.is_operator = True
    account = db.session.query(BankAccount).filter_by(merchant_id=merchant.id).one()
    sharing.share_account(merchant, account.id)
    db.session.commit()
    return account


@pytest.fixture
def clara(merchant, shared):
    """A member with an order that waits, and money of an earlier one."""
    return joined(merchant, shared, LONG_NAME, "clara@example.org")


def joined(operator, shared, name, email):
    guest = make_merchant(name, account=False)
    make_user(guest, email, PASSWORD)
    sharing.add_member(operator, shared.id, guest.id)
    sharing.pass_on(
        make_posting(operator, "1284.60", "Bestellung CC-1 vielen Dank", needs_match=False),
        guest.id,
    )
    db.session.commit()
    make_order(make_shop(guest), number="CC-1002", at=now(), total="80.00")
    return guest


def row_of(guest):
    return db.session.query(BankAccount).filter_by(merchant_id=guest.id).one()


def is_too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def small_targets(page: Page) -> list[str]:
    """What is smaller than 24 by 24 pixels and no link in a text (WCAG 2.2, 2.5.8)."""
    found = page.evaluate(
        """() => [...document.querySelectorAll('main button, main .btn, main select, main input')]
            .filter(one => one.type !== 'hidden' && one.offsetParent)
            .filter(one => one.offsetWidth < 24 || one.offsetHeight < 24)
            .map(one => one.outerHTML)"""
    )
    assert isinstance(found, list)
    return found


@pytest.mark.feature("S20", "K50")
def test_from_a_posting_of_nobody_to_the_file_for_the_bank(merchant, shared, clara, desk):
    make_posting(merchant, "40.00", "CC-1002 Teilzahlung", needs_match=False)
    sharing.set_payout(clara.id, row_of(clara).id, PAYOUT_IBAN, "Clara Beispiel")
    db.session.commit()
    page = desk.open("/")
    page.get_by_role("link", name="Sammelkonten").click()
    page.get_by_role("link", name="1 Umsatz").click()
    choice = page.get_by_label("Erika Mustermann, 40,00 €: gehört")
    expect(choice).to_have_value(f"{LONG_NAME} ({clara.id})")
    page.get_by_role("button", name=re.compile("^Weitergeben")).click()
    expect(page.get_by_role("status").filter(has_text="1 Umsatz weitergegeben")).to_be_visible()
    page.get_by_role("link", name="Auszahlen").click()
    expect(page.get_by_text("noch nie")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="1.324,60 € auszahlen").click()
    first = Path(download.value.path()).read_bytes()
    assert b'<InstdAmt Ccy="EUR">1324.60</InstdAmt>' in first
    assert re.fullmatch(r"KONTOR-\d+-\d{14}\.xml", download.value.suggested_filename)
    # The page still stands there; the same button pays nothing again.
    page.get_by_role("button", name="1.324,60 € auszahlen").click()
    expect(page.get_by_role("alert")).to_contain_text("es ist nichts ausgezahlt")
    assert db.session.query(AccountMovement).count() == 1
    page.get_by_role("link", name=re.compile("^‹")).click()
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile(r"^KONTOR-.*\.xml$")).click()
    assert Path(download.value.path()).read_bytes() == first
    assert [one for one in desk.complaints if "422" not in one] == []


@pytest.mark.feature("K50", "K52")
def test_a_member_names_the_payout_account_and_filters_the_list(
    merchant, shared, clara, live_server, chromium
):
    fee = {"kind": "fee", "reference": "Gebühr November", "actor": "op"}
    on = today() - timedelta(days=1)
    sharing.add_movement(merchant, shared.id, clara.id, amount=Decimal("-4.90"), on=on, **fee)
    db.session.commit()
    context = chromium.new_context(viewport=WIDE, locale="de-DE")
    desk = Desk(context, live_server.url)
    desk.log_in("clara@example.org")
    path = f"/bank-accounts/{row_of(clara).id}/movements"
    page = desk.open(path)
    expect(page.get_by_role("link", name="Sammelkonten")).to_have_count(0)
    expect(page.get_by_text("1.279,70 €").first).to_be_visible()
    page.get_by_label("IBAN", exact=True).fill("DE00 1234")
    page.get_by_role("button", name="Speichern").click()
    expect(page.get_by_text("Diese IBAN gibt es nicht")).to_be_visible()
    page.get_by_label("IBAN", exact=True).fill(PAYOUT_IBAN)
    page.get_by_role("button", name="Speichern").click()
    expect(page.get_by_text("DE02 5001 0517 0137 0750 30")).to_be_visible()
    page.get_by_label("Art", exact=True).select_option("Gebühr")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "type=fee" in page.url
    page.get_by_text("Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert "Gebühr November" in Path(download.value.path()).read_text("utf-8-sig")
    assert [one for one in desk.complaints if "422" not in one] == []
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_every_page_fits_the_screen(merchant, shared, clara, live_server, chromium, size, theme):
    joined(merchant, shared, "Bobs Bohrer", "bob@example.org")
    for text in ("CC-1002 Teil", "Danke"):
        make_posting(merchant, "40.00", text, counterparty_name=LONG_NAME, needs_match=False)
    sharing.set_payout(clara.id, row_of(clara).id, PAYOUT_IBAN, LONG_NAME)
    day = today()
    sharing.pay_out(merchant, shared.id, at=now(), on=day, actor="op")
    sharing.pass_on(make_posting(merchant, "9.00", "später", needs_match=False), clara.id)
    db.session.commit()
    operator = f"/shared-accounts/{shared.id}"
    pages = {
        "anna@example.org": [
            "/shared-accounts",
            f"{operator}?find=o",
            f"{operator}/share",
            f"{operator}/payout",
            f"{operator}/movement",
            f"{operator}/members/{clara.id}/remove",
            f"/bank-accounts/{shared.id}/movements",
        ],
        "clara@example.org": [f"/bank-accounts/{row_of(clara).id}/movements"],
        "bob@example.org": [
            "/bank-accounts/{bob}/movements",
            "/bank-accounts/{bob}/movements?text=x",
        ],
    }
    bob = db.session.query(BankAccount).order_by(BankAccount.id.desc()).first().id
    for email, paths in pages.items():
        context = chromium.new_context(viewport=size, locale="de-DE", color_scheme=theme)
        desk = Desk(context, live_server.url)
        desk.log_in(email)
        for path in paths:
            page = desk.open(path.format(bob=bob))
            assert not is_too_wide(page), path
            assert small_targets(page) == [], path
        assert desk.complaints == []
        context.close()


def test_without_scripts_everything_works(merchant, shared, clara, live_server, chromium):
    posting = make_posting(merchant, "40.00", "Danke", needs_match=False)
    context = chromium.new_context(viewport=PHONE, locale="de-DE", java_script_enabled=False)
    desk = Desk(context, live_server.url)
    desk.log_in()
    page = desk.open(f"/shared-accounts/{shared.id}")
    page.get_by_label("Erika Mustermann, 40,00 €: gehört").select_option(LONG_NAME)
    page.get_by_role("button", name=re.compile("^Weitergeben")).click()
    expect(page.get_by_text("1 Umsatz weitergegeben")).to_be_visible()
    page.get_by_role("button", name="Zurücknehmen Erika Mustermann, 40,00 €").click()
    expect(page.get_by_text("Der Umsatz gehört wieder niemandem")).to_be_visible()
    db.session.expire_all()
    assert db.session.get_one(Posting, posting.id).is_open
    page.get_by_role("link", name=re.compile("^Entfernen")).click()
    page.get_by_role("button", name="Entfernen").click()
    expect(page.get_by_text("entfernt", exact=True)).to_be_visible()
    page.get_by_label("Händler hinzufügen").fill("Teehaus")
    page.get_by_role("button", name="Suchen").click()
    page.get_by_role("button", name=re.compile("^Hinzufügen")).click()
    expect(page.get_by_text("entfernt", exact=True)).to_have_count(0)
    context.close()
