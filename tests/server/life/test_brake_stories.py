"""What keeps mails back, what a changed setting does, and what customers say (K66, K22, S61)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import event

from server.db import db
from server.mail.models import Mail
from server.merchants.service import change_setting, decide_change, settings_of, waiting_changes
from server.orders.brakes import NOBODY_TO_TEST, STOPPED, hold_back
from server.orders.claims import ProofFile, claim_paid, claims_of, proof_of, proofs_of
from server.orders.effects import settings_changed
from server.orders.ledger import NotPossible
from server.orders.lifecycle import block_reminders, send_payment_information
from server.orders.links import page_url, read_token
from server.orders.models import OrderEvent
from server.shops.service import lease_updates, shops_with_due_updates
from tests.factories import AT, make_merchant, make_shop, make_user
from tests.server.life.steps import (
    ANNA,
    LATER,
    PAID_AT,
    asked,
    mails,
    pay,
    push,
    pushed,
    send_all,
    updates,
    wishes,
)

PDF = ProofFile("Überweisung.pdf", b"%PDF-1.7\n%invented\n")


# --- test mode and stop ------------------------------------------------------------------------


@pytest.mark.feature("K66")
def test_in_test_mode_mails_go_to_the_merchant_and_the_shop_hears_nothing(merchant, shop):
    wishes(merchant, shop, mode="test")
    _, order = pushed(shop)
    (mail,) = mails(order)
    assert hold_back([mail]) == []
    assert (mail.redirected_to, mail.recipient) == (ANNA, "erika@example.org")
    pay(merchant, order)
    assert (order.payment_status, updates(order)) == ("paid", [])
    wishes(merchant, shop, mode="live")
    hold_back([mail])
    assert mail.redirected_to is None


@pytest.mark.feature("K66")
def test_whoever_gets_the_tests_of_a_batch_is_asked_for_once(merchant, shop):
    wishes(merchant, shop, mode="test")
    stranger = make_merchant("Bobs Laden")
    other = make_shop(stranger, "Bob")
    wishes(stranger, other, mode="test")
    batch = [mail for one in (shop, shop, other, other) for mail in mails(pushed(one)[1])]
    asked_for: list[str] = []

    def note(connection, cursor, statement, *rest):
        asked_for.extend([statement] if 'FROM "user"' in statement else [])

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        assert hold_back(batch) == batch[2:]
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    assert [mail.redirected_to for mail in batch] == [ANNA, ANNA, None, None]
    assert len(asked_for) == 2, "once a merchant"


@pytest.mark.feature("K66")
def test_a_test_that_nobody_can_read_is_withheld(app):
    merchant = make_merchant()
    shop = make_shop(merchant)
    wishes(merchant, shop, mode="test")
    (mail,) = mails(pushed(shop)[1])
    assert hold_back([mail]) == [mail]
    assert (mail.status, mail.error) == ("withheld", NOBODY_TO_TEST)


@pytest.mark.feature("S1")
def test_the_stop_switch_holds_every_mail_to_a_customer_until_it_is_off(merchant, shop):
    wishes(merchant, stop_mails="on")
    _, order = pushed(shop)
    _, paid = pushed(shop)
    held = [*mails(order), *mails(paid)]
    assert hold_back(held) == held
    assert {mail.error for mail in held} == {STOPPED}
    db.session.commit()
    wishes(merchant, stop_mails="off")
    settings_changed(merchant.id, None, ["stop_mails"], actor=ANNA, at=LATER)
    db.session.commit()
    db.session.expire_all()
    assert asked(order) == [("erika@example.org", "queued")]


def stop(merchant, order):
    """All mails are stopped, and the worker has found those that waited."""
    wishes(merchant, stop_mails="on")
    assert hold_back([mail for mail in mails(order) if mail.status == "queued"])
    db.session.commit()


def go_on(merchant):
    wishes(merchant, stop_mails="off")
    settings_changed(merchant.id, None, ["stop_mails"], actor=ANNA, at=LATER)
    db.session.commit()
    db.session.expire_all()


@pytest.mark.feature("S1", "S37")
def test_a_stopped_mail_says_what_is_true_when_it_goes_out(merchant, shop):
    raw, order = pushed(shop)
    stop(merchant, order)
    push(shop, {**raw, "total": "12.50"}, LATER)
    go_on(merchant)
    (mail,) = mails(order)
    assert (mail.status, mail.facts["amount_due"]) == ("queued", "12,50\xa0€")


@pytest.mark.feature("S1")
def test_a_stopped_mail_does_not_ask_for_what_was_paid_in_part_meanwhile(merchant, shop):
    _, order = pushed(shop)
    stop(merchant, order)
    pay(merchant, order, "10.00")
    go_on(merchant)
    assert [(mail.kind, mail.status) for mail in mails(order)] == [
        ("payment_information", "withheld"),
        ("partially_paid", "queued"),
    ]


@pytest.mark.feature("S1", "S82")
def test_a_stopped_reminder_stays_away_when_reminders_are_blocked_meanwhile(merchant, shop):
    _, order = pushed(shop)
    send_all(order)
    reminder = mails(order)[0]
    reminder.kind, reminder.status = "reminder", "queued"
    db.session.commit()
    stop(merchant, order)
    block_reminders(merchant.id, order.id, actor=ANNA, at=LATER)
    go_on(merchant)
    assert [mail.status for mail in mails(order)] == ["withheld"]


@pytest.mark.feature("S1")
def test_the_switch_is_one_merchants_own(merchant, shop):
    other = make_merchant("Bob")
    wishes(other, stop_mails="on")
    assert hold_back(mails(pushed(shop)[1])) == []


# --- what a change does at once ----------------------------------------------------------------


@pytest.mark.feature("K22")
def test_asking_at_once_after_all_includes_the_last_six_hours(merchant, shop):
    wishes(merchant, invoice__ask_when="with_invoice")
    at = AT + timedelta(hours=7)
    _, early = pushed(shop, AT, payment_method="invoice")
    _, late = pushed(shop, at - timedelta(hours=5), payment_method="invoice")
    wishes(merchant, invoice__ask_when="at_once")
    settings_changed(merchant.id, None, ["invoice.ask_when"], actor=ANNA, at=at)
    db.session.commit()
    assert (len(asked(early)), len(asked(late))) == (0, 1)


@pytest.mark.feature("K28")
def test_fees_that_are_claimed_leave_the_order_partially_paid(merchant, shop):
    """Off by default: a payment without the fee is paid, and one with it is not too much."""
    _, order = pushed(shop, payment_method="invoice")
    order.fee_total = 5
    db.session.commit()
    pay(merchant, order)
    assert order.payment_status == "paid"
    wishes(merchant, invoice__claim_fees="on")
    settings_changed(merchant.id, None, ["invoice.claim_fees"], actor=ANNA, at=LATER)
    db.session.commit()
    assert order.payment_status == "partially_paid"


@pytest.mark.feature("K28", "S76")
@pytest.mark.parametrize(("claims", "amount"), [("off", "19,90"), ("on", "24,90")])
def test_who_is_asked_once_more_is_asked_for_claimed_fees_too(merchant, shop, claims, amount):
    """Else he pays what he was asked for, and the order is not paid."""
    wishes(merchant, invoice__claim_fees=claims)
    _, order = pushed(shop, payment_method="invoice")
    send_all(order)
    order.fee_total = 5
    db.session.commit()
    send_payment_information(merchant.id, order.id, actor=ANNA, at=LATER)
    assert mails(order)[-1].facts["amount_due"] == f"{amount}\xa0€"


@pytest.mark.feature("K28")
def test_a_payment_with_the_fee_is_paid_exactly(merchant, shop):
    _, order = pushed(shop, payment_method="invoice")
    order.fee_total = 5
    db.session.commit()
    pay(merchant, order, "24.90")
    assert order.payment_status == "paid"
    assert [mail.kind for mail in mails(order)] == ["payment_information", "payment_received"]


@pytest.mark.feature("N21")
def test_what_may_hurt_customers_waits_for_a_second_person(merchant):
    make_user(merchant, "max@example.org")
    wishes(merchant, approve_changes="on")
    change_setting(merchant.id, "prepayment.cancel_after_days", "1", actor=ANNA, at=AT)
    assert settings_of(merchant.id).prepayment.cancel_after_days == 0
    (waiting,) = waiting_changes(merchant.id)
    with pytest.raises(ValueError, match="setting_change_own"):
        decide_change(merchant.id, waiting.id, agrees=True, actor=ANNA, at=AT)
    decide_change(merchant.id, waiting.id, agrees=True, actor="max@example.org", at=AT)
    assert settings_of(merchant.id).prepayment.cancel_after_days == 1
    assert waiting_changes(merchant.id) == []
    change_setting(merchant.id, "approve_changes", "off", actor=ANNA, at=AT)
    assert settings_of(merchant.id).approve_changes, "that too"


@pytest.mark.feature("N21")
def test_who_is_alone_needs_nobody(merchant):
    wishes(merchant, approve_changes="on", prepayment__cancel_after_days="9")
    assert settings_of(merchant.id).prepayment.cancel_after_days == 9


# --- "I have paid" -----------------------------------------------------------------------------


@pytest.mark.feature("S61")
def test_who_says_that_he_has_paid_is_left_in_peace_for_some_days(merchant, shop):
    _, order = pushed(shop)
    claim_paid(order, paid_on=date(2026, 3, 1), message="Gestern!", proof=PDF, at=LATER)
    db.session.commit()
    assert order.paused_until == date(2026, 3, 7)
    (claim,) = claims_of(order.id)
    (proof,) = proofs_of(order.id)
    assert (claim.message, proof.media_type, proof.filename) == (
        "Gestern!",
        "application/pdf",
        "Überweisung.pdf",
    )
    notice = db.session.query(Mail).filter_by(kind="customer_says_paid").one()
    assert (notice.recipient, notice.facts["has_proof"]) == (ANNA, "yes")
    assert proof_of(make_merchant("Bob").id, order.id, proof.id) is None


@pytest.mark.feature("S61")
@pytest.mark.parametrize(
    ("file", "why"),
    [
        (ProofFile("a.pdf", b"MZ\x90\x00 not a PDF"), "proof_of_no_kind"),
        (ProofFile("a.exe", b"%PDF-1.7"), "proof_of_no_kind"),
        (ProofFile("a.svg", b"<svg onload='alert(1)'>"), "proof_of_no_kind"),
        (ProofFile("a.pdf", b"%PDF-" + bytes(10 * 1024 * 1024)), "proof_too_large"),
    ],
)
def test_only_pdf_jpeg_and_png_of_ten_megabytes(shop, file, why):
    _, order = pushed(shop)
    with pytest.raises(NotPossible, match=why):
        claim_paid(order, paid_on=None, message="", proof=file, at=LATER)


@pytest.mark.feature("S61")
def test_the_number_of_words_and_files_has_an_end(shop):
    _, order = pushed(shop)
    with pytest.raises(NotPossible, match="claim_too_many|proof_too_many"):
        for _ in range(20):
            claim_paid(order, paid_on=None, message="x" * 5000, proof=PDF, at=LATER)
    assert len(claims_of(order.id)[0].message) == 1000


@pytest.mark.feature("S61")
def test_a_day_that_is_to_come_and_a_paid_order_are_refused(merchant, shop):
    _, order = pushed(shop)
    with pytest.raises(NotPossible, match="claim_date_impossible"):
        claim_paid(order, paid_on=date(2026, 3, 4), message="", proof=None, at=LATER)
    pay(merchant, order)
    with pytest.raises(NotPossible, match="claim_not_owing"):
        claim_paid(order, paid_on=None, message="", proof=None, at=LATER)


@pytest.mark.feature("S61")
def test_the_link_is_signed(shop):
    _, order = pushed(shop)
    token = page_url(order).rpartition("/")[2]
    assert read_token(token) == order.id
    for forged in (token[:-1], token + "x", "x" * 500, "", str(order.id)):
        assert read_token(forged) is None
    assert "erika" not in token
    assert db.session.query(OrderEvent).filter_by(kind="claimed_paid").count() == 0


@pytest.mark.feature("K66")
def test_what_waited_for_the_shop_waits_on_while_it_is_in_test_mode(merchant, shop):
    _, order = pushed(shop)
    pay(merchant, order)
    assert updates(order) == [("paid", "queued")]
    wishes(merchant, shop, mode="test")
    assert (lease_updates(shop, 10, PAID_AT), shops_with_due_updates({shop.id}, PAID_AT)) == (
        [],
        set(),
    )
    wishes(merchant, shop, mode="live")
    assert [row.order_id for row in lease_updates(shop, 10, PAID_AT)] == [order.id]
