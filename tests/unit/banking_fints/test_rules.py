"""From which day to fetch, how often, and when the merchant hears that a TAN will be needed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from server.banking.fints import rules

TODAY = date(2026, 11, 21)


def days_ago(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.mark.parametrize(
    ("fetched_until", "not_before", "is_attended", "expected"),
    [
        (days_ago(0), None, False, days_ago(5)),
        (days_ago(1), None, False, days_ago(6)),
        (None, None, False, days_ago(30)),
        (None, days_ago(60), False, days_ago(60)),
        (None, days_ago(200), False, days_ago(89)),
        (None, days_ago(200), True, days_ago(200)),
        (days_ago(100), None, False, days_ago(89)),
        (days_ago(100), None, True, days_ago(105)),
        (days_ago(1), days_ago(3), False, days_ago(3)),
        (days_ago(1), TODAY + timedelta(days=9), False, TODAY),
    ],
)
def test_the_first_day_overlaps_and_never_needs_a_tan_by_itself(
    fetched_until, not_before, is_attended, expected
):
    found = rules.fetch_since(TODAY, fetched_until, not_before, is_attended=is_attended)
    assert found == expected


def test_fetches_are_spread_over_the_day_and_at_most_four():
    last = datetime(2026, 11, 21, 6, tzinfo=UTC)
    assert rules.next_fetch(last) == last + timedelta(hours=6)
    assert rules.next_fetch(last, 1) == last + timedelta(days=1)
    assert rules.next_fetch(last, 100) == last + timedelta(hours=6)
    assert rules.next_fetch(last, 0) == last + timedelta(days=1)


def test_the_warning_comes_before_the_consent_ends():
    found = rules.consent(TODAY)
    assert found.ends_on == TODAY + timedelta(days=180)
    assert found.warn_on == TODAY + timedelta(days=173)
    assert not rules.needs_warning(found, found.warn_on - timedelta(days=1))
    assert rules.needs_warning(found, found.warn_on)


@pytest.mark.parametrize(("seen", "ends", "warns"), [(90, 90, 83), (300, 180, 173), (2, 2, 1)])
def test_a_bank_that_asked_sooner_is_expected_to_ask_sooner(seen, ends, warns):
    found = rules.consent(TODAY, seen)
    assert (found.ends_on - TODAY).days == ends
    assert (found.warn_on - TODAY).days == warns


def test_a_bank_that_asks_every_time_is_no_surprise():
    assert rules.consent(TODAY, 0).ends_on == TODAY
