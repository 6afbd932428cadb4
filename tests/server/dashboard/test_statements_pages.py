"""Statements: handed in, watched, explained; and the columns of a CSV that nobody knows."""

from __future__ import annotations

import io
import re
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import select

from server.banking.models import CsvLayout, Statement, StatementPeriod
from server.banking.service import store_statement
from server.dashboard.statements import PREVIEWED
from server.db import db, now
from server.jobs import drain_statement
from tests.factories import make_account, make_merchant, make_posting
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import ORIGIN, member

CSV = b"Meine Bank\n\nValuta;Zahler;Info;Wert\n20.11.2026;Erika Mustermann;AA-1;418,60\n"
OTHER_IBAN = "DE89370400440532013000"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def upload(anna, *files: tuple[str, bytes], **form: str):
    fields = {"file": [(io.BytesIO(content), name) for name, content in files], **form}
    return anna.post("/statements", fields, page="/statements")


def stored(merchant, name="november.xml", content=CSV, **over) -> Statement:
    values = {"status": "done", "content_hash": content[:32].ljust(32), "finished_at": now()}
    row = Statement(
        merchant_id=merchant.id,
        filename=name,
        content=content,
        size_bytes=len(content),
        uploaded_by="anna@example.org",
        **(values | over),
    )
    db.session.add(row)
    db.session.commit()
    return row


def asking(merchant, content=CSV) -> Statement:
    error = "the header of this CSV is not known, please name its columns; it is “Valuta;Wert”"
    return stored(merchant, "neu.csv", content, status="failed", asks_columns=True, error=error)


# --- handing in -------------------------------------------------------------------------------


def test_an_uploaded_file_is_kept_raw_and_watched_until_it_is_read(anna):
    answer = upload(anna, ("november.csv", CSV), ("leer.sta", b":20:"))
    assert answer.location == "/statements?done=uploaded"
    rows = db.session.scalars(select(Statement).order_by(Statement.id)).all()
    assert [row.filename for row in rows] == ["november.csv", "leer.sta"]
    assert rows[0].content == CSV and rows[0].uploaded_by == "anna@example.org"
    page = anna.get("/statements").text
    row_path = f"/statements/{rows[0].id}/row"
    assert f'hx-get="{row_path}" hx-trigger="every 1s"' in page
    assert '<noscript><meta http-equiv="refresh"' in page
    rows[0].status, rows[0].postings_new, rows[0].postings_known = "done", 35, 3
    db.session.commit()
    part = anna.get(row_path)
    assert "35 neue Umsätze, 3 schon bekannt." in words(part) and "hx-trigger" not in part.text


def test_the_script_gets_one_line_for_each_file(anna):
    def send(name: str, content: bytes):
        form = {"file": (io.BytesIO(content), name), "form_token": anna.token("/statements")}
        headers = {"Origin": ORIGIN, "HX-Request": "true"}
        return anna.client.post("/statements", data=form, headers=headers)

    kept = send("november.csv", CSV)
    row = db.session.scalars(select(Statement)).one()
    assert kept.status_code == 200 and f'id="statement-{row.id}"' in kept.text
    assert "<html" not in kept.text and "november.csv" in kept.text
    empty = send("leer.csv", b"")
    assert empty.status_code == 422 and "<html" not in empty.text
    assert "leer.csv" in empty.text and "Die Datei ist leer" in empty.text
    assert db.session.scalars(select(Statement)).one() is row


@pytest.mark.parametrize(
    ("files", "said"),
    [((), "Wählen Sie zuerst eine Datei aus"), ((("a.csv", b""),), "Die Datei ist leer")],
)
def test_what_is_no_file_is_refused(anna, files, said):
    answer = upload(anna, *files)
    assert answer.status_code == 422 and said in answer.text
    assert db.session.scalars(select(Statement)).all() == []


def test_an_account_is_asked_only_where_there_are_several(merchant, anna):
    assert 'name="account"' not in anna.get("/statements").text
    second = make_account(merchant, OTHER_IBAN)
    assert f'<option value="{second.id}">' in anna.get("/statements").text
    upload(anna, ("a.csv", CSV), account=str(second.id))
    assert db.session.scalars(select(Statement)).one().account_id == second.id
    foreign = make_account(make_merchant("Bobs Laden", account=False), "DE12500105170648489890")
    answer = upload(anna, ("b.csv", CSV), account=str(foreign.id))
    assert answer.status_code == 422 and "Dieses Konto gibt es nicht mehr" in answer.text


def test_nobody_is_told_that_a_file_is_being_read_when_that_is_over(merchant, anna):
    row = stored(merchant, "kaputt.sta", status="failed", error="this is a picture")
    assert "Kontor liest jetzt" not in anna.get("/statements?done=uploaded").text
    row.status = "queued"
    db.session.commit()
    assert "Kontor liest jetzt" in anna.get("/statements?done=uploaded").text


def test_a_file_that_cannot_be_read_is_listed_once_however_often_it_comes(merchant, anna):
    first = stored(merchant, "bild.png", b"\x89PNG", status="failed", error="this is a picture")
    last = stored(merchant, "bild2.png", b"\x89PNG", status="failed", error="this is a picture")
    page = anna.get("/statements").text
    assert f'id="statement-{last.id}"' in page and f'id="statement-{first.id}"' not in page
    assert "Dieselbe Datei kam schon" in page and f'href="/statements/{first.id}"' in page


def test_the_list_goes_on_by_pages(merchant, anna, monkeypatch):
    monkeypatch.setattr("server.dashboard.bank_queries.STATEMENTS_A_PAGE", 2)
    for number in range(3):
        stored(merchant, f"datei-{number}.xml", bytes([number]))
    page = anna.get("/statements").text
    assert "datei-2.xml" in page and "datei-0.xml" not in page
    older = re.search(r'href="(/statements\?before=\d+)"', page)
    assert older and "datei-0.xml" in anna.get(older[1]).text


# --- what became of it ------------------------------------------------------------------------


@pytest.mark.feature("C2")
def test_the_line_counts_what_a_file_brought(merchant, anna):
    row = stored(
        merchant,
        source="camt.053",
        account_iban="DE02120300000000202051",
        postings_new=5,
        postings_known=4,
        postings_pending=3,
        postings_doubtful=2,
        postings_ignored=1,
    )
    make_posting(merchant, statement_id=row.id)
    page = words(anna.get("/statements"))
    assert "5 neue Umsätze, 1 davon ignoriert, 4 schon bekannt, 3 vorgemerkt" in page
    assert "2 Umsätze sind vielleicht doppelt." in page and "1 wartet auf Sie." in page
    assert "camt.053" in page
    detail = words(anna.get(f"/statements/{row.id}"))
    for line in ("Neu 5", "Schon bekannt 4", "Vorgemerkt 3", "Vielleicht doppelt 2", "Ignoriert 1"):
        assert line in detail, line
    assert f"/postings?state=all&amp;statement={row.id}" in anna.get(f"/statements/{row.id}").text


def test_what_could_not_be_read_is_named_by_place_with_the_line_itself(merchant, anna):
    row = stored(merchant, problem_count=201)
    row.problems = [
        {"where": "line 14", "what": "no amount found in “12,3O”", "raw": "20.11.;<b>12,3O"},
        {"where": "line 15", "what": "no amount found in “x”"},
    ]
    db.session.commit()
    answer = anna.get(f"/statements/{row.id}")
    assert "Zeile 14 Kein Betrag in „12,3O“." in words(answer)
    assert '<code class="mono raw-line">20.11.;&lt;b&gt;12,3O</code>' in answer.text
    assert "Und 199 weitere." in words(answer)


def test_balances_are_compared_with_what_was_read(merchant, anna):
    row = stored(merchant)
    account = make_posting(merchant).account_id
    told = [("100.00", "119.90"), ("119.90", "150.00"), (None, None)]
    for position, (opening, closing) in enumerate(told):
        db.session.add(
            StatementPeriod(
                merchant_id=merchant.id,
                statement_id=row.id,
                account_id=account,
                position=position,
                source="camt.053",
                from_date=date(2026, 3, 5),
                to_date=date(2026, 3, 6),
                opening=opening and Decimal(opening),
                closing=closing and Decimal(closing),
                booked_total=Decimal("19.90"),
                is_complete=True,
            )
        )
    db.session.commit()
    page = words(anna.get(f"/statements/{row.id}"))
    assert "100,00 € 19,90 € 119,90 € passt" in page
    assert "passt nicht, Unterschied 10,20 €" in page
    assert "ohne Salden" in page


def test_the_file_itself_is_a_download_whatever_it_holds(merchant, anna):
    row = stored(merchant, 'über "x"\n.html', b"<script>alert(1)</script>")
    answer = anna.get(f"/statements/{row.id}/file")
    assert answer.data == row.content
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert "filename*=UTF-8''" in answer.headers["Content-Disposition"]
    assert answer.content_type == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


# --- columns ----------------------------------------------------------------------------------

FORM = {"column-0": "value_date", "column-1": "counterparty_name", "column-2": "", "column-3": ""}
"""What Anna answers, but for the amount."""


@pytest.mark.feature("C2")
def test_columns_of_an_unknown_csv_are_asked_once_and_read_again(merchant, anna):
    row = asking(merchant)
    page = anna.get("/statements").text
    assert "Diese Tabelle sieht Kontor zum ersten Mal" in page and "Spalten benennen" in page
    assert 'class="part" id="statement-' in page  # a question, not an error
    today = anna.get("/").text
    assert "neu.csv: Was steht in welcher Spalte?" in today and "nicht zu lesen" not in today
    page = anna.get(f"/statements/{row.id}").text
    assert all(cell in page for cell in ("Zahler", "Erika Mustermann", "418,60"))
    missing = anna.post(f"/statements/{row.id}/columns", FORM)
    assert missing.status_code == 422 and "Welche Spalte ist der Betrag?" in missing.text
    assert '<option value="value_date" selected>' in missing.text
    anna.post(f"/statements/{row.id}/columns", {**FORM, "column-3": "amount"})
    assert (row.status, row.asks_columns) == ("queued", False)
    assert row.columns == {
        "delimiter": ";",
        "value_date": ["Valuta"],
        "counterparty_name": ["Zahler"],
        "amount": ["Wert"],
    }
    assert db.session.scalars(select(CsvLayout)).one().columns == row.columns


def test_what_is_proposed_is_chosen_already_and_shown_as_postings(merchant, anna):
    lines = "".join(
        f"{day}.11.2026;Erika Mustermann;Best. {day};{day},50\n" for day in range(10, 19)
    )
    content = b"Buchungstag;Name;Verwendungszweck;Betrag\n" + lines.encode()
    page = anna.get(f"/statements/{asking(merchant, content).id}").text
    chosen = re.findall(r'name="column-(\d)".*?<option value="(\w+)" selected>', page)
    assert ("0", "booking_date") in chosen and ("3", "amount") in chosen
    preview = page[page.index('id="preview"') :]
    assert preview.count("<tr><td") == PREVIEWED
    assert "10.11.2026" in preview and "10,50" in preview


def test_the_preview_follows_the_choice_and_stores_nothing(merchant, anna):
    row = asking(merchant)
    url = f"/statements/{row.id}/columns?preview=1"
    headers = {"Origin": ORIGIN, "HX-Request": "true"}
    token = {"form_token": anna.token(f"/statements/{row.id}")}
    none = anna.client.post(url, data=FORM | token, headers=headers)
    assert "<html" not in none.text and "Welche Spalte ist der Betrag?" in none.text
    shown = anna.client.post(url, data=FORM | token | {"column-3": "amount"}, headers=headers)
    assert "Erika Mustermann" in shown.text and "418,60" in shown.text
    whole = anna.post(url, FORM | {"column-3": "amount"})
    assert whole.status_code == 200 and "<html" in whole.text and "418,60" in whole.text
    assert row.status == "failed" and row.columns is None
    assert db.session.scalars(select(CsvLayout)).all() == []


def test_columns_are_asked_of_nothing_but_an_unknown_table(merchant, anna):
    row = stored(merchant, status="failed", error="this is a picture")
    assert 'id="columns"' not in anna.get(f"/statements/{row.id}").text
    archive = asking(merchant, b"PK\x03\x04 no table")
    assert "einzeln und ausgepackt" in anna.get(f"/statements/{archive.id}").text


def test_the_account_of_a_table_is_remembered_with_its_columns(merchant, anna):
    second = make_account(merchant, OTHER_IBAN)
    row = asking(merchant)
    assert f'<option value="{second.id}">' in anna.get(f"/statements/{row.id}").text
    form = {**FORM, "column-3": "amount", "account": str(second.id)}
    anna.post(f"/statements/{row.id}/columns", form)
    assert row.account_id == second.id
    assert db.session.scalars(select(CsvLayout)).one().account_id == second.id


@pytest.mark.feature("C2")
def test_the_next_file_with_these_columns_asks_nothing(merchant, anna):
    upload(anna, ("november.csv", CSV))
    drain_statement()
    row = db.session.scalars(select(Statement)).one()
    assert row.asks_columns
    anna.post(f"/statements/{row.id}/columns", {**FORM, "column-3": "amount"})
    drain_statement()
    upload(anna, ("dezember.csv", CSV.replace(b"20.11", b"21.12")))
    drain_statement()
    december = db.session.scalars(select(Statement).where(Statement.id > row.id)).one()
    assert (december.status, december.postings_new) == ("done", 1)
    assert "1 neuer Umsatz." in words(anna.get("/statements"))


@pytest.mark.feature("S20")
def test_a_file_that_names_no_account_asks_which_of_several_it_is(merchant, anna):
    second = make_account(merchant, OTHER_IBAN)
    content = b"date;amount;text\n2026-03-05;5.00;x\n"
    columns = {"booking_date": "date", "amount": "amount", "remittance_information": "text"}
    row = store_statement(merchant.id, "u.csv", content, uploaded_by="Anna", columns=columns)
    db.session.commit()
    drain_statement()
    assert "Bitte wählen Sie es" in words(anna.get("/statements"))
    assert "Bitte wählen Sie es" in words(anna.get("/"))
    page = anna.get(f"/statements/{row.id}")
    assert f'<option value="{second.id}">' in page.text
    refused = anna.post(f"/statements/{row.id}/account", {"account": ""})
    assert (refused.status_code, row.status) == (422, "failed")
    anna.post(f"/statements/{row.id}/account", {"account": str(second.id)})
    drain_statement()
    assert (row.status, row.account_id) == ("done", second.id)
    anna.post(f"/statements/{row.id}/account", {"account": str(second.id)})
    assert row.status == "done"
