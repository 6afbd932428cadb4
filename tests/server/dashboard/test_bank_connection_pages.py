"""Accesses to banks: connecting one in the browser, its health, fetching at once, ending it.

The bank is a real FinTS server on loopback; every step goes over HTTP.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from server import config
from server.banking.models import BankAccount, BankConnection, Posting, Statement
from server.dashboard import bank_connections
from server.db import db, now
from server.jobs import drain_statement
from tests.bank_files import Paid, camt
from tests.factories import IBAN, make_merchant, today
from tests.fakes.fints_bank import (
    CHIP_TAN,
    PHOTO_TAN,
    PNG,
    PUSH_TAN,
    FakeAccount,
    FakeFintsBank,
    FakeMethod,
)
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

TODAY = today()
OTHER_IBAN = "DE89370400440532013000"
PRODUCT = "A1B2C3D4E5F6A7B8C9D0E1F2A"


@pytest.fixture
def registered(app):
    """An installation with a registration number, whose banks may be on this machine."""
    before = config.installed()
    config.install(
        dataclasses.replace(before, fints_product_id=PRODUCT, allow_private_addresses=True)
    )
    yield
    config.install(before)


@pytest.fixture
def merchant(registered):
    return make_merchant(account=False)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


@pytest.fixture
def bank():
    accounts = (FakeAccount(IBAN, "202051"), FakeAccount(OTHER_IBAN, "532013000"))
    with FakeFintsBank(methods=(PHOTO_TAN, PUSH_TAN), accounts=accounts, today=TODAY) as bank:
        bank.sca_days = 180
        bank.camt = {TODAY: camt("camt.052", Paid(on=TODAY))}
        yield bank


def log_in(anna, bank, **over):
    form = {"code": "12030000", "own_url": bank.url, "user": bank.user, "pin": bank.pin} | over
    return anna.post("/bank-connections/new", form)


def the_row() -> BankConnection:
    db.session.expire_all()
    return db.session.query(BankConnection).one()


def path(step: str = "") -> str:
    return f"/bank-connections/{the_row().id}{step}"


def connect(anna, bank):
    """Through all steps with photoTAN, both accounts."""
    log_in(anna, bank)
    anna.post(path("/method"), {"method": PHOTO_TAN.id})
    anna.post(path("/confirm"), {"tan": bank.tan})
    return anna.post(path("/accounts"), {"iban": [IBAN, OTHER_IBAN]})


# --- connecting -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("12030000", "BLZ 12030000"),
        ("BYLADEM1001", "BIC BYLADEM1001"),
        ("DE02 1203 0000 0000 2020 51", "BLZ 12030000"),
    ],
)
def test_a_bank_is_found_by_whatever_is_at_hand(anna, code, shown):
    page = anna.get("/bank-connections/new", query_string={"code": code})
    assert shown in words(page) and "Deutsche Kreditbank" in page.text
    assert 'value="https://fints.dkb.de/fints"' in page.text
    assert 'autocomplete="section-bank username"' in page.text
    assert 'autocomplete="section-bank current-password"' in page.text


def test_an_unknown_bank_is_said_at_the_field(anna):
    page = anna.get("/bank-connections/new?code=99999999")
    assert page.status_code == 422 and 'id="code-error"' in page.text
    assert 'name="pin"' not in page.text


def test_a_bank_is_connected_step_by_step(merchant, anna, bank):
    answer = log_in(anna, bank)
    assert answer.location == path()
    assert "Wie geben Sie frei?" in words(anna.get(path()))
    anna.post(path("/method"), {"method": PHOTO_TAN.id})
    page = anna.get(path())
    assert 'autocomplete="one-time-code"' in page.text and f'src="{path("/picture")}"' in page.text
    picture = anna.get(path("/picture"))
    assert (picture.mimetype, picture.data) == ("image/png", PNG)
    assert picture.headers["Cache-Control"] == "no-store"
    anna.post(path("/confirm"), {"tan": bank.tan})
    page = anna.get(path())
    assert "Welche Konten abrufen?" in words(page) and "DE02 1203 0000 0000 2020 51" in page.text
    answer = anna.post(path("/accounts"), {"iban": IBAN})
    assert answer.location == path("?done=fetched")
    page = words(anna.get(answer.location))
    assert "Abgerufen. Neue Umsätze werden jetzt gelesen." in page and "Verbunden" in page
    assert "1 weiteres Konto dieser Bank" in page
    drain_statement()
    (account,) = db.session.query(BankAccount).all()
    assert (account.iban, account.connection_id, account.assign_from) == (IBAN, the_row().id, TODAY)
    assert not account.is_payee
    (posting,) = db.session.query(Posting).all()
    assert posting.account_id == account.id and posting.is_open


def test_the_pin_is_never_shown_again_and_never_stored_readable(anna, bank):
    pages = [log_in(anna, bank, own_url="", code="60050101").text, log_in(anna, bank).text]
    anna.post(path("/method"), {"method": PHOTO_TAN.id})
    pages += [anna.get(path()).text, anna.post(path("/confirm"), {"tan": " "}).text]
    assert all(bank.pin not in page and bank.pin[:6] not in page for page in pages)
    assert bank.pin.encode() not in the_row().credentials


def test_an_app_is_waited_for_by_the_page_itself(anna, bank):
    log_in(anna, bank)
    anna.post(path("/method"), {"method": PUSH_TAN.id})
    page = anna.get(path()).text
    assert f'hx-post="{path("/poll")}" hx-trigger="load delay:' in page
    assert "Ich habe freigegeben" in page
    still = anna.post(path("/poll"))
    assert still.status_code == 200 and "hx-post" in still.text
    for _ in range(5):
        answer = anna.post(path("/poll"))
        if "HX-Redirect" in answer.headers:
            break
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, path())
    assert the_row().step == {"asks": "accounts"}


def test_without_javascript_a_button_asks_whether_the_app_was_used(anna, bank):
    log_in(anna, bank)
    anna.post(path("/method"), {"method": PUSH_TAN.id})
    for _ in range(3):
        anna.post(path("/confirm"))
    assert "Welche Konten abrufen?" in anna.get(path()).text


def test_a_bank_that_does_not_allow_questions_is_asked_after_a_click_only(anna, bank):
    log_in(anna, bank)
    anna.post(path("/method"), {"method": PUSH_TAN.id})
    row = the_row()
    row.step = row.step | {"may_poll": False}
    db.session.commit()
    assert "hx-post" not in anna.get(path()).text
    before = len(bank.asked)
    assert "hx-post" not in anna.post(path("/poll")).text
    assert len(bank.asked) == before


def test_a_device_is_chosen_where_there_are_several(anna, bank):
    phones = FakeMethod("942", "mobileTAN", media=("Telefon Anna", "Telefon Laden"), hktan=6)
    bank.methods, bank.sca_days = (phones, CHIP_TAN), None
    log_in(anna, bank)
    anna.post(path("/method"), {"method": phones.id})
    assert "Telefon Laden" in anna.get(path()).text
    bank.sca_days = 0
    wrong = anna.post(path("/method"), {"method": phones.id, "medium": "Telefon Bob"})
    assert wrong.status_code == 422 and "Wählen Sie eines der Verfahren" in wrong.text
    anna.post(path("/method"), {"method": phones.id, "medium": "Telefon Laden"})
    assert "Auf: Telefon Laden" in words(anna.get(path()))


def test_a_flickering_code_can_be_shown_and_typed_by_hand(anna, bank):
    bank.methods = (
        FakeMethod("911", "chipTAN optisch", flicker="11048714955205123456789F14302C303107"),
    )
    log_in(anna, bank)
    page = anna.get(path()).text
    assert re.search(r'data-flicker="[0-9A-F]{20,}"', page)
    assert "manuelle Eingabe" in page and 'name="tan"' in page


@pytest.mark.parametrize(
    ("wrong", "status", "said"),
    [
        ({"user": " "}, 422, "Anmeldename und PIN sind nötig"),
        ({"pin": ""}, 422, "Anmeldename und PIN sind nötig"),
        ({"code": "60050101", "own_url": ""}, 422, "keine Adresse bekannt"),
        ({"own_url": "http://192.168.0.1/fints"}, 422, "Adresse der Bank"),
        ({"not_before": "gestern"}, 422, "kein Datum"),
        ({"code": "x"}, 422, "keine deutsche Bank"),
    ],
)
def test_what_is_missing_is_said_and_what_was_typed_stays(anna, bank, wrong, status, said):
    answer = log_in(anna, bank, customer_id="4711", **wrong)
    assert (answer.status_code, said in answer.text) == (status, True)
    assert db.session.query(BankConnection).all() == []
    if wrong.get("code") != "x":
        assert 'value="4711"' in answer.text


def test_a_wrong_tan_leads_back_to_the_beginning(anna, bank):
    log_in(anna, bank)
    anna.post(path("/method"), {"method": PHOTO_TAN.id})
    empty = anna.post(path("/confirm"), {"tan": ""})
    assert empty.status_code == 422 and 'id="tan-error"' in empty.text
    anna.post(path("/confirm"), {"tan": "000000"})
    page = words(anna.get(path()))
    assert "Die TAN war falsch oder zu spät" in page and "Noch einmal versuchen" in page
    anna.post(path("/begin"))
    anna.post(path("/method"), {"method": PHOTO_TAN.id})
    anna.post(path("/confirm"), {"tan": bank.tan})
    assert the_row().step == {"asks": "accounts"}


def test_a_refused_pin_is_never_tried_again_until_somebody_enters_one(merchant, anna, bank):
    log_in(anna, bank, pin="falsch")
    page = words(anna.get(path()))
    assert "Die Bank hat die Anmeldung abgelehnt" in page and "Abgelehnt" in page
    assert "falsch" not in re.sub(r"falsche?n?\b.*?Zugang", "", anna.get(path()).text)
    anna.post(path("/begin"))
    anna.post(path("/fetch"))
    assert bank.wrong_pins == 1
    assert anna.post(path("/pin"), {"pin": ""}).status_code == 422
    anna.post(path("/pin"), {"pin": bank.pin})
    assert the_row().step["asks"] == "method"


def test_no_account_chosen_is_said(anna, bank):
    log_in(anna, bank)
    anna.post(path("/method"), {"method": PHOTO_TAN.id})
    anna.post(path("/confirm"), {"tan": bank.tan})
    answer = anna.post(path("/accounts"))
    assert answer.status_code == 422 and "mindestens ein Konto" in answer.text
    assert db.session.query(BankAccount).all() == []


# --- afterwards -------------------------------------------------------------------------------


def test_fetching_at_once_may_ask_for_a_tan_and_goes_on_with_the_other_account(anna, bank):
    connect(anna, bank)
    bank.request_sca = True
    bank.camt = {TODAY: camt("camt.052", Paid("7.00", on=TODAY))}
    assert anna.post(path("/fetch")).location == path()
    assert "TAN eingeben" in anna.get(path()).text
    for _ in range(4):
        if not the_row().step:
            break
        anna.post(path("/confirm"), {"tan": bank.tan})
    assert the_row().step is None and the_row().health == "connected"
    assert {s.account_id for s in db.session.query(Statement)} == {
        account.id for account in db.session.query(BankAccount)
    }


@pytest.mark.feature("C27")
def test_how_an_access_is_doing_is_said_in_words(anna, bank):
    connect(anna, bank)
    row = the_row()
    page = words(anna.get(path()))
    ends = row.consent_at.astimezone(ZoneInfo("Europe/Berlin")).date() + timedelta(days=180)
    assert f"gilt voraussichtlich bis {ends.day}. " in page and str(ends.year) in page
    assert "Nächster Abruf" in page and "Jetzt abrufen" in page
    row.health, row.status, row.error = "needs_you", "withheld", "bank_wants_tan"
    db.session.commit()
    page = words(anna.get(path()))
    assert "Braucht Sie" in page and "nur mit einer neuen Freigabe" in page
    assert "nach Ihrer Freigabe" in page and "Jetzt freigeben" in page
    drain_statement()
    for posting in db.session.query(Posting):
        posting.created_at = now() - timedelta(days=5)
    for statement in db.session.query(Statement):
        statement.finished_at = now() - timedelta(days=5)
    db.session.commit()
    today = anna.get("/")
    assert f'href="{path()}"' in today.text and "Deutsche Kreditbank" in today.text
    assert "braucht Sie" in words(today) and "keine neuen Umsätze" not in words(today)
    assert anna.post(path("/begin")).location == path("?done=fetched")  # the method is known
    assert (the_row().health, the_row().step) == ("connected", None)
    assert "braucht Sie" not in words(anna.get("/"))
    bank.confirmed_on = None
    anna.post(path("/begin?other-method=1"))
    assert (the_row().step["asks"], the_row().tan_method) == ("method", None)


def test_a_fetch_by_hand_does_not_use_up_the_mail_that_warns(anna, bank):
    connect(anna, bank)
    row = the_row()
    row.consent_at = now() - timedelta(days=176)
    db.session.commit()
    bank.sca_days = None
    assert anna.post(path("/fetch")).location == path("?done=fetched")
    assert the_row().warned_at is None


def test_an_account_that_the_bank_keeps_to_itself_is_named(anna, bank):
    connect(anna, bank)
    row = the_row()
    row.error = f"{OTHER_IBAN}: This bank access does not know the account."
    db.session.commit()
    page = words(anna.get(path()))
    assert "Von diesen Konten gab die Bank nichts heraus:" in page
    assert "DE89 3704 0044 0532 0130 00: Dieser Zugang kennt das Konto nicht." in page


def test_a_bank_that_is_away_loses_nothing(anna, bank):
    connect(anna, bank)
    due_at = the_row().due_at
    bank.trouble = "503"
    answer = anna.post(path("/fetch"))
    assert answer.status_code == 503 and "Die Bank antwortet gerade nicht" in answer.text
    row = the_row()
    assert (row.health, row.status, row.due_at) == ("connected", "queued", due_at)
    bank.trouble = None
    assert anna.post(path("/fetch")).location == path("?done=fetched")


def test_a_bank_that_is_away_at_the_first_log_in_can_be_tried_again(anna, bank):
    bank.trouble = "html"
    answer = log_in(anna, bank)
    assert answer.status_code == 503 and "Noch einmal versuchen" in answer.text
    assert "Wartung" in answer.text
    bank.trouble = None
    anna.post(path("/begin"))
    assert the_row().step["asks"] == "method"


def test_while_a_worker_fetches_nobody_else_asks_the_bank(anna, bank):
    connect(anna, bank)
    row = the_row()
    row.status = "running"
    db.session.commit()
    logins = bank.logins
    answer = anna.post(path("/fetch"))
    assert answer.status_code == 409 and "Kontor ruft gerade selbst ab" in answer.text
    assert bank.logins == logins


def test_a_worker_stays_away_while_a_person_confirms(anna, bank):
    connect(anna, bank)
    row = the_row()
    row.due_at = now() - timedelta(minutes=1)
    db.session.commit()
    bank.request_sca = True
    anna.post(path("/fetch"))
    assert the_row().step["asks"] == "tan"
    assert not BankConnection.is_due(now())


def test_banks_are_not_asked_all_the_time(anna, bank, monkeypatch):
    monkeypatch.setattr(
        bank_connections, "TALKS", bank_connections.RateLimitItemPerMinute(2, 15, namespace="x")
    )
    log_in(anna, bank)
    anna.post(path("/begin"))
    asked = bank.logins
    answer = anna.post(path("/begin"))
    assert answer.status_code == 429 and "Zu viele Anfragen an Banken" in answer.text
    assert log_in(anna, bank).status_code == 429
    assert bank.logins == asked and db.session.query(BankConnection).count() == 1


def test_another_account_of_the_bank_is_added_later(anna, bank):
    log_in(anna, bank)
    anna.post(path("/method"), {"method": PHOTO_TAN.id})
    anna.post(path("/confirm"), {"tan": bank.tan})
    anna.post(path("/accounts"), {"iban": IBAN})
    anna.post(path("/accounts"), {"iban": OTHER_IBAN})
    assert {one.iban for one in db.session.query(BankAccount)} == {IBAN, OTHER_IBAN}


def test_an_access_is_ended_after_a_question(anna, bank):
    connect(anna, bank)
    asked = anna.get(path("/disconnect"))
    assert "Deutsche Kreditbank" in asked.text and "Konten und Umsätze bleiben" in asked.text
    answer = anna.post(path("/disconnect"))
    assert answer.location == "/bank-accounts?done=disconnected"
    row = the_row()
    assert (row.health, row.credentials, row.dialog) == ("disabled", None, None)
    assert "Diese Bank ist getrennt" in anna.get(path()).text
    assert f'href="{path()}"' not in anna.get("/bank-accounts").text
    for step in ("/fetch", "/begin", "/pin", "/poll"):
        answer = anna.post(path(step), {"pin": bank.pin})
        assert answer.status_code in (204, 303), step
    assert the_row().health == "disabled"


def test_without_a_registration_the_page_says_what_the_operator_does(app):
    anna = member(app, make_merchant())
    page = words(anna.get("/bank-connections/new"))
    assert "KONTOR_FINTS_PRODUCT_ID" in page and "Kontoauszug hochladen" in page
    assert 'name="pin"' not in anna.get("/bank-connections/new?code=12030000").text
    form = {"code": "12030000", "url": "https://fints.dkb.de/fints", "user": "a", "pin": "b"}
    answer = anna.post("/bank-connections/new", form)
    assert answer.status_code == 422 and db.session.query(BankConnection).all() == []


def test_not_before_is_kept(anna, bank):
    log_in(anna, bank, not_before="2026-11-01")
    assert the_row().not_before == date(2026, 11, 1)
