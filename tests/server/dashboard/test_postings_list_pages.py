"""The list of postings: filters, sums, several at once, export; and what one posting tells."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from datetime import date, timedelta
from decimal import Decimal

import pytest

from server.banking.models import Posting, Statement
from server.dashboard import export
from server.dashboard.bank_queries import SORTS, STATES
from server.db import db, now
from server.orders import credit, returns, service
from server.orders.models import Suggestion
from tests.factories import AT, make_account, make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

DAY = date(2026, 3, 5)
OTHER_IBAN = "DE12500105170648489890"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def shut(merchant, amount="10.00", text="", **over) -> Posting:
    """A posting that does not wait."""
    return make_posting(merchant, amount, text, **({"is_open": False, "needs_match": False} | over))


def one_of_each(merchant, shop) -> dict[str, Posting]:
    """A posting in every state; its text says which."""
    order = make_order(shop, total="100.00")
    made = {
        "open": make_posting(merchant, "11.00", "in open"),
        "suggested": make_posting(merchant, "12.00", "in suggested"),
        "partly_assigned": make_posting(merchant, "13.00", "in partly_assigned"),
        "assigned": make_posting(merchant, "14.00", "in assigned"),
        "no_assignment": shut(merchant, "15.00", "in no_assignment", no_assignment=True),
        "pending": shut(merchant, "16.00", "in pending", is_pending=True),
        "ignored": shut(
            merchant, text="in ignored", ignored_at=AT, ignored_by="PayPal",
            ignored_because="provider",
        ),
        "return": make_posting(merchant, "-18.00", "in return", is_return=True),
        "outgoing": make_posting(merchant, "-19.00", "in outgoing"),
        "replaced": shut(merchant, "20.00", "in replaced", is_batch_total=True, is_replaced=True),
    }  # fmt: skip
    for name, amount in (("kept", "9.00"), ("returned", "8.00")):
        made[name] = make_posting(merchant, amount, f"in {name}")
    twin = {"duplicate_of_id": made["assigned"].id}
    made["possible_duplicate"] = make_posting(merchant, "14.00", "in possible_duplicate", **twin)
    db.session.add(
        Suggestion(
            merchant_id=merchant.id,
            posting_id=made["suggested"].id,
            rank=0,
            orders=[{"order_id": order.id, "amount": "12.00"}],
            probability="0.97",
        )
    )
    for name, amount in (("partly_assigned", "3.00"), ("assigned", "14.00"), ("returned", "8.00")):
        part = [(order.id, Decimal(amount))]
        service.assign(merchant.id, made[name].id, part, actor="anna@example.org", at=AT)
    actor = {"actor": "anna@example.org", "at": AT}
    credit.keep_as_credit(merchant.id, made["kept"].id, order.id, **actor)
    back = shut(merchant, "-8.00", "back", is_return=True)
    returns.book_return(merchant.id, back.id, made["returned"].id, **actor)
    db.session.commit()
    return made


def listed(answer) -> set[str]:
    """The states in the texts of the postings on the page."""
    assert answer.status_code == 200
    return set(re.findall(r'said-two">in (\w+)<', answer.text))


# --- the filter -------------------------------------------------------------------------------


@pytest.mark.feature("C10")
def test_every_state_is_a_filter_in_the_url(merchant, shop, anna):
    one_of_each(merchant, shop)
    waits = {"open", "suggested", "partly_assigned", "possible_duplicate"}
    also = {"open": waits, "outgoing": {"outgoing", "return"}, "all": set(STATES) - {"all"}}
    for state in STATES:
        assert listed(anna.get(f"/postings?state={state}")) == also.get(state, {state}), state
    assert listed(anna.get("/postings?state=nonsense")) == set(STATES) - {"all"}


@pytest.mark.feature("C10")
def test_a_posting_says_where_it_stands_with_icon_colour_and_word(merchant, shop, anna):
    one_of_each(merchant, shop)
    page = anna.get("/postings?state=all").text
    found = re.findall(r'badge (\w+)"><svg[^>]*><use href="[^#]*#(\w+)"/></svg>([^<]+)<', page)
    assert {
        ("bad", "unpaid", "Offen"),
        ("warn", "partial", "Teilweise zugeordnet"),
        ("ok", "paid", "Zugeordnet"),
        ("warn", "warn", "Vielleicht doppelt"),
        ("off", "overdue", "Vorgemerkt"),
        ("off", "cancelled", "Ignoriert"),
        ("back", "refunded", "Rückbuchung"),
        ("back", "refunded", "Zurückgeholt"),
        ("ok", "credit", "Guthaben"),
        ("off", "unmanaged", "Ohne Zuordnung"),
    } <= set(found)
    assert "noch 10,00\u00a0€ übrig" in page


def test_account_statement_dates_and_amounts_narrow_the_list(merchant, anna):
    second = make_account(merchant, OTHER_IBAN)
    file = Statement(
        merchant_id=merchant.id, filename="a.xml", content=b"x", size_bytes=1, content_hash=b"x"
    )
    db.session.add(file)
    db.session.flush()
    make_posting(merchant, "10.00", "in here", statement_id=file.id)
    make_posting(merchant, "99.50", "in other", account_id=second.id, booking_date=date(2026, 4, 1))
    make_posting(merchant, "-30.00", "in out")
    wanted = {
        f"account={second.id}": {"other"},
        f"statement={file.id}": {"here"},
        "from=2026-03-20": {"other"},
        "to=2026-03-20": {"here", "out"},
        "least=20": {"other", "out"},
        "least=20,00&most=30,00": {"out"},
        "most=nix&from=32.13.&account=x": {"here", "other", "out"},
    }
    for arguments, names in wanted.items():
        assert listed(anna.get(f"/postings?{arguments}")) == names, arguments
    page = anna.get(f"/postings?statement={file.id}").text
    assert "Aus dem Auszug" in page and "a.xml" in page


def test_text_is_found_in_all_that_the_bank_said_and_in_order_numbers(merchant, shop, anna):
    order = make_order(shop)
    first = make_posting(merchant, text="in one", counterparty_name="Karl Probe")
    make_posting(merchant, text="in two", counterparty_iban=OTHER_IBAN)
    make_posting(merchant, text="in three", end_to_end_id="E2E-7%", creditor_reference="RF18539")
    make_posting(merchant, text="in four Bestel\nlung", counterparty_name=None)
    service.assign(merchant.id, first.id, [(order.id, Decimal(5))], actor="x", at=AT)
    db.session.commit()
    wanted = {
        "karl": {"one"},
        "probe KARL": {"one"},
        order.number: {"one"},
        "DE12 5001 0517 0648 4898 90": {"two"},
        "7%": {"three"},
        "rf185": {"three"},
        "gibtesnicht": set(),
    }
    for text, names in wanted.items():
        answer = anna.client.get("/postings", query_string={"text": text})
        assert listed(answer) == names, text
    assert "in four" in anna.get("/postings?text=bestellung").text
    assert "Zu diesem Filter gibt es keinen Umsatz" in anna.get("/postings?text=nix").text


def test_the_list_is_sorted_and_goes_on_by_pages_without_losing_a_row(merchant, anna, monkeypatch):
    monkeypatch.setattr("server.dashboard.bank_queries.POSTINGS_A_PAGE", 2)
    for number in range(6):
        day = None if number in (2, 3) else DAY + timedelta(days=number // 2)
        make_posting(merchant, f"{number % 3}.10", f"in {number}", booking_date=day)
    expected = {
        "-date": "325410",
        "date": "014523",
        "-amount": "524130",
        "amount": "031425",
    }
    for sort in SORTS:
        seen, url = [], f"/postings?state=all&sort={sort}"
        for _ in range(5):
            page = anna.get(url).text
            seen += re.findall(r'said-two">in (\w+)<', page)
            more = re.search(r'rel="next" href="([^"]+)"', page)
            if more is None:
                break
            url = more[1].replace("&amp;", "&")
        assert "".join(seen) == expected[sort], sort
    assert 'aria-sort="ascending"' in anna.get("/postings?sort=amount").text
    assert anna.get("/postings?sort=amount&after=NaN_1").status_code == 200
    assert anna.get("/postings?sort=date&after=2026-99-99_1").status_code == 200


def test_the_sums_of_the_whole_filter_stand_below_one_a_currency(merchant, shop, anna, monkeypatch):
    monkeypatch.setattr("server.dashboard.bank_queries.POSTINGS_A_PAGE", 1)
    order = make_order(shop, total="50.00")
    posting = make_posting(merchant, "30.00")
    service.assign(merchant.id, posting.id, [(order.id, Decimal(10))], actor="x", at=AT)
    make_posting(merchant, "-5.00")
    make_posting(merchant, "7.00", currency="CHF")
    page = words(anna.get("/postings?state=all"))
    assert (
        "2 Umsätze EUR · Eingang 30,00 € · Ausgang −5,00 € · noch nicht zugeordnet 20,00 €" in page
    )
    assert "1 Umsatz CHF · Eingang 7,00 CHF" in page


def test_a_posting_opened_from_the_list_keeps_the_filter(merchant, anna):
    make_posting(merchant, "10.00", "in here")
    gone = shut(
        merchant, text="in ignored", ignored_at=AT, ignored_by="anna", ignored_because="person"
    )
    link = re.search(
        r'class="go" href="(/postings/\d+[^"]*)"', anna.get("/postings?state=ignored").text
    )
    assert link and link[1] == f"/postings/{gone.id}?state=ignored"
    page = anna.get(link[1]).text
    assert 'href="/postings?state=ignored"' in page and "in here" not in page
    answer = anna.post(f"/postings/{gone.id}/unignore?state=ignored")
    assert answer.location == f"/postings/{gone.id}?state=ignored&done=unignored"


# --- several at once --------------------------------------------------------------------------


@pytest.mark.feature("C10")
def test_several_postings_are_hidden_and_shown_again(merchant, shop, anna):
    made = one_of_each(merchant, shop)
    ids = [made["open"].id, made["suggested"].id, made["outgoing"].id]
    form = {"act": "ignore", "posting": ids}
    answer = anna.post("/postings/bulk?state=all", form)
    assert "2 Umsätze ignoriert." in anna.get(answer.location).text
    assert [made[name].ignored_because for name in ("open", "suggested", "outgoing")] == [
        "person", "person", None,
    ]  # fmt: skip
    answer = anna.post("/postings/bulk?state=ignored", {"act": "unignore", "posting": ids})
    assert "state=ignored" in answer.location
    assert made["open"].is_open and made["suggested"].is_open


@pytest.mark.feature("K46")
def test_several_doubtful_postings_become_payments_of_their_own(merchant, shop, anna):
    made = one_of_each(merchant, shop)
    doubtful = made["possible_duplicate"]
    form = {"act": "different", "posting": [doubtful.id, made["open"].id]}
    answer = anna.post("/postings/bulk?state=possible_duplicate", form)
    assert doubtful.duplicate_of_id is None and doubtful.needs_match
    assert "1 Umsatz gilt jetzt als eigene Zahlung." in anna.get(answer.location).text


@pytest.mark.feature("K11", "K48")
def test_postings_from_before_the_account_are_assigned_when_somebody_starts_it(
    merchant, shop, anna
):
    old = one_of_each(merchant, shop)["no_assignment"]
    assert "Älter als die Anbindung" in anna.get(f"/postings/{old.id}").text
    anna.post("/postings/bulk", {"act": "start_assignment", "posting": [old.id]})
    assert (old.no_assignment, old.is_open, old.needs_match) == (False, True, True)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"act": "ignore"}, "Wählen Sie zuerst Umsätze aus"),
        ({"act": "burn", "posting": ["1"]}, "Wählen Sie zuerst Umsätze aus"),
        ({"act": "ignore", "posting": [str(n) for n in range(201)]}, "höchstens 200"),
    ],
)
def test_what_cannot_be_done_at_once_is_said(anna, form, said):
    answer = anna.post("/postings/bulk?state=all", form)
    assert answer.status_code == 422 and said in answer.text


# --- one posting ------------------------------------------------------------------------------


def twins(merchant) -> tuple[Posting, Posting]:
    known = make_posting(merchant, "98.90", "Bestellung 1", end_to_end_id="E-1", source="camt.053")
    again = make_posting(
        merchant, "98.90", "Best. 1", source="CSV", duplicate_of_id=known.id,
        booking_date=date(2026, 3, 6),
    )  # fmt: skip
    return known, again


@pytest.mark.feature("K46")
def test_a_possible_duplicate_is_compared_field_by_field(merchant, anna):
    known, again = twins(merchant)
    page = anna.get(f"/postings/{again.id}").text
    assert "Dieselbe Zahlung wie eine andere?" in page and f"/postings/{known.id}?" in page
    differing = re.findall(r'<tr class="differs"><th scope="row">([^<]+?) <', page)
    assert differing == ["Buchungstag", "Verwendungszweck", "End-to-End-Referenz", "Herkunft"]
    assert "verschieden" in page  # the mark has a word
    assert "Prüfen Sie bei der Bank" in page
    assert "gleicht der Umsatz vom 6.3." in anna.get(f"/postings/{known.id}").text
    assert "Doppelt? 1" in words(anna.get("/postings"))


@pytest.mark.feature("K46")
def test_a_person_says_that_it_is_the_same_payment(merchant, anna):
    _, again = twins(merchant)
    answer = anna.post(f"/postings/{again.id}/duplicate", {"is": "same"})
    assert (again.is_open, again.ignored_because) == (False, "duplicate")
    page = anna.get(answer.location).text
    assert "Als dieselbe Zahlung abgelegt" in page and "Gilt als dieselbe Zahlung" in page
    assert 'name="is"' not in page


@pytest.mark.feature("K46")
def test_a_person_says_that_it_is_another_payment(merchant, anna):
    _, again = twins(merchant)
    anna.post(f"/postings/{again.id}/duplicate", {"is": "another"})
    assert again.duplicate_of_id is None and again.is_open and again.needs_match
    answer = anna.post(f"/postings/{again.id}/duplicate", {"is": "same"})
    assert answer.status_code == 409 and "Darüber ist schon entschieden" in answer.text


def test_all_that_the_bank_said_is_shown(merchant, anna):
    file = Statement(
        merchant_id=merchant.id, filename="a.xml", content=b"x", size_bytes=1, content_hash=b"x"
    )
    db.session.add(file)
    db.session.flush()
    posting = make_posting(
        merchant, "98.90", "Text", statement_id=file.id, source="camt.054", mandate_id="M-1",
        bank_reference="B-1", counterparty_bic="COBADEFFXXX", entry_amount=Decimal("250.00"),
        particulars={
            "entry_references": ["N-1", "P-1"],
            "foreign": {"amount": "106.20", "currency": "USD", "exchange_rate": "0.931264"},
            "charges": "1.50",
        },
    )  # fmt: skip
    page = words(anna.get(f"/postings/{posting.id}"))
    for line in (
        "Mandatsreferenz M-1",
        "Bankreferenz B-1",
        "BIC des anderen COBADEFFXXX",
        "Fremdbetrag 106,20 $ Kurs 0,931264",
        "Entgelt der Bank 1,50 €",
        "Summe der Buchung 250,00 €",
        "Referenzen der Buchung N-1, P-1",
        "Herkunft camt.054 · a.xml · Datei herunterladen",
        f"fingerprint {posting.fingerprint}",
        "Aus a.xml gelesen.",
    ):
        assert line in page, line
    assert f"/statements/{file.id}/file" in anna.get(f"/postings/{posting.id}").text


@pytest.mark.parametrize(
    ("because", "by", "said"),
    [
        ("person", "anna@example.org", "Von Hand ignoriert."),
        ("provider", "Klarna", "Auszahlung von Klarna."),
        ("iban", OTHER_IBAN, "für die IBAN DE12 5001 0517 0648 4898 90."),
        ("name", "Finanzamt", "für „Finanzamt“."),
        ("text", "{regex}.*Zins.*", "für den Verwendungszweck „{regex}.*Zins.*“."),
        ("amount_above", "5000", "für Beträge über 5000."),
        ("double", "x", "am selben Tag noch einmal"),
    ],
)
def test_why_a_posting_was_ignored_is_said(merchant, anna, because, by, said):
    row = shut(merchant, ignored_at=now(), ignored_by=by, ignored_because=because)
    page = words(anna.get(f"/postings/{row.id}"))
    assert said in page and "Wieder auf die Liste" in page


def test_the_history_tells_what_became_of_it(merchant, shop, anna):
    order = make_order(shop)
    posting = make_posting(merchant, "19.90")
    (row,) = service.assign(
        merchant.id, posting.id, [(order.id, Decimal("19.90"))], actor="anna@example.org", at=AT
    )
    service.undo(merchant.id, row.id, actor="bob@example.org", at=now())
    db.session.commit()
    page = words(anna.get(f"/postings/{posting.id}"))
    assert f"19,90 € auf {order.number} zugeordnet." in page
    assert f"Zuordnung von 19,90 € auf {order.number} rückgängig gemacht." in page
    assert "bob@example.org" in page and "Über die API gekommen." in page


def test_what_is_not_final_says_so(merchant, anna):
    pending = shut(merchant, is_pending=True)
    batch = shut(merchant, is_batch_total=True, is_replaced=True)
    assert "Noch nicht gebucht." in anna.get(f"/postings/{pending.id}").text
    assert "ihre Zahlungen kamen einzeln" in anna.get(f"/postings/{batch.id}").text


# --- export -----------------------------------------------------------------------------------


def exported(answer) -> list[dict[str, str]]:
    assert answer.status_code == 200 and answer.text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(answer.text[1:]), delimiter=";"))


def test_the_filtered_list_is_exported_as_csv(merchant, shop, anna):
    order = make_order(shop)
    posting = make_posting(merchant, "1284.60", "in here; „x“", end_to_end_id="E-1")
    service.assign(merchant.id, posting.id, [(order.id, Decimal("19.90"))], actor="x", at=AT)
    make_posting(merchant, "-5.00", "in out")
    answer = anna.get("/postings/export.csv?state=partly_assigned")
    assert answer.mimetype == "text/csv"
    assert re.search(
        r"attachment; filename=umsaetze-.*\.csv", answer.headers["Content-Disposition"]
    )
    (row,) = exported(answer)
    assert len(row) == len(export.COLUMNS)
    assert row["Buchungstag"] == "2026-03-05" and row["Betrag"] == "1284,60"
    assert row["Verwendungszweck"] == "in here; „x“" and row["Zustand"] == "Teilweise zugeordnet"
    assert (row["Zugeordnet"], row["Nicht zugeordnet"]) == ("19,90", "1264,70")
    assert row["Bestellungen"] == order.number
    assert [one["Betrag"] for one in exported(anna.get("/postings/export.csv?state=outgoing"))] == [
        "-5,00"
    ]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_what_strangers_wrote_is_never_a_formula(merchant, anna, begin):
    text = begin + "HYPERLINK(1)"
    make_posting(merchant, "1.00", text, counterparty_name=text)
    (row,) = exported(anna.get("/postings/export.csv"))
    assert row["Name"] == row["Verwendungszweck"] == "'" + text
    book = zipfile.ZipFile(io.BytesIO(anna.get("/postings/export.xlsx").data))
    sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "HYPERLINK(1)" in sheet and "<f>" not in sheet


def test_a_workbook_has_real_dates_and_numbers(merchant, anna):
    make_posting(merchant, "1284.60", "Text", counterparty_iban="https://x.example.org")
    answer = anna.get("/postings/export.xlsx")
    assert answer.mimetype == export.XLSX_TYPE
    book = zipfile.ZipFile(io.BytesIO(answer.data))
    sheet = book.read("xl/worksheets/sheet1.xml").decode()
    days = (DAY - date(1899, 12, 30)).days
    assert re.search(rf'<c r="A2" s="\d+"><v>{days}</v>', sheet)
    assert re.search(r'<c r="C2" s="\d+"><v>1284\.60*</v>', sheet)
    assert "hyperlink" not in sheet


def test_an_export_of_more_than_a_spreadsheet_holds_is_refused_with_a_way_on(
    merchant, anna, monkeypatch
):
    monkeypatch.setattr(export, "MOST_ROWS", 1)
    monkeypatch.setattr("server.dashboard.posting_list.EXPORT_SLICE", 1)
    make_posting(merchant, "1.00")
    assert len(exported(anna.get("/postings/export.csv"))) == 1
    make_posting(merchant, "2.00")
    for ending in ("csv", "xlsx"):
        answer = anna.get(f"/postings/export.{ending}?state=all")
        assert answer.status_code == 422 and "Grenzen Sie den Zeitraum ein" in answer.text
    monkeypatch.setattr(export, "MOST_ROWS", 2)
    assert len(exported(anna.get("/postings/export.csv"))) == 2
