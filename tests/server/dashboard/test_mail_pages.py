"""The mails of an order, one mail, the log of all, and who gets which notice."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from server.config import installed
from server.dashboard import words
from server.dashboard.attention import LINKS_SHOWN
from server.dashboard.mail_log_queries import MAILS_A_PAGE, STATES
from server.dashboard.notices import GROUPS
from server.db import db, now
from server.mail.delivery import Desk, note_success, write_letter
from server.mail.kinds import KINDS
from server.mail.models import Mail, MailReport
from server.mail.replies import FAILURES
from server.mail.suppression import suppress
from server.merchants.models import Merchant, NoticeChoice, User
from server.orders.merchant_notices import tell_of_removals
from server.orders.models import Order
from server.shops.models import Shop
from tests.factories import make_merchant, make_order, make_shop, make_user
from tests.server.dashboard.visitor import Visitor, member


@pytest.fixture
def merchant(app: Flask) -> Merchant:
    return make_merchant()


@pytest.fixture
def shop(merchant: Merchant) -> Shop:
    return make_shop(merchant)


@pytest.fixture
def anna(app: Flask, merchant: Merchant) -> Visitor:
    return member(app, merchant)


def new_order(shop: Shop, email: str = "erika@example.org", **over: Any) -> Order:
    at = now() - timedelta(hours=3)
    customer = {"email": email, "language": "de"}
    return make_order(shop, at=at, ordered_at=at.isoformat(), customer=customer, **over)


def mail_of(order: Order, **over: Any) -> Mail:
    mail = db.session.scalars(select(Mail).where(Mail.order_id == order.id)).one()
    for name, value in over.items():
        setattr(mail, name, value)
    db.session.commit()
    return mail


def sent(order: Order, **over: Any) -> Mail:
    values = {
        "status": "done",
        "finished_at": now(),
        "delivery": "accepted",
        "subject": "Ihre Bestellung",
        "smtp_response": "250 2.0.0 queued as 4ZkX",
    }
    return mail_of(order, **(values | over))


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


# --- how a mail fared ----------------------------------------------------------------------------


@pytest.mark.feature("S4", "S5", "S6", "S7", "S8", "S69")
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"status": "queued", "finished_at": None, "delivery": None}, "Wartet"),
        ({"status": "queued", "attempts": 2, "delivery": None}, "Neuer Versuch"),
        ({}, "Gesendet"),
        ({"delivery": "delivered"}, "Angekommen"),
        ({"delivery": "delayed", "delivery_words": "452 try later"}, "452 try later"),
        ({"delivery": "bounced", "delivery_words": "552 5.2.2 full"}, "552 5.2.2 full"),
        ({"delivery": "complained"}, "als Spam gemeldet"),
        ({"status": "unknown", "delivery": None}, "Bitte entscheiden Sie"),
        ({"status": "withheld", "failure": "opted_out", "delivery": None}, "abbestellt"),
        *(
            ({"status": "failed", "failure": word, "error": "550 no", "delivery": None}, "550 no")
            for word in FAILURES
        ),
    ],
)
def test_every_state_stands_on_the_order_the_mail_and_in_the_log(
    anna: Visitor, shop: Shop, values: dict[str, Any], says: str
) -> None:
    order = new_order(shop)
    mail = sent(order, **values)
    of_order = anna.get(f"/orders/{order.id}").text
    section = of_order.partition('id="mails"')[2].partition('id="history"')[0]
    assert says in text_of(section)
    assert f'href="/mails/{mail.id}"' in section
    assert says in text_of(anna.get(f"/mails/{mail.id}").text)
    assert "erika@" in text_of(anna.get("/mails").text)


def test_every_failure_and_report_has_its_sentence() -> None:
    known = words.texts("de")
    assert [word for word in FAILURES if f"mail_failure.{word}" not in known] == []
    kinds = ("bounced", "delayed", "delivered", "complaint", "auto_reply", "other")
    assert [kind for kind in kinds if f"mail_report.{kind}" not in known] == []


@pytest.mark.feature("S69")
def test_mails_to_merchant_and_customer_of_36_months(
    anna: Visitor, shop: Shop, merchant: Merchant
) -> None:
    order = new_order(shop)
    mail = sent(order, created_at=now() - timedelta(days=3 * 366 + 1))
    assert 'id="mails"' not in anna.get(f"/orders/{order.id}").text
    assert f"/mails/{mail.id}" not in anna.get("/mails?period=all").text
    mail.created_at = now() - timedelta(days=3 * 365)
    db.session.commit()
    assert f"/mails/{mail.id}" in anna.get(f"/orders/{order.id}").text
    assert f"/mails/{mail.id}" in anna.get("/mails?period=all").text
    assert f"/mails/{mail.id}" not in anna.get("/mails").text


@pytest.mark.feature("S4")
def test_text_headers_and_source_of_a_mail(anna: Visitor, shop: Shop) -> None:
    mail = mail_of(new_order(shop))
    assert anna.get(f"/mails/{mail.id}/source.eml").status_code == 404
    assert "sobald die E-Mail gesendet ist" in anna.get(f"/mails/{mail.id}?view=headers").text
    assert "Wie gesendet" not in anna.get(f"/mails/{mail.id}").text
    letter = write_letter(mail, Desk.of([mail], now()))
    note_success(mail, letter, "250 ok", "mx.example.org")
    mail.succeed(now())
    db.session.commit()
    answer = anna.get(f"/mails/{mail.id}/source.eml")
    assert answer.data == letter.raw
    assert answer.mimetype == "message/rfc822"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert mail.message_id in unescape(anna.get(f"/mails/{mail.id}?view=headers").text)
    assert mail.text is not None
    shown = unescape(anna.get(f"/mails/{mail.id}?view=text").text)
    assert mail.text.splitlines()[0] in shown
    assert "<iframe" not in shown
    assert "mx.example.org" in anna.get(f"/mails/{mail.id}").text
    assert "Wie gesendet" in anna.get(f"/mails/{mail.id}").text


@pytest.mark.feature("S4", "S17")
def test_from_is_the_address_that_the_mail_left_with(anna: Visitor, merchant: Merchant) -> None:
    shop = make_shop(merchant, "Buchladen", sender_address="anna@laden.example")
    mail = mail_of(new_order(shop))
    system = installed().mail_from.partition("<")[2].rstrip(">")
    for _ in range(2):
        page = text_of(anna.get(f"/mails/{mail.id}").text)
        assert f"Buchladen <{system}>" in unescape(page).replace("@ ", "@")
        assert "Antworten gehen an anna@laden.example" in page.replace("@ ", "@")
        letter = write_letter(mail, Desk.of([mail], now()))
        note_success(mail, letter, "250 ok", "mx.example.org")
        mail.succeed(now())
        db.session.commit()
    preview = f"/settings/mail-kinds/words?kind=payment_received&shop={shop.id}"
    assert system in text_of(anna.get(preview).text).replace("@ ", "@")


@pytest.mark.feature("S7", "S10")
def test_what_came_back_stands_on_the_mail_and_is_text(anna: Visitor, shop: Shop) -> None:
    mail = sent(new_order(shop), delivery="bounced")
    report = MailReport(
        merchant_id=mail.merchant_id,
        mail_id=mail.id,
        kind="bounced",
        status_code="5.1.1",
        words="550 <script>alert(1)</script> unknown",
        raw=b"",
        digest=b"x",
    )
    db.session.add(report)
    db.session.commit()
    page = anna.get(f"/mails/{mail.id}").text
    assert "<script>alert" not in page
    assert "5.1.1" in page
    assert "alert(1)" in text_of(page)


# --- what is done -------------------------------------------------------------------------------


@pytest.mark.feature("S70")
def test_resend_leads_to_the_new_mail(anna: Visitor, shop: Shop) -> None:
    order = new_order(shop)
    mail = sent(order)
    answer = anna.post(f"/mails/{mail.id}/resend")
    assert answer.status_code == 303
    assert f"/mails/{mail.id}?" not in answer.location
    assert "Wird noch einmal gesendet" in anna.get(answer.location).text
    page = anna.get(f"/orders/{order.id}").text
    assert "Noch einmal gesendet: Zahlungsinformation" in text_of(page)


@pytest.mark.feature("S70", "S10")
def test_where_the_address_is_blocked_the_page_says_so_instead_of_a_button(
    anna: Visitor, shop: Shop
) -> None:
    mail = sent(new_order(shop), delivery="complained")
    assert "/resend" in anna.get(f"/mails/{mail.id}").text
    suppress(mail.merchant_id, mail.recipient, "complaint", at=now())
    db.session.commit()
    page = anna.get(f"/mails/{mail.id}").text
    assert "/resend" not in page
    assert "/readdress" in page
    assert "weil von ihr eine E-Mail als Spam gemeldet wurde" in page
    answer = anna.post(f"/mails/{mail.id}/readdress", {"email": mail.recipient})
    assert answer.status_code == 409
    assert answer.text.count("weil von ihr eine E-Mail als Spam gemeldet wurde") == 1
    mail.status = "unknown"
    db.session.commit()
    page = anna.get(f"/mails/{mail.id}").text
    assert 'name="again" value="no"' in page
    assert 'name="again" value="yes"' not in page


@pytest.mark.feature("S4")
@pytest.mark.parametrize("headers", ["Subject: x", "From: ", "From: ;\r\nReply-To: ;", ""])
def test_a_head_that_names_no_sender_keeps_the_page_from_nobody(
    anna: Visitor, shop: Shop, headers: str
) -> None:
    mail = sent(new_order(shop), headers=headers)
    system = installed().mail_from.partition("<")[2].rstrip(">")
    page = text_of(anna.get(f"/mails/{mail.id}").text)
    assert f"<{system}>" in unescape(page).replace("@ ", "@")


@pytest.mark.feature("S70")
def test_a_refusal_says_why_and_changes_nothing(anna: Visitor, shop: Shop) -> None:
    mail = sent(new_order(shop))
    anna.post(f"/orders/{mail.order_id}/mark-as-paid")
    answer = anna.post(f"/mails/{mail.id}/resend")
    assert answer.status_code == 409
    assert "Die Bestellung ist nicht mehr offen" in answer.text
    typed = anna.post(f"/mails/{mail.id}/readdress", {"email": "no address"})
    assert typed.status_code == 409
    assert 'value="no address"' in typed.text


@pytest.mark.feature("S70")
def test_an_uncertain_mail_is_decided(anna: Visitor, shop: Shop) -> None:
    mail = sent(new_order(shop), status="unknown", delivery=None)
    assert anna.post(f"/mails/{mail.id}/decide", {"again": "no"}).status_code == 303
    assert mail.status == "withheld"


@pytest.mark.feature("S72")
def test_only_optional_kinds_can_be_unsubscribed(anna: Visitor, shop: Shop) -> None:
    mail = sent(new_order(shop))
    assert "/opt-out" not in anna.get(f"/mails/{mail.id}").text
    mail.kind = "payment_received"
    db.session.commit()
    assert "/opt-out" in anna.get(f"/mails/{mail.id}").text
    assert anna.post(f"/mails/{mail.id}/opt-out").status_code == 303
    assert "/opt-in" in anna.get(f"/mails/{mail.id}").text


@pytest.mark.feature("N13")
def test_a_mistyped_address_shows_what_was_meant(anna: Visitor, shop: Shop) -> None:
    order = new_order(shop, "erika@htmail.com")
    mail = sent(order)
    for path in (f"/orders/{order.id}", f"/mails/{mail.id}"):
        assert 'value="erika@hotmail.com"' in anna.get(path).text
    fine = new_order(shop)
    assert "Gemeint war wohl" not in anna.get(f"/orders/{fine.id}").text
    assert order.customer_email == "erika@htmail.com"
    answer = anna.post(f"/orders/{order.id}/use-address", {"email": "erika@hotmail.com"})
    assert answer.status_code == 303
    assert order.customer_email == "erika@hotmail.com"
    recipients = db.session.scalars(select(Mail.recipient).where(Mail.order_id == order.id))
    assert set(recipients) == {"erika@htmail.com", "erika@hotmail.com"}


# --- the log ------------------------------------------------------------------------------------


@pytest.mark.feature("S4", "S69")
def test_the_log_is_narrowed_by_state_kind_reader_shop_and_text(
    anna: Visitor, merchant: Merchant, shop: Shop
) -> None:
    other = make_shop(merchant, "Wien")
    failed = sent(new_order(shop, "failed@example.org"), status="failed", delivery=None)
    bounced = sent(new_order(other, "bounced@example.org"), delivery="bounced")
    fine = sent(new_order(shop, "fine@example.org"), kind="payment_received")
    tell_of_removals(shop, 30, 40, now())
    db.session.commit()
    notice = db.session.scalars(select(Mail).where(Mail.kind == "removals_wait")).one()
    reset = Mail(
        merchant_id=merchant.id, kind="password_reset", language="de", recipient="anna@example.org",
        once="x", facts={}, message_id="<x@y>",
    )  # fmt: skip
    db.session.add(reset)
    db.session.commit()
    every = {failed, bounced, fine, notice}

    def shown(query: str) -> set[Mail]:
        page = anna.get(f"/mails{query}").text
        assert f"/mails/{reset.id}" not in page
        return {mail for mail in every if f'"/mails/{mail.id}"' in page}

    assert shown("") == every
    assert shown("?state=wrong") == {failed, bounced}
    assert shown("?state=failed") == {failed}
    assert shown("?state=bounced") == {bounced}
    assert shown("?state=sent") == {fine}
    assert shown("?state=waiting") == {notice}
    assert shown("?kind=payment_received") == {fine}
    assert shown("?reader=customer") == {failed, bounced, fine}
    assert shown("?reader=merchant") == {notice}
    assert shown(f"?shop={other.id}") == {bounced}
    assert shown("?q=FINE@") == {fine}
    assert shown("?q=%25") == set()
    number = db.session.get_one(Order, failed.order_id).number
    assert shown(f"?q={number}") == {failed}
    assert shown("?state=nonsense&kind=x&reader=y&shop=z&period=w&before=1-x&after=9") == every


def test_every_state_can_be_asked_for(anna: Visitor, shop: Shop) -> None:
    sent(new_order(shop))
    for state in STATES:
        answer = anna.get(f"/mails?state={state}&period=all")
        assert answer.status_code == 200
        assert f'<option value="{state}" selected>' in answer.text


@pytest.mark.feature("S69")
def test_the_log_is_paged(anna: Visitor, shop: Shop) -> None:
    mail = sent(new_order(shop))
    columns = {
        column.name: getattr(mail, column.name)
        for column in Mail.__table__.columns
        if column.name not in ("id", "once", "created_at")
    }
    for count in range(MAILS_A_PAGE):
        at = mail.created_at - timedelta(minutes=count + 1)
        db.session.add(Mail(**columns, once=f"copy:{count}", created_at=at))
    db.session.commit()
    first = anna.get("/mails").text
    assert "51 E-Mails" in text_of(first)
    older = re.search(r'rel="next" href="([^"]*)"', first)
    assert older
    second = anna.get(older[1].replace("&amp;", "&")).text
    assert len(re.findall(r'class="go" href="/mails/\d+"', second)) == 1
    newer = re.search(r'rel="prev" href="([^"]*)"', second)
    assert newer
    again = anna.get(newer[1].replace("&amp;", "&")).text
    assert re.findall(r'href="/mails/\d+"', again) == re.findall(r'href="/mails/\d+"', first)


@pytest.mark.feature("S69")
def test_the_statistics_count_each_mail_once(anna: Visitor, shop: Shop) -> None:
    for values in (
        {},
        {"delivery": "delivered"},
        {"delivery": "bounced"},
        {"status": "failed", "delivery": None},
        {"status": "unknown", "delivery": "bounced"},
    ):
        sent(new_order(shop), **values)
    page = text_of(anna.get("/mails").text)
    assert "2 gesendet, 3 nicht angekommen" in page


def test_the_export_has_the_filtered_mails_and_no_formulas(anna: Visitor, shop: Shop) -> None:
    mail = sent(new_order(shop), subject="=1+1", status="failed", failure="mailbox_full")
    sent(new_order(shop, "other@example.org"))
    lines = anna.get("/mails/export.csv?state=failed").text.splitlines()
    assert len(lines) == 2
    assert "'=1+1" in lines[1]
    assert mail.recipient in lines[1]
    assert "Das Postfach ist voll." in lines[1]


@pytest.mark.feature("S4", "S6", "S7")
def test_today_tells_what_did_not_arrive_in_seven_days(anna: Visitor, shop: Shop) -> None:
    sent(new_order(shop), status="failed", delivery=None, failure="no_such_domain")
    sent(new_order(shop), status="unknown", delivery=None)
    old = sent(new_order(shop), status="failed", delivery=None)
    old.created_at = old.finished_at = now() - timedelta(days=8)
    db.session.commit()
    page = text_of(anna.get("/").text)
    assert "2 E-Mails kamen nicht an" in page


def test_today_links_the_order_of_the_mail_that_it_names(anna: Visitor, shop: Shop) -> None:
    named = sent(new_order(shop, "max@example.com"), status="failed", failure="no_such_mailbox")
    for _ in range(LINKS_SHOWN):
        sent(new_order(shop), status="failed").created_at -= timedelta(days=1)
    db.session.commit()
    page = anna.get("/").text
    assert "Zuletzt an max@example.com" in unescape(page)
    assert f'href="/orders/{named.order_id}"' in page.partition('id="flow"')[0]


# --- notices ------------------------------------------------------------------------------------


def test_every_notice_is_on_the_page_once() -> None:
    listed = [kind for kinds in GROUPS.values() for kind in kinds]
    assert sorted(listed) == sorted(name for name, kind in KINDS.items() if kind.footer == "notice")
    assert [kind for kind in listed if not words.has_text(f"notice.{kind}")] == []


@pytest.mark.feature("K42", "K38")
def test_each_chooses_for_themselves(anna: Visitor, app: Flask, merchant: Merchant) -> None:
    path = "/account/notices"
    form = {"order_paid": "yes", "shop_error": "no", "mails_failed": ""}
    assert anna.post(path, form, page=path).status_code == 303
    chosen = {(row.kind, row.is_wanted) for row in db.session.scalars(select(NoticeChoice)).all()}
    assert chosen == {("order_paid", True), ("shop_error", False)}
    page = text_of(anna.get(path).text)
    assert "Eine wichtige Meldung bekommt gerade niemand: Shop meldet Fehler" in page
    assert anna.post(path, {"shop_error": ""}, page=path).status_code == 303
    assert "bekommt gerade niemand" not in anna.get(path).text
    assert anna.post(path, {"shop_error": "maybe"}, page=path).status_code == 422


@pytest.mark.feature("K42")
def test_administrators_see_who_gets_what(app: Flask, anna: Visitor, merchant: Merchant) -> None:
    bert = member(app, merchant, "bert@example.org")
    row = db.session.scalars(select(User).where(User.email == "bert@example.org")).one()
    row.name, row.is_administrator = "Bert", False
    make_user(make_merchant("Bobs Laden"), "bob@example.com")
    db.session.commit()
    path = "/account/notices"
    bert.post(path, {"mails_failed": "yes"}, page=path)
    page = anna.get(path).text
    line = text_of(page.partition('for="mails_failed"')[2].partition("</tr>")[0])
    assert line.endswith("Andere haben sie gewählt. Bert")
    assert "bob@example.com" not in page
    assert "Geht jetzt an" not in bert.get(path).text
