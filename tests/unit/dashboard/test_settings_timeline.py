"""What settings mean for one order, day by day; what has no effect; where every name stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from server.dashboard.settings_form import TABS, idle_names, tab_of
from server.dashboard.settings_timeline import timeline
from server.merchants.settings import SCHEMA, in_force

PREPAYMENT = in_force({}).prepayment
INVOICE = in_force({}).invoice
COD = in_force({}).cash_on_delivery


def days(settings, code: str) -> list[tuple[int, str, int]]:
    return [(one.day, one.kind, one.level) for one in timeline(settings, code)]


@pytest.mark.feature("S44", "S45", "S46", "S48", "S49", "S50")
def test_each_reminder_counts_from_the_one_before():
    settings = replace(
        PREPAYMENT, resend_after_days=3, reminders=3, first_reminder_days=7, reminder_2_days=5,
        reminder_3_days=4, cancel_after_days=21,
    )  # fmt: skip
    assert days(settings, "prepayment") == [
        (0, "asked_at_once", 0), (3, "resent", 0), (7, "reminder", 1), (12, "reminder", 2),
        (16, "reminder", 3), (21, "cancelled", 0),
    ]  # fmt: skip


@pytest.mark.feature("S44", "K15", "K25")
@pytest.mark.parametrize(
    ("when", "kind"),
    [("at_once", "asked_at_once"), ("with_invoice", "asked_with_invoice"),
     ("by_shop", "asked_by_shop")],
)  # fmt: skip
def test_who_asks_first_and_when(when, kind):
    assert timeline(replace(INVOICE, ask_when=when), "invoice")[0].kind == kind


@pytest.mark.feature("S81")
def test_an_invoice_becomes_overdue_and_may_go_to_collection():
    settings = replace(INVOICE, reminders=0, cancel_after_days=45, collect_after_days=60)
    assert days(settings, "invoice")[1:] == [(45, "overdue", 0), (60, "collection", 0)]


@pytest.mark.feature("K29")
def test_cash_on_delivery_has_no_payment_information():
    assert days(COD, "cash_on_delivery") == []
    asked = replace(COD, ask_unpaid_after_days=14, cancel_after_days=30)
    assert days(asked, "cash_on_delivery") == [(14, "ask_unpaid", 0), (30, "overdue", 0)]


def left_out(settings, code: str = "invoice") -> dict[tuple[str, int], str | None]:
    return {(one.kind, one.level): one.left_out for one in timeline(settings, code)}


def test_what_does_not_come_says_why():
    settings = replace(
        INVOICE, reminders=2, first_reminder_days=10, reminder_2_days=10, resend_after_days=10,
        cancel_after_days=20, collect_after_days=30,
    )  # fmt: skip
    assert left_out(settings) == {
        ("asked_at_once", 0): None,
        ("resent", 0): "reminded",
        ("reminder", 1): None,
        ("reminder", 2): "ended",
        ("overdue", 0): None,
        ("collection", 0): None,
    }
    early = replace(settings, cancel_after_days=60, resend_after_days=5)
    assert left_out(early)[("overdue", 0)] == "collected"
    assert left_out(early)[("resent", 0)] is left_out(early)[("collection", 0)] is None


def test_a_pause_of_no_days_ends_the_row_of_reminders():
    settings = replace(INVOICE, reminders=3, first_reminder_days=10, reminder_2_days=0)
    assert days(settings, "invoice") == [(0, "asked_at_once", 0), (10, "reminder", 1)]
    none = replace(settings, first_reminder_days=0, collect_after_days=30)
    assert left_out(none)[("collection", 0)] == "unreminded"


def test_collection_waits_for_the_time_after_the_last_reminder():
    settings = replace(INVOICE, reminders=1, first_reminder_days=20, collect_after_days=5)
    assert (40, "collection", 0) in days(settings, "invoice")


def test_a_shop_that_asks_itself_is_not_asked_for_again():
    settings = replace(PREPAYMENT, ask_when="by_shop", resend_after_days=3)
    assert left_out(settings, "prepayment")[("resent", 0)] == "by_shop"


def test_whoever_is_cancelled_is_not_asked_at_the_door_afterwards():
    settings = replace(COD, ask_unpaid_after_days=30, cancel_after_days=14)
    assert left_out(settings, "cash_on_delivery") == {
        ("ask_unpaid", 0): "ended",
        ("overdue", 0): None,
    }


def test_every_setting_stands_on_one_page():
    placed = Counter(
        name for groups in TABS.values() for names in groups.values() for name in names
    )
    assert placed == Counter(list(SCHEMA))
    assert tab_of("invoice.fee_2") == "invoice" and tab_of("mode") == "more"


@pytest.mark.feature("K26", "K27")
def test_levels_that_are_not_sent_and_fees_that_are_not_charged_have_no_effect():
    idle = idle_names(in_force({"invoice.reminders": 2}))
    assert {"invoice.reminder_3_days", "invoice.fee_1", "invoice.claim_fees"} <= idle
    assert "invoice.reminder_2_days" not in idle and "invoice.charge_fees" not in idle
    own = {"invoice.reminders": 2, "invoice.charge_fees": True, "invoice.fee_rule": "own"}
    idle = idle_names(in_force(own))
    assert "invoice.fee_2" not in idle and "invoice.fee_3" in idle
    assert "invoice.claim_fees" not in idle
    ended = idle_names(in_force({"invoice.reminders": 3, "invoice.reminder_2_days": 0}))
    assert "invoice.reminder_3_days" in ended and "invoice.reminder_2_days" not in ended
    none = idle_names(in_force({"prepayment.reminders": 0}))
    assert {"prepayment.first_reminder_days", "prepayment.reminder_base"} <= none
