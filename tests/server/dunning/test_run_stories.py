"""Runs: once a day by themselves or by hand, twice as good as once, with a brake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from server.clock import begin
from server.db import db
from server.dunning import runs
from server.dunning.models import DunningRun
from server.dunning.runs import ask_run, begin_daily_runs, release_run, step
from server.dunning.service import run_order
from server.jobs import drain_dunning_run
from server.mail.models import Mail
from server.orders.brakes import STOPPED
from server.orders.ledger import NotPossible
from server.orders.lifecycle import reopen_order, take_from_collection
from server.orders.service import assign, mark_as_paid
from server.shops.models import PaymentUpdate
from tests.factories import make_merchant, make_posting, make_shop
from tests.server.dunning.steps import (
    ANNA,
    MONDAY,
    bank_is_heard,
    day,
    events_of,
    mails_of,
    merchant_of,
    notices_of,
    order_of,
    play,
    reminders_of,
    run_at,
    run_daily,
    sent_on,
    set_to,
)

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def runs_of(merchant):
    return db.session.query(DunningRun).filter_by(merchant_id=merchant.id).all()


# --- twice is as good as once --------------------------------------------------------------------


def test_a_mail_that_was_stopped_when_that_had_just_ended_goes_out_after_the_next_run(
    merchant, shop
):
    order = order_of(shop)
    (mail,) = mails_of(order)
    mail.withhold(STOPPED)
    db.session.commit()
    run_at(merchant, day(1))
    assert mail.status == "done"


@pytest.mark.feature("S84")
def test_a_run_by_hand_does_the_same_and_a_second_one_does_nothing(merchant, shop):
    order, other = order_of(shop), order_of(shop)
    first = run_at(merchant, day(7), actor=ANNA)
    assert (first.did, first.looked_at, first.origin) == ({"reminder": 2}, 2, "person")
    second = run_at(merchant, day(7), actor=ANNA)
    assert (second.did, second.hindered) == ({}, {})
    assert sent_on(order) == sent_on(other) == [7]
    assert reminders_of(order)[0].run_id == first.id
    assert len(mails_of(order, "reminder")) == 1


@pytest.mark.feature("S84")
def test_who_asks_while_one_is_on_its_way_gets_that_one(merchant, shop):
    first = ask_run(merchant.id, actor=ANNA, at=day(7))
    assert ask_run(merchant.id, actor="", at=day(7)).id == first.id


@pytest.mark.feature("S84")
def test_a_run_for_one_order_does_what_is_due_for_it_and_nothing_else(merchant, shop):
    order, other = order_of(shop), order_of(shop)
    bank_is_heard(merchant, day(7))
    assert run_order(merchant.id, order.id, actor=ANNA, at=day(6)) is None
    assert run_order(merchant.id, order.id, actor=ANNA, at=day(7)).level == 1
    assert run_order(merchant.id, order.id, actor=ANNA, at=day(7)) is None
    assert (sent_on(order), sent_on(other)) == ([7], [])


@pytest.mark.feature("S84", "N5")
def test_a_run_for_one_order_says_what_holds_it_back(merchant, shop):
    order = order_of(shop)
    with pytest.raises(NotPossible, match="reminder_stale_bank"):
        run_order(merchant.id, order.id, actor=ANNA, at=day(7))


def test_a_run_goes_on_where_it_stopped(merchant, shop, monkeypatch):
    monkeypatch.setattr(runs, "LOOKED_AT_ONCE", 2)
    monkeypatch.setattr(runs, "DONE_AT_ONCE", 2)
    orders = [order_of(shop) for _ in range(5)]
    bank_is_heard(merchant, day(7))
    run = ask_run(merchant.id, actor="", at=day(7))
    db.session.commit()
    for _ in range(4):
        assert step(run, day(7))
        db.session.commit()
    assert [len(sent_on(order)) for order in orders] == [1, 1, 0, 0, 0]
    run_id = run.id
    db.session.expire_all()  # another worker takes it
    play(db.session.get_one(DunningRun, run_id), day(7))
    assert [sent_on(order) for order in orders] == [[7]] * 5
    found = db.session.get_one(DunningRun, run_id)
    assert (found.did, found.looked_at, found.status) == ({"reminder": 5}, 5, "done")


def test_a_worker_does_the_run_that_waits(app, merchant, shop):
    ask_run(merchant.id, actor="", at=MONDAY)
    db.session.commit()
    assert drain_dunning_run() is False
    (run,) = runs_of(merchant)
    assert run.status == "done" and run.finished_at is not None


def test_an_order_of_which_no_mail_can_be_made_stops_nobody_else(merchant, shop):
    order, other = order_of(shop), order_of(shop)
    order.wire = {name: value for name, value in order.wire.items() if name != "currency"}
    db.session.commit()
    run = run_at(merchant, day(7))
    assert (run.did, run.hindered) == ({"reminder": 1}, {"impossible": 1})
    assert (sent_on(order), sent_on(other)) == ([], [7])


# --- once a day ----------------------------------------------------------------------------------


def test_the_daily_run_begins_at_the_merchants_hour_once_in_his_day(merchant, shop):
    assert begin_daily_runs(utc("2026-03-02T07:59")) == 0  # 8:59 in Berlin
    assert begin_daily_runs(utc("2026-03-02T08:00")) == 1
    assert begin_daily_runs(utc("2026-03-02T08:01")) == 0
    assert begin_daily_runs(utc("2026-03-02T22:59")) == 0
    assert begin_daily_runs(utc("2026-03-02T23:30")) == 0  # after midnight, before the hour
    assert begin_daily_runs(utc("2026-03-03T08:00")) == 1
    assert [run.run_date.day for run in runs_of(merchant)] == [2, 3]


def test_the_hour_is_a_setting_and_a_merchant_without_shop_has_no_run(merchant, shop):
    make_merchant("Ohne Laden")
    set_to(shop, run_hour="14")
    assert begin_daily_runs(utc("2026-03-02T12:30")) == 0
    assert begin_daily_runs(utc("2026-03-02T13:00")) == 1


def test_each_merchant_has_his_own_zone(merchant, shop):
    far = make_merchant("Übersee")
    far.timezone = "America/New_York"
    make_shop(far)
    assert begin_daily_runs(utc("2026-03-02T08:00")) == 1
    assert begin_daily_runs(utc("2026-03-02T14:00")) == 1
    assert [run.run_date.day for run in runs_of(far)] == [2]


@pytest.mark.parametrize(("first", "hour"), [("2026-03-28T00:00", "2"), ("2026-10-24T00:00", "2")])
def test_when_the_clocks_change_there_is_still_one_run_a_date(merchant, shop, first, hour):
    set_to(shop, run_hour=hour)
    moment = utc(first)
    for _ in range(3 * 24 * 4):
        begin_daily_runs(moment)
        moment += 15 * MINUTE
    dates = [run.run_date for run in runs_of(merchant)]
    assert len(dates) == len(set(dates)) == 3


def test_the_clock_begins_them(app, merchant, shop):
    assert begin(utc("2026-03-02T12:00")) == 1
    assert begin(utc("2026-03-02T12:01")) == 0


def test_after_five_days_without_the_server_one_level_goes_out(merchant, shop):
    set_to(shop, prepayment__reminders=3, prepayment__reminder_2_days=1)
    order = order_of(shop)
    assert begin_daily_runs(day(12)) == 1, "what was missed is not made up for"
    bank_is_heard(merchant, day(12))
    (run,) = runs_of(merchant)
    play(run, day(12))
    assert sent_on(order) == [], "a Saturday"
    run_at(merchant, day(14))
    assert sent_on(order) == [14]


# --- the brake -----------------------------------------------------------------------------------


def test_far_more_than_usual_waits_for_a_click_and_the_merchant_hears_of_it(
    merchant, shop, monkeypatch
):
    monkeypatch.setattr(runs, "FREE_MAILS", 3)
    orders = [order_of(shop) for _ in range(4)]
    run = run_at(merchant, day(7))
    assert run.status == "withheld"
    assert all(not reminders_of(order) for order in orders)
    (mail,) = notices_of(merchant, "run_waits")
    assert (mail.facts["count"], mail.facts["usual"]) == ("4", "0")
    release_run(merchant.id, run.id, actor=ANNA, at=day(8))
    db.session.commit()
    bank_is_heard(merchant, day(8))
    play(run, day(8))
    assert (run.status, run.released_by) == ("done", ANNA)
    assert [sent_on(order) for order in orders] == [[8]] * 4
    with pytest.raises(NotPossible, match="run_does_not_wait"):
        release_run(merchant.id, run.id, actor=ANNA, at=day(8))


def test_of_runs_that_wait_only_the_newest_does(merchant, shop, monkeypatch):
    monkeypatch.setattr(runs, "FREE_MAILS", 0)
    order_of(shop)
    first, second = run_at(merchant, day(7)), run_at(merchant, day(8))
    db.session.refresh(first)
    assert (first.status, first.error) == ("withheld", runs.REPLACED)
    assert second.error == runs.TOO_MANY
    with pytest.raises(NotPossible, match="run_does_not_wait"):
        release_run(merchant.id, first.id, actor=ANNA, at=day(8))


def test_what_is_usual_is_the_median_of_the_last_runs_that_sent_anything(
    merchant, shop, monkeypatch
):
    monkeypatch.setattr(runs, "FREE_MAILS", 3)
    for count in (1, 0, 1, 9):
        db.session.add(
            DunningRun(
                merchant_id=merchant.id,
                run_date=MONDAY.date(),
                origin="person",
                status="done",
                did={"reminder": count, "collection": 50},
            )
        )
    for _ in range(10):
        order_of(shop)
    assert run_at(merchant, day(7)).did == {"reminder": 10}, "ten times one is not more"
    for _ in range(51):
        order_of(shop)
    assert run_at(merchant, day(8)).status == "withheld", "of 10, 9, 1 and 1 it is 5"


def test_a_run_that_was_paid_meanwhile_sends_nothing_when_it_is_released(
    merchant, shop, monkeypatch
):
    monkeypatch.setattr(runs, "FREE_MAILS", 0)
    order = order_of(shop)
    run = run_at(merchant, day(7))
    mark_as_paid(merchant.id, order.id, actor=ANNA, at=day(8))
    release_run(merchant.id, run.id, actor=ANNA, at=day(8))
    db.session.commit()
    bank_is_heard(merchant, day(8))
    play(run, day(8))
    assert (run.did, reminders_of(order)) == ({}, [])


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.feature("S50", "S27", "K4")
def test_an_unpaid_prepayment_is_cancelled_and_all_hear_of_it(merchant, shop):
    set_to(shop, prepayment__cancel_after_days=14)
    order = order_of(shop)
    run_daily(merchant, 7, 13)
    db.session.refresh(order)
    assert (sent_on(order), order.payment_status) == ([7], "unpaid")
    run_at(merchant, day(14))
    db.session.refresh(order)
    assert (order.payment_status, events_of(order)[-1]) == ("cancelled", "status_changed")
    (update,) = db.session.query(PaymentUpdate).filter_by(order_id=order.id)
    assert update.intent == "cancelled"
    assert [mail.kind for mail in mails_of(order)][-1] == "order_cancelled"
    (mail,) = notices_of(merchant, "orders_cancelled")
    assert mail.facts["count"] == "1"
    assert mail.facts["orders"][0]["order_number"] == order.number
    run_at(merchant, day(15))
    assert len(notices_of(merchant, "orders_cancelled")) == 1


def test_an_order_that_a_person_reopened_is_not_cancelled_again_the_next_morning(merchant, shop):
    set_to(shop, prepayment__cancel_after_days=14)
    order = order_of(shop)
    run_daily(merchant, 7, 14)
    reopen_order(merchant.id, order.id, actor=ANNA, at=day(15))
    db.session.commit()
    run_daily(merchant, 15, 28)
    db.session.refresh(order)
    assert order.payment_status == "unpaid"
    run_at(merchant, day(29))
    db.session.refresh(order)
    assert order.payment_status == "cancelled"
    assert len(mails_of(order, "order_cancelled")) == 2


def test_an_order_that_was_taken_back_from_collection_stays_back(merchant, shop):
    set_to(shop, invoice__collect_after_days=45)
    order = order_of(shop, payment_method="invoice")
    run_daily(merchant, 21, 45)
    db.session.refresh(order)
    assert order.payment_status == "collection"
    take_from_collection(merchant.id, order.id, actor=ANNA, at=day(46))
    db.session.commit()
    run_daily(merchant, 47, 60)
    db.session.refresh(order)
    assert order.payment_status == "unpaid"


@pytest.mark.feature("K29")
def test_who_pays_at_the_door_is_asked_once_and_the_order_is_overdue_later(merchant, shop):
    set_to(
        shop,
        cash_on_delivery__ask_unpaid_after_days=14,
        cash_on_delivery__cancel_after_days=30,
    )
    order = order_of(shop, payment_method="cod")
    assert mails_of(order) == []
    run_daily(merchant, 14, 31)
    (mail,) = mails_of(order)
    assert (mail.kind, mail.created_at) == ("cod_enquiry", day(14))
    db.session.refresh(order)
    assert order.payment_status == "cancelled"
    (told,) = notices_of(merchant, "orders_cancelled")
    assert told.facts["orders"][0]["is_overdue"] == "yes"
    assert db.session.query(Mail).filter_by(kind="order_cancelled").count() == 0


@pytest.mark.feature("K6", "S64")
def test_an_overdue_invoice_is_handed_over_after_all_reminders(merchant, shop):
    set_to(shop, invoice__cancel_after_days=42, invoice__collect_after_days=64)
    order = order_of(shop, payment_method="invoice")
    run_daily(merchant, 21, 63)
    db.session.refresh(order)
    assert (sent_on(order), order.payment_status) == ([21, 31], "cancelled")
    run_daily(merchant, 64, 66)
    db.session.refresh(order)
    assert (order.payment_status, order.collection_at) == ("collection", day(64))
    (mail,) = notices_of(merchant, "orders_to_collection")
    assert mail.facts["count"] == "1"
    run_at(merchant, day(67))
    assert len(mails_of(order, "reminder", "dunning_notice")) == 2


def test_a_prepayment_that_is_partly_paid_is_not_cancelled_by_itself(merchant, shop):
    set_to(shop, prepayment__cancel_after_days=14, prepayment__reminders=0)
    order = order_of(shop)
    posting = make_posting(merchant_of(order), "5.00", needs_match=False)
    assign(merchant.id, posting.id, [(order.id, Decimal(5))], actor=ANNA, at=day(1))
    db.session.commit()
    run_daily(merchant, 14, 16)
    db.session.refresh(order)
    assert order.payment_status == "partially_paid"


def test_runs_of_one_merchant_leave_all_others_alone(merchant, shop):
    other = make_merchant("Bobs Buchladen")
    theirs = order_of(make_shop(other))
    mine = order_of(shop)
    bank_is_heard(other, day(7))
    run = run_at(merchant, day(7))
    assert run.looked_at == 1
    assert (sent_on(mine), sent_on(theirs)) == ([7], [])
