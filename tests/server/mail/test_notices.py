"""What customers and merchants are told about money, and how often."""

from __future__ import annotations

import itertools
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from server.banking.models import BankAccount, IgnoreRule, Posting
from server.db import db
from server.mail.models import Mail
from server.mail.service import preview_mail
from server.merchants.models import Merchant
from server.merchants.service import change_setting
from server.orders.merchant_notices import (
    LISTED_DIFFERENCES,
    LISTED_POSTINGS,
    PURPOSE_LENGTH,
    return_reason,
    tell_of_differences,
    tell_of_order,
    tell_of_unassigned,
)
from server.orders.models import Assignment, Order, Suggestion
from server.orders.notices import queue_overpaid, queue_partially_paid, queue_payment_received
from server.shops.models import PaymentUpdate, Shop
from tests.factories import (
    AT,
    IBAN,
    make_merchant,
    make_order,
    make_posting,
    make_shop,
    make_user,
)

NIGHT = timedelta(days=1)
OPEN_STATUS = {"bacs": "on-hold", "cod": "processing"}
_turns = itertools.count(1)


@pytest.fixture
def merchant(app: Flask) -> Merchant:
    merchant = make_merchant()
    make_user(merchant)
    return merchant


@pytest.fixture
def shop(merchant: Merchant) -> Shop:
    return make_shop(merchant)


def book(
    order: Order, amount: str, posting: Posting | None = None, origin: str = "auto", **over: Any
) -> Assignment:
    """A row of the ledger, and nothing of what follows from it."""
    values: dict[str, Any] = {"created_at": AT, "turn": next(_turns)}
    row = Assignment(
        merchant_id=order.merchant_id,
        order_id=order.id,
        posting_id=posting.id if posting is not None else None,
        amount=Decimal(amount),
        origin=origin,
        **(values | over),
    )
    db.session.add(row)
    db.session.commit()
    return row


def paid_by(merchant: Merchant, order: Order, amount: str, **over: Any) -> Assignment:
    return book(order, amount, make_posting(merchant, amount, **over))


def mails(kind: str) -> list[Mail]:
    return list(db.session.scalars(select(Mail).where(Mail.kind == kind).order_by(Mail.id)))


def only(kind: str) -> Mail:
    (mail,) = mails(kind)
    return mail


def text_of(mail: Mail) -> str:
    """As it is sent, on one line; fails if the mail cannot be written."""
    message = preview_mail(mail)
    return " ".join(f"{message.subject} {message.text}".split())


def total(rows: list[Assignment]) -> Decimal:
    return sum((row.amount for row in rows), Decimal(0))


# --- to customers ------------------------------------------------------------------------------


@pytest.mark.feature("K40")
def test_a_part_is_thanked_for_and_the_rest_is_asked_for(merchant: Merchant, shop: Shop) -> None:
    order = make_order(shop, total="100.00")
    rows = [
        paid_by(merchant, order, "40.00"),
        paid_by(merchant, order, "25.50", booking_date=date(2026, 3, 9)),
    ]
    assert queue_partially_paid(order, rows, total(rows), Decimal("34.50"))
    mail = only("partially_paid")
    text = text_of(mail)
    for part in ("65,50 €", "Zahlung vom 05.03.2026: 40,00 €", "Zahlung vom 09.03.2026: 25,50 €"):
        assert part in text
    assert "Noch offen: 34,50 €" in text
    assert "Anders beglichen" not in text
    assert order.payment_reference in text
    girocode = mail.facts["girocode"].split("\n")
    assert "EUR34.50" in girocode
    assert IBAN in girocode


@pytest.mark.feature("K40")
def test_a_part_is_thanked_for_once_and_the_next_part_again(merchant: Merchant, shop: Shop) -> None:
    order = make_order(shop, total="100.00")
    rows = [paid_by(merchant, order, "40.00")]
    assert queue_partially_paid(order, rows, Decimal(40), Decimal(60))
    assert not queue_partially_paid(order, rows, Decimal("40.00"), Decimal(60))
    rows.append(paid_by(merchant, order, "10.00"))
    assert queue_partially_paid(order, rows, Decimal(50), Decimal(50))


def test_only_money_that_was_seen_is_thanked_for(merchant: Merchant, shop: Shop) -> None:
    """The total was raised after a person had marked a rest as paid: what is there adds up."""
    order = make_order(shop, total="130.00")
    rows = [
        paid_by(merchant, order, "60.00"),
        book(order, "35.00", origin="person"),
        book(order, "5.00", origin="difference", because="goodwill"),
    ]
    assert queue_partially_paid(order, rows, total(rows), Decimal(30))
    text = text_of(only("partially_paid"))
    for part in ("60,00 € sind bei uns", "Anders beglichen: 40,00 €", "Noch offen: 30,00 €"):
        assert part in text
    assert text.count("Zahlung vom") == 1


def test_without_money_or_a_rest_or_an_address_nothing_is_written(
    merchant: Merchant, shop: Shop
) -> None:
    order = make_order(shop, total="50.00")
    marked = [book(order, "20.00", origin="person")]
    assert not queue_partially_paid(order, marked, Decimal(20), Decimal(30))
    assert not queue_overpaid(order, marked, Decimal(60), Decimal(10))
    seen = [paid_by(merchant, order, "50.00")]
    assert not queue_partially_paid(order, seen, Decimal(50), Decimal(0))
    assert not queue_overpaid(order, seen, Decimal(50), Decimal(0))
    order.customer_email = None
    assert not queue_partially_paid(order, seen, Decimal(30), Decimal(20))
    assert not queue_overpaid(order, seen, Decimal(50), Decimal(10))
    assert not queue_payment_received(order, seen, Decimal(50))


@pytest.mark.parametrize(("method", "has_account"), [("bacs", False), ("cod", True)])
def test_without_an_account_to_name_the_rest_stands_alone(
    merchant: Merchant, shop: Shop, method: str, has_account: bool
) -> None:
    db.session.execute(update(BankAccount).values(is_payee=has_account))
    order = make_order(shop, total="100.00", payment_method=method, shop_status=OPEN_STATUS[method])
    assert queue_partially_paid(
        order, [paid_by(merchant, order, "40.00")], Decimal(40), Decimal(60)
    )
    mail = only("partially_paid")
    message = preview_mail(mail)
    assert "Noch offen: 60,00" in " ".join(message.text.split())
    for form in (message.text, message.html):
        for gone in ("IBAN", "Verwendungszweck", "Bitte überweisen", "GiroCode"):
            assert gone not in form
    assert message.inline == ()


@pytest.mark.feature("K40")
@pytest.mark.parametrize(
    ("booked", "paid"), [("100.00", "100.00"), ("120.00", "120.00"), ("110.00", "110.00")]
)
def test_too_much_is_told_wherever_it_is_booked(
    merchant: Merchant, shop: Shop, booked: str, paid: str
) -> None:
    """On the order above its total, or left on the posting, or some of each."""
    order = make_order(shop, total="100.00")
    rows = [book(order, booked, make_posting(merchant, "120.00"))]
    assert queue_overpaid(order, rows, Decimal(paid), Decimal(20))
    assert not queue_overpaid(order, rows, Decimal(paid), Decimal(20))
    text = text_of(only("overpaid"))
    for part in ("Eingegangen: 120,00 €", "Bestellsumme: 100,00 €", "Zu viel gezahlt: 20,00 €"):
        assert part in text
    assert "Zahlung vom 05.03.2026" in text


def test_sums_that_do_not_add_up_are_not_put_below_each_other(
    merchant: Merchant, shop: Shop
) -> None:
    order = make_order(shop, total="100.00")
    rows = [
        paid_by(merchant, order, "99.95"),
        book(order, "0.05", origin="difference", because="tolerance"),
    ]
    assert queue_overpaid(order, rows, Decimal(100), Decimal(50))
    text = text_of(only("overpaid"))
    assert "Eingegangen: 149,95 €" in text
    assert "Bestellsumme" not in text


@pytest.mark.feature("K21", "C7")
@pytest.mark.parametrize(("came", "written_off"), [("19.85", "0.05"), ("19.95", "-0.05")])
def test_thanks_state_what_came_and_never_what_was_written_off(
    merchant: Merchant, shop: Shop, came: str, written_off: str
) -> None:
    order = make_order(shop, total="19.90")
    rows = [
        paid_by(merchant, order, came),
        book(order, written_off, origin="difference", because="tolerance"),
    ]
    assert queue_payment_received(order, rows, total(rows))
    text = text_of(only("payment_received"))
    assert f"Eingegangen: {came.replace('.', ',')} €" in text
    assert "vollständig bezahlt" in text
    assert text.count("Zahlung vom") == 1
    assert "0,05" not in text
    assert "19,90" not in text


# --- to the merchant, of one order -------------------------------------------------------------


@pytest.mark.feature("S51", "S54")
@pytest.mark.parametrize(("method", "word"), [("bacs", "stornierter"), ("invoice", "überfälliger")])
def test_money_for_an_order_that_is_over(
    merchant: Merchant, shop: Shop, method: str, word: str
) -> None:
    order = make_order(shop, total="19.90", payment_method=method)
    posting = make_posting(merchant)
    assert tell_of_order("payment_for_cancelled", order, posting, AT)
    assert not tell_of_order("payment_for_cancelled", order, posting, AT + NIGHT)
    mail = only("payment_for_cancelled")
    assert (mail.recipient, mail.order_id) == ("anna@example.org", order.id)
    text = text_of(mail)
    for part in (
        f"19,90 € zu {word} Bestellung {order.number} eingegangen",
        "nicht zugeordnet",
        "In Ihren Shop wurde nichts geschrieben",
        "Zahler: Erika Mustermann",
        "Eingegangen am: 05.03.2026",
        f"/orders/{order.id}",
        f"/postings/{posting.id}",
    ):
        assert part in text


def test_it_says_what_was_booked_and_told(merchant: Merchant, shop: Shop) -> None:
    """The share of this order, not the whole posting, and only what was really done."""
    order = make_order(shop, total="19.90")
    posting = make_posting(merchant, "50.00")
    book(order, "19.90", posting)
    db.session.add(told_update(order, "paid"))
    assert tell_of_order("payment_for_cancelled", order, posting, AT)
    text = text_of(only("payment_for_cancelled"))
    assert "19,90 €" in text
    assert "50,00" not in text
    assert "Kontor hat sie der Bestellung zugeordnet. Ihrem Shop meldet Kontor" in text
    assert "nichts geschrieben" not in text


def told_update(order: Order, intent: str) -> PaymentUpdate:
    return PaymentUpdate(
        merchant_id=order.merchant_id,
        shop_id=order.shop_id,
        order_id=order.id,
        external_id=order.external_id,
        number=order.number,
        payment_status=intent,
        paid_total=Decimal(0),
        currency="EUR",
        intent=intent,
        created_at=AT,
    )


@pytest.mark.feature("S40")
def test_money_for_an_order_that_the_shop_no_longer_has(merchant: Merchant, shop: Shop) -> None:
    order = make_order(shop)
    posting = make_posting(merchant, counterparty_name=None, booking_date=None)
    assert tell_of_order("payment_for_removed", order, posting, AT)
    text = text_of(only("payment_for_removed"))
    assert f"Bestellung {order.number} eingegangen, die im Shop nicht mehr offen ist" in text
    assert "In Ihren Shop wurde nichts geschrieben" in text
    assert "Eingegangen am: 02.03.2026" in text
    assert "Zahler" not in text


@pytest.mark.feature("N18", "C16")
@pytest.mark.parametrize("given", ["what came", "what went"])
def test_returned_money_stops_the_shipment(merchant: Merchant, shop: Shop, given: str) -> None:
    order = make_order(shop, total="30.00")
    came = make_posting(merchant, "50.00", is_returned=True)
    went = make_posting(
        merchant,
        "-50.00",
        counterparty_name="Musterbank",
        booking_date=date(2026, 3, 12),
        is_return=True,
        return_reason="AC04",
        returns_id=came.id,
    )
    booked = book(order, "30.00", came)
    book(order, "-30.00", came, "return", reverses_id=booked.id)
    db.session.add(told_update(order, "unpaid"))
    posting = came if given == "what came" else went
    assert tell_of_order("payment_returned", order, posting, AT)
    assert not tell_of_order("payment_returned", order, posting, AT)
    text = text_of(only("payment_returned"))
    for part in (
        "bitte halten Sie den Versand an",
        "Betrag: 30,00 €",
        "Zahler: Erika Mustermann",
        "Zurückgegeben am: 12.03.2026",
        "Grund der Bank: Konto aufgelöst (AC04)",
        "Die Bestellung ist wieder offen",
        "Jetzt offen: 30,00 €",
        "Ihrem Shop meldet Kontor das auch",
    ):
        assert part in text


@pytest.mark.feature("N18", "K28")
@pytest.mark.parametrize(("claims", "open_now"), [("on", "32,00 €"), ("off", "30,00 €")])
def test_returned_money_leaves_the_fees_open_where_they_are_claimed(
    merchant: Merchant, shop: Shop, claims: str, open_now: str
) -> None:
    change_setting(merchant.id, "invoice.claim_fees", claims, actor="anna@example.org", at=AT)
    order = make_order(shop, total="30.00", payment_method="invoice", shop_status="processing")
    order.fee_total = Decimal("2.00")
    came = make_posting(merchant, "32.00", return_reason=None)
    assert tell_of_order("payment_returned", order, came, AT)
    assert f"Jetzt offen: {open_now}" in text_of(only("payment_returned"))


def test_returned_money_that_the_shop_never_heard_of(merchant: Merchant, shop: Shop) -> None:
    order = make_order(shop, total="30.00")
    came = make_posting(merchant, "30.00", return_reason=None)
    book(order, "30.00", make_posting(merchant, "30.00"))  # and it is paid all the same
    assert tell_of_order("payment_returned", order, came, AT)
    text = text_of(only("payment_returned"))
    assert "In Ihren Shop wurde deswegen nichts geschrieben" in text
    for gone in ("wieder offen", "Jetzt offen", "Grund der Bank"):
        assert gone not in text


def test_reasons_of_banks() -> None:
    assert return_reason("MD06", "en") == "the payer objected (MD06)"
    assert return_reason("Konto erloschen", "de") == "Konto erloschen"
    assert return_reason(None, "de") == ""


# --- to the merchant, once a day ---------------------------------------------------------------


@pytest.mark.feature("K41", "K43")
def test_what_waits_is_told_once_a_day(merchant: Merchant, shop: Shop) -> None:
    order = make_order(shop)
    posting = make_posting(merchant, "50.00", "Danke " + "sehr " * 40)
    book(order, "20.00", posting)
    other = make_posting(merchant, "7.00", counterparty_name=None, booking_date=date(2026, 3, 6))
    assert tell_of_unassigned(merchant.id, [posting, other], AT, {posting.id: "AA-7"})
    mail = only("postings_need_you")
    text = text_of(mail)
    for part in (
        "2 Zahlungen warten auf Ihre Zuordnung",
        "06.03.2026: 7,00 € 05.03.2026: 30,00 €, Erika Mustermann",
        "Vielleicht Bestellung AA-7",
        "Danke sehr sehr",
    ):
        assert part in text
    assert "weitere" not in text
    assert {len(one["purpose"]) for one in mail.facts["postings"]} == {0, PURPOSE_LENGTH}
    third = make_posting(merchant, "8.00")
    assert not tell_of_unassigned(merchant.id, [third], AT + timedelta(hours=13))
    assert len(mails("postings_need_you")) == 1


@pytest.mark.feature("K41")
def test_the_day_is_the_merchants(merchant: Merchant) -> None:
    """AT is 10 o'clock in Berlin; 13 hours later it is 23, 14 hours later the next day."""
    posting = make_posting(merchant)
    assert tell_of_unassigned(merchant.id, [posting], AT)
    assert not tell_of_unassigned(merchant.id, [posting], AT + timedelta(hours=13))
    assert tell_of_unassigned(merchant.id, [posting], AT + timedelta(hours=14))


@pytest.mark.feature("K41")
def test_the_next_day_tells_what_came_since_and_counts_the_rest(merchant: Merchant) -> None:
    known = make_posting(merchant, "1.00", needs_match=False, created_at=AT)
    assert tell_of_unassigned(merchant.id, [known], AT)
    later = AT + timedelta(hours=2)
    make_posting(merchant, "2.00", needs_match=False, created_at=later)  # after the mail
    make_posting(merchant, "3.00", needs_match=True, created_at=later)  # may yet be assigned
    make_posting(merchant, "4.00", is_open=False, needs_match=False, created_at=later)
    fresh = make_posting(merchant, "5.00", created_at=AT + NIGHT)
    assert tell_of_unassigned(merchant.id, [fresh], AT + NIGHT)
    facts = mails("postings_need_you")[-1].facts
    assert [one["amount"] for one in facts["postings"]] == ["5,00\u00a0€", "2,00\u00a0€"]
    assert (facts["count"], facts["rest"]) == ("3", "1")
    assert not tell_of_unassigned(merchant.id, [], AT + 2 * NIGHT)


@pytest.mark.feature("K41")
def test_many_are_counted_and_the_newest_listed(merchant: Merchant) -> None:
    postings = [make_posting(merchant, f"{one}.00") for one in range(1, LISTED_POSTINGS + 5)]
    assert tell_of_unassigned(merchant.id, postings, AT)
    mail = only("postings_need_you")
    assert [one["amount"] for one in mail.facts["postings"]][:2] == ["14,00\u00a0€", "13,00\u00a0€"]
    assert len(mail.facts["postings"]) == LISTED_POSTINGS
    assert "und 4 weitere" in text_of(mail)


def test_one_alone_and_its_first_suggestion(merchant: Merchant, shop: Shop) -> None:
    orders = [make_order(shop), make_order(shop)]
    posting = make_posting(merchant, "39.80")
    parts = [{"order_id": order.id, "amount": "19.90"} for order in orders]
    for rank, offered in ((0, parts), (1, parts[:1])):
        row = Suggestion(
            merchant_id=merchant.id,
            posting_id=posting.id,
            rank=rank,
            orders=offered,
            probability=Decimal("0.5"),
        )
        db.session.add(row)
    db.session.commit()
    assert tell_of_unassigned(merchant.id, [posting], AT)
    text = text_of(only("postings_need_you"))
    assert "1 Zahlung wartet auf" in text
    assert f"Vielleicht Bestellung {orders[0].number}, {orders[1].number}" in text


@pytest.mark.feature("K44")
def test_who_ignores_the_unassigned_hears_nothing(merchant: Merchant) -> None:
    db.session.add(IgnoreRule(merchant_id=merchant.id, kind="unassigned", value=""))
    db.session.commit()
    assert not tell_of_unassigned(merchant.id, [make_posting(merchant)], AT)


def test_nothing_of_another_merchant_is_told(merchant: Merchant) -> None:
    stranger = make_merchant("Bobs Laden")
    make_user(stranger, "bob@example.org")
    foreign = make_posting(stranger, "99.00", needs_match=False)
    assert not tell_of_unassigned(merchant.id, [foreign], AT)
    order = make_order(make_shop(stranger))
    book(order, "0.05", origin="difference", because="tolerance")
    assert not tell_of_differences(merchant.id, AT - NIGHT, AT)


@pytest.mark.feature("K21", "C7")
def test_differences_are_told_once_a_day(merchant: Merchant, shop: Shop) -> None:
    order = make_order(shop, total="19.90")
    came = paid_by(merchant, order, "19.85")
    book(order, "0.05", origin="difference", because="tolerance", completes_id=came.id)
    assert tell_of_differences(merchant.id, AT - NIGHT, AT)
    text = text_of(only("differences_booked"))
    for part in (
        "Mit Abweichung bezahlt: 1 Bestellung",
        f"Bestellung {order.number}: \u22120,05 € (in Ihrer Toleranz), Erika Mustermann",
        "Eingegangen 19,85 €",
    ):
        assert part in text
    later = make_order(shop, total="10.00")
    book(later, "-0.02", origin="difference", because="other", created_at=AT + timedelta(hours=1))
    assert not tell_of_differences(merchant.id, AT - NIGHT, AT + timedelta(hours=2))
    assert tell_of_differences(merchant.id, AT - NIGHT, AT + NIGHT)
    (line,) = mails("differences_booked")[-1].facts["differences"]
    assert (line["order_number"], line["difference"]) == (later.number, "+0,02\u00a0€")
    assert (line["amount"], line["because"]) == ("", "anderer Grund")
    assert not tell_of_differences(merchant.id, AT - NIGHT, AT + 2 * NIGHT)


def test_what_was_undone_or_is_older_is_no_difference(merchant: Merchant, shop: Shop) -> None:
    order = make_order(shop)
    undone = book(order, "0.05", origin="difference", because="tolerance")
    book(order, "-0.05", origin="difference", because="tolerance", reverses_id=undone.id)
    book(order, "0.03", origin="difference", because="tolerance", created_at=AT - 2 * NIGHT)
    assert not tell_of_differences(merchant.id, AT - NIGHT, AT)


def test_many_differences_are_counted(merchant: Merchant, shop: Shop) -> None:
    order = make_order(shop)
    for _ in range(LISTED_DIFFERENCES + 3):
        book(order, "0.01", origin="difference", because="bank_fee")
    assert tell_of_differences(merchant.id, AT - NIGHT, AT)
    mail = only("differences_booked")
    assert len(mail.facts["differences"]) == LISTED_DIFFERENCES
    assert "und 3 weitere" in text_of(mail)


def test_everyone_reads_their_own_language(merchant: Merchant, shop: Shop) -> None:
    bob = make_user(merchant, "bob@example.org")
    bob.language = "en"
    db.session.commit()
    assert tell_of_unassigned(merchant.id, [make_posting(merchant)], AT)
    subjects = {mail.recipient: preview_mail(mail).subject for mail in mails("postings_need_you")}
    assert subjects == {
        "anna@example.org": "1 Zahlung wartet auf Ihre Zuordnung",
        "bob@example.org": "1 payment waits for you to assign",
    }


def test_without_anybody_to_tell_nothing_is_written(app: Flask) -> None:
    merchant = make_merchant()
    assert not tell_of_unassigned(merchant.id, [make_posting(merchant)], AT)
