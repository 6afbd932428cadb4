"""Which invoice is handed over to collection by itself, and when (K61)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.dunning.rules import plan
from tests.unit.dunning.test_dunning_plan import (
    CUSTOMERS,
    INVOICE,
    MONDAY,
    SETTINGS,
    days_after,
    first_on,
)

pytestmark = pytest.mark.feature("K61")

AFTER_30 = replace(SETTINGS, reminders=2, collect_after_days=30)
REMINDED = replace(INVOICE, reminders=((1, days_after(7)), (2, days_after(17))))


def test_by_default_the_days_count_from_the_base_date():
    assert first_on(plan(REMINDED, AFTER_30, CUSTOMERS, MONDAY), "collection") == days_after(30)


@pytest.mark.parametrize(("sent_on", "expected"), [(17, 49), (25, 56), (3, 35)])
def test_or_from_the_last_notice(sent_on, expected):
    """Days 33 and 47 are Saturdays and day 55 a Sunday: nobody works there."""
    settings = replace(AFTER_30, collect_base="last_notice")
    order = replace(INVOICE, reminders=((1, MONDAY), (2, days_after(sent_on))))
    found = plan(order, settings, CUSTOMERS, MONDAY)
    assert first_on(found, "collection") == days_after(expected)


def test_from_the_last_notice_that_is_still_to_come():
    settings = replace(AFTER_30, collect_base="last_notice")
    found = plan(INVOICE, settings, CUSTOMERS, MONDAY)
    assert [step.kind for step in found.steps] == ["reminder", "reminder", "collection"]
    assert first_on(found, "collection") == days_after(49)


def test_who_sends_no_notices_has_no_last_one():
    settings = replace(AFTER_30, collect_base="last_notice", reminders=0)
    found = plan(INVOICE, settings, CUSTOMERS, MONDAY)
    assert (first_on(found, "collection"), found.hindered) == (None, "reminders_missing")
    by_hand = replace(INVOICE, reminders=((1, MONDAY),))
    assert first_on(plan(by_hand, settings, CUSTOMERS, MONDAY), "collection") == days_after(30)


@pytest.mark.feature("K23")
@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"has_invoice_number": False}, "no_invoice_number"),
        ({"claims_paid": True}, "claims_paid"),
        ({"asks_for_time": True}, "asks_for_time"),
        ({"is_blocked": True}, "blocked"),
    ],
)
@pytest.mark.parametrize("status", ["unpaid", "partially_paid", "cancelled"])
def test_nobody_is_handed_over_by_itself_who(over, why, status):
    order = replace(REMINDED, payment_status=status, is_cancelled=status == "cancelled")
    assert first_on(plan(order, AFTER_30, CUSTOMERS, MONDAY), "collection") is not None
    found = plan(replace(order, **over), AFTER_30, CUSTOMERS, MONDAY)
    assert (first_on(found, "collection"), found.hindered) == (None, why)


def test_reminders_go_on_meanwhile():
    claiming = replace(INVOICE, claims_paid=True, asks_for_time=True)
    found = plan(claiming, AFTER_30, CUSTOMERS, MONDAY)
    assert [step.kind for step in found.steps] == ["reminder", "reminder"]
