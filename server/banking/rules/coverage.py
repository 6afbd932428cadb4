"""Which days of an account are complete, and whether its balances add up.

A complete statement (camt.053, MT940) tells all that was booked in its days. Its closing balance
is the next one's opening balance; days between two statements that fit so held nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

ONE_DAY = timedelta(days=1)
MAX_DAYS = 400


@dataclass(frozen=True, slots=True)
class Period:
    """What one statement says of an account; see ``banking.models.StatementPeriod``."""

    statement_id: int
    from_date: date
    to_date: date
    opening: Decimal | None
    closing: Decimal | None
    booked_total: Decimal
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Break:
    """Where the balances do not add up.

    ``kind``: ``sum`` (the postings of one statement are not what its balances differ by) or
    ``chain`` (it does not begin with the balance that the one before ended with).
    """

    kind: str
    on: date
    statement_id: int
    expected: Decimal
    found: Decimal


@dataclass(frozen=True, slots=True)
class Day:
    """``state``: ``complete``, ``listed`` (an export or a notification, perhaps not all of it),
    ``missing`` or ``broken``."""

    day: date
    state: str
    postings: int


def breaks(periods: Iterable[Period]) -> list[Break]:
    """All places where money is missing or double, oldest first."""
    found = []
    told = sorted(_distinct(periods), key=lambda one: (one.from_date, one.to_date))
    for period in told:
        if period.opening is not None and period.closing is not None:
            total = period.opening + period.booked_total
            if total != period.closing:
                found.append(
                    Break("sum", period.to_date, period.statement_id, period.closing, total)
                )
    for before, after in pairwise(told):
        if before.closing is None or after.opening is None or after.from_date < before.to_date:
            continue
        if before.closing != after.opening:
            found.append(
                Break("chain", after.from_date, after.statement_id, before.closing, after.opening)
            )
    return sorted(found, key=lambda one: one.on)


def calendar(
    periods: Iterable[Period], counts: Mapping[date, int], first: date, last: date
) -> list[Day]:
    """The days from ``first`` to ``last`` (at most ``MAX_DAYS``), with what is known of each."""
    first = max(first, last - (MAX_DAYS - 1) * ONE_DAY)
    told = list(periods)
    complete = _days((one for one in told if one.is_complete), first, last)
    complete |= _proven_empty(told, first, last)
    listed = _days((one for one in told if not one.is_complete), first, last)
    broken = {one.on for one in breaks(told)}
    days = []
    for offset in range((last - first).days + 1):
        day = first + offset * ONE_DAY
        count = counts.get(day, 0)
        if day in broken:
            state = "broken"
        elif day in complete:
            state = "complete"
        elif day in listed or count:
            state = "listed"
        else:
            state = "missing"
        days.append(Day(day, state, count))
    return days


def _distinct(periods: Iterable[Period]) -> list[Period]:
    """Complete ones only; the same statement handed in twice counts once."""
    seen: dict[tuple[object, ...], Period] = {}
    for one in periods:
        if one.is_complete:
            key = (one.from_date, one.to_date, one.opening, one.closing, one.booked_total)
            seen.setdefault(key, one)
    return list(seen.values())


def _days(periods: Iterable[Period], first: date, last: date) -> set[date]:
    days: set[date] = set()
    for period in periods:
        day = max(period.from_date, first)
        while day <= min(period.to_date, last):
            days.add(day)
            day += ONE_DAY
    return days


def _proven_empty(periods: Sequence[Period], first: date, last: date) -> set[date]:
    """Days between two statements of which one ends with what the next begins with."""
    days: set[date] = set()
    told = sorted(_distinct(periods), key=lambda one: (one.from_date, one.to_date))
    for before, after in pairwise(told):
        if before.closing is None or before.closing != after.opening:
            continue
        day = max(before.to_date + ONE_DAY, first)
        while day < min(after.from_date, last + ONE_DAY):
            days.add(day)
            day += ONE_DAY
    return days
