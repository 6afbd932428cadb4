"""In which notation a column prints its amounts and dates, decided for the whole column.

``1.234`` and ``01/02/2026`` can be read two ways. One cell cannot tell, its neighbours in the
column mostly can: ``12,50`` says that the comma is the decimal sign, ``18/11/2025`` that the
day stands first. What stays undecided is for the layout to say, or is not read at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from server.banking.formats import fields

_ORDERED = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4}|\d{2})(?!\d)")
_YEAR_FIRST = re.compile(r"(\d{4})[./](\d{1,2})[./](\d{1,2})(?!\d)")
_COMPACT = re.compile(r"(20\d\d)(\d\d)(\d\d)")
_DAY_AND_NAME = re.compile(r"(\d{1,2})[. -]{1,2}([^\W\d_]{3,9})[. -]{1,2}(\d{4}|\d{2})(?!\d)")
_NAME_AND_DAY = re.compile(r"([^\W\d_]{3,9})\.? (\d{1,2}),? (\d{4})")
_SIGNS = re.compile(r"[.,]")
_NO_GROUP = re.compile(r"[.,](?:\d{1,2}|\d{4,})$")

# The first three letters of the months in English, German, French, Dutch, Spanish and Italian.
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan ene gen",
            "feb fév fev",
            "mar mär mrt maa mae",
            "apr avr abr",
            "may mai mei mag",
            "jun giu",
            "jul lug",
            "aug aoû aou ago",
            "sep set",
            "oct okt ott",
            "nov",
            "dec dez déc dic",
        ),
        start=1,
    )
    for name in names.split()
}


def decimal_sign(cells: Iterable[str]) -> str | None:
    """The decimal sign of a column of amounts, by majority; None where no cell shows one."""
    votes = {".": 0, ",": 0}
    for cell in cells:
        if sign := _shown_sign(cell.strip().strip("+-()€$£ ABCDEFGHIJKLMNOPQRSTUVWXYZ")):
            votes[sign] += 1
    if votes["."] == votes[","]:
        return None
    return max(votes, key=lambda sign: votes[sign])


def _shown_sign(digits: str) -> str | None:
    """The decimal sign where these digits can be read in one way only."""
    signs = _SIGNS.findall(digits)
    if not signs:
        return None
    if len(set(signs)) == 2:
        return str(signs[-1])
    if len(signs) > 1:
        return "," if signs[0] == "." else "."
    return str(signs[0]) if _NO_GROUP.search(digits) else None


def day_first(cells: Iterable[str]) -> bool | None:
    """Whether the day stands before the month in a column; None where no date shows it."""
    votes = {True: 0, False: 0}
    for cell in cells:
        if found := _ORDERED.match(cell.strip()):
            first, second = int(found[1]), int(found[2])
            if (first > 12) != (second > 12):
                votes[first > 12] += 1
    if votes[True] and votes[False]:
        return None
    return True if votes[True] else False if votes[False] else None


def is_ordered(cell: str) -> bool:
    """Whether a date is printed in a way in which day and month could be meant either way."""
    return _ORDERED.match(cell.strip()) is not None


@lru_cache(maxsize=4096)
def printed_date(value: str, is_day_first: bool | None) -> date | None:
    """A date in any notation of banks; None where it is none or day and month are unsure."""
    if (known := fields.printed_date(value)) is not None:
        return known
    value = value.strip()
    if found := _ORDERED.match(value):
        return _ordered(int(found[1]), int(found[2]), _year(found[3]), is_day_first)
    if found := _YEAR_FIRST.match(value) or _COMPACT.fullmatch(value):
        return fields.calendar_date(int(found[1]), int(found[2]), int(found[3]))
    if found := _DAY_AND_NAME.match(value):
        return _named(found[2], int(found[1]), _year(found[3]))
    if found := _NAME_AND_DAY.match(value):
        return _named(found[1], int(found[2]), _year(found[3]))
    return None


def _ordered(first: int, second: int, year: int, is_day_first: bool | None) -> date | None:
    if first != second and is_day_first is None:
        if first <= 12 and second <= 12:
            return None
        is_day_first = first > 12
    day, month = (first, second) if is_day_first else (second, first)
    return fields.calendar_date(year, month, day)


def _named(name: str, day: int, year: int) -> date | None:
    month = _MONTHS.get(name.casefold()[:3])
    return fields.calendar_date(year, month, day) if month else None


def _year(printed: str) -> int:
    return int(printed) if len(printed) == 4 else fields.full_year(int(printed))
