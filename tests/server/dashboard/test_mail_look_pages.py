"""How a shop's mails look: the form, its picture, its preview, and what mails become of it."""

from __future__ import annotations

import io
import re
from html import escape

import pytest
from sqlalchemy import select

from server.db import db
from server.mail.domains import add
from server.mail.kinds import KINDS
from server.mail.models import Mail, Picture
from server.mail.service import preview_mail
from server.merchants.models import SettingChange, User
from server.merchants.service import change_setting
from server.orders import service
from server.orders.identity import identity_of, theme_of
from server.shops.models import Shop
from tests.factories import AT, make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.visitor import member
from tests.server.mail.test_pictures import gif, png

PATH = "/settings/look"
STANDARD = {
    "primary": "#1d5b79",
    "text": "#23272b",
    "header_background": "#17455c",
    "header_text": "#ffffff",
    "font": "system",
}


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, "Papier & Feder")


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def form_of(shop, **over) -> dict[str, object]:
    form = {"shop": str(shop.id), "sender_name": "", "sender_address": "", "reply_to": ""}
    return {**form, "language": "de", **STANDARD, **over}


def stored(shop) -> Shop:
    db.session.expire_all()
    return db.session.get_one(Shop, shop.id)


def file(content: bytes, name: str = "kopf.png") -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), name


@pytest.mark.feature("S2", "S3")
def test_two_shops_of_one_merchant_write_as_two(merchant, shop, anna):
    other = make_shop(merchant, "Antiquariat")
    first = form_of(
        shop,
        sender_name="Papier und Feder",
        sender_address="post@papier.example.org",
        reply_to="hilfe@papier.example.org",
        language="fr",
        primary="#7A2E2E",
        font="georgia",
        picture=file(png(1200, 240)),
    )
    second = form_of(other, sender_name="Annas Bücher", language="en")
    for form in (first, second):
        answer = anna.post(PATH, form)
        assert answer.status_code == 303 and "done=look_saved" in answer.location
    first_mail, second_mail = (
        db.session.scalars(select(Mail).where(Mail.order_id == make_order(one).id)).one()
        for one in (shop, other)
    )
    assert (first_mail.sender_name, first_mail.sender_address, first_mail.reply_to) == (
        "Papier und Feder", "post@papier.example.org", "hilfe@papier.example.org",
    )  # fmt: skip
    assert first_mail.theme["primary"] == "#7a2e2e" and first_mail.theme["font"] == "georgia"
    picture = db.session.scalars(select(Picture)).one()
    assert first_mail.theme["header_image"].endswith(f"/bilder/{picture.token}")
    assert first_mail.theme["header_height_pixels"] == 120
    assert (second_mail.sender_name, second_mail.theme["header_image"]) == ("Annas Bücher", "")
    assert second_mail.sender_address == "system@kontor.example.org"


@pytest.mark.feature("S2", "S62", "K20")
def test_the_order_decides_the_language_and_its_country_the_wording(merchant, shop, anna):
    assert anna.post(PATH, form_of(shop, language="it")).status_code == 303
    swiss = {"first_name": "Luca", "last_name": "Beispiel", "country": "CH", "city": "Bern"}
    cases = [
        ({"language": "de-AT"}, {}, "de"),
        ({"language": "de"}, {"billing_address": swiss}, "de-CH"),
        ({"language": "fr"}, {"billing_address": swiss}, "fr"),
        ({"language": "pl"}, {}, "it"),
        ({}, {}, "it"),
    ]
    for customer, over, edition in cases:
        order = make_order(shop, customer={"email": "erika@example.org", **customer}, **over)
        mail = db.session.scalars(select(Mail).where(Mail.order_id == order.id)).one()
        assert mail.language == edition, (customer, over)


@pytest.mark.feature("S2", "S3", "K20")
def test_reminders_and_thanks_have_the_look_and_tone_as_well(merchant, shop, anna):
    anna.post(PATH, form_of(shop, sender_name="Papier und Feder", primary="#7a2e2e"))
    change_setting(merchant.id, "address_form", "informal", actor="anna", at=AT)
    db.session.commit()
    order, paid = make_order(shop), make_order(shop)
    frame = anna.get(f"/dunning/preview/{order.id}/content")
    assert frame.status_code == 200 and "#7a2e2e" in frame.text
    assert "Deine Bestellung" in frame.text or "deine Bestellung" in frame.text
    posting = make_posting(merchant, "19.90", paid.number)
    part = [(paid.id, posting.amount)]
    service.assign(merchant.id, posting.id, part, actor="anna@example.org", at=AT)
    db.session.commit()
    thanks = db.session.scalars(select(Mail).where(Mail.kind == "payment_received")).one()
    assert (thanks.language, thanks.sender_name) == ("de-du", "Papier und Feder")
    assert thanks.theme["primary"] == "#7a2e2e"


@pytest.mark.feature("S14")
@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("sender_address", "anna@gmail.com", "kann nur der Anbieter selbst unterschreiben"),
        ("sender_address", "anna", "keine E-Mail-Adresse"),
        ("reply_to", "anna@", "keine E-Mail-Adresse"),
        ("primary", "blau", "Das ist keine Farbe"),
        ("font", "comic", "Wählen Sie eine der Möglichkeiten"),
        ("language", "pl", "Wählen Sie eine der Möglichkeiten"),
        ("sender_name", "A" * 101, "Höchstens 100 Zeichen"),
        ("picture", file(b"no picture"), "kein vollständiges Bild"),
        ("picture", file(gif(images=2)), "Bewegte Bilder"),
        ("picture", file(png(600, 301)), "zu hoch"),
    ],
)
def test_what_cannot_be_is_said_at_its_field_and_nothing_is_lost(shop, anna, field, typed, words):
    form = form_of(shop, sender_name="Neuer Name", header_text="#eeeeee") | {field: typed}
    answer = anna.post(PATH, form)
    assert answer.status_code == 422 and words in answer.text
    assert 'value="#eeeeee"' in answer.text
    if isinstance(typed, str) and field not in ("font", "language"):
        assert f'value="{typed}"' in answer.text
    assert (stored(shop).sender_name, stored(shop).look) == ("", {})


@pytest.mark.feature("S17")
def test_an_address_whose_domain_is_not_proven_is_marked_until_it_is(merchant, shop, anna):
    anna.post(PATH, form_of(shop, sender_address="post@papier.example.org"))
    warning = "Die Domain papier.example.org ist noch nicht freigeschaltet."
    assert warning in anna.get(f"{PATH}?shop={shop.id}").text
    domain = add(merchant.id, "papier.example.org", AT)
    domain.proven_at = AT
    db.session.commit()
    assert warning not in anna.get(f"{PATH}?shop={shop.id}").text


@pytest.mark.feature("S3")
def test_the_preview_follows_what_is_typed_and_keeps_what_cannot_be(shop, anna):
    anna.post(PATH, form_of(shop, primary="#7a2e2e", picture=file(png())))
    page = anna.get(f"{PATH}/preview?shop={shop.id}&header_background=%23123456&primary=oops")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "sandbox" in page.headers["Content-Security-Policy"]
    assert "background:#123456" in page.text and "#7a2e2e" in page.text
    assert "data:image/png;base64,iVBOR" in page.text
    assert "@media not all" in page.text and "prefers-color-scheme" not in page.text
    dark = anna.get(f"{PATH}/preview?shop={shop.id}&scheme=dark&remove_picture=yes").text
    assert "@media all" in dark and "/bilder/" not in dark and "Papier &amp; Feder" in dark
    french = anna.post(f"{PATH}/preview", form_of(shop, language="fr")).text
    assert 'lang="fr"' in french


LEGAL = (
    "Papier & Feder GmbH · Sitz Beispielstadt\r\n\r\n  Amtsgericht Beispielstadt, HRB 12345 \r\n"
)
LEGAL_LINES = ["Papier & Feder GmbH · Sitz Beispielstadt", "Amtsgericht Beispielstadt, HRB 12345"]


@pytest.mark.feature("S2")
def test_every_mail_to_customers_has_the_legal_particulars_in_its_foot(merchant, shop, anna):
    assert anna.post(PATH, form_of(shop, legal_line=LEGAL)).status_code == 303
    assert identity_of(stored(shop)).legal_line.splitlines() == LEGAL_LINES
    assert escape("\n".join(LEGAL_LINES)) in anna.get(f"{PATH}?shop={shop.id}").text
    order = make_order(shop)
    posting = make_posting(merchant, "19.90", order.number)
    part = [(order.id, posting.amount)]
    service.assign(merchant.id, posting.id, part, actor="anna@example.org", at=AT)
    db.session.commit()
    mails = {mail.kind: preview_mail(mail) for mail in db.session.scalars(select(Mail))}
    assert mails.keys() == {"payment_information", "payment_received"}
    for message in mails.values():
        assert "<br>".join(escape(line) for line in LEGAL_LINES) in message.html
        assert "\n".join(LEGAL_LINES) in message.text
    frame = anna.get(f"/dunning/preview/{make_order(shop).id}/content")
    assert escape(LEGAL_LINES[1]) in frame.text


@pytest.mark.feature("S2", "S9")
@pytest.mark.parametrize(
    "kind", [name for name, kind in KINDS.items() if kind.reader == "customer"]
)
def test_the_preview_of_every_kind_shows_the_particulars_and_no_notice_has_them(shop, anna, kind):
    anna.post(PATH, form_of(shop, legal_line=LEGAL))
    content = "/settings/mail-kinds/content"
    preview = f"{content}?kind={kind}&edition=de"
    assert "HRB 12345" in anna.get(f"{preview}&shop={shop.id}").text
    assert "HRB 12345" not in anna.get(preview).text
    assert "HRB 12345" not in anna.get(f"{content}?kind=order_paid&shop={shop.id}").text


def test_the_particulars_are_shown_while_they_are_typed_and_are_no_markup(shop, anna):
    anna.post(PATH, form_of(shop, legal_line=LEGAL))
    assert "HRB 12345" in anna.get(f"{PATH}/preview?shop={shop.id}").text
    typed = form_of(shop, legal_line="<b>Neu</b>\r\n{{ iban }}\u202e")
    shown = anna.post(f"{PATH}/preview", typed).text
    assert "&lt;b&gt;Neu&lt;/b&gt;<br>{{ iban }}" in shown and "HRB 12345" not in shown
    assert "HRB 12345" not in anna.post(f"{PATH}/preview", form_of(shop, legal_line="")).text
    too_long = anna.post(PATH, form_of(shop, legal_line="A" * 1001))
    assert too_long.status_code == 422 and "Höchstens 1.000 Zeichen" in too_long.text
    assert "A" * 1001 in too_long.text
    assert identity_of(stored(shop)).legal_line.splitlines() == LEGAL_LINES
    assert anna.post(PATH, form_of(shop, legal_line="A" * 1000)).status_code == 303


def test_a_picture_goes_and_the_mails_that_were_sent_still_show_it(shop, anna, client):
    anna.post(PATH, form_of(shop, picture=file(png())))
    address = theme_of(stored(shop).look).header_image
    path = re.sub(r"^https?://[^/]+", "", address)
    assert f'src="{path}"' in anna.get(f"{PATH}?shop={shop.id}").text
    anna.post(PATH, form_of(shop))
    assert theme_of(stored(shop).look).header_image == address
    anna.post(PATH, form_of(shop, remove_picture="yes"))
    assert stored(shop).look == {}
    assert client.get(path).status_code == 200


def test_the_log_says_who_changed_what(shop, anna):
    anna.post(PATH, form_of(shop, sender_name="Papier und Feder", primary="#7a2e2e"))
    names = set(db.session.scalars(select(SettingChange.name)))
    assert names == {"shop.sender_name", "shop.look_primary"}
    said = " ".join(re.sub(r"<[^>]+>", "", anna.get("/settings/changes").text).split())
    assert "Absendername (Papier &amp; Feder): – → Papier und Feder" in said
    assert "E-Mails: Hauptfarbe (Papier &amp; Feder): #1d5b79 → #7a2e2e" in said
    anna.post(PATH, form_of(shop, sender_name="Papier und Feder", primary="#7a2e2e"))
    assert len(list(db.session.scalars(select(SettingChange)))) == 2
    legal = {"legal_line": "Sitz Beispielstadt"}
    anna.post(PATH, form_of(shop, sender_name="Papier und Feder", primary="#7a2e2e", **legal))
    said = re.sub(r"<[^>]+>", "", anna.get("/settings/changes").text)
    assert "Pflichtangaben (Papier &amp; Feder): – → Sitz Beispielstadt" in " ".join(said.split())


def test_members_look_and_administrators_change(shop, anna):
    db.session.query(User).one().is_administrator = False
    db.session.commit()
    page = anna.get(f"{PATH}?shop={shop.id}").text
    assert "nur Administratoren" in page and "Speichern</button>" not in page
    answer = anna.post(PATH, form_of(shop, sender_name="Neu"))
    assert answer.status_code == 403 and "Das dürfen nur Administratoren ändern" in answer.text
    assert stored(shop).sender_name == ""


def test_another_merchants_shop_is_not_there(anna):
    others = make_shop(make_merchant("Bobs Laden"), "Bobs Shop")
    assert anna.get(f"{PATH}?shop={others.id}").status_code == 404
    assert anna.get(f"{PATH}/preview?shop={others.id}").status_code == 404
    assert anna.post(PATH, form_of(others, sender_name="Anna")).status_code == 404
    assert stored(others).sender_name == ""
    page = anna.get(PATH)
    assert page.status_code == 200 and "Legen Sie zuerst einen an" in page.text
    assert anna.post(PATH, {"sender_name": "Anna"}).status_code == 404


@pytest.mark.feature("K12")
@pytest.mark.parametrize("path", [PATH, "/settings/assignment", "/settings/prepayment"])
def test_nothing_of_a_deregistered_shop_can_be_changed(anna, merchant, shop, path):
    over = make_shop(merchant, "Alter Laden", status="deregistered")
    for answer in (anna.get(f"{path}?shop={over.id}"), anna.post(path, {"shop": over.id})):
        assert (answer.status_code, answer.location) == (303, f"/shops/{over.id}")
    assert "Alter Laden" not in anna.get(path).text
    assert anna.get(f"{path}?shop={shop.id}").status_code == 200


def test_a_stored_look_that_is_none_keeps_no_mail_back(shop):
    shop.look = {"primary": "javascript:alert(1)", "nonsense": 1, "legal_line": ["x"]}
    db.session.commit()
    assert identity_of(shop).theme == theme_of({})
    assert make_order(shop).payment_status == "unpaid"
    assert db.session.scalars(select(Mail)).one().theme["primary"] == "#1d5b79"
