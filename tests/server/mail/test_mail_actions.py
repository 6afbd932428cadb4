"""What a person does with a mail that is there (S70, S72, N13)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from server.db import db
from server.mail import suppression
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.merchants.service import change_setting
from server.orders.ledger import NotPossible
from server.orders.links import read_unsubscribe
from server.orders.mail_actions import (
    actions_of_mail,
    decide_mail,
    hindrance_of,
    opt_in_to,
    opt_out_of,
    readdress_mail,
    resend_mail,
    use_address,
)
from server.orders.models import Order, OrderEvent
from server.orders.service import assign, mark_as_paid
from server.shops.models import Shop
from tests.factories import AT, make_merchant, make_order, make_posting, make_shop, make_user

ANNA = "anna@example.org"
LATER = AT + timedelta(hours=2)
NEW = "erika@hotmail.com"


@pytest.fixture
def merchant(app: Flask) -> Merchant:
    found = make_merchant()
    make_user(found)
    return found


@pytest.fixture
def shop(merchant: Merchant) -> Shop:
    return make_shop(merchant)


@pytest.fixture
def order(shop: Shop) -> Order:
    return make_order(shop, total="50.00", customer={"email": "erika@htmail.com"})


def mails_of(order: Order, kind: str = "payment_information") -> list[Mail]:
    query = select(Mail).where(Mail.order_id == order.id, Mail.kind == kind).order_by(Mail.id)
    return list(db.session.scalars(query))


def sent(order: Order, kind: str = "payment_information", **over: Any) -> Mail:
    """The order's mail of that kind, gone."""
    (mail,) = mails_of(order, kind)
    mail.succeed(AT)
    for name, value in over.items():
        setattr(mail, name, value)
    db.session.commit()
    return mail


def pay(order: Order, amount: str) -> None:
    posting = make_posting(db.session.get_one(Merchant, order.merchant_id), amount)
    parts = [(order.id, Decimal(amount))]
    assign(order.merchant_id, posting.id, parts, actor=ANNA, at=AT)
    db.session.commit()


def refusal(act: Any, mail: Mail, *more: Any) -> str:
    with pytest.raises(NotPossible) as caught:
        act(mail.merchant_id, mail.id, *more, actor=ANNA, at=LATER)
    return str(caught.value.args[0])


def events(order: Order) -> list[str]:
    query = select(OrderEvent.kind).where(OrderEvent.order_id == order.id)
    return list(db.session.scalars(query))


# --- once more ----------------------------------------------------------------------------------


@pytest.mark.feature("S70")
def test_once_more_is_a_new_mail_with_the_same_words(order: Order) -> None:
    old = sent(order)
    new = resend_mail(order.merchant_id, old.id, actor=ANNA, at=LATER)
    assert (new.facts, new.recipient, new.status) == (old.facts, old.recipient, "queued")
    assert new.message_id != old.message_id
    assert events(order).count("mail_resent") == 1


@pytest.mark.feature("S70")
def test_two_clicks_round_the_turn_of_a_minute_are_one(order: Order) -> None:
    old = sent(order)
    clicks = [LATER.replace(second=59), LATER + timedelta(seconds=61), LATER + timedelta(minutes=2)]
    first, second, third = (
        resend_mail(order.merchant_id, old.id, actor=ANNA, at=at) for at in clicks
    )
    assert first == second != third
    assert events(order).count("mail_resent") == 2


@pytest.mark.feature("S70")
def test_a_second_click_changes_nothing_of_what_the_first_has_sent(order: Order) -> None:
    pay(order, "50.00")
    old = sent(order, "payment_received")
    new = resend_mail(order.merchant_id, old.id, actor=ANNA, at=LATER)
    as_sent = new.facts | {"unsubscribe_url": "https://kontor.example.org/unsubscribe/4nB8wK2t"}
    new.facts = as_sent
    new.succeed(LATER)
    db.session.commit()
    assert resend_mail(order.merchant_id, old.id, actor=ANNA, at=LATER) == new
    assert new.facts == as_sent


@pytest.mark.feature("S70", "S1", "S10", "S11")
def test_what_would_not_go_out_is_refused_with_the_reason(order: Order) -> None:
    mail = mails_of(order)[0]
    assert refusal(resend_mail, mail) == "mail_action_gone"
    sent(order)
    suppression.suppress(order.merchant_id, mail.recipient, "complaint", at=AT)
    assert refusal(resend_mail, mail) == "mail_blocked_complaint"
    change_setting(order.merchant_id, "mail_payment_information", "off", actor=ANNA, at=AT)
    assert refusal(resend_mail, mail) == "mail_switched_off"
    change_setting(order.merchant_id, "mail_payment_information", "on", actor=ANNA, at=AT)
    pay(order, "20.00")
    assert refusal(resend_mail, mail) == "mail_other_amount"
    mark_as_paid(order.merchant_id, order.id, actor=ANNA, at=AT)
    assert refusal(resend_mail, mail) == "mail_moot"
    mail.facts = {}
    db.session.commit()
    assert refusal(resend_mail, mail) == "mail_erased"


@pytest.mark.feature("S70", "K40")
def test_the_thanks_for_a_part_name_the_rest_of_today_or_nothing(order: Order) -> None:
    pay(order, "20.00")
    thanks = sent(order, "partially_paid")
    assert resend_mail(order.merchant_id, thanks.id, actor=ANNA, at=LATER).status == "queued"
    pay(order, "10.00")
    assert refusal(resend_mail, thanks) == "mail_other_amount"
    pay(order, "20.00")
    assert refusal(resend_mail, thanks) == "mail_moot"


@pytest.mark.feature("S70")
@pytest.mark.parametrize("reason", ["complaint", "manual", "bounced"])
def test_to_a_blocked_address_nothing_is_offered_or_sent(order: Order, reason: str) -> None:
    mail = sent(order)
    assert hindrance_of(mail, LATER) is None
    suppression.suppress(order.merchant_id, mail.recipient, reason, at=AT)
    assert actions_of_mail(mail, LATER) == {"readdress"}
    assert hindrance_of(mail, LATER) == f"mail_blocked_{reason}"
    mail.status = "unknown"
    db.session.commit()
    assert actions_of_mail(mail, LATER) == {"let_rest", "readdress"}
    with pytest.raises(NotPossible, match=f"mail_blocked_{reason}"):
        decide_mail(order.merchant_id, mail.id, again=True, actor=ANNA, at=LATER)


@pytest.mark.feature("S70", "S10")
def test_nothing_is_sent_to_another_address_that_is_blocked(order: Order) -> None:
    mail = sent(order)
    suppression.suppress(order.merchant_id, NEW, "complaint", at=AT)
    assert refusal(readdress_mail, mail, NEW.upper()) == "mail_blocked_complaint"
    assert refusal(readdress_mail, mail, NEW) == "mail_blocked_complaint"
    assert order.customer_email == "erika@htmail.com"
    assert len(mails_of(order)) == 1


def test_the_mail_of_another_merchant_is_not_there(order: Order) -> None:
    mail = sent(order)
    stranger = make_merchant("Bobs Laden")
    with pytest.raises(NotPossible, match="mail_unknown"):
        resend_mail(stranger.id, mail.id, actor="bob@example.com", at=LATER)


@pytest.mark.feature("S70")
@pytest.mark.parametrize(("again", "status"), [(True, "queued"), (False, "withheld")])
def test_a_mail_of_which_nobody_knows_is_decided(order: Order, again: bool, status: str) -> None:
    pay(order, "50.00")
    mail = sent(order, "payment_received", status="unknown")
    message_id = mail.message_id
    assert actions_of_mail(mail, LATER) >= {"send_again", "let_rest"}
    decide_mail(order.merchant_id, mail.id, again=again, actor=ANNA, at=LATER)
    assert (mail.status, mail.message_id) == (status, message_id)
    with pytest.raises(NotPossible, match="mail_action_gone"):
        decide_mail(order.merchant_id, mail.id, again=again, actor=ANNA, at=LATER)


@pytest.mark.feature("S70")
def test_what_waits_or_was_withheld_is_not_repeated(order: Order) -> None:
    """The edit of the order writes what waits anew, and the next run what was withheld."""
    (mail,) = mails_of(order)
    assert actions_of_mail(mail, LATER) == set()
    mail.withhold("the order was paid before it was sent")
    assert actions_of_mail(mail, LATER) == set()
    mail.status = "unknown"
    db.session.commit()
    decide_mail(order.merchant_id, mail.id, again=False, actor=ANNA, at=LATER)
    assert "resend" in actions_of_mail(mail, LATER)


# --- another address ----------------------------------------------------------------------------


@pytest.mark.feature("S70", "S65", "S36")
def test_an_open_order_takes_the_address_over_and_is_asked_once(order: Order) -> None:
    old = sent(order, status="failed", failure="no_such_mailbox")
    new = readdress_mail(order.merchant_id, old.id, NEW, actor=ANNA, at=LATER)
    assert [mail.recipient for mail in mails_of(order)] == ["erika@htmail.com", NEW]
    assert mails_of(order)[1] == new
    assert (order.customer_email, order.sync) == (NEW, "edited")


@pytest.mark.feature("S70", "S11")
def test_of_a_paid_order_only_the_mail_goes_elsewhere(order: Order) -> None:
    pay(order, "50.00")
    old = sent(order, "payment_received")
    new = readdress_mail(order.merchant_id, old.id, NEW, actor=ANNA, at=LATER)
    assert (new.kind, new.recipient) == ("payment_received", NEW)
    assert order.customer_email == "erika@htmail.com"
    link = read_unsubscribe(str(new.facts["unsubscribe_url"]).rpartition("/")[2])
    assert link is not None
    assert link.is_of(NEW)
    assert not link.is_of("erika@htmail.com")


def test_what_is_no_address_is_refused(order: Order) -> None:
    assert refusal(readdress_mail, sent(order), "erika at home") == "email_impossible"
    assert len(mails_of(order)) == 1


@pytest.mark.feature("N13")
def test_what_was_meant_is_used_with_one_click(order: Order) -> None:
    sent(order)
    use_address(order.merchant_id, order.id, NEW, actor=ANNA, at=LATER)
    assert order.customer_email == NEW
    assert [mail.recipient for mail in mails_of(order)] == ["erika@htmail.com", NEW]
    mark_as_paid(order.merchant_id, order.id, actor=ANNA, at=LATER)
    with pytest.raises(NotPossible):
        use_address(order.merchant_id, order.id, NEW, actor=ANNA, at=LATER)


# --- not any more -------------------------------------------------------------------------------


@pytest.mark.feature("S72", "S12")
def test_an_optional_kind_is_left_out_from_now_on_and_taken_back(order: Order) -> None:
    asked = sent(order)
    pay(order, "50.00")
    thanks = sent(order, "payment_received")
    assert "opt_out" not in actions_of_mail(asked, LATER)
    assert refusal(opt_out_of, asked) == "mail_action_gone"
    opt_out_of(order.merchant_id, thanks.id, actor=ANNA, at=LATER)
    assert refusal(resend_mail, thanks) == "mail_opted_out"
    assert {"opt_in"} <= actions_of_mail(thanks, LATER)
    opt_in_to(order.merchant_id, thanks.id, actor=ANNA, at=LATER)
    assert resend_mail(order.merchant_id, thanks.id, actor=ANNA, at=LATER).status == "queued"
    assert {"mail_opted_out", "mail_opted_in"} <= set(events(order))
