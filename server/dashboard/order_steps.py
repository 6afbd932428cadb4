"""What comes next for an order by itself, and why something does not (S57, S63, S83)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from markupsafe import Markup

from server.dashboard import words
from server.dashboard.dunning_lines import step_badge
from server.dashboard.dunning_lines import why as why_held
from server.dashboard.order_timeline import base_date_name, level_word
from server.dashboard.words import t
from server.dunning.circumstances import HARMLESS, Circumstances
from server.dunning.reading import OpenOrder, plan_for, read_order, read_orders
from server.dunning.rules import Plan, Step
from server.dunning.service import reminder_by_hand
from server.merchants.service import settings_of
from server.orders.models import OWING_STATUSES, Order
from server.orders.service import NotPossible

ALWAYS_TOLD = {"stopped", "shadow"}
"""What holds back everything is said even before anything is due."""
QUIET = {"not_managed", "blocked"}
"""Where somebody wanted it that way."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is to come: its picture, its words, the earliest possible day."""

    icon: str
    word: Markup
    day: date


@dataclass(frozen=True, slots=True)
class Steps:
    """``hindered``: why nothing comes, or not all of it; ``is_stuck`` if nobody wanted that,
    ``is_paused`` if it is because the customer says that he has paid.

    ``base_name``, ``base_date``, ``base_from``: from when reminders count, and who says so (S57).
    """

    lines: list[Line]
    hindered: Markup | None
    is_stuck: bool
    is_paused: bool
    is_shown: bool
    base_name: Markup
    base_date: date
    base_from: Markup


def steps_of(order: Order, at: datetime) -> Steps:
    """The plan of one order in words."""
    here, one = _read(order, at)
    plan = plan_for(one, here)
    reason = plan.hindered or _held_back(plan, one, here)
    lines = []
    for step in plan.steps:
        badge = step_badge(step, order.payment_code)
        lines.append(Line(badge.icon, badge.word, step.due_on))
    return Steps(
        lines,
        _sentence(reason, order, has_lines=bool(lines)) if reason else None,
        is_stuck=reason is not None and reason not in QUIET,
        is_paused=reason == "paused",
        is_shown=bool(lines) or reason is not None or order.payment_status in OWING_STATUSES,
        base_name=base_date_name(order.payment_code),
        base_date=plan.base_date,
        base_from=t(f"order.base_{plan.base}"),
    )


def why(reason: str) -> Markup:
    """Why nothing comes, be it of the order itself or of what holds back all."""
    if words.has_text(f"order.why_{reason}"):
        return t(f"order.why_{reason}")
    return why_held(reason)


def _read(order: Order, at: datetime) -> tuple[Circumstances, OpenOrder]:
    here = Circumstances(order.merchant_id, at)
    return here, read_order(order, here)


def _held_back(plan: Plan, one: OpenOrder, here: Circumstances) -> str | None:
    if not plan.steps:
        return None
    reason = here.hindrance(one.whose)
    return reason if plan.due(here.today) or reason in ALWAYS_TOLD else None


def _sentence(reason: str, order: Order, *, has_lines: bool) -> Markup:
    if reason == "paused" and order.paused_until:
        return t("order.hindered_paused", day=words.day(order.paused_until, "long"))
    if has_lines:
        return t("order.hindered_some", why=why(reason))
    return t("order.hindered_all", why=why(reason))


@dataclass(frozen=True, slots=True)
class NextReminder:
    """What the next reminder is called and would charge, were it sent now."""

    level: int
    word: Markup
    fee: Decimal
    interest: Decimal

    @staticmethod
    def may_anyway(problem: NotPossible) -> bool:
        """May a person who knows better overrule it?"""
        return problem.args[0].removeprefix("reminder_") in {*HARMLESS, "today"}


def next_reminder(order: Order, at: datetime) -> NextReminder | None:
    """By hand, the next level (S83), also beyond what is set; None if there is none higher."""
    charge = reminder_by_hand(order, at)
    if charge is None:
        return None
    return NextReminder(charge.level, level_word(charge.level), charge.fee, charge.interest)


def is_registered(order: Order, reminder: NextReminder) -> bool:
    """Would its letter be registered (K60)?"""
    settings = settings_of(order.merchant_id, order.shop_id)
    is_last = reminder.level >= settings.of(order.payment_code).reminders
    return settings.letter_registered and is_last


def next_steps(merchant_id: int, orders: Sequence[Order], at: datetime) -> dict[int, Markup]:
    """Order id to what comes next, or why nothing does, for the list; a fixed number of queries."""
    owing = {one.id: one for one in orders if one.payment_status in OWING_STATUSES}
    if not owing:
        return {}
    here = Circumstances(merchant_id, at)
    found: dict[int, Markup] = {}
    for one in read_orders(list(owing), here):
        plan, order = plan_for(one, here), owing[one.order_id]
        if plan.next is not None:
            found[order.id] = _in_short(plan.next, order.payment_code)
        elif plan.hindered is not None:
            found[order.id] = why(plan.hindered)
    return found


def _in_short(step: Step, payment_code: str) -> Markup:
    day = words.day(step.due_on)
    if step.kind == "reminder" and step.level == 1:
        return t("orders.next_reminder", day=day)
    return t("orders.next_from", what=step_badge(step, payment_code).word, day=day)
