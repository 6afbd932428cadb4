"""Reminders by letter: beside the mail, alone, by hand; one level however it goes."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.db import db
from server.dunning.service import recount_fees, send_reminder
from server.letters.models import Letter
from server.mail.models import Mail
from server.matching.service import tell_of_the_day
from server.orders.brakes import STOPPED
from server.orders.charges import count_charges, miscounted
from server.orders.charges import reminders_of as levels_of
from server.orders.ledger import NotPossible
from server.orders.letter_actions import cancel, mail_as_letter
from server.orders.lifecycle import block_reminders
from server.orders.models import Order
from server.orders.service import mark_as_paid
from tests.server.dunning.steps import (
    ANNA,
    bank_is_heard,
    day,
    events_of,
    first_on,
    mails_of,
    order_of,
    plan_of,
    reminders_of,
    run_at,
    run_daily,
    sent_on,
    set_to,
)

OWN_FEES = {
    "invoice__charge_fees": "on",
    "invoice__fee_rule": "own",
    "invoice__fee_1": "2 EUR",
    "invoice__fee_2": "3 EUR",
}
NO_EMAIL = {"customer": {"language": "de"}}
INVOICE = {"payment_method": "invoice"}
BOTH = frozenset({"mail", "letter"})


def letters_of(order, *kinds) -> list[Letter]:
    db.session.expire_all()
    found = db.session.query(Letter).filter_by(order_id=order.id).order_by(Letter.id)
    return [letter for letter in found if not kinds or letter.kind in kinds]


def print_letters(at) -> None:
    for letter in db.session.query(Letter).filter_by(status="queued"):
        letter.succeed(at)
    db.session.commit()


def charged(order) -> Decimal:
    db.session.refresh(order)
    return order.fee_total


# --- by themselves -------------------------------------------------------------------------------


@pytest.mark.feature("S47")
def test_a_reminder_goes_by_letter_beside_its_mail_and_is_one_level(merchant, shop):
    set_to(shop, letter_reminder="always", **OWN_FEES)
    order = order_of(shop, **INVOICE)
    run_at(merchant, day(21))
    (row,) = reminders_of(order)
    (mail,), (letter,) = mails_of(order, "reminder"), letters_of(order)
    assert (row.mail_id, row.letter_id) == (mail.id, letter.id)
    assert letter.facts["amount_due"] == mail.facts["amount_due"] == "21,90\xa0€"
    assert charged(order) == 2, "once, not for each way"


@pytest.mark.feature("S47", "K60")
def test_the_kinds_have_settings_of_their_own_and_the_last_one_is_registered(merchant, shop):
    set_to(shop, invoice__reminders=3, letter_dunning_notice="always", letter_registered="on")
    order = order_of(shop, **INVOICE)
    run_daily(merchant, 21, 60)
    assert [(one.kind, one.is_registered) for one in letters_of(order)] == [
        ("dunning_notice", False),
        ("dunning_notice", True),
    ]
    assert letters_of(order)[-1].facts["is_last"] == "yes"


@pytest.mark.feature("K35", "S47")
def test_who_has_no_e_mail_is_reminded_by_letter_alone(merchant, shop):
    set_to(shop, letter_reminder="mail_failed", letter_payment_information="mail_failed")
    order = order_of(shop, **NO_EMAIL)
    print_letters(day(0))
    run_daily(merchant, 5, 9)
    assert sent_on(order) == [7]
    (row,) = reminders_of(order)
    assert (mails_of(order), row.mail_id, row.letter_id) == ([], None, letters_of(order)[-1].id)
    assert [one.kind for one in letters_of(order)] == ["payment_information", "reminder"]


def test_without_letters_an_order_without_e_mail_is_hindered_as_before(merchant, shop):
    order = order_of(shop, **NO_EMAIL)
    run_daily(merchant, 5, 9)
    assert (reminders_of(order), plan_of(order, day(9)).hindered) == ([], "no_email")


def test_a_chain_ends_where_the_next_kind_does_not_go_by_letter(merchant, shop):
    set_to(shop, letter_reminder="always", invoice__reminders=2)
    order = order_of(shop, **INVOICE, **NO_EMAIL)
    run_daily(merchant, 21, 22)
    plan = plan_of(order, day(22))
    assert sent_on(order) == [21]
    assert (first_on(plan, "reminder"), plan.hindered) == (None, "no_email")


@pytest.mark.feature("S49")
def test_the_gap_counts_from_when_the_letter_went(merchant, shop):
    set_to(shop, letter_reminder="always", letter_dunning_notice="always", prepayment__reminders=2)
    order = order_of(shop, **NO_EMAIL)
    run_at(merchant, day(7))
    run_daily(merchant, 8, 20)
    assert sent_on(order) == [7], "it still waits, so he has not read it"
    print_letters(day(20))
    run_daily(merchant, 21, 35)
    assert sent_on(order) == [7, 28], "a Monday after the week that it gave him"


# --- what charges --------------------------------------------------------------------------------


@pytest.mark.feature("K28", "N4")
def test_a_level_is_told_as_long_as_one_of_both_goes(merchant, shop):
    set_to(shop, letter_reminder="always", **OWN_FEES)
    order = order_of(shop, **INVOICE)
    run_at(merchant, day(21))
    (mail,), (letter,) = mails_of(order, "reminder"), letters_of(order)
    mail.delivery = "bounced"
    db.session.commit()
    recount_fees(merchant.id, day(22))
    assert charged(order) == 2, "the letter tells him"
    letter.status, letter.delivery = "done", "returned"
    db.session.commit()
    assert miscounted(merchant.id, 10) == [order.id]
    recount_fees(merchant.id, day(22))
    assert charged(order) == 0
    assert list(levels_of(order.id).lost) == [1], "reached, but nobody read it"


@pytest.mark.feature("S73", "N4")
def test_who_cancels_the_only_letter_takes_its_charge_back_and_the_next_run_writes_anew(
    merchant, shop
):
    set_to(shop, letter_reminder="always", **OWN_FEES)
    order = order_of(shop, **INVOICE, **NO_EMAIL)
    run_at(merchant, day(21))
    assert charged(order) == 2
    cancel(merchant.id, letters_of(order)[0].id, actor=ANNA, at=day(21))
    db.session.commit()
    assert charged(order) == 0
    run_at(merchant, day(22))
    assert [one.status for one in letters_of(order)] == ["withheld", "queued"]
    assert ([row.level for row in reminders_of(order)], charged(order)) == ([1], 2)


@pytest.mark.feature("N4")
def test_what_holds_back_mails_holds_back_their_letters(merchant, shop):
    set_to(shop, letter_reminder="always", **OWN_FEES)
    order = order_of(shop, **INVOICE, **NO_EMAIL)
    run_at(merchant, day(21))
    block_reminders(merchant.id, order.id, actor=ANNA, at=day(21))
    db.session.commit()
    assert [one.status for one in letters_of(order)] == ["withheld"]
    assert charged(order) == 0
    other = order_of(shop, **INVOICE, **NO_EMAIL)
    run_at(merchant, day(21))
    mark_as_paid(merchant.id, other.id, actor=ANNA, at=day(21))
    assert [one.status for one in letters_of(other)] == ["withheld"]


FATES = ("queued", "done", "failed", "withheld", "stopped", "unknown", "bounced", "returned", None)


def suffer(row, fate: str) -> None:
    """A mail or a letter fares so."""
    row.status, row.error, row.delivery = "done", None, None
    if fate == "stopped":
        row.status, row.error = "withheld", STOPPED
    elif fate in ("bounced", "returned"):
        row.delivery = fate
    else:
        row.status, row.error = fate, "moot" if fate == "withheld" else None


@pytest.mark.feature("K28")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fates=st.lists(
        st.tuples(st.sampled_from(FATES), st.sampled_from(FATES)), min_size=2, max_size=2
    )
)
def test_the_sum_is_always_what_the_levels_say_whoever_counts(house_of_levels, fates):
    merchant, order = house_of_levels
    reminders = reminders_of(order)
    for row, (mail_fate, letter_fate) in zip(reminders, fates, strict=True):
        row.fee, row.interest = Decimal(2 + row.level), Decimal(row.level)
        for sent_id, kind, fate in (
            (row.level, Mail, mail_fate),
            (row.level, Letter, letter_fate),
        ):
            sent = db.session.get_one(kind, sent_ids(order, kind)[sent_id - 1])
            if fate is not None:
                suffer(sent, fate)
            setattr(row, f"{kind.__tablename__}_id", sent.id if fate is not None else None)
    db.session.flush()
    levels = levels_of(order.id)
    should_be = levels.fees + levels.interest
    order.fee_total = should_be
    db.session.flush()
    assert miscounted(merchant.id, 10) == []
    order.fee_total = should_be + 1
    db.session.flush()
    is_counted = any(row.fee or row.interest for row in reminders)
    assert miscounted(merchant.id, 10) == ([order.id] if is_counted else [])
    count_charges(order)
    assert order.fee_total == should_be


def sent_ids(order: Order, kind: type[Mail | Letter]) -> list[int]:
    query = db.session.query(kind.id).filter(
        kind.order_id == order.id, kind.kind.in_(("reminder", "dunning_notice"))
    )
    return [row[0] for row in query.order_by(kind.id)]


@pytest.fixture
def house_of_levels(merchant, shop):
    """An order with two levels, each by mail and by letter."""
    set_to(shop, letter_reminder="always", letter_dunning_notice="always", invoice__reminders=2)
    order = order_of(shop, **INVOICE)
    run_daily(merchant, 21, 45)
    assert len(reminders_of(order)) == 2
    return merchant, order


# --- a mail that did not arrive ------------------------------------------------------------------


@pytest.mark.feature("S71", "K35")
def test_a_lost_reminder_goes_by_letter_its_level_stays_and_its_charge_counts_again(merchant, shop):
    set_to(shop, **OWN_FEES)
    order = order_of(shop, **INVOICE)
    run_at(merchant, day(21))
    (mail,) = mails_of(order, "reminder")
    mail.status, mail.failure = "failed", "no_such_mailbox"
    db.session.commit()
    recount_fees(merchant.id, day(22))
    assert charged(order) == 0
    mail_as_letter(merchant.id, mail.id, actor=ANNA, at=day(22))
    db.session.commit()
    (row,) = reminders_of(order)
    assert (row.level, row.letter_id) == (1, letters_of(order)[0].id)
    assert charged(order) == 2
    assert levels_of(order.id).lost == {}


@pytest.mark.feature("K35")
def test_what_is_done_once_a_day_follows_lost_reminders(merchant, shop):
    set_to(shop, letter_reminder="mail_failed", **OWN_FEES)
    order = order_of(shop, **INVOICE)
    run_at(merchant, day(21))
    assert letters_of(order) == []
    (mail,) = mails_of(order, "reminder")
    mail.delivery = "bounced"
    db.session.commit()
    tell_of_the_day(merchant.id, day(22))
    db.session.commit()
    assert [row.letter_id for row in reminders_of(order)] == [letters_of(order)[0].id]
    assert charged(order) == 2


# --- by hand -------------------------------------------------------------------------------------


@pytest.mark.feature("S83")
@pytest.mark.parametrize(
    ("ways", "mails", "letters"),
    [(frozenset({"mail"}), 1, 0), (frozenset({"letter"}), 0, 1), (BOTH, 1, 1)],
)
def test_by_hand_by_mail_by_letter_or_both_it_is_one_level_more(
    merchant, shop, ways, mails, letters
):
    order = order_of(shop, **INVOICE)
    bank_is_heard(merchant, day(3))
    row = send_reminder(merchant.id, order.id, actor=ANNA, at=day(3), ways=ways)
    db.session.commit()
    assert (len(mails_of(order, "reminder")), len(letters_of(order))) == (mails, letters)
    assert (row.level, bool(row.mail_id), bool(row.letter_id)) == (1, mails == 1, letters == 1)
    assert [one.level for one in reminders_of(order)] == [1]
    assert events_of(order).count("letter_written") == letters


@pytest.mark.feature("S83")
def test_by_hand_a_way_that_is_not_there_is_refused(merchant, shop):
    order = order_of(shop, **NO_EMAIL)
    bank_is_heard(merchant, day(3))

    def sent(order, ways):
        return send_reminder(merchant.id, order.id, actor=ANNA, at=day(3), ways=ways)

    with pytest.raises(NotPossible, match="reminder_no_email"):
        sent(order, BOTH)
    with pytest.raises(NotPossible, match="reminder_no_way"):
        sent(order, frozenset())
    assert sent(order, frozenset({"letter"})).letter_id is not None
    nowhere = order_of(shop, billing_address={"last_name": "Mustermann"})
    with pytest.raises(NotPossible, match="letter_no_address"):
        sent(nowhere, BOTH)
    assert reminders_of(nowhere) == []


@pytest.mark.feature("S83")
def test_the_step_after_a_reminder_by_letter_counts_from_it(merchant, shop):
    set_to(shop, prepayment__reminders=2)
    order = order_of(shop)
    bank_is_heard(merchant, day(3))
    send_reminder(merchant.id, order.id, actor=ANNA, at=day(3), ways=frozenset({"letter"}))
    db.session.commit()
    print_letters(day(4))
    assert first_on(plan_of(order, day(5)), "reminder") == (day(4) + timedelta(days=7)).date()


@pytest.mark.feature("S83")
def test_by_hand_an_address_that_cannot_be_printed_is_named_as_the_reason(merchant, shop):
    address = {"last_name": "王", "street": "Am Markt 1", "postcode": "10115", "city": "Berlin"}
    order = order_of(shop, billing_address=address, **NO_EMAIL)
    bank_is_heard(merchant, day(3))
    with pytest.raises(NotPossible, match="letter_unprintable"):
        send_reminder(merchant.id, order.id, actor=ANNA, at=day(3), ways=frozenset({"letter"}))
