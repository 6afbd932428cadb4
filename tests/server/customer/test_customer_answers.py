"""What customers send from their page: time, accounts; what they fetch: invoices, the look (N8)."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from decimal import Decimal
from struct import pack

import pytest

from server.customer.answers import ANSWERS_PER_ORDER
from server.customer.looks import MAX_PICTURE_BYTES, style_sheet
from server.customer.pages import CONTENT_SECURITY_POLICY, FILE_POLICY, LOOKS_PER_ORDER
from server.customer.rules import bezahlcode_link, copied_amount, payto_link, typed_date
from server.db import db, now
from server.mail.models import Mail
from server.mail.pictures import address_of, store_picture
from server.mail.theme import FONTS, Theme, contrast
from server.merchants.service import change_setting
from server.orders.deferrals import requests_of
from server.orders.models import Refund
from tests.factories import make_merchant, make_shop, today
from tests.server.customer.states import (
    account_to_confirm,
    owing,
    paid,
    path_of,
    refunded,
    waits_for_account,
    with_invoice,
)
from tests.server.mail.test_pictures import png

ACTOR = "anna@example.org"
OTHER = "DE02500105170137075030"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, "Papier & Feder")


def words_of(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def made(make, shop, **over):
    order = make(shop, **over)
    db.session.commit()
    return order


def heavy(size: int) -> bytes:
    """A header picture with so many bytes of text in it."""
    picture = png()
    chunk = pack(">I", size) + b"tEXt" + bytes(size) + bytes(4)
    return picture[:-12] + chunk + picture[-12:]


# --- more time ----------------------------------------------------------------------------------


@pytest.mark.feature("N8")
@pytest.mark.parametrize(
    "written", ["{0:%Y-%m-%d}", "{0:%d.%m.%Y}", "{0:%d/%m/%Y}", "{0:%d-%m-%Y}"]
)
def test_a_customer_asks_for_time(client, shop, written):
    order, until = made(owing, shop), today() + timedelta(days=6)
    path = path_of(order)
    form = {"until": written.format(until), "message": "Gehalt am 1."}
    answer = client.post(f"{path}/more-time", data=form)
    assert (answer.status_code, answer.location) == (303, path)
    (request,) = requests_of(order.id)
    assert (request.until_date, request.message) == (until, "Gehalt am 1.")
    page = words_of(client.get(path_of(order)))
    assert "Sie bitten um Zeit bis" in page and "Bis wann?" not in page


@pytest.mark.feature("N8")
@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"until": "2020-01-01"}, "Nennen Sie einen Tag nach heute, spätestens"),
        ({"until": "2999-01-01"}, "Nennen Sie einen Tag nach heute, spätestens"),
        ({"until": ""}, "Nennen Sie einen Tag nach heute, spätestens"),
        ({"until": "bald"}, "Schreiben Sie das Datum so"),
        ({"until": "2026-11-30", "message": "x" * 1001}, "höchstens 1.000 Zeichen"),
    ],
)
def test_what_cannot_be_asked_is_said_beside_the_form(client, shop, form, said):
    order = made(owing, shop)
    answer = client.post(f"{path_of(order)}/more-time", data={"message": "Bitte"} | form)
    assert answer.status_code == 422 and said in words_of(answer)
    assert answer.text.count('role="alert"') == 1 and 'id="more-problem"' in answer.text
    assert "<details open>" in answer.text
    if "message" not in form:
        assert ">Bitte</textarea>" in answer.text
    assert requests_of(order.id) == []


@pytest.mark.feature("N8")
def test_where_no_time_is_given_there_is_no_form(client, merchant, shop):
    change_setting(merchant.id, "page_more_days", "0", actor=ACTOR, at=now())
    order = made(owing, shop)
    assert "mehr Zeit" not in words_of(client.get(path_of(order)))
    answer = client.post(f"{path_of(order)}/more-time", data={"until": "2026-12-01"})
    assert answer.status_code == 422 and "nicht um mehr Zeit" in words_of(answer)


# --- bank details -------------------------------------------------------------------------------


def refund_of(order) -> Refund:
    db.session.expire_all()
    return db.session.query(Refund).filter_by(order_id=order.id).one()


@pytest.mark.feature("K31", "K56", "N8")
def test_who_was_paid_by_nobody_known_names_his_account(client, shop):
    order = made(waits_for_account, shop)
    refund = refund_of(order)
    assert refund.status == "bank_details_missing"
    assert "Wohin dürfen wir 15,40" in words_of(client.get(path_of(order)))
    form = {
        "refund": str(refund.id),
        "name": "Erika Mustermann",
        "iban": "de02 5001 0517 0137 0750 30",
    }
    answer = client.post(f"{path_of(order)}/bank-details", data=form)
    assert answer.status_code == 303
    told = refund_of(order)
    assert (told.payee_iban, told.payee_name, told.details_by) == (
        OTHER,
        "Erika Mustermann",
        "customer",
    )
    page = client.get(path_of(order)).text
    assert "DE02 •••• 5030" in page and OTHER not in page and "Mustermann" not in page
    assert "bank-details" not in page


@pytest.mark.feature("K33", "K56")
def test_an_account_that_is_known_is_confirmed_without_showing_it(client, shop):
    order = made(account_to_confirm, shop)
    refund = refund_of(order)
    page = client.get(path_of(order)).text
    assert "DE89 •••• 3000" in page and refund.payee_iban not in page
    assert "3704" not in page and refund.payee_name not in page
    form = {"refund": str(refund.id), "confirm": "yes"}
    assert client.post(f"{path_of(order)}/bank-details", data=form).status_code == 303
    told = refund_of(order)
    assert told.confirmed_at is not None and told.status == "new"
    again = client.post(f"{path_of(order)}/bank-details", data=form)
    assert again.status_code == 422 and "kein Konto mehr gebraucht" in words_of(again)


@pytest.mark.feature("K33", "N9")
def test_another_account_is_taken_and_held_for_a_second_look(client, shop):
    order = made(account_to_confirm, shop)
    form = {"refund": str(refund_of(order).id), "name": "Max Mustermann", "iban": OTHER}
    assert client.post(f"{path_of(order)}/bank-details", data=form).status_code == 303
    assert refund_of(order).status == "held"
    assert "Danke. Wir überweisen 15,40" in words_of(client.get(path_of(order)))


@pytest.mark.feature("K56")
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"iban": "DE89370400440532013001"}, "Diese IBAN stimmt nicht"),
        ({"iban": ""}, "Diese IBAN stimmt nicht"),
        ({"iban": "x" * 5000}, "Diese IBAN stimmt nicht"),
        ({"iban": "BR1800360305000010009795493C1"}, "keine SEPA-Überweisung"),
        ({"iban": "DE02120300000000202051"}, "Das ist das Konto des Shops"),
        ({"name": " "}, "Nennen Sie bitte den Namen"),
        ({"name": "x" * 71}, "höchstens 70 Zeichen"),
    ],
)
def test_an_account_that_cannot_be_is_said_and_shown_in_fours(client, shop, typed, said):
    order = made(waits_for_account, shop)
    form = {"refund": str(refund_of(order).id), "name": "Erika", "iban": OTHER} | typed
    answer = client.post(f"{path_of(order)}/bank-details", data=form)
    assert answer.status_code == 422 and said in words_of(answer)
    if "name" in typed:
        assert 'value="DE02 5001 0517 0137 0750 30"' in answer.text
    assert refund_of(order).payee_iban is None


@pytest.mark.parametrize("refund", ["", "0", "x", "9" * 30, "theirs"])
def test_the_repayment_of_another_order_is_not_reached(client, shop, refund):
    order, other = made(waits_for_account, shop), made(waits_for_account, shop)
    number = str(refund_of(other).id) if refund == "theirs" else refund
    form = {"refund": number, "name": "Bob", "iban": OTHER}
    assert client.post(f"{path_of(order)}/bank-details", data=form).status_code == 422
    assert refund_of(other).payee_iban is None


@pytest.mark.feature("N8")
def test_what_was_paid_back_is_said_with_day_and_end_of_the_account(client, shop):
    page = words_of(client.get(path_of(made(refunded, shop))))
    assert "Zurückgezahlt" in page and "1.284,60" in page and "DE89 •••• 3000" in page
    assert f"{today():%d.%m.%Y}" in page


# --- invoices -----------------------------------------------------------------------------------


@pytest.mark.feature("N8", "S60")
def test_an_invoice_that_a_mail_has_named_can_be_fetched(client, shop):
    order = made(with_invoice, shop)
    link = re.search(r'href="(/pay/[^"]+/invoices/\d+)"', client.get(path_of(order)).text)
    assert link
    answer = client.get(link[1])
    assert answer.data == b"%PDF-1.7 Rechnung" and answer.mimetype == "application/pdf"
    assert answer.headers["Content-Disposition"] == "attachment; filename=R-2026-118.pdf"
    assert answer.headers["Content-Security-Policy"] == FILE_POLICY
    assert answer.headers["Cache-Control"] == "no-store"
    theirs = path_of(made(owing, shop)) + "/invoices/" + link[1].rpartition("/")[2]
    assert client.get(theirs).status_code == 404


@pytest.mark.feature("N8")
def test_an_invoice_that_no_mail_has_named_is_not_there(client, shop):
    order = made(with_invoice, shop)
    for mail in db.session.query(Mail).filter_by(order_id=order.id):
        mail.facts = {**mail.facts, "invoice_number": ""}
    db.session.commit()
    assert "/invoices/" not in client.get(path_of(order)).text
    assert client.get(f"{path_of(order)}/invoices/1").status_code == 404


# --- limits, look, links ------------------------------------------------------------------------


class SlowPhone(io.BytesIO):
    """Notes whether a transaction is open while its bytes are awaited."""

    waits: list[bool]

    def _note(self) -> None:
        self.waits.append(db.session().in_transaction())

    def read(self, *size):
        self._note()
        return super().read(*size)

    def readinto(self, into):
        self._note()
        return super().readinto(into)


def test_no_transaction_waits_for_what_a_phone_sends(client, shop):
    order = made(owing, shop)
    sent = b"paid_on=&message=Gestern"
    phone = SlowPhone(sent)
    phone.waits = []
    kind = "application/x-www-form-urlencoded"
    answer = client.post(
        path_of(order), input_stream=phone, content_type=kind, content_length=len(sent)
    )
    assert answer.status_code == 303
    assert phone.waits and not any(phone.waits)


def test_nobody_answers_or_looks_for_ever(client, shop):
    order = made(owing, shop)
    codes = {
        client.post(f"{path_of(order)}/more-time", data={"until": "x"}).status_code
        for _ in range(ANSWERS_PER_ORDER.amount + 1)
    }
    assert codes == {422, 429}
    for _ in range(LOOKS_PER_ORDER.amount):
        last = client.get(path_of(order))
    assert last.status_code == 429 and "Bitte etwas später" in last.text
    assert client.get(path_of(made(owing, shop))).status_code == 200


@pytest.mark.parametrize("form", ["", "/more-time", "/bank-details"])
def test_no_form_is_taken_from_another_site(client, shop, form):
    order = made(waits_for_account, shop)
    headers = {"Origin": "https://elsewhere.example"}
    assert client.post(path_of(order) + form, headers=headers).status_code == 403
    assert client.post(path_of(order) + form, headers={"Origin": "null"}).status_code in (303, 422)


@pytest.mark.feature("S11", "N8")
def test_optional_mails_can_be_stopped_from_the_page(client, shop):
    page = client.get(path_of(made(paid, shop))).text
    links = re.findall(r'href="[^"]*(/unsubscribe/[^"]+)"', page)
    assert len(links) == 4 and "erika@" not in page
    for link in links:
        assert "abbestellen" in client.get(link).text


@pytest.mark.feature("N8")
def test_the_page_has_the_colours_and_the_picture_of_its_shop(client, merchant, shop):
    order = made(owing, shop)
    plain = re.search(r'href="(/pay-look/[^"]+)"', client.get(path_of(order)).text)
    picture = store_picture(merchant.id, png(600, 120), now())
    db.session.flush()
    look = {"primary": "#7a2e2e", "header_image": address_of(picture), "font": "georgia"}
    shop.look = look
    db.session.commit()
    page = client.get(path_of(order)).text
    assert f'<img src="/bilder/{picture.token}" alt="Papier &amp; Feder"' in page
    style = re.search(r'href="(/pay-look/[^"]+)"', page)
    assert plain and style and style[1] != plain[1]
    css = client.get(style[1])
    assert "#7a2e2e" in css.text and "Georgia" in css.text and css.mimetype == "text/css"
    assert "immutable" in css.headers["Cache-Control"]
    for gone in (plain[1], f"/pay-look/{shop.id + 1}/{'0' * 16}.css"):
        assert client.get(gone).status_code == 404


@pytest.mark.parametrize(
    "address", ["https://pictures.example.org/head.png", "http://localhost/bilder/unknown"]
)
def test_a_picture_of_elsewhere_is_not_loaded(client, shop, address):
    shop.look = {"header_image": address}
    page = client.get(path_of(made(owing, shop))).text
    assert "/bilder/" not in page and "pictures.example" not in page
    assert '<header class="top"><p>Papier' in page


def test_a_large_picture_is_left_to_the_mails(client, merchant, shop):
    picture = store_picture(merchant.id, heavy(MAX_PICTURE_BYTES), now())
    db.session.flush()
    shop.look = {"header_image": address_of(picture)}
    assert "/bilder/" not in client.get(path_of(made(owing, shop))).text


@pytest.mark.feature("N8")
@pytest.mark.parametrize("colour", ["#ffd400", "#ffffff", "#000000", "#777777", "#00ff00"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_a_shop_can_be_read(colour, scheme):
    theme = Theme(primary=colour, header_background=colour, header_text=colour)
    light, dark = style_sheet(theme).split("@media")
    found = dict(re.findall(r"--([a-z-]+):([^;]+);", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--([a-z-]+):([^;]+);", dark))
    card = "#ffffff" if scheme == "light" else "#1b1e22"
    assert contrast(found["accent"], card) >= 4.5
    assert contrast(found["on-accent"], found["accent"]) >= 4.5
    assert contrast(found["on-head"], found["head"]) >= 4.5
    assert found["font"] in FONTS.values()


@pytest.mark.feature("N8", "C26")
def test_links_that_open_a_banking_app(client, shop):
    page = client.get(path_of(made(owing, shop))).text
    assert 'href="payto://iban/DE02120300000000202051?amount=EUR%3A1284.60&amp;' in page
    assert 'href="bank://singlepaymentsepa?name=Annas%20Antiquariat&amp;reason=' in page
    francs = made(owing, shop, currency="CHF")
    assert "payto:" not in client.get(path_of(francs)).text


@pytest.mark.feature("C26")
def test_what_stands_in_them_is_escaped():
    hostile = {"creditor": "A & B/?", "iban": "DE02 1203", "amount": Decimal("5")}
    assert payto_link(**hostile, currency="EUR", reference="R&amount=EUR:1") == (
        "payto://iban/DE021203?amount=EUR%3A5.00&receiver-name=A%20%26%20B%2F%3F"
        "&message=R%26amount%3DEUR%3A1"
    )
    assert bezahlcode_link(**hostile, bic="", reference="R") == (
        "bank://singlepaymentsepa?name=A%20%26%20B%2F%3F&reason=R&iban=DE021203&amount=5%2C00"
        "&currency=EUR"
    )
    assert [copied_amount(Decimal("1284.60"), one) for one in ("de", "en", "de-CH", "fr")] == [
        "1284,60",
        "1284.60",
        "1284.60",
        "1284,60",
    ]


def test_no_page_loads_anything_from_elsewhere(client, shop):
    order = made(owing, shop)
    answer = client.get(path_of(order))
    loaded = re.findall(r'<(?:link|script|img)[^>]+(?:href|src)="([^"]+)"', answer.text)
    assert loaded and all(one.startswith("/") and not one.startswith("//") for one in loaded)
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY


@pytest.mark.feature("N8")
def test_the_whole_page_is_below_sixty_kilobytes(client, merchant, shop):
    picture = store_picture(merchant.id, heavy(MAX_PICTURE_BYTES - 5000), now())
    db.session.flush()
    shop.look = {"header_image": address_of(picture)}
    order = made(owing, shop)
    page = client.get(path_of(order))
    loaded = re.findall(r'<(?:link|script|img)[^>]+(?:href|src)="([^"]+)"', page.text)
    sizes = {path: len(client.get(path, buffered=True).data) for path in loaded}
    assert any("/bilder/" in path for path in sizes) and any("qr.png" in path for path in sizes)
    assert len(page.data) + sum(sizes.values()) < 60_000, sizes


def test_dates_that_are_none():
    for text in ("31.02.2026", "2026-13-01", "1.1.26", "99999-01-01"):
        with pytest.raises(ValueError, match="date_unreadable"):
            typed_date(text)
