"""A letter once more, and letters for mails that got lost: never what is not true any more."""

from __future__ import annotations

from datetime import timedelta
from struct import pack
from zlib import compress, crc32

import pytest

from server.db import db
from server.letters.models import Letter
from server.letters.service import letter_of, pdf_of
from server.mail.models import Picture
from server.mail.pictures import PATH
from server.orders import letter_actions
from server.orders.brakes import STOPPED, release_stopped
from server.orders.effects import shop_deregistered
from server.orders.invoice_letters import send_invoice
from server.orders.ledger import NotPossible
from server.orders.letter_actions import (
    cancel,
    decide,
    follow_failed_mails,
    mail_as_letter,
    send_again,
    send_transfer_form,
)
from server.orders.lifecycle import block_reminders
from server.orders.models import Order, Reminder
from server.orders.service import store_invoice
from tests.factories import make_shop
from tests.server.life.steps import ANNA, LATER, events, mails, pay, push, pushed, wishes
from tests.server.life.test_letters_of_orders import ELSEWHERE, letters, lose, pdf

NEXT_DAY = LATER + timedelta(days=1)
MOVED = {
    "first_name": "Erika",
    "last_name": "Mustermann",
    "street": "Neuer Weg 5",
    "postcode": "50667",
    "city": "Köln",
    "country": "DE",
}


def returned(merchant, order: Order) -> Letter:
    """A transfer form that the post brought back."""
    letter_id = send_transfer_form(merchant.id, order.id, actor=ANNA, at=LATER)
    return brought_back(letter_of(merchant.id, letter_id))


def brought_back(letter: Letter | None) -> Letter:
    assert letter is not None
    letter.succeed(LATER)
    letter.delivery = "returned"
    db.session.commit()
    return letter


@pytest.mark.feature("K60")
@pytest.mark.parametrize(
    ("paid", "why"), [("5.00", "mail_other_amount"), (None, "letter_not_owing")]
)
def test_what_came_back_does_not_ask_again_for_what_was_paid_meanwhile(merchant, shop, paid, why):
    _, order = pushed(shop)
    letter = returned(merchant, order)
    pay(merchant, order, paid)
    with pytest.raises(NotPossible, match=why):
        send_again(merchant.id, letter.id, actor=ANNA, at=NEXT_DAY)


@pytest.mark.feature("K60")
def test_a_doubtful_letter_is_not_handed_over_again_for_another_amount(merchant, shop):
    _, order = pushed(shop)
    letter = returned(merchant, order)
    letter.status, letter.delivery = "unknown", None
    pay(merchant, order, "5.00")
    with pytest.raises(NotPossible, match="mail_other_amount"):
        decide(merchant.id, letter.id, again=True, actor=ANNA, at=NEXT_DAY)
    assert decide(merchant.id, letter.id, again=False, actor=ANNA, at=NEXT_DAY).status == "done"


@pytest.mark.feature("K60")
def test_what_came_back_goes_to_where_the_customer_lives_now(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always", letter_to_delivery="on")
    raw, order = pushed(shop, shipping_address=ELSEWHERE)
    first, copy = (brought_back(letter) for letter in letters(order))
    push(shop, raw | {"billing_address": MOVED}, NEXT_DAY)
    again = send_again(merchant.id, first.id, actor=ANNA, at=NEXT_DAY)
    assert again.recipient == ["Erika Mustermann", "Neuer Weg 5", "50667 Köln"]
    copied = send_again(merchant.id, copy.id, actor=ANNA, at=NEXT_DAY)
    assert copied.recipient == ["Oma Mustermann", "Am Markt 1", "10115 Berlin"]
    assert again.recipient[1] == "Neuer Weg 5", "each stays what it is"


@pytest.mark.feature("S75")
def test_two_invoices_in_a_row_are_two_letters(merchant, shop):
    _, order = pushed(shop)
    for number in ("R-7", "R-8"):
        store_invoice(order, number, pdf(), LATER)
    sent = [
        send_invoice(merchant.id, order.id, actor=ANNA, at=LATER, number=number)
        for number in ("R-7", "R-8", "R-8")
    ]
    assert [one.facts["invoice_number"] for one in letters(order)] == ["R-7", "R-8"]
    assert sent[1] == sent[2], "a double click is one letter"


@pytest.mark.feature("S71")
def test_a_letter_that_is_only_stopped_gets_no_twin(merchant, shop):
    _, order = pushed(shop)
    mail = lose(mails(order)[0])
    mail_as_letter(merchant.id, mail.id, actor=ANNA, at=LATER)
    letters(order)[0].withhold(STOPPED)
    db.session.commit()
    with pytest.raises(NotPossible, match="letter_exists"):
        mail_as_letter(merchant.id, mail.id, actor=ANNA, at=NEXT_DAY)
    release_stopped(merchant.id, NEXT_DAY)
    assert [one.status for one in letters(order)] == ["queued"]


@pytest.mark.feature("K35", "K12")
def test_a_deregistered_shop_follows_no_lost_mail_by_letter(merchant, shop):
    wishes(merchant, shop, letter_payment_information="mail_failed")
    _, order = pushed(shop)
    lose(mails(order)[0])
    shop.status = "deregistered"
    shop_deregistered(merchant.id, shop.id)
    db.session.commit()
    assert follow_failed_mails(merchant.id, LATER) == 0
    assert letters(order) == []


@pytest.mark.feature("K35", "S82")
@pytest.mark.parametrize("how", ["blocked", "paused", "over"])
def test_a_lost_reminder_is_not_followed_where_reminders_rest(merchant, shop, how):
    wishes(merchant, shop, letter_reminder="mail_failed")
    _, order = pushed(shop)
    mail = mails(order)[0]
    mail.kind = "reminder"
    lose(mail)
    today = LATER.date()
    if how == "blocked":
        block_reminders(merchant.id, order.id, actor=ANNA, at=LATER)
    else:
        order.paused_until = today if how == "paused" else today - timedelta(days=1)
    db.session.commit()
    assert follow_failed_mails(merchant.id, LATER) == (1 if how == "over" else 0)


@pytest.mark.feature("K35")
def test_what_cannot_be_followed_says_so_once_and_is_in_nobody_s_way(merchant, shop, monkeypatch):
    wishes(merchant, shop, letter_payment_information="mail_failed")
    unprintable = {**MOVED, "last_name": "王" * 40, "first_name": None}
    _, hopeless = pushed(shop, billing_address=unprintable, shipping_address=None)
    lose(mails(hopeless)[0])
    monkeypatch.setattr(letter_actions, "FOLLOWED_AT_ONCE", 1)
    for _ in range(3):
        assert follow_failed_mails(merchant.id, LATER) == 0
        db.session.commit()
    assert events(hopeless).count("letter_not_written") == 1
    _, other = pushed(shop)
    lose(mails(other)[0])
    assert follow_failed_mails(merchant.id, LATER) == 1
    assert len(letters(other)) == 1


def chunk(name: bytes, content: bytes) -> bytes:
    return pack(">I", len(content)) + name + content + pack(">I", crc32(name + content))


@pytest.mark.feature("S47")
@pytest.mark.parametrize(
    ("pixels", "is_shown"), [(compress((b"\x00" + b"\x80" * 3 * 300) * 20), True), (b"x", False)]
)
def test_a_picture_that_no_letter_can_show_stays_away_and_the_letter_goes(
    merchant, pixels, is_shown
):
    shop = make_shop(merchant, "Laden")
    head = pack(">IIBBBBB", 300, 20, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    picture = Picture(
        merchant_id=merchant.id,
        token="laden",
        content_type="image/png",
        width=300,
        height=20,
        content=b"\x89PNG\r\n\x1a\n" + b"".join(parts),
        created_at=LATER,
    )
    db.session.add(picture)
    shop.look = {"header_image": f"https://shop.example.org{PATH}laden"}
    db.session.commit()
    wishes(merchant, shop, letter_payment_information="always")
    (letter,) = letters(pushed(shop)[1])
    assert bool(letter.look["header"]) is is_shown
    assert pdf_of(letter).startswith(b"%PDF-")


@pytest.mark.feature("K60")
def test_two_clicks_send_what_came_back_once_and_a_cancelled_one_may_follow(merchant, shop):
    _, order = pushed(shop)
    letter = returned(merchant, order)
    again = send_again(merchant.id, letter.id, actor=ANNA, at=NEXT_DAY)
    db.session.commit()
    assert not letter_actions.can_go_again(letter)
    with pytest.raises(NotPossible, match="letter_not_again"):
        send_again(merchant.id, letter.id, actor=ANNA, at=NEXT_DAY)
    assert len(letters(order)) == 2
    reminder = Reminder(
        merchant_id=merchant.id,
        order_id=order.id,
        level=1,
        sent_on=LATER.date(),
        letter_id=again.id,
    )
    db.session.add(reminder)
    cancel(merchant.id, again.id, actor=ANNA, at=NEXT_DAY)
    third = send_again(merchant.id, letter.id, actor=ANNA, at=NEXT_DAY)
    db.session.refresh(reminder)
    assert reminder.letter_id == third.id, "or its level would be written a second time"
    brought_back(third)
    assert send_again(merchant.id, third.id, actor=ANNA, at=NEXT_DAY).status == "queued"
    assert len(letters(order)) == 4
