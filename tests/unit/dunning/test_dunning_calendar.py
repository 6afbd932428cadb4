"""Good days for mails, and hours on which banks work."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.banking.rules.bank_days import is_banking_day
from server.dunning.calendar import Calendar, banking_hours

BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.feature("N15")
@pytest.mark.parametrize(
    ("country", "day", "is_good"),
    [
        ("DE", "2026-06-05", True),
        ("DE", "2026-06-07", False),  # Sunday
        ("DE", "2026-06-06", False),  # Saturday
        ("DE", "2026-05-14", False),  # Ascension Day
        ("AT", "2026-10-26", False),  # National Day
        ("DE", "2026-10-26", True),
        ("ch", "2026-08-01", False),
        ("ZZ", "2026-12-25", True),  # nobody's country: weekends only
        (None, "2026-12-25", True),
    ],
)
def test_good_days(country, day, is_good):
    assert Calendar(country).is_good_day(date.fromisoformat(day)) is is_good


def test_holidays_of_a_part_of_a_country():
    corpus_christi = date(2026, 6, 4)
    assert Calendar("DE").is_good_day(corpus_christi)
    assert not Calendar("DE", "BY").is_good_day(corpus_christi)
    assert Calendar("DE", "nowhere").is_good_day(corpus_christi)


def test_a_saturday_is_good_where_that_is_set_unless_it_is_a_holiday():
    assert Calendar("DE", saturdays=True).is_good_day(date(2026, 6, 6))
    assert not Calendar("DE", saturdays=True).is_good_day(date(2026, 12, 26))


def test_over_christmas_the_next_good_day_is_the_monday():
    assert Calendar("DE").next_good_day(date(2026, 12, 25)) == date(2026, 12, 28)
    assert Calendar("DE").next_bank_day(date(2026, 12, 25)) == date(2026, 12, 28)


@pytest.mark.parametrize(
    ("country", "day", "works"),
    [
        ("DE", "2026-04-06", False),  # Easter Monday
        ("DE", "2026-10-02", True),
        ("DE", "2026-05-14", True),  # a holiday on which TARGET is open
        ("CH", "2026-05-14", False),
        ("DE", "2026-05-01", False),
    ],
)
def test_banking_days(country, day, works):
    assert is_banking_day(date.fromisoformat(day), country) is works


@pytest.mark.feature("N5")
@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        ("2026-06-05T18:00", "2026-06-08T09:00", 6 + 9),  # Friday evening to Monday morning
        ("2026-06-02T09:00", "2026-06-05T09:00", 72),
        ("2026-06-06T09:00", "2026-06-07T20:00", 0),
        ("2026-06-05T09:00", "2026-06-04T09:00", 0),
        ("2026-04-02T18:00", "2026-04-07T09:00", 6 + 9),  # over Easter
        ("2026-10-24T00:00", "2026-10-26T12:00", 12),  # the clocks change on the Sunday
    ],
)
def test_hours_on_banking_days(since, until, hours):
    assert banking_hours(moment(since), moment(until), "DE") == hours


@given(st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)), st.integers(0, 40 * 24))
def test_there_are_never_more_of_them_than_hours(since, length):
    begin = since.replace(tzinfo=BERLIN)
    end = datetime.fromtimestamp(begin.timestamp() + length * 3600, BERLIN)
    found = banking_hours(begin, end, "DE")
    assert 0 <= found <= length + 1  # a night in which the clocks change has an hour less or more
