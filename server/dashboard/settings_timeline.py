"""What the settings of a payment code mean for one order, day by day.

A file of its own because it is a small calculation that pages draw: pure, and of the settings
alone. The days are those of ``dunning``'s own plan, for an order of day 0 whose customer never
pays, in a year without Sundays and holidays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from server.dunning.calendar import Calendar
from server.dunning.rules import OrderFacts, Step, plan
from server.merchants.settings import CodeSettings

DAY_0: Final = date(2001, 1, 1)


@dataclass(frozen=True, slots=True)
class Moment:
    """``day`` counts from the base date.

    ``kind``: ``asked_at_once``, ``asked_with_invoice``, ``asked_by_shop``, ``resent``,
    ``reminder`` (with its ``level``), ``ask_unpaid``, ``cancelled``, ``overdue``, ``collection``.
    ``left_out`` says why what is set does not come: the order has ``ended``, a reminder comes
    first (``reminded``), the shop asks itself (``by_shop``), not all reminders go out before
    (``unreminded``), or it is with the collector already (``collected``).
    """

    day: int
    kind: str
    level: int = 0
    left_out: str | None = None


class EveryDay(Calendar):
    """Mails go out and banks work on any day."""

    def next_good_day(self, day: date) -> date:
        return day

    def next_bank_day(self, day: date) -> date:
        return day


_ORDER = (
    "asked_at_once",
    "asked_with_invoice",
    "asked_by_shop",
    "resent",
    "ask_unpaid",
    "reminder",
    "cancelled",
    "overdue",
    "collection",
)
_ASKED: Final = {"at_once": "asked_at_once", "with_invoice": "asked_with_invoice"}
_KINDS: Final = {
    "resend": "resent",
    "enquiry": "ask_unpaid",
    "reminder": "reminder",
    "collection": "collection",
}


def timeline(settings: CodeSettings, code: str) -> list[Moment]:
    """The earliest days, in their order; empty for a code of which nothing is managed."""
    steps = plan(_unpaid(settings, code), settings, EveryDay("DE"), DAY_0).steps
    end = "cancelled" if code == "prepayment" else "overdue"
    coming = {_key(step, end): (step.due_on - DAY_0).days for step in steps}
    moments = [] if code == "cash_on_delivery" else [Moment(0, _first(settings))]
    for key, day in _as_set(settings, end).items():
        kind, level = key
        left_out = _why_not(kind, day, settings, coming, end)
        moments.append(Moment(coming.get(key, day), kind, level, left_out))
    return sorted(moments, key=lambda one: (one.day, _ORDER.index(one.kind), one.level))


def _unpaid(settings: CodeSettings, code: str) -> OrderFacts:
    return OrderFacts(
        payment_code=code,
        payment_status="unpaid",
        order_date=DAY_0,
        has_invoice_number=True,
        asked_on=None if settings.ask_when == "by_shop" else DAY_0,
    )


def _first(settings: CodeSettings) -> str:
    return _ASKED.get(settings.ask_when, "asked_by_shop")


Key = tuple[str, int]


def _key(step: Step, end: str) -> Key:
    return _KINDS.get(step.kind, end), step.level


def _as_set(settings: CodeSettings, end: str) -> Mapping[Key, int]:
    """Everything that the settings name, on the day that they name."""
    single = {
        "resent": settings.resend_after_days,
        "ask_unpaid": settings.ask_unpaid_after_days,
        end: settings.cancel_after_days,
        "collection": settings.collect_after_days,
    }
    return {(kind, 0): day for kind, day in single.items() if day} | dict(_chain(settings))


def _chain(settings: CodeSettings) -> Iterator[tuple[Key, int]]:
    """Each reminder counts from the one before; a pause of 0 days ends their row (S49)."""
    day = 0
    for level in range(1, sent_levels(settings) + 1):
        day += settings.gap_days(level)
        yield ("reminder", level), day


def sent_levels(settings: CodeSettings) -> int:
    """How many reminders can go out."""
    levels: Sequence[int] = range(1, settings.reminders + 1)
    return next((one - 1 for one in levels if settings.gap_days(one) <= 0), settings.reminders)


def _why_not(
    kind: str, day: int, settings: CodeSettings, coming: Mapping[Key, int], end: str
) -> str | None:
    ended = coming.get((end, 0))
    if kind == "ask_unpaid":
        return "ended" if ended is not None and day > ended else None
    if any(one == kind for one, _ in coming) and kind != "reminder":
        return None
    if kind == "resent":
        if settings.ask_when == "by_shop":
            return "by_shop"
        return "reminded" if any(one == "reminder" for one, _ in coming) else "ended"
    if kind == "reminder":
        is_late = settings.cancel_after_days and day >= settings.cancel_after_days
        return "ended" if is_late else None
    return "unreminded" if kind == "collection" else "collected"
