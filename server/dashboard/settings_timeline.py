"""What the settings of a payment code mean for one order, day by day.

A file of its own because it is a small calculation that pages draw: pure, and of the settings
alone. What really happens to an order is planned by ``dunning`` and may come later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.merchants.settings import CodeSettings


@dataclass(frozen=True, slots=True)
class Moment:
    """``day`` counts from the base date. ``comes_not``: the order has ended before.

    ``kind``: ``asked_at_once``, ``asked_with_invoice``, ``asked_by_shop``, ``resent``,
    ``reminder`` (with its ``level``), ``ask_unpaid``, ``cancelled``, ``overdue``, ``collection``.
    """

    day: int
    kind: str
    level: int = 0
    comes_not: bool = False


def timeline(settings: CodeSettings, code: str) -> list[Moment]:
    """The earliest days, in their order; empty for a code of which nothing is managed."""
    moments = [*_asks(settings, code), *_reminders(settings), *_ends(settings, code)]
    ends = [one.day for one in moments if one.kind in ("cancelled", "overdue")]
    last = min(ends, default=None)
    ordered = sorted(moments, key=lambda one: (one.day, _ORDER.index(one.kind), one.level))
    if last is None:
        return ordered
    return [
        Moment(one.day, one.kind, one.level, comes_not=one.kind in _ASKING and one.day >= last)
        for one in ordered
    ]


_ASKING = ("resent", "reminder", "ask_unpaid")
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


def _asks(settings: CodeSettings, code: str) -> Sequence[Moment]:
    if code == "cash_on_delivery":  # paid at the door (K29)
        days = settings.ask_unpaid_after_days
        return [Moment(days, "ask_unpaid")] if days else []
    kinds = {"at_once": "asked_at_once", "with_invoice": "asked_with_invoice"}
    found = [Moment(0, kinds.get(settings.ask_when, "asked_by_shop"))]
    if settings.resend_after_days:
        found.append(Moment(settings.resend_after_days, "resent"))
    return found


def _reminders(settings: CodeSettings) -> Sequence[Moment]:
    """Each counts from the one before (S49); a pause of 0 days is the next day's run."""
    found, day = [], 0
    for level in range(1, settings.reminders + 1):
        day += settings.gap_days(level)
        found.append(Moment(day, "reminder", level))
    return found


def _ends(settings: CodeSettings, code: str) -> Sequence[Moment]:
    found = []
    if settings.cancel_after_days:
        kind = "cancelled" if code == "prepayment" else "overdue"
        found.append(Moment(settings.cancel_after_days, kind))
    if settings.collect_after_days:
        found.append(Moment(settings.collect_after_days, "collection"))
    return found
