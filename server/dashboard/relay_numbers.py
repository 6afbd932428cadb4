"""What went through a connection, by the hour or by the day: sums, a drawing, a table (S96).

Hours begin as the database counts them; days are the merchant's.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from server.dashboard import charts, queries, words
from server.relay import log
from server.relay.log import Numbers
from server.relay.models import RelayConnection

SPANS: Final = ("hours", "days")
HOURS_SHOWN: Final = 24
DAYS_SHOWN: Final = 30


@dataclass(frozen=True, slots=True)
class Slot:
    """An hour or a day under its name."""

    name: str
    numbers: Numbers

    @property
    def sent(self) -> int:
        return self.numbers.sent

    @property
    def wrong(self) -> int:
        return self.numbers.wrong

    @property
    def count(self) -> int:
        return self.numbers.count


@dataclass(frozen=True, slots=True)
class Figures:
    """``slots`` are without gaps, the oldest first; ``by_domain`` are those with numbers, and the
    ``total`` is of all. ``domain`` "" is every domain."""

    span: str
    domain: str
    slots: list[Slot]
    by_domain: list[tuple[str, Numbers]]
    total: Numbers
    chart: dict[str, Any]
    as_of: datetime


def figures_of(row: RelayConnection, span: str, domain: str, at: datetime) -> Figures:
    """Of the last 24 hours, or of the last 30 days."""
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if span == "hours":
        first = hour - timedelta(hours=HOURS_SHOWN - 1)
    else:
        first = queries.midnight(words.today() - timedelta(days=DAYS_SHOWN - 1), words.zone())
    found = log.hours_of(row, first)
    by_domain: dict[str, Numbers] = defaultdict(Numbers)
    for (name, _), numbers in found.items():
        by_domain[name] += numbers
    wanted = {key: numbers for key, numbers in found.items() if domain in ("", key[0])}
    slots = _by_hour(wanted, first) if span == "hours" else _by_day(wanted)
    return Figures(
        span=span,
        domain=domain,
        slots=slots,
        by_domain=sorted(by_domain.items()),
        total=sum(by_domain.values(), Numbers()),
        chart=charts.bars_of(slots),
        as_of=log.counted_until(at),
    )


def _by_hour(found: dict[tuple[str, datetime], Numbers], first: datetime) -> list[Slot]:
    sums: dict[datetime, Numbers] = defaultdict(Numbers)
    for (_, hour), numbers in found.items():
        sums[hour] += numbers
    hours = [first + timedelta(hours=number) for number in range(HOURS_SHOWN)]
    return [Slot(f"{words.local(hour):%H:%M}", sums[hour]) for hour in hours]


def _by_day(found: dict[tuple[str, datetime], Numbers]) -> list[Slot]:
    sums: dict[date, Numbers] = defaultdict(Numbers)
    for (_, hour), numbers in found.items():
        sums[words.local(hour).date()] += numbers
    last = words.today()
    days = [last - timedelta(days=number) for number in reversed(range(DAYS_SHOWN))]
    return [Slot(words.day(one), sums[one]) for one in days]
