"""Bank accounts: the list, adding and changing, who pays where, which days are there."""

from __future__ import annotations

import dataclasses
import re
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from flask import g

from server import config
from server.banking import service
from server.banking.models import (
    AccountDay,
    BankAccount,
    BankConnection,
    Posting,
    Statement,
    StatementPeriod,
)
from server.banking.rules import coverage as coverage_rules
from server.dashboard import coverage
from server.db import db, now
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.orders.models import MatchRequest
from tests.factories import (
    IBAN,
    make_account,
    make_merchant,
    make_order,
    make_posting,
    make_shop,
    today,
)
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

SWISS = "CH9300762011623852957"
TODAY = today()
MONDAY = TODAY - timedelta(days=TODAY.weekday())


@pytest.fixture
def merchant(app):
    return make_merchant(account=False)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


@pytest.fixture
def german(app):
    with app.test_request_context():
        g.language, g.timezone = "de", "Europe/Berlin"
        yield


def form(**over):
    terms = {
        "iban": "de02 1203 0000 0000 2020 51",
        "currency": "EUR",
        "creditor_name": "Annas  Antiquariat",
        "is_payee": "1",
    }
    return terms | over


def recent(shop, country="DE", currency="EUR", **over):
    """An order of today."""
    address = {"last_name": "Mustermann", "country": country} if country else {"last_name": "M"}
    return make_order(
        shop, ordered_at=now().isoformat(), currency=currency, billing_address=address, **over
    )


def account_of(merchant) -> BankAccount:
    db.session.expire_all()
    return db.session.query(BankAccount).filter_by(merchant_id=merchant.id).one()


def merchant_of(account) -> Merchant:
    return db.session.get_one(Merchant, account.merchant_id)


def tell(account, first, last, opening, closing, booked, *, is_complete=True):
    """A statement of these days, and what was booked as one posting on the last of them."""
    make_posting(
        merchant_of(account), booked, account_id=account.id, booking_date=last, is_open=False
    )
    statement = service.store_statement(
        account.merchant_id, f"auszug-{first}.xml", b"x", uploaded_by="anna"
    )
    db.session.flush()
    db.session.add(
        StatementPeriod(
            merchant_id=account.merchant_id,
            statement_id=statement.id,
            account_id=account.id,
            position=0,
            source="camt.053" if is_complete else "CSV",
            from_date=first,
            to_date=last,
            opening=None if opening is None else Decimal(opening),
            closing=None if closing is None else Decimal(closing),
            booked_total=Decimal(booked),
            is_complete=is_complete,
        )
    )
    statement.status, statement.finished_at = "done", now()
    statement.account_iban = account.iban
    db.session.commit()
    return statement


def rows_of_preview(page) -> list[str]:
    """The lines of "who pays where", as words."""
    table = re.search(r"<caption[^>]*>Wer würde wohin zahlen\?.*?</table>", page.text, re.DOTALL)
    assert table, page.text
    lines = re.findall(r"<tr>.*?</tr>", table[0], re.DOTALL)[1:]
    return [" ".join(re.sub(r"<[^>]*>", " ", line).split()) for line in lines]


# --- adding and changing ----------------------------------------------------------------------


def test_the_old_address_leads_to_the_list(anna):
    assert anna.get("/bank-account").location == "/bank-accounts"


def test_without_an_account_the_page_leads_to_adding_one(anna):
    page = anna.get("/bank-accounts")
    assert "Noch kein Bankkonto" in page.text
    assert 'href="/bank-accounts/new"' in page.text and "/bank-connections/new" in page.text


def test_an_account_is_checked_and_saved(merchant, anna):
    answer = anna.post("/bank-accounts/new", form(label="Geschäft"))
    account = account_of(merchant)
    assert answer.location == f"/bank-accounts/{account.id}?done=account_saved"
    assert (account.iban, account.bic) == (IBAN, "BYLADEM1001")
    assert (account.creditor_name, account.is_payee) == ("Annas Antiquariat", True)
    page = words(anna.get("/bank-accounts"))
    assert "Geschäft noch keine Umsätze IBAN DE02 1203 0000 0000 2020 51" in page
    assert "Gilt für alle Bestellungen" in page


@pytest.mark.feature("S20", "K51")
def test_an_account_is_for_countries_currencies_and_shops(merchant, anna):
    mine, other = make_shop(merchant, "Laden"), make_shop(merchant, "Messe")
    foreign = make_shop(make_merchant("Bobs Laden", account=False), "Bobs Laden")
    terms = form(
        iban=SWISS,
        currency="chf",
        country=["CH"],
        more_countries="Liechtenstein, at",
        for_currency=["CHF"],
        more_currencies="usd",
        shop=[mine.id, foreign.id],
    )
    anna.post("/bank-accounts/new", terms)
    account = account_of(merchant)
    assert account.for_countries == ["AT", "CH", "LI"]
    assert account.for_currencies == ["CHF", "USD"]
    assert account.for_shops == [mine.id]
    page = words(anna.get("/bank-accounts"))
    assert "Österreich, Schweiz, Liechtenstein · Bestellungen in CHF, USD · Laden" in page
    assert f"Laden · {other.name}" not in page and f"{other.name}, Laden" not in page


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"iban": "DE02120300000000202052"}, "iban", "Diese IBAN gibt es nicht"),
        ({"iban": ""}, "iban", "Diese IBAN gibt es nicht"),
        ({"bic": "XX"}, "bic", "Diese BIC gibt es nicht"),
        ({"creditor_name": " "}, "creditor_name", "Nennen Sie den Kontoinhaber"),
        ({"currency": "Euro"}, "currency", "drei Buchstaben"),
        ({"more_countries": "Atlantis"}, "more_countries", "Dieses Land ist nicht bekannt"),
        ({"more_currencies": "XXQ"}, "more_currencies", "keine Währung"),
        ({"assign_from": "gestern"}, "assign_from", "kein Datum"),
    ],
)
def test_a_wrong_account_is_refused_at_its_field_and_nothing_typed_is_lost(
    merchant, anna, wrong, field, said
):
    answer = anna.post("/bank-accounts/new", form(label="Geschäft", country=["AT"]) | wrong)
    assert answer.status_code == 422 and said in answer.text
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', answer.text)
    assert 'value="Geschäft"' in answer.text and 'value="AT" checked' in answer.text
    assert all(value == " " or value in answer.text for value in wrong.values())
    assert db.session.query(BankAccount).all() == []


def test_an_account_that_a_statement_named_is_completed_a_known_one_is_not_overwritten(
    merchant, anna
):
    named = BankAccount(merchant_id=merchant.id, iban=IBAN, currency="EUR")
    db.session.add(named)
    db.session.commit()
    anna.post("/bank-accounts/new", form())
    assert (account_of(merchant).id, account_of(merchant).is_payee) == (named.id, True)
    again = anna.post("/bank-accounts/new", form(creditor_name="Jemand anderes"))
    assert again.status_code == 422 and "schon angelegt" in again.text
    assert account_of(merchant).creditor_name == "Annas Antiquariat"


def test_an_account_is_changed_but_stays_the_same_account(merchant, anna):
    account = make_account(merchant)
    terms = form(iban=SWISS, currency="CHF", label="Neu", ignores_doubles="1", bic="")
    answer = anna.post(f"/bank-accounts/{account.id}", terms)
    assert answer.location == f"/bank-accounts/{account.id}?done=account_set"
    account = account_of(merchant)
    assert (account.iban, account.currency, account.label) == (IBAN, "EUR", "Neu")
    assert (account.ignores_doubles, account.bic) == (True, None)
    refused = anna.post(f"/bank-accounts/{account.id}", form(bic="nein"))
    assert refused.status_code == 422 and 'value="nein"' in refused.text
    page = anna.get(f"/bank-accounts/{account.id}").text
    assert re.search(r'name="ignores_doubles"[^>]* checked', page)
    assert "nachweislich doppelt liefert" in page


def test_customers_who_wait_are_asked_once_when_an_account_fits(merchant, anna):
    shop = make_shop(merchant)
    german, swiss = recent(shop), recent(shop, "CH", "CHF")
    assert db.session.query(Mail).all() == []
    anna.post("/bank-accounts/new", form(country=["DE"]))
    assert [mail.order_id for mail in db.session.query(Mail)] == [german.id]
    account = account_of(merchant)
    anna.post(f"/bank-accounts/{account.id}", form(country=["DE", "CH"]))
    anna.post(f"/bank-accounts/{account.id}", form(country=["DE", "CH"], label="x"))
    mails = db.session.query(Mail).order_by(Mail.id).all()
    assert [mail.order_id for mail in mails] == [german.id, swiss.id]


# --- which account an order gets --------------------------------------------------------------


@pytest.mark.feature("K17", "K51")
def test_every_kind_of_order_shows_where_it_pays_and_none_is_a_warning(merchant, anna):
    shop = make_shop(merchant, "Laden")
    for country, currency in [("DE", "EUR"), ("DE", "EUR"), ("CH", "CHF"), (None, "EUR")]:
        recent(shop, country, currency)
    recent(shop, "FR", "EUR", payment_method="cod", shop_status="processing")
    make_order(shop, ordered_at="2020-01-01T10:00:00+00:00", currency="USD")
    anna.post("/bank-accounts/new", form(label="Euro", country=["DE"]))
    page = anna.get("/bank-accounts")
    assert rows_of_preview(page) == [
        "Deutschland, EUR Laden 2 Euro … 2051",
        "Schweiz, CHF Laden 1 kein Konto",
        "ohne Land, EUR Laden 1 kein Konto",
    ]
    assert "Ohne Konto geht keine Zahlungsinformation hinaus" in page.text


def test_the_preview_tries_on_what_is_typed_and_stores_nothing(merchant, anna):
    shop = make_shop(merchant, "Laden")
    recent(shop, "CH", "CHF")
    make_account(merchant)
    account = account_of(merchant)
    before = anna.get("/bank-accounts/new")
    assert 'hx-post="/bank-accounts/preview"' in before.text
    typed = form(iban=SWISS, currency="CHF", more_countries="Schweiz")
    assert rows_of_preview(anna.post("/bank-accounts/preview", typed)) == [
        "Schweiz, CHF Laden 1 dieses Konto … 2957"
    ]
    changed = form(more_countries="Österreich")
    path = f"/bank-accounts/{account.id}/preview"
    assert rows_of_preview(anna.post(path, changed)) == ["Schweiz, CHF Laden 1 kein Konto"]
    nobody = {key: value for key, value in form().items() if key != "is_payee"}
    assert rows_of_preview(anna.post(path, nobody)) == ["Schweiz, CHF Laden 1 kein Konto"]
    assert db.session.query(BankAccount).count() == 1
    assert account_of(merchant).for_countries == []


@pytest.mark.feature("K17")
def test_the_order_page_shows_the_account_of_its_country(merchant, anna):
    shop = make_shop(merchant)
    anna.post("/bank-accounts/new", form())
    anna.post("/bank-accounts/new", form(iban=SWISS, currency="CHF", country=["CH"]))
    german, swiss = recent(shop), recent(shop, "CH", "CHF")
    assert "DE02 1203" in anna.get(f"/orders/{german.id}").text
    page = anna.get(f"/orders/{swiss.id}").text
    assert "CH93 0076" in page and "DE02 1203" not in page


# --- which days are there ---------------------------------------------------------------------


@pytest.mark.feature("N5")
def test_the_list_says_how_old_and_how_complete_an_account_is(merchant, anna):
    account = make_account(merchant)
    start = MONDAY - timedelta(weeks=2)
    tell(account, start, start + timedelta(days=1), "100", "150", "50")
    tell(account, start + timedelta(days=3), TODAY, "140", "190", "50")
    page = anna.get("/bank-accounts")
    said = words(page)
    assert "Stand heute" in said
    assert "190,00 €" in said and "An einer Stelle passen die Salden nicht." in said
    gap = start + timedelta(days=2)
    assert f"Es fehlen: {gap.day}.{gap.month}." in said
    days = 4 * 7 + TODAY.weekday() + 1
    strip = re.search(r'<svg class="strip"[^>]*aria-label="([^"]*)"', page.text)
    assert strip and strip[1].startswith(f"{days} Tage. Es fehlen: {gap.day}.{gap.month}.")
    assert page.text.count("<g><title>") == days
    for one in [*db.session.query(Statement), *db.session.query(Posting)]:
        one.created_at = now() - timedelta(days=5)
        if isinstance(one, Statement):
            one.finished_at = one.created_at
    db.session.commit()
    assert re.search(r'class="badge warn tint">.*?Stand ', anna.get("/bank-accounts").text)


def test_each_day_of_the_calendar_has_a_text_and_leads_to_its_postings(merchant, anna):
    account = make_account(merchant)
    day = MONDAY - timedelta(weeks=1)
    tell(account, day, day, "0", "20", "20")
    db.session.add(AccountDay(account_id=account.id, day=day, statement_id=1, postings=2))
    db.session.commit()
    page = anna.get(f"/bank-accounts/{account.id}").text
    link = f"/postings?account={account.id}&amp;to={day}&amp;from={day}"
    assert link in page
    cells = re.findall(r'<td class="(\w+)" title="([^"]*)">', page)
    assert len(cells) == 12 * 7 + TODAY.weekday() + 1
    states = dict(zip([text for _, text in cells], [state for state, _ in cells], strict=True))
    texts = {state for state, _ in cells}
    assert {"complete", "before"} <= texts
    assert any("2 Umsätze, vollständig" in text for text in states)
    assert anna.get(link.replace("&amp;", "&")).status_code == 200


def test_every_kind_of_break_is_told_in_words(german):
    kinds = set(
        re.findall(r"Break\(\s*\"(\w+)\"", Path(coverage_rules.__file__).read_text("utf-8"))
    )
    assert kinds >= {"sum", "chain"}
    for kind in kinds:
        one = coverage_rules.Break(kind, date(2026, 3, 5), 1, Decimal("90"), Decimal("100"))
        said = coverage.break_in_words(one, "EUR").replace("\u00a0", " ")
        assert "5. März 2026" in said and "10,00 € fehlen oder sind doppelt" in said


def test_places_where_balances_do_not_fit_are_told_in_words(merchant, anna):
    account = make_account(merchant)
    first = MONDAY - timedelta(weeks=2)
    tell(account, first, first, "0", "90", "90")
    second = tell(account, first + timedelta(days=1), first + timedelta(days=1), "100", "95", "5")
    page = anna.get(f"/bank-accounts/{account.id}")
    said = words(page)
    assert "beginnt mit 100,00 €, der davor endete mit 90,00 €: 10,00 € fehlen" in said
    assert "endet mit 95,00 €, Anfangssaldo und Umsätze ergeben 105,00 €: 10,00 € fehlen" in said
    assert f'href="/statements/{second.id}"' in page.text
    assert f"auszug-{first}.xml" in page.text


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ([date(2026, 3, 5)], "5.3."),
        ([date(2026, 3, 5), date(2026, 3, 6), date(2026, 3, 9)], "5.3. bis 9.3."),
        ([date(2026, 3, 2), date(2026, 3, 5)], "2.3. und 5.3."),
        ([date(2026, 3, n) for n in (2, 4, 6, 10, 12)], "2.3., 4.3., 6.3. und 2 weitere Zeiträume"),
    ],
)
def test_gaps_are_told_as_spans_over_weekends(german, monkeypatch, days, said):
    monkeypatch.setattr("server.dashboard.words.today", lambda: date(2026, 11, 21))
    assert coverage.spans_in_words(days) == said


def test_nothing_is_missed_at_weekends_before_the_first_day_and_today(merchant, german):
    account = make_account(merchant)
    known_from = MONDAY - timedelta(weeks=1)
    found = coverage.coverage_of(account, known_from, TODAY, 5)
    assert found.missing == [
        known_from + timedelta(days=n)
        for n in range((TODAY - known_from).days)
        if (known_from + timedelta(days=n)).weekday() < 5
    ]
    assert {cell.state for cell in found.cells if cell.day < known_from} == {"before"}
    assert coverage.coverage_of(account, None, TODAY, 5).missing == []


def test_a_day_for_which_the_bank_was_asked_is_not_missing(merchant, anna):
    account = make_account(merchant)
    connection = BankConnection(
        merchant_id=merchant.id,
        bank_code="12030000",
        url="https://fints.example.org/",
        user_name="anna",
        health="connected",
        connected_at=now() - timedelta(days=1),
        fetched_at=now(),
        not_before=TODAY - timedelta(days=20),
    )
    db.session.add(connection)
    db.session.flush()
    account.connection_id = connection.id
    db.session.add(AccountDay(account_id=account.id, day=MONDAY - timedelta(weeks=5), postings=1))
    db.session.commit()
    page = anna.get(f"/bank-accounts/{account.id}").text
    states = dict(re.findall(r'<td class="(\w+)" title="([^"]*)">', page)[::-1])
    assert "abgerufen, nichts gebucht" in states["asked"]
    found = coverage_of_account(anna, account, connection)
    assert max(found.missing) < TODAY - timedelta(days=20)
    assert min(cell.day for cell in found.cells if cell.state == "asked") == connection.not_before


def coverage_of_account(anna, account, connection):
    with anna.client.application.test_request_context():
        g.language, g.timezone = "de", "Europe/Berlin"
        asked = coverage.asked_days(connection)
        return coverage.coverage_of(account, MONDAY - timedelta(weeks=5), TODAY, 8, asked)


# --- postings from before ---------------------------------------------------------------------


@pytest.mark.feature("K11", "K48")
def test_older_postings_are_assigned_only_after_a_question(merchant, anna):
    make_account(merchant)
    for _ in range(2):
        make_posting(merchant, is_open=False, needs_match=False, no_assignment=True)
    path = f"/bank-accounts/{account_of(merchant).id}"
    assert "2 ältere Umsätze bleiben ohne Zuordnung" in words(anna.get(path))
    assert "2 ältere Umsätze zuordnen?" in words(anna.get(f"{path}/older"))
    assert [posting.is_open for posting in db.session.query(Posting)] == [False, False]
    answer = anna.post(f"{path}/older")
    assert answer.location == f"{path}?done=older_assigned"
    db.session.expire_all()
    assert [posting.is_open for posting in db.session.query(Posting)] == [True, True]
    assert db.session.query(MatchRequest).count() == 1
    assert "ältere" not in words(anna.get(path))


# --- accounts without an IBAN -----------------------------------------------------------------


@pytest.mark.parametrize(("called", "shown"), [("PayPal", "PayPal"), ("", "ohne IBAN")])
def test_an_account_that_is_no_iban_is_called_as_its_file_calls_it(merchant, anna, called, shown):
    account = BankAccount(merchant_id=merchant.id, iban=called, currency="EUR")
    db.session.add(account)
    db.session.commit()
    for path in ("/bank-accounts", f"/bank-accounts/{account.id}"):
        assert shown in words(anna.get(path))
    assert "kann niemand auf dieses Konto überweisen" in anna.get(path).text
    answer = anna.post(f"/bank-accounts/{account.id}", form(label="Shop bei PayPal"))
    changed = account_of(merchant)
    assert answer.status_code == 303
    assert (changed.iban, changed.label, changed.is_payee) == (called, "Shop bei PayPal", False)


# --- ways in ----------------------------------------------------------------------------------


def test_the_folder_is_named_where_the_operator_has_one(merchant, anna, tmp_path: Path):
    account = make_account(merchant)
    assert "Ordner" not in words(anna.get("/bank-accounts")).split("So kommen")[1].split("API")[0]
    before = config.installed()
    config.install(dataclasses.replace(before, inbox=tmp_path))
    try:
        assert f"{tmp_path}/{merchant.id}/" in anna.get("/bank-accounts").text
        page = anna.get(f"/bank-accounts/{account.id}").text
        assert f"{tmp_path}/{merchant.id}/{IBAN}/" in page
    finally:
        config.install(before)


def test_where_postings_come_from_and_how_many_wait(merchant, anna):
    account = make_account(merchant)
    make_posting(merchant, "7.00")
    connection = BankConnection(
        merchant_id=merchant.id,
        bank_code="12030000",
        bank_name="Musterbank",
        url="https://fints.example.org/",
        user_name="anna",
        health="needs_you",
        status="withheld",
    )
    db.session.add(connection)
    db.session.flush()
    account.connection_id = connection.id
    db.session.commit()
    page = anna.get("/bank-accounts")
    assert "Abruf bei der Bank Braucht Sie" in words(page)
    assert f'href="/postings?account={account.id}&amp;state=open"' in page.text
    assert "1 Umsatz ohne Zuordnung" in words(page)
