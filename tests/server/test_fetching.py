"""Accounts that fetch themselves: set up, fetch, stop before anything gets locked, tell."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest

from server import config
from server.banking import fetching
from server.banking.fints.banks import Bank
from server.banking.models import BankAccount, BankConnection, Posting, Statement
from server.db import db, now
from server.jobs import drain_bank_connection, drain_statement
from server.mail.models import Mail
from server.vault import Vault
from server.vault import installed as vault
from tests.bank_files import Paid, camt
from tests.factories import IBAN, make_merchant, make_user, today
from tests.fakes.fints_bank import PHOTO_TAN, PUSH_TAN, FakeAccount, FakeFintsBank

BANK = Bank("Musterbank", "12030000", "BYLADEM1001", ())
TODAY = today()


@pytest.fixture
def merchant(app, settings):
    merchant = make_merchant(account=False)
    make_user(merchant)
    before = config.installed()
    config.install(
        dataclasses.replace(
            before, fints_product_id="A1B2C3D4E5F6A7B8C9D0E1F2A", allow_private_addresses=True
        )
    )
    yield merchant
    config.install(before)


@pytest.fixture
def bank():
    account = FakeAccount(IBAN, "202051")
    with FakeFintsBank(methods=(PHOTO_TAN, PUSH_TAN), accounts=(account,), today=TODAY) as bank:
        bank.sca_days = 180
        bank.camt = {TODAY: camt("camt.052", Paid(on=TODAY))}
        yield bank


def opened(merchant, bank, pin=None, **over):
    row = fetching.add_connection(
        merchant.id, BANK, url=bank.url, user=bank.user, pin=pin or bank.pin, at=now(), **over
    )
    db.session.commit()
    return row


def connected(merchant, bank):
    row = opened(merchant, bank)
    fetching.begin(row, now())
    fetching.choose_method(row, PHOTO_TAN.id, None, now())
    fetching.confirm(row, bank.tan, now())
    fetching.choose_accounts(row, [IBAN], now())
    db.session.commit()
    return row


def due(row):
    """Its next fetch is due, and the worker comes by."""
    db.session.refresh(row)
    row.due_at = now()
    db.session.commit()
    drain_bank_connection()
    db.session.refresh(row)


@pytest.mark.feature("C3")
def test_an_access_is_set_up_step_by_step_and_fetches_by_itself(merchant, bank):
    row = opened(merchant, bank)
    assert (row.health, row.status) == ("setting_up", "withheld")
    fetching.begin(row, now())
    assert [one["name"] for one in row.step["methods"]] == ["photoTAN", "pushTAN 2.0"]
    fetching.choose_method(row, PHOTO_TAN.id, None, now())
    assert (row.step["asks"], row.step["is_decoupled"]) == ("tan", False)
    assert row.step["picture_mime"] == "image/png"
    fetching.confirm(row, bank.tan, now())
    assert (row.step, [one["iban"] for one in row.found]) == ({"asks": "accounts"}, [IBAN])
    (account,) = fetching.choose_accounts(row, [IBAN], now())
    db.session.commit()
    assert (row.health, row.status, account.assign_from) == ("connected", "queued", TODAY)
    due(row)
    drain_statement()
    (statement,) = db.session.query(Statement).all()
    assert (statement.status, statement.uploaded_by) == ("done", "FinTS: Musterbank")
    assert [(p.account_id, p.is_open) for p in db.session.query(Posting)] == [(account.id, True)]
    assert timedelta(hours=5) < row.due_at - now() < timedelta(hours=7)


def test_an_app_is_asked_until_it_was_used(merchant, bank):
    row = opened(merchant, bank)
    fetching.begin(row, now())
    fetching.choose_method(row, PUSH_TAN.id, None, now())
    asked = 0
    while row.step["asks"] == "tan":
        assert row.step["is_decoupled"]
        fetching.confirm(row, None, now())
        asked += 1
    assert (row.step["asks"], asked >= 2) == ("accounts", True)


@pytest.mark.feature("C4")
def test_fetches_overlap_and_bring_nothing_twice(merchant, bank):
    row = connected(merchant, bank)
    due(row)
    late = Paid("7.00", "spaet gebucht", on=TODAY - timedelta(days=1))
    bank.camt[TODAY - timedelta(days=1)] = camt("camt.052", late)
    due(row)
    drain_statement()
    first, last = bank.ranges[-1]
    assert first <= TODAY - timedelta(days=2)
    assert sorted(str(p.amount) for p in db.session.query(Posting)) == ["19.900", "7.000"]
    kept = db.session.query(Statement).count()
    due(row)
    assert db.session.query(Statement).count() == kept


@pytest.mark.feature("C8")
def test_what_the_bank_calls_pending_is_not_booked_whatever_its_entries_say(merchant, bank):
    bank.camt_pending = camt("camt.052", Paid("8.00", "angekuendigt", on=TODAY))
    row = connected(merchant, bank)
    due(row)
    drain_statement()
    found = {str(p.amount): p.is_pending for p in db.session.query(Posting)}
    assert found == {"8.000": True, "19.900": False}


@pytest.mark.feature("K11")
def test_what_was_booked_before_the_connection_is_kept_without_assignment(merchant, bank):
    old = TODAY - timedelta(days=10)
    bank.camt[old] = camt("camt.052", Paid("5.00", "alt", on=old))
    row = connected(merchant, bank)
    due(row)
    drain_statement()
    found = {str(p.amount): (p.no_assignment, p.is_open) for p in db.session.query(Posting)}
    assert found == {"5.000": (True, False), "19.900": (False, True)}


def test_a_wrong_pin_is_never_tried_again(merchant, bank):
    row = connected(merchant, bank)
    bank.pin = "geaendert"
    due(row)
    assert (row.health, row.status, bank.wrong_pins) == ("refused", "withheld", 1)
    due(row)
    fetching.begin(fetching.connection_of(merchant.id, row.id), now())
    assert bank.wrong_pins == 1
    row = fetching.connection_of(merchant.id, row.id)
    fetching.change_pin(row, "geaendert")
    fetching.begin(row, now())
    assert (row.health, row.status) == ("connected", "queued") or row.step is not None


@pytest.mark.feature("C27")
def test_a_bank_that_wants_a_person_is_left_alone_and_the_merchant_told_once(merchant, bank):
    row = connected(merchant, bank)
    bank.confirmed_on = TODAY - timedelta(days=200)
    for _ in range(3):
        due(row)
    assert (row.health, row.status, row.error) == ("needs_you", "withheld", "bank_wants_tan")
    logins = bank.logins
    row.due_at = now()
    db.session.commit()
    drain_bank_connection()
    assert bank.logins == logins
    (mail,) = db.session.query(Mail).filter_by(kind="bank_needs_you").all()
    assert mail.facts["bank_url"].endswith(f"/bank-connections/{row.id}")
    row = fetching.connection_of(merchant.id, row.id)
    fetching.begin(row, now())
    if row.step and row.step["asks"] != "tan":
        fetching.choose_method(row, PHOTO_TAN.id, None, now())
    fetching.confirm(row, bank.tan, now())
    assert (row.health, row.status, row.step) == ("connected", "queued", None)


@pytest.mark.feature("C27")
def test_the_merchant_is_warned_days_before_the_consent_ends(merchant, bank):
    row = connected(merchant, bank)
    row.consent_at = now() - timedelta(days=174)
    db.session.commit()
    for _ in range(2):
        due(row)
    (mail,) = db.session.query(Mail).filter_by(kind="bank_consent_ends").all()
    assert (row.health, mail.facts["bank_name"]) == ("connected", "Musterbank")


def test_a_person_may_fetch_now_and_confirm_that(merchant, bank):
    row = connected(merchant, bank)
    bank.request_sca = True
    row = fetching.connection_of(merchant.id, row.id)
    fetching.fetch(row, now(), is_attended=True)
    assert row.step["asks"] == "tan"
    fetching.confirm(row, bank.tan, now())
    assert (row.step, row.health, db.session.query(Statement).count()) == (None, "connected", 1)
    assert row.fetched_at is not None


def test_a_bank_that_is_away_is_asked_later_and_for_ever(merchant, bank):
    row = connected(merchant, bank)
    bank.trouble = "http 500"
    bank.refusal = ("9010::Wartung, bitte später",)
    for _ in range(6):
        due(row)
    assert (row.health, row.status) == ("connected", "queued")
    assert now() < row.due_at


def test_pin_and_dialog_are_sealed_and_can_be_sealed_anew(merchant, bank):
    row = connected(merchant, bank)
    row = fetching.connection_of(merchant.id, row.id)
    stored = bytes(row.credentials) + bytes(row.dialog) + json.dumps(row.step).encode()
    assert bank.pin.encode() not in stored
    newest = "SGVsbG8gS29udG9yIG5ldyBrZXkgMzIgYnl0ZXMhISE="
    both = Vault([newest, *config.installed().encryption_keys])
    assert fetching.reseal_all(both) == 1
    assert json.loads(Vault([newest]).open(row.credentials))["pin"] == bank.pin
    with pytest.raises(ValueError, match="KONTOR_ENCRYPTION_KEYS"):
        vault().open(row.credentials)


def test_an_access_that_is_given_up_forgets_its_pin(merchant, bank):
    row = connected(merchant, bank)
    row = fetching.connection_of(merchant.id, row.id)
    fetching.disconnect(row)
    db.session.commit()
    assert (row.health, row.credentials, row.dialog) == ("disabled", None, None)
    assert [a.connection_id for a in db.session.query(BankAccount)] == [None]
    drain_bank_connection()
    assert row.status == "withheld"


def test_what_cannot_be_an_access_is_said(merchant, bank):
    for over, key in (
        ({"user": ""}, "bank_login_missing"),
        ({"pin": "x" * 200}, "bank_login_missing"),
        ({"url": ""}, "bank_url_missing"),
    ):
        typed = {"url": bank.url, "user": "erika", "pin": "1", "at": now()} | over
        with pytest.raises(ValueError, match=key):
            fetching.add_connection(merchant.id, BANK, **typed)
    config.install(dataclasses.replace(config.installed(), fints_product_id=None))
    with pytest.raises(ValueError, match="fints_not_registered"):
        opened(merchant, bank)


def test_accounts_that_the_bank_did_not_offer_cannot_be_chosen(merchant, bank):
    row = connected(merchant, bank)
    with pytest.raises(ValueError, match="bank_accounts_missing"):
        fetching.choose_accounts(row, ["DE88100900001234567892"], now())
    assert db.session.query(BankConnection).count() == 1
