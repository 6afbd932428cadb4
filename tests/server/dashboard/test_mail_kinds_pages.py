"""Every kind of mail as the merchant sees it: preview, own words, versions, test mails."""

from __future__ import annotations

import re
from html import unescape

import pytest
from sqlalchemy import select

from server.config import installed
from server.dashboard import mail_kinds
from server.dashboard.mail_preview import PREVIEWED
from server.db import db, now
from server.mail import texts
from server.mail.delivery import composed, preview_mail
from server.mail.kinds import KINDS
from server.mail.languages import EDITIONS
from server.mail.models import Mail, MailText
from server.mail.own_words import MAX_BLOCK_LENGTH
from server.merchants.models import User
from server.merchants.service import change_setting
from server.orders.brakes import hold_back
from tests.factories import AT, make_merchant, make_shop
from tests.server.dashboard.visitor import member

LIST = "/settings/mail-kinds"
ONE = f"{LIST}/words"
FRAME = f"{LIST}/content"
KIND = {"kind": "payment_information", "edition": "de"}


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, "Papier & Feder")


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def said(answer) -> str:
    plain = re.sub(r"<(style|title)\b.*?</\1>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return " ".join(unescape(plain).split())


def blocks(page: str) -> dict[str, str]:
    found = re.findall(r'<textarea[^>]* name="block:(\w+)"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    return {name: unescape(text) for name, text in found}


def words_in_force(merchant, shop_id=None, edition="de") -> dict[str, str] | None:
    row = texts.in_force(merchant.id, shop_id, "payment_information", edition)
    return row.words if row else None


@pytest.mark.feature("S1", "K36", "K39")
def test_the_list_says_of_every_kind_whether_it_goes_out_and_in_whose_words(merchant, shop, anna):
    change_setting(merchant.id, "mail_overpaid", "off", actor="anna", at=AT)
    texts.save(merchant.id, None, "reminder", "fr", {"title": "Un rappel"}, actor="anna", at=AT)
    db.session.commit()
    page = anna.get(LIST).text
    lines = dict(re.findall(r'<tr><th scope="row">([^<]+)</th>(.*?)</tr>', page, re.DOTALL))
    assert len(lines) == len(PREVIEWED)
    assert "aus" in lines["Zu viel gezahlt"] and "#set-mail_overpaid" in lines["Zu viel gezahlt"]
    assert ">an<" in lines["Zahlungsinformation"] and "von Kontor" in lines["Zahlungsinformation"]
    assert "eigene" in lines["Zahlungserinnerung"] and "Französisch" in lines["Zahlungserinnerung"]
    assert "Bestellung 10482 ist bezahlt" in lines["Bestellung bezahlt"]
    assert "von Kontor" in anna.get(f"{LIST}?shop={shop.id}").text


@pytest.mark.feature("K39", "K20")
def test_every_kind_can_be_seen_in_every_language(merchant, shop, anna):
    for kind in PREVIEWED:
        page = anna.get(f"{ONE}?kind={kind}&shop={shop.id}")
        assert page.status_code == 200, kind
        editions = re.findall(r'<option value="([\w-]+)"', page.text.split('id="edition"')[1])
        to_customer = KINDS[kind].reader == "customer"
        assert editions[:9] == list(EDITIONS) if to_customer else editions == ["de", "en"], kind
        assert bool(blocks(page.text)) is to_customer
    for edition in EDITIONS:
        frame = anna.get(f"{FRAME}?kind=reminder&edition={edition}&shop={shop.id}")
        assert frame.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "Papier & Feder" in said(frame) and "1" in said(frame), edition
    assert "CHF 1’284.60" in said(anna.get(f"{FRAME}?kind=reminder&edition=de-CH"))
    assert "Annas Antiquariat" in said(anna.get(f"{FRAME}?kind=nonsense&edition=xx"))


@pytest.mark.feature("K39")
def test_light_and_dark_are_shown_whatever_the_browser_likes(anna):
    light, dark = (anna.get(f"{FRAME}?scheme={one}").text for one in ("light", "dark"))
    assert "@media not all" in light and 'content="light"' in light
    assert "@media all" in dark and 'content="dark"' in dark
    phone = anna.get(f"{ONE}?view=phone&scheme=dark").text
    assert 'class="mail-frame as-phone"' in phone and "scheme=dark" in phone


@pytest.mark.feature("K39", "S37")
def test_other_turns_of_a_mail_are_shown_and_keep_kontors_sentence(merchant, anna):
    anna.post(ONE, KIND | {"block:title": "Immer dasselbe"})
    assert "Immer dasselbe" in said(anna.get(FRAME))
    changed = said(anna.get(f"{FRAME}?case=amount_changed"))
    assert "neuen Betrag" in changed and "Immer dasselbe" not in changed
    page = anna.get(f"{ONE}?case=amount_changed").text
    assert 'value="amount_changed" selected' in page and "case=amount_changed" in page
    assert 'name="case" value="amount_changed"' in page
    assert "selected" not in anna.get(f"{ONE}?case=is_last").text.split('id="case"')[1][:300]


@pytest.mark.feature("K39", "K36")
def test_own_words_are_tried_kept_shown_and_taken_back(merchant, shop, anna):
    typed = blocks(anna.get(ONE).text)
    assert "{order_number}" in typed["subject"]
    typed |= {"title": "So zahlen Sie {amount_due}", "intro": "Hallo **Buchfreund**!\r\n\r\nDanke."}
    form = KIND | {f"block:{name}": text for name, text in typed.items()}
    tried = anna.post(FRAME, form)
    assert "So zahlen Sie 1.284,60 €" in said(tried) and "<strong>Buchfreund</strong>" in tried.text
    assert words_in_force(merchant) is None
    answer = anna.post(ONE, form)
    page = anna.get(answer.location).text
    assert "Ab jetzt gelten Ihre Worte." in page and "2 eigene Texte" in page
    assert words_in_force(merchant) == {
        "title": "So zahlen Sie {amount_due}",
        "intro": "Hallo **Buchfreund**!\n\nDanke.",
    }
    assert "So zahlen Sie" in said(anna.get(FRAME))
    assert "So zahlen Sie" in said(anna.get(f"{FRAME}?shop={shop.id}"))
    assert "Das gilt schon" in anna.get(anna.post(ONE, form).location).text
    reset = anna.post(f"{LIST}/reset", KIND)
    assert "Zurückgesetzt." in anna.get(reset.location).text
    assert words_in_force(merchant) is None


@pytest.mark.feature("S43", "K39")
def test_a_shop_has_words_of_its_own(merchant, shop, anna):
    anna.post(ONE, KIND | {"block:title": "Für alle"})
    page = anna.get(f"{ONE}?kind=payment_information&edition=de&shop={shop.id}").text
    assert blocks(page)["title"] == "Für alle" and "von „Alle Shops“" in page
    anna.post(ONE, KIND | {"block:title": "Nur hier", "shop": str(shop.id)})
    assert words_in_force(merchant, shop.id) == {"title": "Nur hier"}
    assert words_in_force(merchant) == {"title": "Für alle"}
    assert "Nur hier" in said(anna.get(f"{FRAME}?shop={shop.id}"))


@pytest.mark.parametrize(
    ("block", "typed", "words"),
    [
        ("title", "Hallo {passwort}", "{passwort} ist kein Platzhalter dieser E-Mail."),
        ("intro", "{{#iban}}x{{/iban}}", "Geschweifte Klammern stehen nur um Platzhalter"),
        ("title", "zwei\nZeilen", "Dieser Text passt nur in eine Zeile."),
        ("intro", "x" * 4001, "Höchstens 4000 Zeichen."),
        ("intro", "\n\n".join(["x"] * 51), "Höchstens 50 Absätze."),
        ("intro", "[hier](javascript:alert(1))", "Ein Link sieht so aus"),
        (
            "intro",
            f"[hier](https://example.org/{'x' * 900})",
            "Ein Link hat höchstens 800 Zeichen.",
        ),
    ],
)
def test_what_makes_no_mail_is_said_at_its_block_with_all_that_was_typed(
    merchant, anna, block, typed, words
):
    form = KIND | {"block:closing": "Ihre Anna", f"block:{block}": typed}
    answer = anna.post(ONE, form)
    assert answer.status_code == 422
    field = answer.text.split(f'id="block-{block}-error"')[1][:400]
    assert words in unescape(field)
    kept = blocks(answer.text)
    assert kept["closing"] == "Ihre Anna" and kept[block] == typed
    assert words_in_force(merchant) is None
    assert anna.post(FRAME, form).status_code == 200


def test_too_much_of_everything_is_said_above_the_form(merchant, anna):
    form = {f"block:{name}": "€" * 4000 for name in blocks(anna.get(ONE).text)}
    answer = anna.post(ONE, KIND | form)
    assert answer.status_code == 422 and "Zusammen höchstens 64000 Bytes." in answer.text
    assert words_in_force(merchant) is None


def test_what_a_merchant_writes_is_text_and_never_code(merchant, anna):
    nasty = '<script>alert(1)</script> "><img src=x onerror=alert(1)> [[ 7*7 ]] [% x %]'
    anna.post(ONE, KIND | {"block:title": nasty, "block:intro": nasty})
    frame = anna.get(FRAME)
    assert "<script>" not in frame.text and "<img src=x" not in frame.text
    assert "[[ 7*7 ]]" in said(frame)
    page = anna.get(ONE)
    assert "<script>alert" not in page.text and blocks(page.text)["title"] == nasty


@pytest.mark.feature("K39")
def test_an_old_version_is_looked_at_and_brought_back(merchant, anna):
    for title in ("Erster", "Zweiter"):
        anna.post(ONE, KIND | {"block:title": title})
    first = db.session.scalars(select(MailText).order_by(MailText.id)).first()
    old = f"{ONE}?kind=payment_information&edition=de&version={first.id}"
    page = anna.get(old).text
    assert "geschrieben von anna@example.org" in page and blocks(page)["title"] == "Erster"
    assert "Erster" in said(anna.get(f"{FRAME}?{old.partition('?')[2]}"))
    assert words_in_force(merchant) == {"title": "Zweiter"}
    anna.post(f"{LIST}/bring-back", KIND | {"version": str(first.id)})
    assert words_in_force(merchant) == {"title": "Erster"}
    assert [row.words["title"] for row in texts.versions(merchant.id, None, *KIND.values())] == [
        "Erster", "Zweiter", "Erster",
    ]  # fmt: skip
    for wrong in ("0", "x", "9" * 30):
        assert anna.get(f"{ONE}?version={wrong}").status_code == 404


# --- test mails ---------------------------------------------------------------------------------


def last_mail() -> Mail:
    return db.session.scalars(select(Mail).order_by(Mail.id.desc())).first()


@pytest.mark.feature("S9", "K39")
def test_a_test_mail_is_the_real_mail_to_any_address(merchant, shop, anna):
    shop.sender_name, shop.sender_address = "Papier", "post@papier.example.org"
    shop.look = {"primary": "#7a2e2e"}
    texts.save(merchant.id, None, "reminder", "en", {"title": "Own title"}, actor="anna", at=AT)
    db.session.commit()
    form = {"kind": "reminder", "edition": "en", "shop": str(shop.id)}
    answer = anna.post(f"{LIST}/test", form | {"address": "test-abc@mail-tester.example.com"})
    page = anna.get(answer.location)
    assert "Die Testmail ist unterwegs." in page.text
    mail = last_mail()
    assert (mail.kind, mail.language, mail.recipient, mail.order_id) == (
        "reminder", "en", "test-abc@mail-tester.example.com", None,
    )  # fmt: skip
    assert (mail.status, mail.shop_id, mail.sender_address) == (
        "queued", shop.id, "post@papier.example.org",
    )  # fmt: skip
    message = composed(mail, texts.own_templates([mail])[mail.id])
    assert message.subject.startswith("[Test] ") and "10482" in message.subject
    assert "Own title" in message.html and "#7a2e2e" in message.html
    assert preview_mail(mail).subject == message.subject
    mail.give_up("no such mailbox", now())
    db.session.commit()
    assert "no such mailbox" in anna.get(answer.location).text


@pytest.mark.feature("S9", "K66")
def test_brakes_and_test_mode_do_not_hold_a_test_mail(merchant, shop, anna):
    for name, value in (("stop_mails", "on"), ("mode", "test")):
        change_setting(merchant.id, name, value, actor="anna", at=AT)
    db.session.commit()
    anna.post(f"{LIST}/test", KIND | {"shop": str(shop.id), "address": "pruefer@example.com"})
    mail = last_mail()
    assert hold_back([mail]) == [] and mail.redirected_to is None


@pytest.mark.feature("S9")
def test_without_a_shop_and_for_notices_there_are_test_mails_too(merchant, anna):
    anna.post(f"{LIST}/test", KIND | {"address": "anna@example.org"})
    mail = last_mail()
    assert (mail.shop_id, mail.sender_name) == (None, merchant.name)
    anna.post(f"{LIST}/test", {"kind": "order_paid", "edition": "en", "address": "x@example.org"})
    mail = last_mail()
    assert (mail.sender_name, mail.sender_address) == ("Kontor", "system@kontor.example.org")
    assert installed().mail_from.endswith("<system@kontor.example.org>")


@pytest.mark.feature("K39")
def test_a_field_says_what_it_holds_and_too_much_is_kept_for_its_writer(merchant, anna):
    page = anna.get(ONE).text
    assert page.count(f'maxlength="{MAX_BLOCK_LENGTH}"') == page.count("<textarea")
    assert "Ein Feld fasst 4.000 Zeichen." in page
    long = "x" * 30_000
    answer = anna.post(ONE, KIND | {"block:intro": long})
    assert answer.status_code == 422 and long in answer.text
    assert words_in_force(merchant) is None


@pytest.mark.feature("K39")
def test_offered_is_what_the_foot_does_not_say_already(anna):
    page = anna.get(ONE).text
    assert 'data-insert="{order_number}"' in page
    for name in ("help_url", "unsubscribe_url", "legal_line"):
        assert f"{{{name}}}" not in page


def test_a_test_mail_needs_an_address_and_there_are_twenty_an_hour(anna, monkeypatch):
    answer = anna.post(f"{LIST}/test", KIND | {"address": "erika"})
    assert answer.status_code == 422 and "keine E-Mail-Adresse" in answer.text
    limit = mail_kinds.TESTS_PER_USER
    assert (limit.amount, limit.get_expiry()) == (20, 3600)
    monkeypatch.setattr(mail_kinds, "TESTS_PER_USER", type(limit)(2, 60, namespace="few"))
    codes = [
        anna.post(f"{LIST}/test", KIND | {"address": "erika@example.org"}).status_code
        for _ in range(3)
    ]
    assert codes == [303, 303, 422]
    assert len(list(db.session.scalars(select(Mail)))) == 2


# --- who may ------------------------------------------------------------------------------------


def test_members_look_and_administrators_write(merchant, anna):
    db.session.query(User).one().is_administrator = False
    db.session.commit()
    page = anna.get(ONE).text
    assert "nur Administratoren" in page and "readonly" in page and "Testmail" in page
    for path, form in (
        (ONE, {"block:title": "Neu"}),
        (f"{LIST}/reset", {}),
        (f"{LIST}/bring-back", {"version": "1"}),
        (f"{LIST}/test", {"address": "anna@example.org"}),
    ):
        assert anna.post(path, KIND | form).status_code == 403, path
    assert words_in_force(merchant) is None and last_mail() is None


def test_another_merchants_words_and_shops_are_not_there(app, merchant, shop, anna):
    anna.post(ONE, KIND | {"block:title": "Geheim"})
    version = db.session.scalars(select(MailText)).one()
    bob = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    assert "Geheim" not in bob.get(FRAME).text and "Geheim" not in bob.get(ONE).text
    for path in (LIST, ONE, FRAME):
        assert bob.get(f"{path}?shop={shop.id}").status_code == 404
    assert bob.get(f"{ONE}?version={version.id}").status_code == 404
    assert bob.get(f"{FRAME}?version={version.id}").status_code == 404
    wrong = KIND | {"version": str(version.id)}
    assert bob.post(f"{LIST}/bring-back", wrong).status_code == 404
    for path in (ONE, f"{LIST}/reset", f"{LIST}/test"):
        assert bob.post(path, KIND | {"shop": str(shop.id)}).status_code == 404
    notice = {"kind": "order_paid", "edition": "de", "block:title": "Neu"}
    assert anna.post(ONE, notice).status_code == 404
    assert anna.post(ONE, {"kind": "nonsense", "block:title": "Neu"}).status_code == 404
