"""What is decided about letters: when the day's are handed over, what one costs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final
from zoneinfo import ZoneInfo

from server.days_off import public_holidays

SATURDAY: Final = 5
MOST_DAYS_IN_A_ROW: Final = 60
"""No country has that many days off; a limit, so that no calendar can hang."""
SHEETS_OF_PRICES: Final = frozenset({"first_sheet", "further_sheet", "registered"})
MAX_PRICE: Final = Decimal(1000)
DELIVERIES: Final = ("accepted", "sent", "returned", "failed")
"""How a letter fared after it was handed over."""


class PriceError(ValueError):
    """A price that is none; ``args[0]`` names it."""


def next_cutoff(at: datetime, zone: ZoneInfo, hour: int, country: str | None) -> datetime:
    """When the letters of ``at`` are handed over, in the zone of ``at``.

    The day's cut-off is ``hour`` on the merchant's clock; what comes later waits for the next
    working day. Saturdays, Sundays and the public holidays of ``country`` (ISO 3166) are none.
    """
    local = at.astimezone(zone)
    day = local.date()
    if local.time() >= time(hour):
        day += timedelta(days=1)
    for _ in range(MOST_DAYS_IN_A_ROW):
        if is_working_day(day, country):
            break
        day += timedelta(days=1)
    return datetime.combine(day, time(hour), zone).astimezone(at.tzinfo)


def is_working_day(day: date, country: str | None) -> bool:
    """Whether a post takes letters that day; of an unknown country only weekends are known."""
    off = public_holidays((country or "").upper(), None, day.year)
    return day.weekday() < SATURDAY and day not in off


def checked_prices(typed: Mapping[str, str]) -> dict[str, str]:
    """Prices as they are stored, without those that were left empty. Raises PriceError."""
    found = {}
    for name in sorted(SHEETS_OF_PRICES & typed.keys()):
        text = typed[name].strip().replace(",", ".")
        if not text:
            continue
        try:
            price = Decimal(text)
        except InvalidOperation:
            raise PriceError(name) from None
        if not (price.is_finite() and 0 <= price <= MAX_PRICE):
            raise PriceError(name)
        found[name] = f"{price:f}"
    return found


def price_of(prices: Mapping[str, str], pages: int, *, is_registered: bool) -> Decimal | None:
    """What a letter costs, printed on one side of each sheet; None where no price is known."""
    if "first_sheet" not in prices or (is_registered and "registered" not in prices):
        return None
    further = Decimal(prices.get("further_sheet", "0")) * max(pages - 1, 0)
    extra = Decimal(prices["registered"]) if is_registered else Decimal(0)
    return Decimal(prices["first_sheet"]) + further + extra
