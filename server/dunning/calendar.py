"""Days on which customers get mails, and days on which banks work. Pure.

A file of its own because both the plan of an order and the age of bank data count by it. When
banks work is ``banking.rules.bank_days``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from server.banking.rules.bank_days import is_banking_day
from server.days_off import public_holidays

SATURDAY, SUNDAY = 5, 6
MOST_DAYS_IN_A_ROW: Final = 60
"""No country has that many days off in a row; a limit, so that no calendar can hang the run."""
ONE_DAY: Final = timedelta(days=1)
ONE_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Of a customer's country (ISO 3166; None if unknown) and of the merchant's bank.

    ``saturdays``: Saturdays are good for mails. Sundays and public holidays never are (N15).
    """

    country: str | None
    subdivision: str | None = None
    saturdays: bool = False
    bank_country: str = "DE"

    def is_good_day(self, day: date) -> bool:
        """May a customer get a mail that asks for money?"""
        weekday = day.weekday()
        if weekday == SUNDAY or (weekday == SATURDAY and not self.saturdays):
            return False
        country = (self.country or "").upper()
        return not country or day not in public_holidays(country, self.subdivision, day.year)

    def next_good_day(self, day: date) -> date:
        """This day or the first good one after it."""
        for _ in range(MOST_DAYS_IN_A_ROW):
            if self.is_good_day(day):
                break
            day += ONE_DAY
        return day

    def next_bank_day(self, day: date) -> date:
        """This day or the first one after it on which the merchant's bank works."""
        for _ in range(MOST_DAYS_IN_A_ROW):
            if is_banking_day(day, self.bank_country):
                break
            day += ONE_DAY
        return day


def banking_hours(since: datetime, until: datetime, country: str) -> float:
    """Hours from ``since`` to ``until`` that lie on banking days; 0 if ``until`` is earlier.

    Both in the zone of the bank: what was fetched on a Friday evening is not 60 hours old on
    Monday morning. Counted to ``MOST_DAYS_IN_A_ROW`` days, after which it is old by any measure.
    """
    hours = 0.0
    day = since.date()
    last = min(until.date(), day + timedelta(days=MOST_DAYS_IN_A_ROW))
    while day <= last:
        if is_banking_day(day, country):
            begins = datetime.combine(day, time(), since.tzinfo)
            ends = datetime.combine(day + ONE_DAY, time(), since.tzinfo)
            part = min(ends, until) - max(begins, since)
            hours += max(part / ONE_HOUR, 0.0)
        day += ONE_DAY
    return hours
