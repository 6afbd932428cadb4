"""Which days of an account are complete, and whether its balances add up.

A complete statement (camt.053, MT940) tells all that was booked in its days. Its closing balance
is the next one's opening balance; days between two statements that fit so held nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

ONE_DAY = timedelta(days=1)
MAX_DAYS = 400
ZERO = Decimal(0)


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

    ``kind``: ``sum`` (the postings of one statement are not what its balances differ by),
    ``chain`` (it does not begin with the balance that the one before ended with), ``held`` (the
    postings that are kept of its days are more or less than the bank's: one is double or lost).
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


def breaks(periods: Iterable[Period], held: Mapping[date, Decimal] | None = None) -> list[Break]:
    """All places where money is missing or double, oldest first.

    ``held`` are the sums of the postings that are kept, by booking date.
    """
    found = []
    told = sorted(_distinct(periods), key=lambda one: (one.to_date, one.from_date))
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
    if held is not None:
        found += _held_wrong(told, held)
    return sorted(found, key=lambda one: one.on)


def _held_wrong(told: Sequence[Period], held: Mapping[date, Decimal]) -> list[Break]:
    """Between the ends of two days whose balances the bank tells, its postings are known to a
    cent, whatever files they came in."""
    ends = {one.to_date: one for one in told if one.closing is not None}
    days = sorted(ends)
    found = []
    for before, after in pairwise(days):
        first, last = ends[before], ends[after]
        if first.closing is None or last.closing is None or last.opening is None:
            continue
        is_whole = last.from_date > before and last.opening == first.closing
        total = sum((held.get(day, ZERO) for day in _each(before + ONE_DAY, after)), ZERO)
        if is_whole and total != last.closing - first.closing:
            found.append(
                Break("held", after, last.statement_id, last.closing - first.closing, total)
            )
    return found


def _each(first: date, last: date) -> Iterator[date]:
    return (first + offset * ONE_DAY for offset in range((last - first).days + 1))


def calendar(
    periods: Iterable[Period],
    counts: Mapping[date, int],
    first: date,
    last: date,
    wrong: Iterable[Break] = (),
) -> list[Day]:
    """The days from ``first`` to ``last`` (at most ``MAX_DAYS``), with what is known of each.

    ``wrong`` are the ``breaks``; their days are broken.
    """
    first = max(first, last - (MAX_DAYS - 1) * ONE_DAY)
    told = list(periods)
    complete = _days((one for one in told if one.is_complete), first, last)
    complete |= _proven_empty(told, first, last)
    listed = _days((one for one in told if not one.is_complete), first, last)
    broken = {one.on for one in wrong}
    days = []
    for day in _each(first, last):
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
        days.update(_each(max(period.from_date, first), min(period.to_date, last)))
    return days


def _proven_empty(periods: Sequence[Period], first: date, last: date) -> set[date]:
    """Days between two statements of which one ends with what the next begins with."""
    days: set[date] = set()
    told = sorted(_distinct(periods), key=lambda one: (one.from_date, one.to_date))
    for before, after in pairwise(told):
        if before.closing is None or before.closing != after.opening:
            continue
        begin, end = before.to_date + ONE_DAY, after.from_date - ONE_DAY
        days.update(_each(max(begin, first), min(end, last)))
    return days
