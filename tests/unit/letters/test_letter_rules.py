"""Cut-offs and prices."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from server.letters.rules import (
    PriceError,
    checked_prices,
    is_working_day,
    next_cutoff,
    price_of,
)

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.feature("S73")
@pytest.mark.parametrize(
    ("at", "cutoff"),
    [
        ("2026-11-23 08:00", "2026-11-23 14:00"),
        ("2026-11-23 13:59", "2026-11-23 14:00"),
        ("2026-11-23 14:00", "2026-11-24 14:00"),
        ("2026-11-20 14:01", "2026-11-23 14:00"),  # Friday to Monday
        ("2026-11-21 09:00", "2026-11-23 14:00"),  # Saturday
        ("2026-12-24 15:00", "2026-12-28 14:00"),  # Christmas, then a weekend
        ("2027-03-25 15:00", "2027-03-30 14:00"),  # Good Friday to Easter Monday
    ],
)
def test_letters_wait_for_the_cut_off_of_a_working_day(at: str, cutoff: str) -> None:
    moment, wanted = (
        datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=BERLIN) for text in (at, cutoff)
    )
    found = next_cutoff(moment.astimezone(UTC), BERLIN, 14, "DE")
    assert found == wanted
    assert found.tzinfo is UTC


def test_the_cut_off_is_on_the_merchant_s_clock_in_summer_too() -> None:
    assert next_cutoff(datetime(2026, 7, 1, 11, 59, tzinfo=UTC), BERLIN, 14, "DE") == datetime(
        2026, 7, 1, 12, tzinfo=UTC
    )


def test_holidays_are_those_of_the_country() -> None:
    assert not is_working_day(date(2026, 10, 26), "AT")
    assert is_working_day(date(2026, 10, 26), "DE")
    assert is_working_day(date(2026, 10, 26), None)
    assert is_working_day(date(2026, 10, 26), "XX")
    assert not is_working_day(date(2026, 10, 25), "XX")


def test_what_a_letter_costs() -> None:
    prices = checked_prices(
        {"first_sheet": " 1,05 ", "further_sheet": "0.12", "registered": "2.35"}
    )
    assert price_of(prices, 1, is_registered=False) == Decimal("1.05")
    assert price_of(prices, 3, is_registered=False) == Decimal("1.29")
    assert price_of(prices, 3, is_registered=True) == Decimal("3.64")
    assert price_of({}, 1, is_registered=False) is None
    assert price_of({"first_sheet": "1"}, 1, is_registered=True) is None
    assert checked_prices({"first_sheet": "", "postage": "9"}) == {}


@pytest.mark.parametrize("text", ["-1", "x", "NaN", "1001", "1e9"])
def test_a_price_is_an_amount(text: str) -> None:
    with pytest.raises(PriceError, match="first_sheet"):
        checked_prices({"first_sheet": text})
