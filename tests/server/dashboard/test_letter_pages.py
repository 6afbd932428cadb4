"""Letters in the dashboard: the list, each letter, the order's own, and who prints them."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from zipfile import ZipFile

import pytest
from pypdf import PdfReader

from server.config import installed
from server.db import db, now
from server.letters.adapters.folder import Folder
from server.letters.handover import NO_SERVICE
from server.letters.models import Letter, PrintService
from server.letters.services import forget_service, save_service
from server.mail.models import Mail
from server.merchants.models import User
from server.merchants.service import change_setting
from server.orders.letter_actions import send_transfer_form
from server.orders.models import Order, Reminder
from server.orders.service import store_invoice
from tests.factories import make_merchant, make_order, make_shop
from tests.server.dashboard.visitor import member
from tests.server.life.test_letters_of_orders import pdf

ANNA = "anna@example.org"
LETTERXPRESS = {
    "adapter": "letterxpress",
    "username": "anna",
    "apikey": "geheim-4711",
    "mode": "test",
    "color": "no",
    "price_first_sheet": "0,98",
    "price_further_sheet": "0,1",
    "price_registered": "2,65",
    "currency": "EUR",
}


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def lettered(shop, **over) -> Letter:
    """A transfer form that waits."""
    order = make_order(shop, **over)
    letter_id = send_transfer_form(shop.merchant_id, order.id, actor=ANNA, at=now())
    db.session.commit()
    return db.session.get_one(Letter, letter_id)


def fares(letter: Letter, status: str, **over) -> Letter:
    letter.status = status
    for name, value in over.items():
        setattr(letter, name, value)
    db.session.commit()
    return letter


def no_administrator() -> None:
    db.session.query(User).one().is_administrator = False
    db.session.commit()


def prints(merchant, **prices: str) -> PrintService:
    priced = prices or {"first_sheet": "0.98", "registered": "2.65"}
    row = save_service(merchant.id, "folder", {}, priced, "EUR", actor=ANNA, at=now())
    db.session.commit()
    return row


def words_of(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text.replace("<wbr>", "")).split())


def letters() -> list[Letter]:
    db.session.expire_all()
    return db.session.query(Letter).order_by(Letter.id).all()


# --- the list ------------------------------------------------------------------------------------


def test_without_letters_the_page_says_how_to_get_some(anna):
    answer = anna.get("/letters")
    assert answer.status_code == 200
    assert "Noch keine Briefe" in answer.text
    assert 'href="/letters/service"' in answer.text


@pytest.mark.feature("S73")
def test_the_list_shows_who_gets_what_how_it_fares_and_what_it_cost(anna, merchant, shop):
    prints(merchant)
    waits, sent = lettered(shop), lettered(shop)
    fares(sent, "done", delivery="sent", cost=Decimal("0.98"), cost_currency="EUR")
    said = words_of(anna.get("/letters"))
    for text in ("Erika Mustermann", "51147 Köln", "Überweisungsträger", "Wartet", "Verschickt"):
        assert text in said
    assert "etwa 0,98" in said, "what the one that waits will cost"
    assert "1 Brief übergeben: 0,98" in said
    assert f'href="/letters/{waits.id}"' in anna.get("/letters").text


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("state=waiting", "waits"),
        ("state=returned", "back"),
        ("state=lost", "back"),
        ("q=Oma", "back"),
        ("q={number}", "waits"),
        ("kind=invoice", None),
        ("state=nonsense&kind=nonsense&before=x-y&shop=abc", "both"),
    ],
)
def test_the_list_is_filtered_by_state_kind_number_and_recipient(anna, shop, query, shown):
    waits = lettered(shop)
    back = lettered(shop)
    fares(back, "done", delivery="returned", recipient=["Oma Müller", "Am Markt 1", "10115 Berlin"])
    order = db.session.get_one(Order, waits.order_id)
    text = anna.get("/letters?" + query.format(number=order.number)).text
    found = {
        name
        for name, one in (("waits", waits), ("back", back))
        if f'href="/letters/{one.id}"' in text
    }
    assert found == ({"waits", "back"} if shown == "both" else {shown} - {None})


def test_many_letters_have_pages(anna, shop):
    first = lettered(shop)
    for number in range(60):
        db.session.add(
            Letter(
                merchant_id=shop.merchant_id,
                kind="invoice",
                language="de",
                recipient=["Erika"],
                once=f"test:{number}",
                facts={},
                created_at=first.created_at + timedelta(minutes=number + 1),
            )
        )
    db.session.commit()
    text = anna.get("/letters").text
    assert f'href="/letters/{first.id}"' not in text
    older = re.search(r'rel="next" href="([^"]+)"', text)
    assert older is not None
    assert f'href="/letters/{first.id}"' in anna.get(older[1].replace("&amp;", "&")).text


def test_the_list_as_csv_has_what_it_shows_and_runs_nothing(anna, shop):
    letter = lettered(shop)
    fares(letter, "done", delivery="sent", recipient=["=HYPERLINK(1)"], cost=Decimal("1.20"))
    answer = anna.get("/letters/export.csv")
    head, row = csv.reader(io.StringIO(answer.text.removeprefix("\ufeff")), delimiter=";")
    cells = dict(zip(head, row, strict=True))
    assert (cells["Art"], cells["Kosten"], cells["Stand"]) == (
        "Überweisungsträger",
        "1,20",
        "Verschickt",
    )
    assert cells["An"] == "'=HYPERLINK(1)"


# --- one letter ----------------------------------------------------------------------------------


@pytest.mark.feature("S73", "K39")
def test_a_letter_shows_itself_as_pdf_that_loads_nothing(anna, shop):
    letter = lettered(shop)
    page = anna.get(f"/letters/{letter.id}")
    assert f'<iframe class="letter" src="/letters/{letter.id}/letter.pdf#' in page.text
    answer = anna.get(f"/letters/{letter.id}/letter.pdf")
    assert answer.mimetype == "application/pdf"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Disposition"].startswith("inline")
    assert "Erika Mustermann" in PdfReader(io.BytesIO(answer.data)).pages[0].extract_text()


@pytest.mark.feature("S73")
def test_it_is_cancelled_until_it_is_handed_over(anna, shop):
    letter = lettered(shop)
    assert f'action="/letters/{letter.id}/cancel"' in anna.get(f"/letters/{letter.id}").text
    assert anna.post(f"/letters/{letter.id}/cancel").status_code == 303
    assert [(one.status, one.cancelled_by) for one in letters()] == [("withheld", ANNA)]
    gone = fares(lettered(shop), "done", delivery="accepted")
    assert f'action="/letters/{gone.id}/cancel"' not in anna.get(f"/letters/{gone.id}").text
    answer = anna.post(f"/letters/{gone.id}/cancel")
    assert answer.status_code == 409
    assert "schon übergeben" in answer.text


def test_of_one_that_nobody_knows_of_an_administrator_decides(anna, shop):
    letter = fares(lettered(shop), "unknown", error="the service did not answer")
    assert "the service did not answer" in anna.get(f"/letters/{letter.id}").text
    assert anna.post(f"/letters/{letter.id}/decide", {"again": "no"}).status_code == 303
    assert letters()[0].status == "done"
    fares(letters()[0], "unknown")
    assert anna.post(f"/letters/{letter.id}/decide", {"again": "yes"}).status_code == 303
    assert letters()[0].status == "queued"
    assert anna.post(f"/letters/{letter.id}/decide", {"again": "yes"}).status_code == 409
    fares(letters()[0], "unknown")
    no_administrator()
    assert anna.post(f"/letters/{letter.id}/decide", {"again": "yes"}).status_code == 403
    assert letters()[0].status == "unknown"


@pytest.mark.feature("K60")
def test_one_that_came_back_is_sent_once_more_and_its_reminder_goes_with_it(anna, shop):
    letter = fares(lettered(shop), "done", delivery="returned", delivery_words="unbekannt verzogen")
    reminder = Reminder(
        merchant_id=shop.merchant_id,
        order_id=letter.order_id,
        level=1,
        sent_on=now().date(),
        letter_id=letter.id,
    )
    db.session.add(reminder)
    db.session.commit()
    assert "unbekannt verzogen" in anna.get(f"/letters/{letter.id}").text
    assert anna.post(f"/letters/{letter.id}/again").status_code == 303
    old, new = letters()
    assert (old.status, new.status, new.facts) == ("done", "queued", old.facts)
    db.session.refresh(reminder)
    assert reminder.letter_id == new.id
    assert anna.post(f"/letters/{new.id}/again").status_code == 409, "it waits"


def test_a_letter_whose_content_was_erased_says_so(anna, shop):
    letter = fares(lettered(shop), "done", facts={}, recipient=[], pdf=None)
    assert "Der Inhalt wurde entfernt" in anna.get(f"/letters/{letter.id}").text
    assert anna.get(f"/letters/{letter.id}/letter.pdf").status_code == 404


# --- on the order --------------------------------------------------------------------------------


@pytest.mark.feature("S73")
def test_the_order_lists_its_letters_the_subject_opens_the_pdf(anna, shop):
    letter = lettered(shop)
    text = anna.get(f"/orders/{letter.order_id}").text
    assert f'href="/letters/{letter.id}/letter.pdf"' in text
    assert f'action="/letters/{letter.id}/cancel"' in text
    assert "Brief geschrieben: Überweisungsträger" in text
    fares(letter, "done", delivery="accepted")
    text = anna.get(f"/orders/{letter.order_id}").text
    assert f'action="/letters/{letter.id}/cancel"' not in text


@pytest.mark.feature("S77", "K60")
def test_a_transfer_form_asks_first_and_shows_what_it_costs(anna, merchant, shop):
    prints(merchant)
    order = make_order(shop)
    url = f"/orders/{order.id}/send-transfer-form"
    assert url in anna.get(f"/orders/{order.id}").text
    said = words_of(anna.get(url))
    for text in ("etwa 0,98", "Heidestraße 17", "Geht zum Druck"):
        assert text in said
    assert anna.post(url).status_code == 303
    assert [one.kind for one in letters()] == ["transfer_form"]
    no_administrator()
    assert url not in anna.get(f"/orders/{order.id}").text
    assert anna.post(url).status_code == 403


@pytest.mark.feature("S75")
def test_the_invoice_is_offered_only_with_its_pdf(anna, shop):
    order = make_order(shop, invoices=[{"number": "R-1", "date": "2026-03-01"}])
    url = f"/orders/{order.id}/send-invoice-letter"
    assert url not in anna.get(f"/orders/{order.id}").text
    answer = anna.post(url)
    assert answer.status_code == 409
    assert "noch keine Rechnung als PDF" in answer.text
    store_invoice(order, "R-1", pdf(width=100, height=100), now())
    db.session.commit()
    assert url in anna.get(f"/orders/{order.id}").text
    assert "nicht DIN A4" in anna.post(url).text
    store_invoice(order, "R-1", pdf(), now())
    db.session.commit()
    assert anna.post(url).status_code == 303
    assert [one.kind for one in letters()] == ["invoice"]


@pytest.mark.feature("S83")
def test_a_reminder_by_hand_goes_by_mail_letter_or_both_and_says_what_the_letter_costs(
    anna, merchant, shop
):
    prints(merchant)
    order = make_order(shop, at=now(), ordered_at=now().isoformat())
    url = f"/orders/{order.id}/send-reminder"
    page = anna.get(url)
    assert "etwa 0,98" in words_of(page)
    assert 'name="way" value="mail" checked' in page.text
    assert 'name="way" value="letter" checked' not in page.text
    form = {"asks_way": "yes", "anyway": "yes"}
    answer = anna.post(url, form)
    assert answer.status_code == 409
    assert "Wählen Sie E-Mail, Brief oder beides" in answer.text
    assert anna.post(url, form | {"way": ["mail", "letter"]}).status_code == 303
    (row,) = db.session.query(Reminder).all()
    assert (row.level, bool(row.mail_id), bool(row.letter_id)) == (1, True, True)
    assert f'href="/letters/{row.letter_id}"' in anna.get(f"/orders/{order.id}").text


@pytest.mark.feature("S83")
def test_who_is_no_administrator_reminds_by_mail(anna, shop):
    order = make_order(shop, at=now(), ordered_at=now().isoformat())
    no_administrator()
    url = f"/orders/{order.id}/send-reminder"
    assert 'name="way"' not in anna.get(url).text
    form = {"asks_way": "yes", "way": "letter", "anyway": "yes"}
    assert anna.post(url, form).status_code == 403
    assert anna.post(url, {"anyway": "yes"}).status_code == 303
    assert letters() == []


@pytest.mark.feature("S71")
def test_send_as_letter_is_offered_only_on_a_mail_that_failed(anna, merchant, shop):
    prints(merchant)
    order = make_order(shop)
    mail = db.session.query(Mail).filter_by(order_id=order.id).one()
    url = f"/mails/{mail.id}/as-letter"
    assert url not in anna.get(f"/mails/{mail.id}").text
    assert anna.post(url).status_code == 409
    mail.status, mail.failure = "failed", "no_such_mailbox"
    db.session.commit()
    page = anna.get(f"/mails/{mail.id}")
    assert url in page.text
    assert "etwa 0,98" in words_of(page)
    assert anna.post(url).status_code == 303
    (letter,) = letters()
    page = anna.get(f"/mails/{mail.id}").text
    assert (url in page, f'href="/letters/{letter.id}"' in page) == (False, True)
    no_administrator()
    assert anna.post(url).status_code == 403


# --- who prints ----------------------------------------------------------------------------------


@pytest.mark.feature("K60")
def test_a_print_service_is_entered_checked_and_removed(anna, merchant):
    assert "Noch kein Druckdienst" in anna.get("/letters/service").text
    page = anna.get("/letters/service?adapter=letterxpress").text
    assert 'name="apikey"' in page
    assert 'type="password"' in page
    assert anna.post("/letters/service", LETTERXPRESS).status_code == 303
    row = db.session.query(PrintService).one()
    assert (row.adapter, row.prices["first_sheet"]) == ("letterxpress", "0.98")
    page = anna.get("/letters/service").text
    assert 'value="anna"' in page
    assert "geheim-4711" not in page
    again = LETTERXPRESS | {"apikey": "", "price_first_sheet": "1,05"}
    assert anna.post("/letters/service", again).status_code == 303, "an empty secret stays"
    assert (
        anna.post("/letters/service", {"adapter": "folder", "currency": "EUR"}).status_code == 303
    )
    answer = anna.post("/letters/service/check")
    assert answer.status_code == 200
    assert "Der Druckdienst antwortet" in answer.text
    assert str(installed().var) in answer.text
    assert anna.post("/letters/service/remove").status_code == 303
    assert db.session.query(PrintService).all() == []


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"username": ""}, "Das fehlt."),
        ({"apikey": ""}, "Das fehlt."),
        ({"mode": "x"}, "Das kann nicht stimmen."),
        ({"price_first_sheet": "viel"}, "Das ist kein Preis."),
        ({"price_registered": "-1"}, "Das ist kein Preis."),
        ({"url": "ftp://print.example.org"}, "Diese Adresse darf nicht"),
    ],
)
def test_what_cannot_be_is_said_at_its_field_and_nothing_is_kept(anna, over, words):
    answer = anna.post("/letters/service", LETTERXPRESS | over)
    assert answer.status_code == 422
    assert words in words_of(answer)
    assert "geheim-4711" not in answer.text
    assert db.session.query(PrintService).all() == []


def test_while_the_service_is_asked_nothing_stays_open_and_it_may_be_removed(
    anna, merchant, monkeypatch
):
    prints(merchant).error_since = now()
    db.session.commit()
    is_open: list[bool] = []

    def check(self, asked=Folder.check):
        is_open.append(db.session().in_transaction())
        forget_service(merchant.id)
        db.session.commit()
        return asked(self)

    monkeypatch.setattr(Folder, "check", check)
    assert anna.post("/letters/service/check").status_code == 200
    assert is_open == [False]


def test_a_service_whose_settings_no_key_opens_can_be_entered_anew(anna, merchant):
    assert anna.post("/letters/service", LETTERXPRESS).status_code == 303
    db.session.query(PrintService).one().settings = b"sealed with a key that is gone"
    db.session.commit()
    assert anna.get("/letters/service").status_code == 200
    without = anna.post("/letters/service", LETTERXPRESS | {"apikey": ""})
    assert without.status_code == 422
    assert "Das fehlt." in words_of(without)
    assert anna.post("/letters/service", LETTERXPRESS).status_code == 303


def test_an_unknown_service_or_currency_is_refused(anna):
    for over in ({"adapter": "pigeon"}, {"currency": "XXX"}):
        assert anna.post("/letters/service", LETTERXPRESS | over).status_code == 422


def test_only_administrators_say_who_prints(anna, merchant):
    prints(merchant)
    no_administrator()
    assert anna.get("/letters/service").status_code == 200
    for path in ("", "/check", "/remove", "/test"):
        assert anna.post(f"/letters/service{path}", LETTERXPRESS).status_code == 403
    assert anna.get("/letters/service/folder.zip?day=2026-03-02").status_code == 403
    assert db.session.query(PrintService).one().adapter == "folder"


@pytest.mark.feature("K39")
@pytest.mark.parametrize(
    ("kind", "edition"),
    [("payment_information", "de"), ("dunning_notice", "fr"), ("transfer_form", "de-CH-du")],
)
def test_every_letter_can_be_looked_at_before_and_a_test_letter_costs_nothing(
    anna, merchant, shop, kind, edition
):
    prints(merchant)
    choice = {"kind": kind, "edition": edition}
    answer = anna.get("/letters/service/sample.pdf", query_string=choice)
    assert "Mustermann" in PdfReader(io.BytesIO(answer.data)).pages[0].extract_text()
    assert anna.post("/letters/service/test", choice).status_code == 303
    (letter,) = letters()
    assert (letter.kind, letter.language, letter.is_test) == (kind, edition, True)
    page = anna.get(f"/letters/{letter.id}")
    assert "kostet nichts" in page.text
    assert "0,98" not in words_of(page)
    assert "Test" in words_of(anna.get("/letters"))


def test_the_days_folder_is_fetched_as_one_file(anna, merchant):
    prints(merchant)
    assert "Noch nichts zu drucken" in anna.get("/letters/service").text
    day = installed().var / "letters" / str(merchant.id) / "2026-03-02"
    day.mkdir(parents=True)
    (day / "0001-letter-17.pdf").write_bytes(b"%PDF-1.7")
    (day / "addresses.csv").write_text("number\r\n")
    assert "2026-03-02" in anna.get("/letters/service").text
    answer = anna.get("/letters/service/folder.zip?day=2026-03-02", buffered=True)
    with ZipFile(io.BytesIO(answer.data)) as packed:
        assert packed.namelist() == ["0001-letter-17.pdf", "addresses.csv"]
    for wrong in ("2026-03-03", "..", "", "2026-3-2"):
        assert anna.get(f"/letters/service/folder.zip?day={wrong}").status_code == 404


# --- on Today ------------------------------------------------------------------------------------


def test_today_says_what_keeps_letters_from_leaving(anna, merchant, shop):
    letter = fares(lettered(shop), "queued", error=NO_SERVICE)
    assert "1 Brief wartet" in anna.get("/").text
    row = prints(merchant)
    row.error, row.error_since = "the balance is used up", now()
    db.session.commit()
    said = words_of(anna.get("/"))
    assert "Der Druckdienst nimmt nichts an." in said
    assert "the balance is used up" in said
    assert "Brief wartet" not in said
    fares(letter, "unknown")
    assert "1 Brief ungewiss" in anna.get("/").text
    fares(letter, "done", delivery="returned")
    assert "1 Brief kam nicht an" in anna.get("/").text


@pytest.mark.feature("S47")
def test_what_goes_by_letter_is_set_like_everything_else(anna, merchant, shop):
    change_setting(merchant.id, "letter_payment_information", "always", actor=ANNA, at=now())
    db.session.commit()
    order = make_order(shop)
    assert [one.kind for one in letters()] == ["payment_information"]
    assert "Briefe" in anna.get(f"/orders/{order.id}").text
