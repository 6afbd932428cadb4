"""Which days of an account are there, as people see them: strips, calendars, gaps in words.

``banking.rules.coverage`` knows days; here a weekend without postings is no gap, today is not
over yet, nothing is missed before the account's first day, and a bank that was asked by FinTS
for a day and gave nothing has booked nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from babel.dates import format_date

from server.banking import service
from server.banking.fints.rules import FIRST_FETCH_DAYS
from server.banking.models import BankAccount, BankConnection
from server.banking.rules.coverage import Break, Day
from server.dashboard import words
from server.dashboard.words import t

STRIP_WEEKS = 5
CALENDAR_WEEKS = 13
DAYS_A_WEEK = 7
WORKING_DAYS = 5
GAPS_NAMED = 3
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cell:
    """``state``: ``complete listed missing broken``, or without data ``asked`` (the bank was asked
    for it), ``weekend``, ``today``, ``before``."""

    day: date
    state: str
    postings: int

    @property
    def text(self) -> str:
        """``Donnerstag, 5. März: 3 Umsätze, vollständig``, for eyes that see no colours."""
        said = [str(t(f"coverage.{self.state}"))]
        if self.postings:
            said.insert(0, str(t("coverage.postings", n=self.postings)))
        return f"{words.day(self.day, 'long')}: {', '.join(said)}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """The days of an account, whole weeks from a Monday on, and what is wrong with them."""

    cells: Sequence[Cell]
    breaks: Sequence[Break]

    @property
    def missing(self) -> list[date]:
        return [cell.day for cell in self.cells if cell.state == "missing"]

    @property
    def weeks(self) -> list[Sequence[Cell]]:
        return [self.cells[at : at + DAYS_A_WEEK] for at in range(0, len(self.cells), DAYS_A_WEEK)]

    @property
    def weekdays(self) -> list[str]:
        """``Mo`` to ``So``."""
        return [_named(cell.day, "EEEEEE") for cell in self.weeks[0]]

    @property
    def months(self) -> list[str]:
        """For each week the month that begins in it, else nothing; the first week has its own
        unless another month begins right beside it."""
        firsts = [[cell.day for cell in week if cell.day.day == 1] for week in self.weeks]
        if not any(firsts[:2]):
            firsts[0] = [self.weeks[0][0].day]
        return [_named(days[0], "MMM") if days else "" for days in firsts]

    @property
    def is_known(self) -> bool:
        """Whether anything was ever heard of these days."""
        return any(cell.state in {"complete", "listed", "broken", "asked"} for cell in self.cells)

    @property
    def summary(self) -> str:
        """What the strip shows, in one sentence."""
        if not self.is_known:
            return str(t("coverage.unknown"))
        said = []
        if self.missing:
            # German short dates end with the point that ends the sentence, too.
            days = spans_in_words(self.missing).removesuffix(".")
            said.append(str(t("coverage.days_missing", days=days)))
        if self.breaks:
            said.append(str(t("coverage.breaks", n=len(self.breaks))))
        return " ".join(said) or str(t("coverage.whole"))


def coverage_of(
    account: BankAccount,
    known_from: date | None,
    today: date,
    weeks: int,
    asked: tuple[date, date] | None = None,
) -> Coverage:
    """The last weeks of an account, the running one included. ``asked``: see ``asked_days``."""
    first = today - timedelta(days=today.weekday(), weeks=weeks - 1)
    days, breaks = service.coverage(account.merchant_id, account, first, today)
    return Coverage(
        [Cell(day.day, _state(day, known_from, today, asked), day.postings) for day in days],
        [one for one in breaks if first <= one.on],
    )


def asked_days(connection: BankConnection | None) -> tuple[date, date] | None:
    """From when to when an access has asked its bank: each fetch begins before the last ended."""
    if connection is None or connection.connected_at is None or connection.fetched_at is None:
        return None
    first = words.local(connection.connected_at).date() - timedelta(days=FIRST_FETCH_DAYS)
    return max(first, connection.not_before or first), words.local(connection.fetched_at).date()


def _state(day: Day, known_from: date | None, today: date, asked: tuple[date, date] | None) -> str:
    if day.state != "missing":
        return day.state
    reasons = {
        "today": day.day >= today,
        "asked": asked is not None and asked[0] <= day.day <= asked[1],
        "before": known_from is None or day.day < known_from,
        "weekend": day.day.weekday() >= WORKING_DAYS,
    }
    return next((state for state, applies in reasons.items() if applies), "missing")


def _named(day: date, pattern: str) -> str:
    return str(format_date(day, pattern, locale=words.language()))


def spans_in_words(days: Iterable[date]) -> str:
    """``4.11. und 18. bis 20.11.``; what a weekend parts belongs together."""
    spans: list[tuple[date, date]] = []
    for day in sorted(days):
        if spans and _follows(spans[-1][1], day):
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    said = [
        words.day(first)
        if first == last
        else str(t("coverage.span", first=words.day(first), last=words.day(last)))
        for first, last in spans
    ]
    if len(said) > GAPS_NAMED:
        named, left = ", ".join(said[:GAPS_NAMED]), len(said) - GAPS_NAMED
        return str(t("coverage.and_more", days=named, n=left))
    return str(t("common.and")).join(filter(None, [", ".join(said[:-1]), said[-1]]))


def _follows(before: date, after: date) -> bool:
    next_day = before + ONE_DAY
    while next_day.weekday() >= WORKING_DAYS:
        next_day += ONE_DAY
    return after <= next_day


def break_in_words(one: Break, currency: str) -> str:
    """Where the balances do not fit, and by how much."""
    difference = abs(one.expected - one.found)
    return str(
        t(
            f"coverage.break_{one.kind}",
            day=words.day(one.on, "long"),
            expected=words.money(one.expected, currency),
            found=words.money(one.found, currency),
            difference=words.money(difference, currency),
        )
    )
