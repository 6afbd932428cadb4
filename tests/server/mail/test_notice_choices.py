"""Who of a merchant's people hears of what, and what they hear of single orders."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select

from plugin_sdk.types import PaymentCode
from server.banking.models import Posting
from server.db import db
from server.mail.kinds import KINDS
from server.mail.models import Mail, MailReport
from server.mail.service import preview_mail
from server.matching.service import tell_of_the_day
from server.merchants.models import Merchant, User
from server.merchants.notices import choose, recipients
from server.orders.failed_mails import KIND_WORDS, WHY_WORDS, tell_of_failed_mails
from server.orders.ledger import PAYMENT_NOTICES
from server.orders.lifecycle import admit_monitored
from server.orders.links import read_stop
from server.orders.manual import ManualOrder, create_manual_order
from server.orders.merchant_notices import tell_of_removals
from server.orders.models import Order
from server.orders.service import assign, undo
from server.shops.models import Shop
from tests.factories import AT, make_merchant, make_order, make_posting, make_shop, make_user

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ANNA = "anna@example.org"


@pytest.fixture
def merchant(app: Flask) -> Merchant:
    return make_merchant()


@pytest.fixture
def anna(merchant: Merchant) -> User:
    return make_user(merchant)


@pytest.fixture
def shop(merchant: Merchant, anna: User) -> Shop:
    return make_shop(merchant)


def colleague(merchant: Merchant, name: str, **over: Any) -> User:
    row = make_user(merchant, f"{name}@example.org")
    for field, value in over.items():
        setattr(row, field, value)
    db.session.commit()
    return row


def wants(user: User, kind: str, is_wanted: bool | None = True) -> None:
    choose(user.id, kind, is_wanted=is_wanted, at=AT)
    db.session.commit()


def told(kind: str) -> list[Mail]:
    return list(db.session.scalars(select(Mail).where(Mail.kind == kind).order_by(Mail.id)))


def text_of(mail: Mail) -> str:
    message = preview_mail(mail)
    return " ".join(f"{message.subject} {message.text}".split())


def pay(order: Order, amount: str, text: str = "") -> Posting:
    posting = make_posting(db.session.get_one(Merchant, order.merchant_id), amount, text)
    assign(order.merchant_id, posting.id, [(order.id, Decimal(amount))], actor=ANNA, at=AT)
    db.session.commit()
    return posting


# --- who ---------------------------------------------------------------------------------------


@pytest.mark.feature("K42")
def test_a_notice_goes_to_who_chose_it_else_to_the_administrators(
    merchant: Merchant, shop: Shop, anna: User
) -> None:
    bert = colleague(merchant, "bert", is_administrator=False)
    gone = colleague(merchant, "gone", is_administrator=False)
    stranger = make_user(make_merchant("Bobs Laden"), "bob@example.com")
    for user in (gone, stranger):
        wants(user, "removals_wait")
    gone.deactivated_at = AT
    db.session.commit()

    assert recipients(merchant.id, "removals_wait", is_essential=True) == [anna]
    wants(bert, "removals_wait")
    assert tell_of_removals(shop, 30, 40, AT)
    assert [mail.recipient for mail in told("removals_wait")] == [bert.email]
    wants(bert, "removals_wait", None)
    assert recipients(merchant.id, "removals_wait", is_essential=True) == [anna]
    assert recipients(merchant.id, "removals_wait", is_essential=False) == []


@pytest.mark.feature("K38", "K42")
def test_who_said_no_hears_no_more_of_it_and_each_mail_has_the_link(
    merchant: Merchant, shop: Shop, anna: User
) -> None:
    bert = colleague(merchant, "bert")
    assert tell_of_removals(shop, 30, 40, AT)
    links = {mail.recipient: mail.facts["stop_url"] for mail in told("removals_wait")}
    assert links.keys() == {anna.email, bert.email}
    token = links[bert.email].rpartition("/")[2]
    assert read_stop(token) == (bert.id, "removals_wait")
    assert links[bert.email] in preview_mail(told("removals_wait")[1]).text

    wants(bert, "removals_wait", False)
    assert tell_of_removals(shop, 30, 40, AT + DAY)
    assert [mail.recipient for mail in told("removals_wait")][2:] == [anna.email]
    wants(anna, "removals_wait", False)
    assert not tell_of_removals(shop, 30, 40, AT + 2 * DAY)


# --- single orders ------------------------------------------------------------------------------


@pytest.mark.feature("K40", "K42")
def test_a_new_order_is_told_once_to_who_chose_it(
    merchant: Merchant, shop: Shop, anna: User
) -> None:
    make_order(shop)
    assert told("order_received") == []
    wants(anna, "order_received")
    order = make_order(shop, total="1284.60")
    make_order(shop, external_id=order.external_id, number=order.number, total="1284.61")
    old = make_order(shop, ordered_at="2025-03-01T10:00:00+00:00")
    assert not old.is_managed
    (mail,) = told("order_received")
    assert mail.order_id == order.id
    assert order.number in text_of(mail)
    assert "1.284,60 €" in text_of(mail)
    assert f"/orders/{order.id}" in text_of(mail)


@pytest.mark.feature("K40")
def test_a_watched_order_is_told_when_it_comes_in(
    merchant: Merchant, shop: Shop, anna: User
) -> None:
    wants(anna, "order_received")
    shop.mapping = {"watched_methods": ["paypal"]}
    shop.default_mapping = shop.default_mapping | {"other": {"methods": ["paypal"]}}
    order = make_order(shop)
    order.monitor_at, order.is_managed = AT + HOUR, False
    db.session.execute(Mail.__table__.delete())
    db.session.commit()
    admit_monitored(AT)
    assert told("order_received") == []
    admit_monitored(AT + HOUR)
    assert [mail.order_id for mail in told("order_received")] == [order.id]


@pytest.mark.feature("K40", "K42")
@pytest.mark.parametrize(
    ("amount", "kind", "says"),
    [
        ("100.00", "order_paid", "100,00 €"),
        ("40.00", "order_partially_paid", "60,00 €"),
        ("130.00", "order_overpaid", "30,00 €"),
    ],
)
def test_money_is_told_to_who_chose_it(
    merchant: Merchant, shop: Shop, anna: User, amount: str, kind: str, says: str
) -> None:
    pay(make_order(shop, total="100.00"), amount)
    for one in PAYMENT_NOTICES:
        assert told(one) == []
        wants(anna, one)
    order = make_order(shop, total="100.00")
    pay(order, amount)
    found = [mail for one in PAYMENT_NOTICES for mail in told(one)]
    assert [(mail.kind, mail.order_id) for mail in found] == [(kind, order.id)]
    assert says in text_of(found[0])


@pytest.mark.feature("K40")
def test_what_was_undone_before_it_was_sent_is_told_again_when_it_is_so_again(
    merchant: Merchant, shop: Shop, anna: User
) -> None:
    wants(anna, "order_paid")
    order = make_order(shop, total="100.00")
    posting = make_posting(merchant, "100.00")
    (row,) = assign(merchant.id, posting.id, [(order.id, Decimal(100))], actor=ANNA, at=AT)
    undo(merchant.id, row.id, actor=ANNA, at=AT)
    db.session.commit()
    assert [mail.status for mail in told("order_paid")] == ["withheld"]
    assign(merchant.id, posting.id, [(order.id, Decimal(100))], actor=ANNA, at=AT)
    db.session.commit()
    assert [mail.status for mail in told("order_paid")] == ["withheld", "queued"]


@pytest.mark.feature("K42")
def test_where_nobody_chose_it_a_push_costs_one_query(
    merchant: Merchant, shop: Shop, anna: User
) -> None:
    asked: list[str] = []

    def note(connection, cursor, statement, *more) -> None:
        if "notice_choice" in statement:
            asked.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        make_order(shop)
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    assert len(asked) == 1


@pytest.mark.feature("K41", "K64")
def test_a_payment_for_a_manual_order_is_told_because_no_shop_acts_on_it(
    merchant: Merchant, shop: Shop, anna: User
) -> None:
    typed = ManualOrder(
        "HAND-7", AT.date(), PaymentCode.INVOICE, Decimal(100), "EUR", email="erika@example.org"
    )
    order = create_manual_order(merchant.id, shop.id, typed, actor=ANNA, at=AT)
    db.session.commit()
    posting = pay(order, "40.00")
    (mail,) = told("payment_for_manual_order")
    assert mail.recipient == anna.email
    text = text_of(mail)
    assert "HAND-7" in text
    assert "40,00 €" in text
    assert "60,00 €" in text
    assert f"/postings/{posting.id}" in text


# --- mails that did not arrive ------------------------------------------------------------------


def written(order: Order, kind: str = "payment_information", **over: Any) -> Mail:
    query = select(Mail).where(Mail.order_id == order.id, Mail.kind == kind)
    mail = db.session.scalars(query).one()
    for name, value in over.items():
        setattr(mail, name, value)
    db.session.commit()
    return mail


def bounce(mail: Mail, at) -> None:
    mail.succeed(AT)
    mail.delivery, mail.delivery_words = "bounced", "550 5.2.2 mailbox full"
    db.session.add(
        MailReport(
            merchant_id=mail.merchant_id,
            mail_id=mail.id,
            kind="bounced",
            raw=b"",
            digest=str(mail.id).encode(),
            received_at=at,
        )
    )
    db.session.commit()


@pytest.mark.feature("K41", "S5", "S7")
def test_a_digest_once_a_day_of_what_did_not_arrive(
    merchant: Merchant, shop: Shop, anna: User
) -> None:
    assert not tell_of_failed_mails(merchant.id, AT)
    failed, bounced, fine = (make_order(shop) for _ in range(3))
    written(failed, status="failed", finished_at=AT, failure="no_such_domain")
    bounce(written(bounced), AT + HOUR)
    written(fine).succeed(AT)
    make_order(make_shop(make_merchant("Bobs Laden"), "Bob"))
    tell_of_the_day(merchant.id, AT + 2 * HOUR)
    db.session.commit()
    (mail,) = told("mails_failed")
    text = text_of(mail)
    assert mail.facts["count"] == "2"
    assert "Die Domain der Adresse gibt es nicht." in text
    assert "Sie kam zurück. 550 5.2.2 mailbox full" in text
    assert "/mails?state=wrong" in text

    later = make_order(shop)
    written(later, status="unknown", claimed_at=AT + 3 * HOUR)
    assert not tell_of_failed_mails(merchant.id, AT + 4 * HOUR)
    assert tell_of_failed_mails(merchant.id, AT + DAY)
    (line,) = told("mails_failed")[1].facts["mails"]
    assert line["mail_url"].endswith(f"/mails/{written(later).id}")
    assert not tell_of_failed_mails(merchant.id, AT + 2 * DAY)


@pytest.mark.feature("K41")
def test_what_a_later_mail_has_replaced_is_not_told(
    merchant: Merchant, shop: Shop, anna: User
) -> None:
    order = make_order(shop)
    mail = written(order, status="failed", finished_at=AT, failure="no_such_mailbox")
    copied = {
        column.name: getattr(mail, column.name)
        for column in Mail.__table__.columns
        if column.name not in ("id", "once", "status")
    }
    db.session.add(Mail(**copied, once="again", status="done"))
    db.session.commit()
    assert not tell_of_failed_mails(merchant.id, AT + HOUR)


def test_every_customers_kind_and_every_reason_has_its_words() -> None:
    customers = {name for name, kind in KINDS.items() if kind.reader == "customer"}
    for language in ("de", "en"):
        assert KIND_WORDS[language].keys() == customers
        assert WHY_WORDS[language].keys() == WHY_WORDS["de"].keys()
