"""Days on which banks book transfers. Pure."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Final

import holidays

from server.days_off import public_holidays

SATURDAY: Final = 5
EURO_AREA: Final = frozenset(
    "AT BE BG CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK".split()
)
"""Where TARGET days are the banks' days. Elsewhere the country's own holidays count too."""


def is_banking_day(day: date, country: str) -> bool:
    """Are transfers booked on this day? TARGET calendar; see ``EURO_AREA``."""
    if day.weekday() >= SATURDAY or day in _target_days(day.year):
        return False
    country = country.upper()
    return country in EURO_AREA or day not in public_holidays(country, None, day.year)


@lru_cache(maxsize=128)
def _target_days(year: int) -> frozenset[date]:
    """Closing days of TARGET: the European Central Bank's calendar."""
    return frozenset(holidays.financial_holidays("ECB", years=year))
