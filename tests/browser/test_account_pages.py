"""Bank accounts and accesses in a real browser: live preview, an app that is waited for, phones."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from server import config
from server.banking.models import BankAccount, BankConnection, Statement
from server.db import db, now
from tests.bank_files import Paid, camt
from tests.factories import IBAN, make_order, make_posting, make_shop, today
from tests.fakes.fints_bank import PHOTO_TAN, PUSH_TAN, FakeAccount, FakeFintsBank, FakeMethod

TODAY = today()
FLICKER = FakeMethod("911", "chipTAN optisch", flicker="11048714955205123456789F14302C303107")


@pytest.fixture
def bank(app):
    before = config.installed()
    config.install(
        dataclasses.replace(
            before, fints_product_id="A1B2C3D4E5F6A7B8C9D0E1F2A", allow_private_addresses=True
        )
    )
    accounts = (FakeAccount(IBAN, "202051"),)
    methods = (PHOTO_TAN, PUSH_TAN, FLICKER)
    with FakeFintsBank(methods=methods, accounts=accounts, today=TODAY) as bank:
        bank.sca_days = 180
        bank.camt = {TODAY: camt("camt.052", Paid(on=TODAY))}
        yield bank
    config.install(before)


def log_in_at(bank, desk):
    page = desk.open("/bank-connections/new")
    page.get_by_label("BLZ, BIC oder IBAN").fill(IBAN)
    page.get_by_role("main").get_by_role("button", name="Suchen").click()
    page.get_by_text("Weitere Angaben").click()
    page.get_by_label("Andere FinTS-Adresse").fill(bank.url)
    page.get_by_label("Anmeldename").fill(bank.user)
    page.get_by_label("PIN des Online-Bankings").fill(bank.pin)
    page.get_by_role("button", name="Anmelden").click()
    return page


def choose(page, method: str):
    page.get_by_label(method).check()
    page.get_by_role("button", name="Weiter").click()


@pytest.mark.feature("K19")
def test_a_swiss_iban_opens_what_the_qr_bill_needs(desk):
    page = desk.open("/bank-accounts/new")
    expect(page.get_by_label("Hausnummer")).to_be_hidden()
    page.get_by_label("IBAN", exact=True).fill("CH93 0076 2011 6238 5295 7")
    page.get_by_label("Währung", exact=True).fill("CHF")
    page.get_by_label("Straße").fill("Musterweg")
    page.get_by_label("Hausnummer").fill("7")
    page.get_by_role("button", name="Konto hinzufügen").click()
    expect(page.get_by_text("Nennen Sie die Postleitzahl")).to_be_visible()
    page.get_by_label("Postleitzahl").fill("8000")
    page.get_by_label("Ort", exact=True).fill("Zürich")
    page.get_by_role("button", name="Konto hinzufügen").click()
    expect(page.get_by_text("Musterweg 7, 8000 Zürich, Schweiz")).to_be_visible()


def test_the_preview_follows_the_ticks(merchant, desk):
    shop = make_shop(merchant, "Laden")
    make_order(
        shop,
        ordered_at=now().isoformat(),
        currency="CHF",
        billing_address={"last_name": "Muster", "country": "CH"},
    )
    page = desk.open("/bank-accounts/new")
    page.get_by_label("IBAN", exact=True).fill("CH93 0076 2011 6238 5295 7")
    page.get_by_label("Währung", exact=True).fill("CHF")
    preview = page.get_by_role("status").filter(has_text="Schweiz")
    page.get_by_role("group", name="Länder").get_by_label("Österreich").check()
    expect(preview).to_contain_text("… 2051")
    page.get_by_label("Weitere Länder").fill("Schweiz")
    page.get_by_label("Weitere Länder").press("Tab")
    added = page.get_by_role("group", name="Länder").get_by_label("Schweiz").last
    expect(added).to_be_checked()
    expect(page.get_by_label("Weitere Länder")).to_have_value("")
    expect(preview).to_contain_text("dieses Konto")
    page.get_by_role("button", name="Konto hinzufügen").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("CH … 2957")
    db.session.expire_all()
    account = db.session.query(BankAccount).filter_by(currency="CHF").one()
    assert account.for_countries == ["AT", "CH"]
    assert desk.complaints == []


def test_a_bank_is_connected_by_app_without_a_click_while_waiting(merchant, bank, desk):
    page = log_in_at(bank, desk)
    choose(page, "pushTAN 2.0")
    expect(page.get_by_text("Wartet auf Ihre Freigabe")).to_be_visible()
    expect(page.get_by_role("heading", name="Welche Konten abrufen?")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Diese abrufen").click()
    expect(page.get_by_role("status").filter(has_text="Abgerufen")).to_be_visible()
    expect(page.locator(".head .badge")).to_have_text("Verbunden")
    db.session.expire_all()
    assert db.session.query(BankConnection).one().health == "connected"
    assert db.session.query(Statement).count() == 1
    assert desk.complaints == []


def test_the_picture_of_the_bank_is_allowed_by_the_policy(bank, desk):
    page = log_in_at(bank, desk)
    choose(page, "photoTAN")
    expect(page.get_by_alt_text("Bild der Bank")).to_be_attached()
    expect(page.get_by_label("TAN", exact=True)).to_be_focused()
    assert desk.complaints == []


def test_the_code_flickers_when_asked_to_and_stops(bank, desk):
    page = log_in_at(bank, desk)
    choose(page, "chipTAN optisch")
    lit = page.locator(".flicker .bar.is-lit")
    expect(lit).to_have_count(0)
    page.get_by_role("button", name="Flackern starten").click()
    expect(lit.first).to_be_attached()
    page.get_by_role("button", name="Anhalten").click()
    expect(page.get_by_role("button", name="Flackern starten")).to_be_visible()
    assert desk.complaints == []


def test_days_are_reached_by_keyboard_and_lead_to_their_postings(merchant, desk):
    posting = make_posting(merchant, "7.00", booking_date=TODAY - timedelta(days=1))
    from server.banking.models import AccountDay

    day = AccountDay(account_id=posting.account_id, day=posting.booking_date, postings=1)
    db.session.add(day)
    db.session.commit()
    page = desk.open(f"/bank-accounts/{posting.account_id}")
    link = page.locator(".calendar a")
    expect(link).to_have_accessible_name(re.compile("1 Umsatz"))
    link.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(
        re.compile(f"account={posting.account_id}.*from={posting.booking_date}")
    )
    assert desk.complaints == []


@pytest.mark.parametrize("where", ["/bank-accounts", "/bank-accounts/new", "/bank-accounts/{id}"])
def test_nothing_is_wider_than_a_phone(merchant, phone, where):
    posting = make_posting(merchant, "7.00")
    page = phone.open(where.format(id=posting.account_id))
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(width) <= 0
    assert phone.complaints == []
