"""Today, statements, shops, bank account."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from server.banking.models import BankAccount, Statement
from server.dashboard.statements import csv_head
from server.db import db, now
from server.mail.models import Mail
from server.merchants import service as merchants
from server.merchants.models import ApiKey
from server.orders import service as orders
from server.shops.models import PaymentUpdate, Shop
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

CSV = b"Meine Bank\n\nValuta;Zahler;Info;Wert\n20.11.2026;Erika Mustermann;AA-1;418,60\n"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


# --- today ------------------------------------------------------------------------------------


def test_a_new_merchant_is_shown_three_steps(app):
    merchant = make_merchant(account=False)
    page = words(member(app, merchant).get("/"))
    assert "Willkommen, Anna" in page and "Bankkonto angeben" in page
    assert "Wartet auf Sie" not in page


def test_today_is_calm_when_nothing_waits(merchant, anna):
    shop = make_shop(merchant)
    make_order(shop)
    assert "Nichts. Kontor kommt allein zurecht." in words(anna.get("/"))


def test_today_names_everything_that_needs_a_person(merchant, anna):
    shop = make_shop(merchant, status="error", error="403 Forbidden", error_since=now())
    order = make_order(shop, ordered_at=now().isoformat())
    orders.mark_as_paid(merchant.id, order.id, actor="x", at=now())
    db.session.commit()
    other = make_order(shop, ordered_at=now().isoformat())
    orders.mark_as_paid(merchant.id, other.id, actor="x", at=now())
    db.session.commit()
    failed = db.session.query(PaymentUpdate).filter_by(order_id=other.id).one()
    failed.give_up("rejected", now())
    mail = db.session.query(Mail).filter_by(order_id=order.id).first()
    mail.status, mail.error, mail.created_at = "failed", "550", now()
    make_posting(merchant, "12.00", booking_date=now().date())
    db.session.add(
        Statement(
            merchant_id=merchant.id,
            filename="kaputt.sta",
            content=b"x",
            size_bytes=1,
            content_hash=b"x",
            status="failed",
        )
    )
    db.session.commit()
    page = words(anna.get("/"))
    for line in (
        "1 Umsatz ohne Zuordnung",
        "Laden nimmt keine Rückmeldungen an",
        "Eine Rückmeldung wartet. Der Shop sagt: 403 Forbidden",
        "1 Rückmeldung ist gescheitert",
        other.number,
        "kaputt.sta war nicht zu lesen",
        "1 E-Mail kam nicht an",
        "Eingang heute 12,00 € 1 Umsatz",
    ):
        assert line in page, line


def test_stale_bank_data_is_said_on_every_page(merchant, anna):
    posting = make_posting(merchant, "12.00")
    posting.created_at = now() - timedelta(days=5)
    db.session.commit()
    assert "keine neuen Umsätze" in words(anna.get("/"))
    assert "badge warn" in anna.get("/shops").text


# --- statements -------------------------------------------------------------------------------


def upload(anna, *files: tuple[str, bytes]):
    form = {"file": [(io.BytesIO(content), name) for name, content in files]}
    return anna.post("/statements", form, page="/statements")


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


@pytest.mark.parametrize(
    ("files", "said"),
    [((), "Wählen Sie zuerst eine Datei aus"), ((("a.csv", b""),), "Die Datei ist leer")],
)
def test_what_is_no_file_is_refused(anna, files, said):
    answer = upload(anna, *files)
    assert answer.status_code == 422 and said in answer.text
    assert db.session.scalars(select(Statement)).all() == []


def failed_csv(merchant) -> Statement:
    row = Statement(
        merchant_id=merchant.id,
        filename="neu.csv",
        content=CSV,
        size_bytes=len(CSV),
        content_hash=b"x",
        status="failed",
        error="the header of this CSV is not known, please name its columns; it is “Valuta;Wert”",
    )
    db.session.add(row)
    db.session.commit()
    return row


def test_columns_of_an_unknown_csv_are_asked_once_and_read_again(merchant, anna):
    row = failed_csv(merchant)
    page = anna.get(f"/statements/{row.id}")
    assert "Diese CSV-Datei ist neu für Kontor" in page.text
    assert all(cell in page.text for cell in ("Zahler", "Erika Mustermann", "418,60"))
    form = {
        "column-0": "value_date",
        "column-1": "counterparty_name",
        "column-2": "",
        "column-3": "",
    }
    missing = anna.post(f"/statements/{row.id}/columns", form)
    assert missing.status_code == 422 and "Welche Spalte ist der Betrag?" in missing.text
    assert '<option value="value_date" selected>' in missing.text
    anna.post(f"/statements/{row.id}/columns", {**form, "column-3": "amount"})
    assert row.status == "queued"
    assert row.columns == {
        "delimiter": ";",
        "value_date": ["Valuta"],
        "counterparty_name": ["Zahler"],
        "amount": ["Wert"],
    }


def test_what_could_not_be_read_is_named_by_place(merchant, anna):
    row = failed_csv(merchant)
    row.status, row.error, row.problem_count = "done", None, 201
    row.problems = [{"where": "line 14", "what": "no amount found in “12,3O”"}]
    db.session.commit()
    page = words(anna.get(f"/statements/{row.id}"))
    assert "Zeile 14 Kein Betrag in „12,3O“." in page
    assert "Und 200 weitere." in page


@pytest.mark.parametrize(
    "head", [b"", b"no table", b"<xml/>", b":20:x;y\n", b"\x00\x01;\x02", b"{1:F01;x\n"]
)
def test_what_is_no_table_asks_for_no_columns(head):
    assert csv_head(head) is None


def test_the_header_is_found_below_the_banks_own_lines():
    head = csv_head('Konto;123\n\nTag,Text;Name;Betrag\n1.2.;"a;b";5\n'.encode("cp1252"))
    assert head is not None
    assert (head.delimiter, head.header) == (";", ["Tag,Text", "Name", "Betrag"])
    assert head.example == ["1.2.", "a;b", "5"]


# --- shops ------------------------------------------------------------------------------------


@pytest.mark.feature("K12")
@pytest.mark.parametrize(
    ("status", "icon", "word"),
    [
        ("not_connected", "unmanaged", "Nicht verbunden"),
        ("connected", "check", "Verbunden"),
        ("error", "warn", "Verbunden, Fehler"),
        ("disabled", "cancelled", "Abgeschaltet"),
        ("deregistered", "removed", "Abgemeldet"),
    ],
)
def test_a_shops_connection_is_an_icon_and_a_word(merchant, anna, status, icon, word):
    shop = make_shop(merchant, status=status, error_since=now())
    for path in ("/shops", f"/shops/{shop.id}"):
        badge = re.search(
            rf'<span class="badge[^>]*>[^>]*>[^>]*#{icon}"/></svg>{word}<', anna.get(path).text
        )
        assert badge, path


def test_a_shop_is_added(anna):
    form = {"name": " Zweiter Laden ", "system": "woocommerce", "url": "https://b.example.org"}
    answer = anna.post("/shops/new", form)
    shop = db.session.scalars(select(Shop)).one()
    assert answer.location == f"/shops/{shop.id}?done=shop_added"
    assert (shop.name, shop.status) == ("Zweiter Laden", "not_connected")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "einen Namen"),
        ({"url": "ftp://x"}, "keine Adresse"),
        ({"url": "https://user:pass@x.example"}, "keine Adresse"),
        ({"system": "x"}, "Shopsystem"),
    ],
)
def test_a_shop_that_cannot_be_is_refused_and_nothing_typed_is_lost(anna, wrong, said):
    form = {"name": "Laden 2", "system": "ebay", "url": "https://b.example.org"} | wrong
    answer = anna.post("/shops/new", form)
    assert (
        answer.status_code == 422 and said in answer.text and 'aria-invalid="true"' in answer.text
    )
    kept = [value for name, value in form.items() if name not in wrong]
    assert all(value in answer.text for value in kept)


def test_a_key_is_shown_once_works_and_is_revoked(merchant, anna):
    shop = make_shop(merchant)
    answer = anna.post(f"/shops/{shop.id}/keys", {"name": "Lager"})
    shown = re.search(r"kontor_[a-z0-9]{12}_[\w-]{43}", answer.text)
    assert shown
    key = merchants.authenticate(shown[0], now())
    assert key is not None and (key.scope, key.shop_id) == ("shop", shop.id)
    page = anna.get(f"/shops/{shop.id}").text
    assert shown[0] not in page and key.id in page and "Lager" in page
    asked = anna.get(f"/shops/{shop.id}/keys/{key.id}/revoke").text
    assert "Schlüssel „Lager“ sperren?" in asked
    anna.post(f"/shops/{shop.id}/keys/{key.id}/revoke")
    assert merchants.authenticate(shown[0], now()) is None
    assert "gesperrt heute" in anna.get(f"/shops/{shop.id}").text


def test_a_key_without_a_name_is_refused(merchant, anna):
    shop = make_shop(merchant)
    assert anna.post(f"/shops/{shop.id}/keys", {"name": " "}).status_code == 422
    assert anna.post("/bank-account/keys", {"name": "x" * 101}).status_code == 422
    assert db.session.scalars(select(ApiKey)).all() == []


def test_a_bank_key_has_the_scope_of_the_bank(anna):
    answer = anna.post("/bank-account/keys", {"name": "Abruf"})
    shown = re.search(r"kontor_\S{56}", answer.text)
    assert shown
    key = merchants.authenticate(shown[0], now())
    assert key is not None and (key.scope, key.shop_id) == ("bank", None)
    anna.post(f"/bank-account/keys/{key.id}/revoke")
    assert merchants.authenticate(shown[0], now()) is None


# --- bank account -----------------------------------------------------------------------------


def test_the_account_is_checked_and_saved(app):
    merchant = make_merchant(account=False)
    anna = member(app, merchant)
    form = {"iban": "de02 1203 0000 0000 2020 51", "bic": "", "creditor_name": "Annas  Antiquariat"}
    assert anna.post("/bank-account", form).location == "/bank-account?done=account_saved"
    account = db.session.scalars(select(BankAccount)).one()
    assert (account.iban, account.bic) == ("DE02120300000000202051", "BYLADEM1001")
    assert (account.creditor_name, account.is_payee) == ("Annas Antiquariat", True)


def test_customers_who_wait_for_the_first_account_are_asked_now(app):
    merchant = make_merchant(account=False)
    order = make_order(make_shop(merchant))
    assert db.session.scalars(select(Mail)).all() == []
    form = {"iban": "DE02120300000000202051", "bic": "", "creditor_name": "Anna"}
    anna = member(app, merchant)
    anna.post("/bank-account", form)
    anna.post("/bank-account", form)
    mail = db.session.scalars(select(Mail)).one()
    assert (mail.kind, mail.order_id) == ("payment_information", order.id)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"iban": "DE02120300000000202052"}, "Diese IBAN gibt es nicht"),
        ({"iban": ""}, "Diese IBAN gibt es nicht"),
        ({"creditor_name": " "}, "Nennen Sie den Kontoinhaber"),
    ],
)
def test_a_wrong_account_is_refused_at_the_field_that_is_wrong(merchant, anna, wrong, said):
    form = {"iban": "DE02120300000000202051", "bic": "", "creditor_name": "Anna neu"} | wrong
    answer = anna.post("/bank-account", form)
    assert answer.status_code == 422 and said in answer.text
    field = next(iter(wrong))
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', answer.text)
    assert db.session.scalars(select(BankAccount)).one().creditor_name == "Annas Antiquariat"
