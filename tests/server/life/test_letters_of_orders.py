"""Letters in the life of an order: beside a mail, instead of one, by hand, and never when moot."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest
from pypdf import PdfWriter
from sqlalchemy import select

from plugin_sdk import types as wire
from server.db import db
from server.jobs import drain_letter
from server.letters.models import Letter
from server.letters.service import pdf_of
from server.letters.services import save_service
from server.mail.models import Mail
from server.orders.brakes import STOPPED, release_stopped
from server.orders.effects import shop_deregistered
from server.orders.invoice_letters import send_invoice
from server.orders.ledger import NotPossible
from server.orders.letter_actions import (
    cancel,
    follow_failed_mails,
    mail_as_letter,
    send_transfer_form,
)
from server.orders.letters import (
    NOT_OWED,
    TEST_MODE,
    addresses_differ,
    goes_by_letter,
    hold_back,
    recipient_of,
)
from server.orders.lifecycle import cancel_order, edit_order
from server.orders.mail_actions import resend_mail
from server.orders.models import Order, OrderEvent
from server.orders.service import store_invoice
from server.orders.told import told_order
from tests.factories import AT, IBAN, make_merchant, make_shop, wire_order
from tests.server.life.steps import ANNA, LATER, asked, mails, pay, push, pushed, send_all, wishes

ERIKA = wire.Address(
    first_name="Erika",
    last_name="Mustermann",
    street="Heidestraße 17",
    postcode="51147",
    city="Köln",
    country="DE",
)
NO_EMAIL = {"customer": {"language": "de"}}
ELSEWHERE = {
    "first_name": "Oma",
    "last_name": "Mustermann",
    "street": "Am Markt 1",
    "postcode": "10115",
    "city": "Berlin",
    "country": "DE",
}


def letters(order: Order, kind: str | None = None) -> list[Letter]:
    db.session.expire_all()
    query = db.session.query(Letter).filter_by(order_id=order.id).order_by(Letter.id)
    return [letter for letter in query if kind in (None, letter.kind)]


def states(order: Order) -> list[tuple[str, str]]:
    return [(letter.kind, letter.status) for letter in letters(order)]


def lose(mail: Mail, failure: str = "no_such_mailbox") -> Mail:
    mail.status, mail.failure, mail.finished_at = "failed", failure, AT
    db.session.commit()
    return mail


def printed(order: Order) -> None:
    """Those that wait are handed over."""
    for letter in letters(order):
        if letter.status == "queued":
            letter.succeed(LATER)
    db.session.commit()


def pdf(width: float = 595.28, height: float = 841.89) -> bytes:
    """One empty page; A4 unless it is said otherwise."""
    writer, content = PdfWriter(), BytesIO()
    writer.add_blank_page(width, height)
    writer.write(content)
    return content.getvalue()


def events(order: Order) -> list[str]:
    query = db.session.query(OrderEvent).filter_by(order_id=order.id).order_by(OrderEvent.id)
    return [event.kind for event in query]


# --- to whom -----------------------------------------------------------------------------------


@pytest.mark.feature("S47")
@pytest.mark.parametrize(
    ("over", "lines"),
    [
        ({}, ("Erika Mustermann", "Heidestraße 17", "51147 Köln")),
        (
            {"company": "Muster GmbH"},
            ("Muster GmbH", "Erika Mustermann", "Heidestraße 17", "51147 Köln"),
        ),
        (
            {"first_name": None, "last_name": None, "company": "Muster GmbH"},
            ("Muster GmbH", "Heidestraße 17", "51147 Köln"),
        ),
        (
            {"street": "c/o Meier\n Heidestraße  17\r\nHinterhaus"},
            ("Erika Mustermann", "c/o Meier", "Heidestraße 17", "Hinterhaus", "51147 Köln"),
        ),
        ({"company": "Erika Mustermann"}, ("Erika Mustermann", "Heidestraße 17", "51147 Köln")),
        ({"city": "Kö\x00ln\x07"}, ("Erika Mustermann", "Heidestraße 17", "51147 Köln")),
    ],
)
def test_the_lines_of_the_window_stand_in_the_order_of_the_standard(over, lines):
    found = recipient_of(replace(ERIKA, **over))
    assert found is not None
    assert (found.lines, found.country) == (lines, "DE")


@pytest.mark.parametrize("name", ["street", "postcode", "city"])
def test_an_address_that_the_post_cannot_use_is_none(name):
    assert recipient_of(replace(ERIKA, **{name: "  "})) is None
    assert recipient_of(None) is None


def test_a_window_has_five_lines_and_the_country_and_each_its_length():
    long = replace(ERIKA, company="\n".join(["Abteilung"] * 9), street="\n".join(["x" * 200] * 9))
    found = recipient_of(long)
    assert found is not None
    assert len(found.lines) == 5
    assert found.lines[-1] == "51147 Köln"
    assert max(map(len, found.lines)) <= 60


@pytest.mark.feature("K60")
def test_addresses_differ_by_what_is_written_not_by_how(merchant, shop):
    same = wire_order()["billing_address"] | {"city": "KÖLN", "phone": "0221 1"}
    _, order = pushed(shop, shipping_address=same)
    assert not addresses_differ(told_order(order))
    _, other = pushed(shop, shipping_address=ELSEWHERE)
    assert addresses_differ(told_order(other))


@pytest.mark.feature("S47", "K60")
@pytest.mark.parametrize(
    ("when", "has_email", "differs", "goes"),
    [
        ("never", True, True, False),
        ("never", False, True, False),
        ("mail_failed", True, True, False),
        ("mail_failed", False, False, True),
        ("addresses_differ", True, True, True),
        ("addresses_differ", True, False, False),
        ("always", True, False, True),
    ],
)
def test_when_a_letter_goes_at_once(when, has_email, differs, goes):
    assert goes_by_letter(when, has_email=has_email, differs=differs) is goes


# --- the payment information ---------------------------------------------------------------------


@pytest.mark.feature("S47")
def test_without_the_setting_nobody_gets_a_letter(shop):
    _, order = pushed(shop)
    assert (asked(order), letters(order)) == ([("erika@example.org", "queued")], [])


@pytest.mark.feature("S47")
def test_the_payment_information_goes_by_letter_beside_the_mail(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always")
    _, order = pushed(shop)
    (letter,) = letters(order)
    assert asked(order) == [("erika@example.org", "queued")]
    assert (letter.kind, letter.status, letter.language) == ("payment_information", "queued", "de")
    assert letter.recipient == ["Erika Mustermann", "Heidestraße 17", "51147 Köln"]
    assert letter.facts["amount_due"] == "19,90\xa0€"
    assert letter.facts["iban"].replace(" ", "") == IBAN
    assert letter.due_at > letter.created_at, "so that it can be cancelled until then"
    assert letter.look["sender"] == "Laden"
    assert events(order).count("letter_written") == 1


@pytest.mark.feature("S47")
@pytest.mark.parametrize(
    ("name", "look"),
    [
        (" ", {}),
        ("ß" * 200, {"legal_line": "\n".join(["Registergericht " * 8] * 20)}),
        ("\u202eLaden 🎁", {"primary": "#ffd400", "text": "#ffffff"}),
        ("Laden", {"header_image": "https://shop.example.org/bilder/gone", "primary": "no colour"}),
    ],
)
def test_whatever_a_shop_is_called_and_looks_like_its_orders_come_in_and_can_be_printed(
    merchant, name, look
):
    shop = make_shop(merchant, name, look=look)
    wishes(merchant, shop, letter_payment_information="always")
    _, order = pushed(shop)
    (letter,) = letters(order)
    assert pdf_of(letter).startswith(b"%PDF-")


@pytest.mark.feature("S47")
def test_many_orders_at_once_get_a_letter_each_and_sent_twice_no_second_one(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always")
    raw, order = pushed(shop)
    push(shop, raw)
    assert len(letters(order)) == 1
    _, paid_at_door = pushed(shop, payment_method="cod", shop_status="processing")
    assert letters(paid_at_door) == [], "nobody is asked for a transfer (K29)"


@pytest.mark.feature("K60")
def test_only_where_the_addresses_differ_and_on_wish_to_both(merchant, shop):
    wishes(merchant, shop, letter_payment_information="addresses_differ")
    _, same = pushed(shop)
    _, gift = pushed(shop, shipping_address=ELSEWHERE)
    assert letters(same) == []
    assert [one.recipient[0] for one in letters(gift)] == ["Erika Mustermann"]
    wishes(merchant, shop, letter_to_delivery="on")
    _, both = pushed(shop, shipping_address=ELSEWHERE)
    assert [one.recipient[0] for one in letters(both)] == ["Erika Mustermann", "Oma Mustermann"]


@pytest.mark.feature("K35")
def test_who_has_no_e_mail_gets_the_letter_alone(merchant, shop):
    wishes(merchant, shop, letter_payment_information="mail_failed")
    _, order = pushed(shop, **NO_EMAIL)
    assert (mails(order), states(order)) == ([], [("payment_information", "queued")])


@pytest.mark.feature("S37")
def test_a_new_amount_makes_a_letter_that_waits_anew_and_follows_one_that_went(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always")
    raw, order = pushed(shop)
    push(shop, raw | {"total": "25.00"}, LATER)
    before, after = letters(order)
    assert (before.status, after.status) == ("withheld", "queued")
    assert after.facts["amount_due"] == "25,00\xa0€"
    printed(order)
    send_all(order)
    push(shop, raw | {"total": "30.00"}, LATER)
    last = letters(order)[-1]
    assert (last.facts["amount_due"], last.facts["previous_amount"]) == ("30,00\xa0€", "25,00\xa0€")
    assert [one.status for one in letters(order)] == ["withheld", "done", "queued"]


@pytest.mark.feature("S36")
def test_a_new_e_mail_makes_no_second_letter_and_a_new_address_moves_the_one_that_waits(
    merchant, shop
):
    wishes(merchant, shop, letter_payment_information="always")
    raw, order = pushed(shop)
    send_all(order)
    push(shop, raw | {"customer": {"email": "neu@example.org", "language": "de"}}, LATER)
    assert len(letters(order)) == 1
    push(shop, raw | {"billing_address": ELSEWHERE}, LATER)
    (letter,) = letters(order)
    assert letter.recipient == ["Oma Mustermann", "Am Markt 1", "10115 Berlin"]


def test_an_edit_by_hand_is_followed_like_one_of_the_shop(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always")
    _, order = pushed(shop, **NO_EMAIL)
    printed(order)
    edit_order(merchant.id, order.id, email="", total=order.total + 5, actor=ANNA, at=LATER)
    db.session.commit()
    assert [one.facts["amount_due"] for one in letters(order)] == ["19,90\xa0€", "24,90\xa0€"]


# --- what is moot is not printed -----------------------------------------------------------------


@pytest.mark.feature("N4")
def test_a_payment_withholds_the_letter_in_the_same_transaction(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always")
    _, order = pushed(shop)
    pay(merchant, order)
    assert states(order) == [("payment_information", "withheld")]
    _, other = pushed(shop)
    send_transfer_form(merchant.id, other.id, actor=ANNA, at=LATER)
    cancel_order(merchant.id, other.id, actor=ANNA, at=LATER)
    db.session.commit()
    assert {status for _, status in states(other)} == {"withheld"}


@pytest.mark.feature("K12")
def test_a_deregistered_shop_sends_no_letters(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always")
    _, order = pushed(shop, **NO_EMAIL)
    shop_deregistered(merchant.id, shop.id)
    db.session.commit()
    assert states(order) == [("payment_information", "withheld")]


@pytest.mark.feature("K66")
def test_a_shop_in_test_mode_prints_nothing_and_a_stopped_merchant_nothing_yet(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always")
    _, order = pushed(shop)
    wishes(merchant, stop_mails="on")
    (letter,) = letters(order)
    assert hold_back([letter]) == [letter]
    assert (letter.status, letter.error) == ("withheld", STOPPED)
    db.session.commit()
    due_at = letter.due_at
    wishes(merchant, stop_mails="off")
    release_stopped(merchant.id, AT)
    db.session.refresh(letter)
    assert (letter.status, letter.due_at) == ("queued", due_at), "no sooner than it would have been"
    wishes(merchant, shop, mode="test")
    assert hold_back([letter]) == [letter]
    assert (letter.status, letter.error) == ("withheld", TEST_MODE)


def test_what_is_claimed_already_is_held_back_if_nothing_is_owed(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always")
    _, order = pushed(shop)
    (letter,) = letters(order)
    letter.status = "running"
    db.session.commit()
    pay(merchant, order)
    assert hold_back([letter]) == [letter]
    assert letter.error == NOT_OWED


# --- by hand -------------------------------------------------------------------------------------


@pytest.mark.feature("S77")
@pytest.mark.parametrize(
    ("country", "form"), [("DE", ""), ("AT", "form_at")], ids=["GiroCode", "Austrian form"]
)
def test_a_transfer_form_by_letter_has_the_form_of_the_country(merchant, shop, country, form):
    address = wire_order()["billing_address"] | {"country": country}
    _, order = pushed(shop, billing_address=address)
    letter_id = send_transfer_form(merchant.id, order.id, actor=ANNA, at=LATER)
    again = send_transfer_form(merchant.id, order.id, actor=ANNA, at=LATER)
    (letter,) = letters(order)
    assert letter.id == letter_id == again, "a double click is one letter"
    assert (letter.kind, letter.actor, letter.country) == ("transfer_form", ANNA, country)
    assert letter.facts["girocode"].startswith("BCD")
    assert not form or letter.facts[form] == "yes"


@pytest.mark.feature("S77")
def test_no_form_where_nothing_is_owed_or_nobody_lives(merchant, shop):
    _, order = pushed(shop)
    pay(merchant, order)
    with pytest.raises(NotPossible, match="letter_not_owing"):
        send_transfer_form(merchant.id, order.id, actor=ANNA, at=LATER)
    _, nowhere = pushed(shop, billing_address={"first_name": "Erika", "country": "DE"})
    with pytest.raises(NotPossible, match="letter_no_address"):
        send_transfer_form(merchant.id, nowhere.id, actor=ANNA, at=LATER)


@pytest.mark.feature("S75")
def test_an_invoice_goes_by_letter_only_with_its_pdf(merchant, shop):
    _, order = pushed(shop, invoices=[{"number": "R-7", "date": "2026-03-01"}])
    with pytest.raises(NotPossible, match="letter_no_invoice"):
        send_invoice(merchant.id, order.id, actor=ANNA, at=LATER)
    store_invoice(order, "R-7", pdf(), LATER)
    send_invoice(merchant.id, order.id, actor=ANNA, at=LATER)
    (letter,) = letters(order)
    assert (letter.kind, letter.facts["invoice_number"]) == ("invoice", "R-7")
    assert letter.facts["amount_due"] == "19,90\xa0€", "with its slip, as nothing is paid"


@pytest.mark.feature("S75", "K60")
def test_the_invoice_of_a_paid_order_or_on_wish_goes_without_a_slip(merchant, shop):
    _, order = pushed(shop)
    store_invoice(order, "R-7", pdf(), LATER)
    pay(merchant, order)
    send_invoice(merchant.id, order.id, actor=ANNA, at=LATER)
    assert "amount_due" not in letters(order)[0].facts
    wishes(merchant, shop, letter_slip="off")
    _, other = pushed(shop)
    store_invoice(other, "R-8", pdf(), LATER)
    send_invoice(merchant.id, other.id, actor=ANNA, at=LATER)
    assert "amount_due" not in letters(other)[0].facts


@pytest.mark.feature("S75")
@pytest.mark.parametrize(("paid", "asks"), [(None, True), ("5.00", False), ("19.90", False)])
def test_a_slip_that_is_wrong_when_the_invoice_goes_stays_behind(merchant, shop, paid, asks):
    _, order = pushed(shop)
    store_invoice(order, "R-7", pdf(), LATER)
    send_invoice(merchant.id, order.id, actor=ANNA, at=LATER)
    if paid is not None:
        pay(merchant, order, paid)
    (letter,) = letters(order)
    assert hold_back([letter]) == []
    assert ("amount_due" in letter.facts, letter.facts["invoice_number"]) == (asks, "R-7")


@pytest.mark.feature("N3")
def test_in_the_shadow_nobody_gets_a_letter_not_even_by_hand(merchant, shop):
    wishes(merchant, assignment="shadow")
    wishes(merchant, shop, letter_payment_information="always", letter_invoice="always")
    _, order = pushed(shop)
    store_invoice(order, "R-7", pdf(), LATER)
    for send in (send_transfer_form, send_invoice):
        with pytest.raises(NotPossible, match="reminder_shadow"):
            send(merchant.id, order.id, actor=ANNA, at=LATER)
    assert letters(order) == []


@pytest.mark.feature("S75")
def test_a_pdf_that_is_not_printed_is_kept_and_the_reason_is_said(merchant, shop):
    wishes(merchant, shop, letter_invoice="always")
    _, order = pushed(shop)
    invoice = store_invoice(order, "R-7", pdf(width=400, height=400), LATER)
    db.session.commit()
    assert invoice.pdf is not None
    assert letters(order) == []
    assert "letter_not_written" in events(order)
    with pytest.raises(NotPossible, match="letter_pdf_page_size"):
        send_invoice(merchant.id, order.id, actor=ANNA, at=LATER)


@pytest.mark.feature("K77", "K60")
def test_the_first_pdf_triggers_the_letter_and_the_next_ones_do_not(merchant, shop):
    wishes(merchant, shop, letter_invoice="addresses_differ")
    _, order = pushed(shop, shipping_address=ELSEWHERE)
    store_invoice(order, "R-7", pdf(), LATER)
    store_invoice(order, "R-7", pdf(), LATER)
    assert states(order) == [("invoice", "queued")]
    _, same = pushed(shop)
    store_invoice(same, "R-8", pdf(), LATER)
    assert letters(same) == []


# --- mails that did not arrive -------------------------------------------------------------------


@pytest.mark.feature("S71")
def test_a_mail_that_failed_goes_by_letter_with_the_same_words(merchant, shop):
    _, order = pushed(shop)
    (mail,) = mails(order)
    with pytest.raises(NotPossible, match="letter_mail_arrived"):
        mail_as_letter(merchant.id, mail.id, actor=ANNA, at=LATER)
    lose(mail)
    letter_id = mail_as_letter(merchant.id, mail.id, actor=ANNA, at=LATER)
    (letter,) = letters(order)
    assert (letter.id, letter.kind, letter.mail_id) == (letter_id, mail.kind, mail.id)
    assert letter.facts["amount_due"] == mail.facts["amount_due"]
    with pytest.raises(NotPossible, match="letter_exists"):
        mail_as_letter(merchant.id, mail.id, actor=ANNA, at=LATER)
    cancel(merchant.id, letter_id, actor=ANNA, at=LATER)
    mail_as_letter(merchant.id, mail.id, actor=ANNA, at=LATER)
    assert [one.status for one in letters(order)] == ["withheld", "queued"]


@pytest.mark.feature("S71")
def test_only_mails_that_ask_and_only_for_what_is_owed(merchant, shop):
    _, order = pushed(shop)
    lose(mails(order)[0])
    pay(merchant, order)
    thanks = lose(mails(order, "payment_received")[0])
    with pytest.raises(NotPossible, match="letter_not_this_kind"):
        mail_as_letter(merchant.id, thanks.id, actor=ANNA, at=LATER)
    with pytest.raises(NotPossible, match="mail_moot"):
        mail_as_letter(merchant.id, mails(order)[0].id, actor=ANNA, at=LATER)
    stranger = make_merchant("Bobs Laden")
    with pytest.raises(NotPossible, match="mail_unknown"):
        mail_as_letter(stranger.id, mails(order)[0].id, actor=ANNA, at=LATER)


@pytest.mark.feature("K35")
@pytest.mark.parametrize("when", ["mail_failed", "addresses_differ", "always"])
def test_what_did_not_arrive_is_followed_by_one_letter(merchant, shop, when):
    _, order = pushed(shop)
    wishes(merchant, shop, letter_payment_information=when)
    lose(mails(order)[0])
    assert follow_failed_mails(merchant.id, LATER) == 1
    db.session.commit()
    assert follow_failed_mails(merchant.id, LATER) == 0
    assert states(order) == [("payment_information", "queued")]


@pytest.mark.feature("K35")
def test_a_bounce_counts_and_our_own_fault_a_repeated_mail_or_an_old_one_does_not(merchant, shop):
    wishes(merchant, shop, letter_payment_information="mail_failed")
    _, back = pushed(shop)
    bounced = mails(back)[0]
    bounced.status, bounced.delivery = "done", "bounced"
    _, ours = pushed(shop)
    lose(mails(ours)[0], "misconfigured")
    _, repeated = pushed(shop)
    resend_mail(merchant.id, lose(mails(repeated)[0]).id, actor=ANNA, at=LATER)
    _, old = pushed(shop)
    lose(mails(old)[0]).created_at = AT - timedelta(days=60)
    db.session.commit()
    assert follow_failed_mails(merchant.id, LATER) == 1
    assert states(back) == [("payment_information", "queued")]


@pytest.mark.feature("K35")
def test_without_the_setting_a_lost_mail_stays_lost(merchant, shop):
    _, order = pushed(shop)
    lose(mails(order)[0])
    assert follow_failed_mails(merchant.id, LATER) == 0
    assert letters(order) == []


# --- cancelling ----------------------------------------------------------------------------------


@pytest.mark.feature("S73")
def test_a_letter_can_be_cancelled_until_it_is_handed_over(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always")
    raw, order = pushed(shop)
    (letter,) = letters(order)
    cancel(merchant.id, letter.id, actor=ANNA, at=LATER)
    db.session.commit()
    assert (letter.status, letter.cancelled_by) == ("withheld", ANNA)
    assert "letter_cancelled" in events(order)
    push(shop, raw | {"payment_method": "bacs", "shop_status": "pending"}, LATER)
    assert len(letters(order)) == 1, "what a person has cancelled does not come again"
    _, other = pushed(shop)
    printed(other)
    with pytest.raises(NotPossible, match="letter_is_gone"):
        cancel(merchant.id, letters(other)[0].id, actor=ANNA, at=LATER)


def test_a_stranger_cancels_nothing(merchant, shop):
    wishes(merchant, shop, letter_payment_information="always")
    _, order = pushed(shop)
    stranger = make_shop(make_merchant("Bobs Laden"), "Bob")
    with pytest.raises(NotPossible, match="letter_unknown"):
        cancel(stranger.merchant_id, letters(order)[0].id, actor=ANNA, at=LATER)
    assert db.session.scalar(select(Letter.status)) == "queued"


@pytest.mark.feature("K66", "S47")
def test_the_worker_holds_back_what_must_not_be_printed_and_prints_the_rest(merchant, shop):
    save_service(merchant.id, "folder", {}, {}, "EUR", actor=ANNA, at=AT)
    wishes(merchant, shop, letter_payment_information="always")
    tried = make_shop(merchant, "Probe")
    wishes(merchant, tried, letter_payment_information="always", mode="test")
    (_, order), (_, test_order) = pushed(shop), pushed(tried)
    for letter in (*letters(order), *letters(test_order)):
        letter.due_at = AT
    db.session.commit()
    drain_letter()
    assert [(one.status, one.delivery) for one in letters(order)] == [("done", "accepted")]
    assert [(one.status, one.error) for one in letters(test_order)] == [("withheld", TEST_MODE)]
