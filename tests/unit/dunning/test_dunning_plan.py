"""What comes next and when: tables of cases, and what holds for every order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dunning.calendar import Calendar
from server.dunning.rules import OrderFacts, base_of, plan
from server.merchants.settings import MOST_REMINDERS, CodeSettings

DAY = timedelta(days=1)
MONDAY = date(2026, 6, 1)
NO_HOLIDAYS = Calendar(None, saturdays=True)
ALL_DAYS = replace(NO_HOLIDAYS, bank_country="DE")
CUSTOMERS = Calendar("DE")

ORDER = OrderFacts("prepayment", "unpaid", order_date=MONDAY)
INVOICE = replace(ORDER, payment_code="invoice", has_invoice_number=True)
COD = replace(ORDER, payment_code="cash_on_delivery")
SETTINGS = CodeSettings(
    ask_when="at_once",
    reminders=3,
    first_reminder_days=7,
    reminder_2_days=10,
    reminder_3_days=14,
)


def days_after(days: int) -> date:
    return MONDAY + timedelta(days=days)


def steps(order=ORDER, settings=SETTINGS, calendar=CUSTOMERS, today=MONDAY):
    found = plan(order, settings, calendar, today).steps
    return [(one.kind, one.level, (one.due_on - MONDAY).days) for one in found]


def first_on(found, kind):
    return next((step.due_on for step in found.steps if step.kind == kind), None)


# --- reminders -----------------------------------------------------------------------------------


@pytest.mark.feature("S46")
@pytest.mark.parametrize("count", range(4))
def test_as_many_reminders_come_as_are_set(count):
    found = steps(settings=replace(SETTINGS, reminders=count))
    assert [level for _, level, _ in found] == list(range(1, count + 1))


@pytest.mark.feature("S48", "S49", "S63")
def test_the_first_counts_from_the_base_date_and_each_other_from_the_one_before():
    # Day 17 is a Thursday; the others are a Monday and a Thursday.
    assert steps() == [("reminder", 1, 7), ("reminder", 2, 17), ("reminder", 3, 31)]


@pytest.mark.feature("S49")
def test_one_that_went_late_moves_all_that_follow():
    late = replace(ORDER, reminders=((1, days_after(11)),))
    assert steps(late, today=days_after(11)) == [("reminder", 2, 21), ("reminder", 3, 35)]


@pytest.mark.feature("S83", "S49")
def test_one_that_a_person_sent_early_is_followed_sooner():
    early = replace(ORDER, reminders=((1, days_after(2)),))
    assert steps(early)[0] == ("reminder", 2, 14)  # day 12 is a Saturday


def test_after_an_outage_only_one_level_is_due_and_the_next_keeps_its_gap():
    today = days_after(92)
    found = plan(ORDER, SETTINGS, CUSTOMERS, today)
    assert found.due(today).level == 1
    assert found.steps[1].due_on >= today + 10 * DAY


def test_a_level_of_zero_days_and_what_follows_it_are_off():
    assert steps(settings=replace(SETTINGS, reminder_2_days=0)) == [("reminder", 1, 7)]
    assert steps(settings=replace(SETTINGS, first_reminder_days=0)) == []


@pytest.mark.feature("N15")
@pytest.mark.parametrize(
    ("saturdays", "expected"), [(False, date(2026, 6, 22)), (True, date(2026, 6, 20))]
)
def test_no_reminder_on_a_sunday_and_on_a_saturday_only_if_that_is_set(saturdays, expected):
    base = date(2026, 6, 13)  # a Saturday
    order = replace(ORDER, order_date=base)
    found = plan(order, SETTINGS, Calendar("DE", saturdays=saturdays), base)
    assert first_on(found, "reminder") == expected


@pytest.mark.feature("N15")
@pytest.mark.parametrize(
    ("country", "expected"),
    [("DE", date(2026, 10, 5)), ("AT", date(2026, 10, 3)), (None, date(2026, 10, 3))],
)
def test_no_reminder_on_a_holiday_of_the_customers_country(country, expected):
    """3 October 2026 is a Saturday and a holiday in Germany alone."""
    order = replace(ORDER, order_date=date(2026, 9, 26), country=country)
    found = plan(order, SETTINGS, Calendar(country, saturdays=True), date(2026, 9, 26))
    assert first_on(found, "reminder") == expected


def test_a_customer_who_was_asked_only_now_is_not_reminded_tomorrow():
    taken_over = replace(ORDER, order_date=MONDAY - 60 * DAY, asked_on=MONDAY)
    assert steps(taken_over)[0] == ("reminder", 1, 3)
    settings = replace(SETTINGS, reminders=0, cancel_after_days=10)
    assert steps(taken_over, settings) == [("cancel", 0, 3)]


def test_a_part_payment_is_reminded_of_as_well():
    assert steps(replace(ORDER, payment_status="partially_paid")) == steps()


@pytest.mark.parametrize(
    "status", ["paid", "removed", "refunded", "partially_refunded", "collection", "cancelled"]
)
def test_nothing_comes_for_an_order_that_owes_nothing(status):
    settings = replace(SETTINGS, resend_after_days=3, cancel_after_days=40, collect_after_days=90)
    order = replace(ORDER, payment_status=status, asked_on=MONDAY)
    assert plan(order, settings, CUSTOMERS, MONDAY).steps == ()


@pytest.mark.feature("S44", "K23")
def test_who_is_asked_with_the_invoice_is_not_reminded_before_it_nor_handed_over():
    settings = replace(SETTINGS, ask_when="with_invoice", collect_after_days=60)
    order = replace(INVOICE, has_invoice_number=False)
    found = plan(order, settings, CUSTOMERS, MONDAY)
    assert (found.steps, found.hindered) == ((), "no_invoice_number")
    found = plan(INVOICE, settings, CUSTOMERS, MONDAY)
    assert first_on(found, "collection") is not None and found.hindered is None


def test_without_an_address_there_are_no_reminders_but_the_end_keeps_its_day():
    order = replace(ORDER, has_email=False)
    settings = replace(SETTINGS, cancel_after_days=28)
    found = plan(order, settings, CUSTOMERS, MONDAY)
    assert [step.kind for step in found.steps] == ["cancel"]
    assert (first_on(found, "cancel"), found.hindered) == (days_after(28), "no_email")


@pytest.mark.feature("S82")
def test_a_block_stops_everything_automatic():
    settings = replace(SETTINGS, cancel_after_days=28)
    found = plan(replace(ORDER, is_blocked=True), settings, CUSTOMERS, MONDAY)
    assert (found.steps, found.hindered) == ((), "blocked")


def test_an_order_that_the_shop_may_have_lost_waits_for_a_person():
    found = plan(replace(ORDER, removal_is_held=True), SETTINGS, CUSTOMERS, MONDAY)
    assert (found.steps, found.hindered) == ((), "removal_held")


@pytest.mark.feature("S61")
def test_after_i_have_paid_everything_rests_until_the_day_after():
    paused = replace(ORDER, paused_until=days_after(9))
    found = plan(paused, SETTINGS, CUSTOMERS, days_after(7))
    assert (found.due(days_after(7)), found.hindered) == (None, "paused")
    assert first_on(found, "reminder") == days_after(10)
    assert plan(paused, SETTINGS, CUSTOMERS, days_after(10)).due(days_after(10)).level == 1


def test_an_order_that_is_not_managed_says_so():
    order = replace(ORDER, payment_status="not_managed")
    found = plan(order, SETTINGS, CUSTOMERS, MONDAY)
    assert (found.steps, found.hindered) == ((), "not_managed")


# --- the base date -------------------------------------------------------------------------------


@pytest.mark.feature("S48", "S57", "S58")
def test_the_base_date_is_the_first_that_exists():
    order = replace(
        INVOICE,
        base_date_by_hand=days_after(4),
        shop_base_date=days_after(3),
        first_invoice_date=days_after(2),
    )
    assert base_of(order, SETTINGS) == (days_after(4), "by_hand")
    order = replace(order, base_date_by_hand=None)
    assert base_of(order, SETTINGS) == (days_after(3), "shop")
    order = replace(order, shop_base_date=None)
    assert base_of(order, SETTINGS) == (days_after(2), "invoice")
    by_order = replace(SETTINGS, reminder_base="order_date")
    assert base_of(order, by_order) == (MONDAY, "order")
    assert base_of(replace(order, first_invoice_date=None), SETTINGS) == (MONDAY, "order")


@pytest.mark.feature("S58")
def test_a_date_set_by_hand_moves_what_follows_even_between_two_reminders():
    order = replace(ORDER, reminders=((1, days_after(7)),), base_date_by_hand=days_after(14))
    settings = replace(SETTINGS, cancel_after_days=45)
    assert steps(order, settings, today=days_after(8)) == [
        ("reminder", 2, 31),
        ("reminder", 3, 45),
        ("cancel", 0, 59),
    ]


@pytest.mark.feature("S59", "K24")
def test_the_contractual_due_date_is_no_base():
    order = replace(ORDER, due_date=days_after(30))
    assert steps(order) == steps()


# --- asking once more ----------------------------------------------------------------------------


@pytest.mark.feature("S45")
def test_the_payment_information_goes_out_once_more_and_the_level_stays():
    settings = replace(SETTINGS, resend_after_days=3, reminders=1)
    order = replace(ORDER, asked_on=MONDAY)
    assert steps(order, settings) == [("resend", 0, 3), ("reminder", 1, 7)]
    assert steps(replace(order, was_resent=True), settings) == [("reminder", 1, 7)]


@pytest.mark.parametrize(
    "over",
    [
        {"asked_on": None},
        {"reminders": ((1, MONDAY),)},
        {"payment_status": "partially_paid"},
        {"has_email": False},
        {"was_asked_before_due": True},
    ],
)
def test_it_is_not_sent_again_to_who_was_not_asked_or_reminded_or_has_paid_a_part(over):
    settings = replace(SETTINGS, resend_after_days=3)
    order = replace(ORDER, asked_on=MONDAY)
    found = plan(replace(order, **over), settings, CUSTOMERS, MONDAY).steps
    assert "resend" not in [step.kind for step in found]


def test_it_is_not_sent_again_when_a_reminder_is_due():
    settings = replace(SETTINGS, resend_after_days=3)
    order = replace(ORDER, asked_on=MONDAY)
    assert steps(order, settings, today=days_after(7))[0] == ("reminder", 1, 7)


@pytest.mark.feature("K24")
def test_an_invoice_is_brought_to_mind_before_a_differing_due_date():
    settings = replace(SETTINGS, resend_before_due_days=3, first_reminder_days=21, reminders=1)
    order = replace(INVOICE, asked_on=MONDAY, due_date=days_after(14))
    assert steps(order, settings) == [("before_due", 0, 11), ("reminder", 1, 21)]
    assert steps(replace(order, was_asked_before_due=True), settings) == [("reminder", 1, 21)]
    assert steps(order, replace(settings, resend_before_due_days=0)) == [("reminder", 1, 21)]
    assert steps(order, settings, today=days_after(15)) == [("reminder", 1, 21)]


def test_not_after_the_due_date_even_if_only_a_weekend_stood_between():
    order = replace(INVOICE, asked_on=MONDAY, due_date=days_after(6))  # a Sunday
    settings = replace(SETTINGS, resend_before_due_days=1, reminders=0)
    assert steps(order, settings) == []


@pytest.mark.feature("K29")
def test_who_pays_at_the_door_is_asked_once_and_then_it_is_overdue():
    settings = CodeSettings(ask_unpaid_after_days=14, cancel_after_days=30)
    assert steps(COD, settings) == [("enquiry", 0, 14), ("cancel", 0, 30)]
    asked = replace(COD, enquired_on=days_after(14))
    assert steps(asked, settings, today=days_after(14)) == [("cancel", 0, 30)]
    late = replace(COD, enquired_on=days_after(22))
    assert steps(late, settings, today=days_after(22)) == [("cancel", 0, 38)]
    assert steps(COD, CodeSettings()) == []


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.feature("S50")
def test_unpaid_is_cancelled_after_the_days_that_are_set():
    settings = replace(SETTINGS, reminders=1, cancel_after_days=14)
    assert steps(settings=settings) == [("reminder", 1, 7), ("cancel", 0, 14)]
    assert steps(settings=replace(settings, cancel_after_days=0)) == [("reminder", 1, 7)]


def test_not_on_a_day_on_which_no_bank_works():
    settings = replace(SETTINGS, reminders=0, cancel_after_days=5)
    assert steps(settings=settings, calendar=ALL_DAYS) == [("cancel", 0, 7)]  # a Saturday


def test_never_before_the_reminders_that_were_to_come_first_and_with_their_time():
    settings = replace(SETTINGS, reminders=2, cancel_after_days=24)
    outage = days_after(28)
    found = plan(ORDER, settings, CUSTOMERS, outage)
    assert found.due(outage).kind == "reminder"
    late = replace(ORDER, reminders=((1, days_after(28)), (2, days_after(38))))
    # Seven days lay between the second one and the end.
    assert steps(late, settings, today=days_after(38)) == [("cancel", 0, 45)]


def test_reminders_that_would_come_after_the_end_do_not_come():
    settings = replace(SETTINGS, cancel_after_days=15)
    assert steps(settings=settings) == [("reminder", 1, 7), ("cancel", 0, 15)]


def test_a_prepayment_of_which_a_part_came_is_a_matter_for_a_person():
    settings = replace(SETTINGS, reminders=0, cancel_after_days=14)
    order = replace(ORDER, payment_status="partially_paid")
    found = plan(order, settings, CUSTOMERS, MONDAY)
    assert (found.steps, found.hindered) == ((), "part_paid")
    part_of_invoice = replace(INVOICE, payment_status="partially_paid")
    assert steps(part_of_invoice, settings) == [("cancel", 0, 14)]


def test_what_a_person_undid_is_not_done_again_the_next_morning():
    settings = replace(SETTINGS, reminders=1, cancel_after_days=14, collect_after_days=60)
    reopened = replace(ORDER, reminders=((1, days_after(7)),), resumed_on=days_after(20))
    assert steps(reopened, settings, today=days_after(20)) == [("cancel", 0, 35)]  # 34: a Sunday
    taken_back = replace(
        INVOICE,
        payment_status="cancelled",
        is_cancelled=True,
        reminders=((1, days_after(7)),),
        left_collection_on=days_after(70),
    )
    assert steps(taken_back, settings, today=days_after(70)) == [("collection", 0, 130)]


def test_who_was_reminded_before_it_was_cancelled_is_not_reminded_the_day_after_it_was_reopened():
    settings = replace(SETTINGS, reminders=2)
    reopened = replace(ORDER, reminders=((1, days_after(7)),), resumed_on=days_after(40))
    assert steps(reopened, settings, today=days_after(40)) == [("reminder", 2, 43)]


def test_an_old_order_that_was_taken_over_is_not_reminded_the_next_morning():
    taken_over = replace(ORDER, order_date=MONDAY - 60 * DAY, resumed_on=MONDAY)
    assert steps(taken_over)[0] == ("reminder", 1, 3)


@pytest.mark.feature("K6", "K23")
def test_an_invoice_goes_to_collection_after_all_reminders():
    settings = replace(SETTINGS, reminders=2, collect_after_days=30)
    assert steps(INVOICE, settings)[-1] == ("collection", 0, 30)
    late = replace(INVOICE, reminders=((1, days_after(7)), (2, days_after(28))))
    assert steps(late, settings, today=days_after(28)) == [("collection", 0, 42)]  # day 41: Sunday
    overdue = replace(late, payment_status="cancelled", is_cancelled=True)
    assert steps(overdue, settings, today=days_after(42)) == [("collection", 0, 42)]
    assert steps(ORDER, settings)[-1][0] == "reminder", "a prepayment is nobody's debt"


def test_a_reminder_that_was_never_to_come_before_the_overdue_date_is_not_missed():
    """The second of day 21 does not come, because on day 14 the invoice is overdue."""
    settings = replace(SETTINGS, reminders=2, cancel_after_days=14, collect_after_days=30)
    settings = replace(settings, reminder_2_days=14)
    overdue = replace(
        INVOICE, payment_status="cancelled", is_cancelled=True, reminders=((1, days_after(7)),)
    )
    assert steps(overdue, settings, today=days_after(14)) == [("collection", 0, 30)]


def test_not_without_the_reminders_that_are_set():
    settings = replace(SETTINGS, reminders=2, collect_after_days=30)
    overdue = replace(INVOICE, payment_status="cancelled", is_cancelled=True)
    found = plan(replace(overdue, reminders=((1, MONDAY),)), settings, CUSTOMERS, MONDAY)
    assert (found.steps, found.hindered) == ((), "reminders_missing")
    no_email = plan(replace(INVOICE, has_email=False), settings, CUSTOMERS, MONDAY)
    assert (no_email.steps, no_email.hindered) == ((), "no_email")


def test_overdue_comes_before_collection_or_not_at_all():
    settings = replace(SETTINGS, reminders=1, cancel_after_days=28, collect_after_days=58)
    assert [kind for kind, _, _ in steps(INVOICE, settings)] == ["reminder", "cancel", "collection"]
    same = replace(settings, collect_after_days=28)
    assert [kind for kind, _, _ in steps(INVOICE, same)] == ["reminder", "collection"]


# --- what holds for every order ------------------------------------------------------------------

DAYS = st.integers(0, 60)
SETTINGS_ANY = st.builds(
    CodeSettings,
    ask_when=st.sampled_from(["at_once", "with_invoice", "by_shop"]),
    resend_after_days=DAYS,
    resend_before_due_days=DAYS,
    reminders=st.integers(0, MOST_REMINDERS),
    reminder_base=st.sampled_from(["invoice_date", "order_date"]),
    first_reminder_days=DAYS,
    reminder_2_days=DAYS,
    reminder_3_days=DAYS,
    reminder_4_days=DAYS,
    reminder_5_days=DAYS,
    ask_unpaid_after_days=DAYS,
    cancel_after_days=DAYS,
    collect_after_days=DAYS,
)
DATES = st.integers(-90, 90).map(days_after)
MAYBE = st.none() | DATES
ORDERS = st.builds(
    OrderFacts,
    payment_code=st.sampled_from(["prepayment", "invoice", "cash_on_delivery", "other"]),
    payment_status=st.sampled_from(["unpaid", "partially_paid", "cancelled", "paid", "removed"]),
    order_date=DATES,
    first_invoice_date=MAYBE,
    shop_base_date=MAYBE,
    base_date_by_hand=MAYBE,
    due_date=MAYBE,
    has_email=st.booleans(),
    has_invoice_number=st.booleans(),
    asked_on=MAYBE,
    was_resent=st.booleans(),
    was_asked_before_due=st.booleans(),
    enquired_on=MAYBE,
    is_blocked=st.booleans(),
    paused_until=MAYBE,
    is_collected=st.booleans(),
    resumed_on=MAYBE,
    left_collection_on=MAYBE,
)
CALENDARS = st.builds(
    Calendar, st.sampled_from(["DE", "AT", "CH", "JP", None]), saturdays=st.booleans()
)


SENT = st.lists(DATES, max_size=MOST_REMINDERS, unique=True).map(
    lambda days: tuple(enumerate(sorted(days), start=1))
)


@given(ORDERS, SENT, SETTINGS_ANY, CALENDARS, DATES)
def test_nothing_comes_before_its_base_nor_two_mails_on_a_day_nor_a_mail_after_the_end(
    order, sent, settings, calendar, today
):
    order = replace(order, reminders=sent)
    found = plan(order, settings, calendar, today).steps
    base_date, _ = base_of(order, settings)
    assert all(one.due_on > base_date for one in found if one.kind not in ("resend", "before_due"))
    levels = [one.level for one in found if one.kind == "reminder"]
    assert levels == list(range(order.level + 1, order.level + 1 + len(levels)))
    ends = [one.kind for one in found if one.kind in ("cancel", "collection")]
    assert ends == [one.kind for one in found][len(found) - len(ends) :]
    assert ends in ([], ["cancel"], ["collection"], ["cancel", "collection"])
    if order.payment_status == "cancelled":
        assert len(found) == len(ends) and "cancel" not in ends
    mailed_on = [one.due_on for one in found if one.kind not in ends]
    assert len(mailed_on) == len(set(mailed_on))


@given(ORDERS, SENT, SETTINGS_ANY, CALENDARS, DATES)
def test_what_is_shown_for_later_is_shown_tomorrow_as_well(order, sent, settings, calendar, today):
    order = replace(order, reminders=sent)
    shown = plan(order, settings, calendar, today)
    if shown.due(today) is None:
        assert plan(order, settings, calendar, today + DAY).steps == shown.steps


@given(ORDERS, SETTINGS_ANY, CALENDARS, DATES)
def test_steps_lie_ahead_in_order_on_good_days_and_only_where_money_is_owed(
    order, settings, calendar, today
):
    found = plan(order, settings, calendar, today)
    days = [step.due_on for step in found.steps]
    assert days == sorted(days)
    if found.steps:
        assert days[0] >= today
        assert order.payment_status in ("unpaid", "partially_paid", "cancelled")
        assert not order.is_blocked
    for step in found.steps:
        good = (
            calendar.next_bank_day(step.due_on)
            if step.kind in ("cancel", "collection")
            else calendar.next_good_day(step.due_on)
        )
        assert good == step.due_on
        assert order.paused_until is None or step.due_on > order.paused_until
        assert order.has_email or step.kind in ("cancel", "collection")


def played(order, settings, calendar, first, last, runs_on):
    """Days go by; on those of ``runs_on`` a run does what is due. What was done, by day."""
    done = []
    today = first
    while today <= last:
        if today in runs_on:
            step = plan(order, settings, calendar, today).due(today)
            if step is not None:
                done.append((today, step))
                order = after(order, step, today)
        today += DAY
    return done, order


def after(order, step, today):
    if step.kind == "reminder":
        return replace(order, reminders=(*order.reminders, (step.level, today)))
    if step.kind == "cancel":
        return replace(order, payment_status="cancelled", is_cancelled=True)
    if step.kind == "collection":
        return replace(order, payment_status="collection", is_collected=True)
    changed = {
        "resend": {"was_resent": True},
        "before_due": {"was_asked_before_due": True},
        "enquiry": {"enquired_on": today},
    }
    return replace(order, **changed[step.kind])


@given(ORDERS, SETTINGS_ANY, CALENDARS, st.sets(DATES, max_size=60))
def test_over_months_with_gaps_nothing_comes_twice_and_levels_rise_by_one(
    order, settings, calendar, runs_on
):
    order = replace(order, payment_status="unpaid", is_collected=False, reminders=())
    done, _ = played(order, settings, calendar, days_after(-90), days_after(90), runs_on)
    kinds = [(step.kind, step.level) for _, step in done]
    assert len(kinds) == len(set(kinds))
    levels = [level for kind, level in kinds if kind == "reminder"]
    assert levels == list(range(1, len(levels) + 1)) and len(levels) <= settings.reminders
    reminders = [(day, step.level) for day, step in done if step.kind == "reminder"]
    for (before, _), (day, level) in zip(reminders, reminders[1:], strict=False):
        assert (day - before).days >= settings.gap_days(level)
    ends = [i for i, (kind, _) in enumerate(kinds) if kind in ("cancel", "collection")]
    if ends:
        assert all(kind in ("cancel", "collection") for kind, _ in kinds[ends[0] :])


@given(ORDERS, SETTINGS_ANY, CALENDARS, st.lists(DATES, min_size=1, max_size=20, unique=True))
def test_a_run_that_is_late_or_left_out_never_brings_anything_forward(
    order, settings, calendar, late
):
    """The day on which something is done is never before the day that was shown for it (S63)."""
    order = replace(order, payment_status="unpaid", reminders=())
    begin = days_after(-90)
    shown = plan(order, settings, calendar, begin)
    done, _ = played(order, settings, calendar, begin, days_after(90), set(late))
    shown_on = {(step.kind, step.level): step.due_on for step in shown.steps}
    for day, step in done:
        if (step.kind, step.level) in shown_on and step.kind != "resend":
            assert day >= shown_on[step.kind, step.level]
