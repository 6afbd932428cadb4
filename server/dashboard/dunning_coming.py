"""What the next days bring: how many steps of which kind on which day (S63)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, g

from server.dashboard import words
from server.dashboard.dunning_lines import KINDS
from server.dashboard.pages import page
from server.db import now
from server.dunning.rules import MAILS
from server.dunning.runs import plans

pages = Blueprint("dunning_coming", __name__)

DAYS = 14
MOST_ORDERS = 5_000
CHART_WIDTH, CHART_HEIGHT = 720, 160
CHART_LINES = 4


@dataclass(frozen=True, slots=True)
class Day:
    """What comes on a day, by kind of step."""

    day: date
    counts: Counter[str]

    @property
    def mails(self) -> int:
        return sum(count for kind, count in self.counts.items() if kind in MAILS)

    @property
    def ends(self) -> int:
        """Orders that are cancelled, overdue or handed to collection."""
        return self.counts.total() - self.mails


@pages.get("/dunning/coming")
def show() -> Response:
    days, is_cut = coming(g.merchant_id, now())
    totals = sum((one.counts for one in days), Counter[str]())
    return page(
        "dunning_coming.html",
        days=days,
        totals=totals,
        total=totals.total(),
        mails=sum(one.mails for one in days),
        ends=sum(one.ends for one in days),
        kinds=[kind for kind in KINDS if totals[kind]],
        chart=_chart(days),
        is_cut=is_cut,
        most=MOST_ORDERS,
    )


def coming(merchant_id: int, at: datetime) -> tuple[list[Day], bool]:
    """DAYS days from today on, without gaps; True if there are more orders than were looked at.

    A step that rests for a while is counted on the day on which it may come again. What holds all
    of them back, such as old bank data, is not known of the days to come.
    """
    today = words.local(at).date()
    days = [Day(today + timedelta(days=number), Counter()) for number in range(DAYS)]
    of_day = {one.day: one.counts for one in days}
    seen = 0
    for _, plan in plans(merchant_id, at, MOST_ORDERS + 1):
        seen += 1
        for step in plan.steps if seen <= MOST_ORDERS else ():
            if step.due_on in of_day:
                of_day[step.due_on][step.kind] += 1
    return days, seen > MOST_ORDERS


def _chart(days: Sequence[Day]) -> dict[str, Any]:
    """The bars in the units of the drawing: mails below, ends on top of them."""
    top = _round_up(max(one.counts.total() for one in days))
    step = CHART_WIDTH / len(days)
    bars = [
        {
            "day": one,
            "x": round(number * step + step / 6, 1),
            "width": round(step * 2 / 3, 1),
            "mails": round(one.mails / top * CHART_HEIGHT, 1),
            "ends": round(one.ends / top * CHART_HEIGHT, 1),
        }
        for number, one in enumerate(days)
        if one.counts
    ]
    lines = [top * number // CHART_LINES for number in range(CHART_LINES, -1, -1)]
    return {"bars": bars, "lines": lines, "width": CHART_WIDTH, "height": CHART_HEIGHT}


def _round_up(count: int) -> int:
    """The next of 4, 8, 12, 20, 40, 80, 120, 200 ... that is at least this much: whole lines."""
    scale: int = 10 ** max(len(str(count)) - 2, 0)
    return next(factor * scale for factor in (4, 8, 12, 20, 40, 80, 120) if factor * scale >= count)
