"""What holds reminders and the end of orders back: old data, a shop away, money that came."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from server.banking.models import BankAccount, BankConnection, Statement, StatementPeriod
from server.banking.service import heard_at
from server.db import db
from server.dunning.runs import ask_run, preview, preview_counts, step
from server.dunning.service import send_reminder
from server.mail.models import Mail
from server.orders.ledger import NotPossible
from server.orders.models import Suggestion
from server.shops.rules import SILENT_AFTER
from tests.factories import make_account, make_merchant, make_posting, make_shop
from tests.server.dunning.steps import (
    ANNA,
    MONDAY,
    bank_is_heard,
    day,
    mails_of,
    notices_of,
    order_of,
    play,
    reminders_of,
    run_at,
    send_mails,
    sent_on,
    set_to,
)

HOUR = timedelta(hours=1)
SECOND_IBAN = "DE02500105170137075030"


def file_of(merchant, account, read_at, *, to_date=None, status="done", is_pending=False):
    statement = Statement(
        merchant_id=merchant.id,
        filename="a.xml",
        content=b"x",
        size_bytes=1,
        content_hash=b"x" * 32,
        account_iban=account.iban,
        status=status,
        created_at=read_at,
        finished_at=read_at,
        is_pending=is_pending,
    )
    db.session.add(statement)
    db.session.flush()
    if to_date is not None:
        db.session.add(
            StatementPeriod(
                merchant_id=merchant.id,
                statement_id=statement.id,
                account_id=account.id,
                position=0,
                source="camt.053",
                from_date=to_date,
                to_date=to_date,
                booked_total=Decimal(0),
                is_complete=True,
            )
        )
    db.session.commit()
    return statement


# --- how fresh the bank's data is ----------------------------------------------------------------


@pytest.mark.feature("N5")
def test_a_file_is_as_fresh_as_its_last_day_and_never_fresher_than_it_was_read(app):
    merchant = make_merchant(account=False)
    account = make_account(merchant)
    assert heard_at(merchant.id) == {account.id: None}
    file_of(merchant, account, day(10), to_date=day(2).date())
    # The end of the Wednesday in Berlin.
    assert heard_at(merchant.id)[account.id].isoformat() == "2026-03-04T23:00:00+00:00"
    file_of(merchant, account, day(3), to_date=day(30).date())
    assert heard_at(merchant.id)[account.id].isoformat() == "2026-03-05T09:00:00+00:00"


@pytest.mark.feature("N5")
def test_a_file_that_names_no_days_is_as_fresh_as_its_newest_posting(app):
    merchant = make_merchant(account=False)
    account = make_account(merchant)
    statement = file_of(merchant, account, day(10))
    assert heard_at(merchant.id)[account.id] == day(10), "nothing in it: the moment it came"
    make_posting(merchant, "-1.00", statement_id=statement.id, booking_date=day(1).date())
    assert heard_at(merchant.id)[account.id].isoformat() == "2026-03-03T23:00:00+00:00"


def test_what_is_not_read_or_not_booked_yet_says_nothing(app):
    merchant = make_merchant(account=False)
    account = make_account(merchant)
    file_of(merchant, account, day(1), to_date=day(1).date(), status="failed")
    file_of(merchant, account, day(1), to_date=day(1).date(), is_pending=True)
    assert heard_at(merchant.id) == {account.id: None}


def test_a_fetch_counts_for_its_accounts_unless_the_bank_left_one_out(app):
    merchant = make_merchant(account=False)
    account, other = make_account(merchant), make_account(merchant, SECOND_IBAN)
    connection = BankConnection(
        merchant_id=merchant.id,
        bank_code="12030000",
        url="https://bank.example.org",
        user_name="anna",
        fetched_at=day(1),
        error=f"{SECOND_IBAN}: no longer yours",
    )
    db.session.add(connection)
    db.session.flush()
    account.connection_id = other.connection_id = connection.id
    db.session.commit()
    assert heard_at(merchant.id) == {account.id: day(1), other.id: None}


@pytest.mark.feature("S20", "N5")
def test_on_a_shared_account_the_operators_bank_counts(app):
    merchant, operator = make_merchant(account=False), make_merchant("Haus", account=False)
    mine, shared = make_account(merchant), make_account(operator)
    mine.shared_account_id = shared.id
    make_posting(operator, "-1.00", created_at=day(2))
    db.session.commit()
    assert heard_at(merchant.id) == {mine.id: day(2)}


# --- held back -----------------------------------------------------------------------------------


@pytest.mark.feature("N5")
def test_nothing_goes_out_on_old_bank_data_and_the_merchant_hears_why_once_a_day(merchant, shop):
    order = order_of(shop)
    bank_is_heard(merchant, day(1))
    for hours in (0, 1, 2):
        run = run_at(merchant, day(7) + hours * HOUR, hears_bank=False)
    assert reminders_of(order) == []
    assert (run.did, run.hindered) == ({}, {"stale_bank": 1})
    (mail,) = notices_of(merchant, "reminders_held")
    assert mail.facts["waiting_count"] == "1"
    assert mail.facts["reasons"][0]["subject"].startswith("DE02 1203")
    run_at(merchant, day(7) + 3 * HOUR)
    assert sent_on(order) == [7]


@pytest.mark.feature("N5")
def test_an_account_is_named_only_for_shops_whose_customers_pay_there(merchant, shop):
    strict = make_shop(merchant, "Antiquariat")
    first = db.session.query(BankAccount).filter_by(merchant_id=merchant.id).one()
    second = make_account(merchant, SECOND_IBAN)
    first.for_shops, second.for_shops = [shop.id], [strict.id]
    set_to(strict, bank_data_hours=1)
    order_of(strict)
    for account in (first, second):
        make_posting(merchant, "-1.00", account_id=account.id, created_at=day(6) + 20 * HOUR)
    run_at(merchant, day(7), hears_bank=False)
    (mail,) = notices_of(merchant, "reminders_held")
    assert [one["subject"][:7] for one in mail.facts["reasons"]] == ["DE02 50"]


@pytest.mark.feature("N5")
def test_what_lasts_is_told_when_it_begins_and_again_after_a_week(merchant, shop):
    order_of(shop)
    told = []
    for count in (7, 8, 9, 10, 14, 15):
        run_at(merchant, day(count), hears_bank=False)
        told.append(len(notices_of(merchant, "reminders_held")))
    assert told == [1, 1, 1, 1, 2, 2]


@pytest.mark.feature("N5")
def test_a_reminder_names_the_last_day_that_the_file_covers_and_not_the_next(app):
    merchant = make_merchant(account=False)
    account, shop = make_account(merchant), make_shop(merchant)
    order = order_of(shop)
    file_of(merchant, account, day(7), to_date=day(6).date())
    run_at(merchant, day(7), hears_bank=False)
    (mail,) = mails_of(order, "reminder")
    assert mail.facts["bank_as_of"] == "08.03.2026"


@pytest.mark.feature("N5")
def test_the_hours_of_a_weekend_do_not_make_data_old(merchant, shop):
    set_to(shop, bank_data_hours=24)
    order = order_of(shop)
    bank_is_heard(merchant, day(4.3))  # Friday afternoon
    run_at(merchant, day(7), hears_bank=False)
    assert sent_on(order) == [7]


@pytest.mark.feature("N5")
def test_only_the_account_counts_that_the_order_is_paid_to(merchant, shop):
    order = order_of(shop)
    other = make_account(merchant, SECOND_IBAN)
    other.is_payee = False
    make_posting(merchant, "-1.00", account_id=other.id, created_at=day(7))
    assert run_at(merchant, day(7), hears_bank=False).hindered == {"stale_bank": 1}
    assert reminders_of(order) == []


def test_without_an_account_nothing_goes_out(app):
    merchant = make_merchant(account=False)
    order_of(make_shop(merchant))
    assert preview_counts(merchant.id, day(7)) == ({}, {"stale_bank": 1})


@pytest.mark.feature("N5")
@pytest.mark.parametrize(
    ("over", "is_away"),
    [
        ({"status": "error"}, True),
        ({"status": "disabled"}, True),
        ({"connector": "woocommerce", "seen_at": day(7) - SILENT_AFTER - HOUR}, True),
        ({"connector": "woocommerce", "seen_at": day(7) - SILENT_AFTER / 2}, False),
        ({"connector": None, "seen_at": day(-30)}, False),
    ],
)
def test_nothing_goes_out_while_the_shop_cannot_be_reached(merchant, shop, over, is_away):
    order = order_of(shop)
    for name, value in over.items():
        setattr(shop, name, value)
    db.session.commit()
    run = run_at(merchant, day(7))
    assert run.hindered == ({"shop_away": 1} if is_away else {})
    assert sent_on(order) == ([] if is_away else [7])
    assert len(notices_of(merchant, "reminders_held")) == int(is_away)


@pytest.mark.feature("N5")
@pytest.mark.parametrize(("probability", "holds"), [("0.1", True), ("0.05", False)])
def test_nothing_goes_out_while_an_open_posting_looks_like_the_order(
    merchant, shop, probability, holds
):
    order, other = order_of(shop), order_of(shop)
    posting = make_posting(merchant, "19.00", needs_match=False)
    db.session.add(
        Suggestion(
            merchant_id=merchant.id,
            posting_id=posting.id,
            rank=3,
            orders=[{"order_id": order.id, "amount": "19.00"}],
            probability=Decimal(probability),
        )
    )
    db.session.commit()
    run_at(merchant, day(7))
    assert sent_on(order) == ([] if holds else [7])
    assert sent_on(other) == [7]
    posting.is_open = False
    db.session.commit()
    run_at(merchant, day(8))
    assert sent_on(order) == ([8] if holds else [7])


@pytest.mark.feature("N5")
def test_a_run_waits_for_the_matcher_an_hour_at_most_and_leaves_out_who_may_have_paid(
    merchant, shop
):
    order, other, third = order_of(shop), order_of(shop, total="5.00"), order_of(shop, total="7.00")
    bank_is_heard(merchant, day(7))
    make_posting(merchant, "5.00", "ohne Angabe")
    make_posting(merchant, "1.00", f"Bestellung {third.number} danke")
    run = ask_run(merchant.id, actor="", at=day(7))
    db.session.commit()
    assert step(run, day(7)) is False
    assert (run.status, run.due_at) == ("queued", day(7) + timedelta(minutes=1))
    assert reminders_of(order) == []
    play(run, day(7) + HOUR)
    assert run.status == "done"
    assert (sent_on(order), sent_on(other), sent_on(third)) == ([7], [], [])
    assert run.hindered == {"maybe_paid": 2}


def test_a_run_waits_for_a_file_that_is_not_read_yet(merchant, shop):
    account = make_account(merchant, SECOND_IBAN)
    file_of(merchant, account, day(7), status="queued")
    run = ask_run(merchant.id, actor="", at=day(7))
    assert step(run, day(7)) is False and run.status == "queued"


def test_the_stop_switch_and_the_shadow_hold_everything(merchant, shop):
    order = order_of(shop)
    set_to(shop, stop_mails="on")
    assert run_at(merchant, day(7)).hindered == {"stopped": 1}
    set_to(shop, stop_mails="off", assignment="shadow")
    assert run_at(merchant, day(7)).hindered == {"shadow": 1}
    assert reminders_of(order) == []
    assert notices_of(merchant, "reminders_held") == []


@pytest.mark.feature("N5", "S50")
def test_no_cancellation_on_old_data_either(merchant, shop):
    set_to(shop, prepayment__reminders=0, prepayment__cancel_after_days=7)
    order = order_of(shop)
    run_at(merchant, day(14), hears_bank=False)
    db.session.refresh(order)
    assert order.payment_status == "unpaid"
    run_at(merchant, day(14))
    db.session.refresh(order)
    assert order.payment_status == "cancelled"


def test_the_preview_names_what_would_happen_and_what_would_not(merchant, shop):
    order = order_of(shop)
    bank_is_heard(merchant, day(1))
    (due,) = preview(merchant.id, day(7), 10)
    assert (due.order.order_id, due.step.kind, due.hindered) == (order.id, "reminder", "stale_bank")
    bank_is_heard(merchant, day(7))
    assert preview_counts(merchant.id, day(7)) == ({"reminder": 1}, {})
    assert reminders_of(order) == [], "looking does nothing"


# --- by a person ---------------------------------------------------------------------------------


@pytest.mark.feature("S83")
def test_a_person_sends_the_next_level_whenever_he_wants_and_it_rises_by_one(merchant, shop):
    order = order_of(shop)
    bank_is_heard(merchant, day(2))
    first = send_reminder(merchant.id, order.id, actor=ANNA, at=day(2))
    send_mails(day(2))
    bank_is_heard(merchant, day(3))
    second = send_reminder(merchant.id, order.id, actor=ANNA, at=day(3))
    db.session.commit()
    assert [(first.level, first.actor), (second.level, second.actor)] == [(1, ANNA), (2, ANNA)]
    assert [mail.kind for mail in mails_of(order)[1:]] == ["reminder", "dunning_notice"]


@pytest.mark.feature("S83")
def test_two_clicks_on_one_day_are_one_reminder(merchant, shop):
    order = order_of(shop)
    bank_is_heard(merchant, day(2))
    send_reminder(merchant.id, order.id, actor=ANNA, at=day(2))
    db.session.commit()
    with pytest.raises(NotPossible, match="reminder_today"):
        send_reminder(merchant.id, order.id, actor=ANNA, at=day(2))
    assert len(reminders_of(order)) == 1


@pytest.mark.feature("S83", "N5")
def test_on_old_data_a_person_must_say_that_he_wants_it_all_the_same(merchant, shop):
    order = order_of(shop)
    with pytest.raises(NotPossible, match="reminder_stale_bank"):
        send_reminder(merchant.id, order.id, actor=ANNA, at=day(2))
    assert send_reminder(merchant.id, order.id, actor=ANNA, at=day(2), anyway=True).level == 1


def test_a_block_does_not_keep_a_person_from_it_but_a_stop_does(merchant, shop):
    order = order_of(shop)
    order.reminders_blocked_at = MONDAY
    db.session.commit()
    bank_is_heard(merchant, day(2))
    assert send_reminder(merchant.id, order.id, actor=ANNA, at=day(2)).level == 1
    db.session.commit()
    set_to(shop, stop_mails="on")
    with pytest.raises(NotPossible, match="reminder_stopped"):
        send_reminder(merchant.id, order.id, actor=ANNA, at=day(3), anyway=True)


@pytest.mark.feature("S83")
@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"payment_method": "cod"}, "reminder_no_transfer"),
        ({"customer": {"language": "de"}}, "reminder_no_email"),
        ({"total": "0.00"}, "reminder_not_owing"),
    ],
)
def test_what_cannot_be_reminded(merchant, shop, over, why):
    order = order_of(shop, **over)
    bank_is_heard(merchant, day(2))
    with pytest.raises(NotPossible, match=why):
        send_reminder(merchant.id, order.id, actor=ANNA, at=day(2), anyway=True)
    assert db.session.query(Mail).filter_by(kind="reminder").count() == 0


def test_the_fifth_is_the_last(merchant, shop):
    order = order_of(shop)
    for count in range(2, 7):
        bank_is_heard(merchant, day(count))
        send_reminder(merchant.id, order.id, actor=ANNA, at=day(count))
        send_mails(day(count))
    bank_is_heard(merchant, day(7))
    with pytest.raises(NotPossible, match="reminder_highest"):
        send_reminder(merchant.id, order.id, actor=ANNA, at=day(7))
