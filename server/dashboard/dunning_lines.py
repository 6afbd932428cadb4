"""What the pages about reminders say: lines of what is due, of runs, of what stands in the way.

A file of its own because three pages say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from flask import url_for
from markupsafe import Markup

from server.dashboard import words
from server.dashboard.order_queries import OrderRow
from server.dashboard.order_timeline import level_word
from server.dashboard.queries import bank_name
from server.dashboard.status import Badge
from server.dashboard.words import t
from server.dunning.circumstances import Circumstances
from server.dunning.models import DunningRun
from server.dunning.rules import MAILS, Step, plan
from server.dunning.runs import TOO_MANY, Due
from server.merchants.settings import MerchantSettings
from server.orders.models import Order
from server.orders.rules import LATE_CODES
from server.shops.models import Shop

KINDS = ("resend", "before_due", "reminder", "enquiry", "cancel", "collection")
"""What a run does, in the order in which it is said."""
MINUTE_SECONDS = 120
_LOOKS = {
    "resend": ("mail", "off"),
    "before_due": ("mail", "off"),
    "reminder": ("reminder", "part"),
    "enquiry": ("ask", "part"),
    "cancel": ("cancelled", "bad"),
    "collection": ("collection", "bad"),
}
_STATES = {
    "queued": ("overdue", "off"),
    "running": ("overdue", "part"),
    "done": ("check", "ok"),
    "withheld": ("warn", "warn"),
    "discarded": ("removed", "off"),
    "failed": ("warn", "bad"),
}


@dataclass(frozen=True, slots=True)
class DueLine:
    """One order and what is due for it. ``why``: what holds it back, where something does.

    ``amount`` is what the order owes.
    """

    order: Order
    what: Badge
    since: date
    amount: Decimal
    is_mail: bool
    why: Markup | None = None


def step_badge(step: Step, payment_code: str) -> Badge:
    icon, colour = _LOOKS[step.kind]
    if step.kind == "reminder":
        return Badge(icon, "warn" if step.level > 1 else colour, level_word(step.level))
    is_late = step.kind == "cancel" and payment_code in LATE_CODES
    return Badge(icon, colour, t(f"dunning.step_{'overdue' if is_late else step.kind}"))


def due_line(due: Due, row: OrderRow, here: Circumstances) -> DueLine:
    """``row`` is the order with what it owes."""
    is_told = due.step.kind == "cancel" and row.order.payment_code == "prepayment"
    return DueLine(
        order=row.order,
        what=step_badge(due.step, row.order.payment_code),
        since=due_since(due, here),
        amount=row.open,
        is_mail=due.step.kind in MAILS or is_told,
        why=why(due.hindered) if due.hindered is not None else None,
    )


def due_since(due: Due, here: Circumstances) -> date:
    """The day on which it could have been done first: the plan, seen from the order's own day."""
    order = due.order
    settings = here.settings(order.whose.shop_id).of(order.facts.payment_code)
    seen = plan(order.facts, settings, here.calendar(order.whose), order.facts.order_date)
    alike = (one for one in seen.steps if (one.kind, one.level) == (due.step.kind, due.step.level))
    return min(next(alike, due.step).due_on, due.step.due_on)


def why(reason: str) -> Markup:
    """What holds a step back, in words."""
    is_known = words.has_text(f"dunning.why_{reason}")
    return t(f"dunning.why_{reason}" if is_known else "dunning.why_other")


def tally(counts: Mapping[str, int]) -> list[Badge]:
    """How many of what, as badges: ``12 Mahnungen``."""
    return [
        Badge(*_LOOKS[kind], t(f"dunning.did_{kind}", n=counts[kind]))
        for kind in KINDS
        if counts.get(kind)
    ]


def why_tally(counts: Mapping[str, int]) -> list[Markup]:
    """How many are held back by what, the most first: ``12 × Bankdaten zu alt``."""
    most_first = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [
        t("dunning.why_count", n=words.number(count), why=why(reason))
        for reason, count in most_first
        if count
    ]


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in words; ``state`` as ``state_of``. ``is_waiting``: for a click."""

    row: DunningRun
    badge: Badge
    who: str
    did: list[Badge]
    hindered: list[Markup]
    duration: str
    state: str

    @property
    def is_waiting(self) -> bool:
        return self.state == "withheld"

    @property
    def is_over(self) -> bool:
        return self.state in {"done", "discarded", "failed"}


def run_line(row: DunningRun) -> RunLine:
    state = state_of(row)
    icon, colour = _STATES[state]
    return RunLine(
        row=row,
        badge=Badge(icon, colour, t(f"dunning.run_{state}")),
        who=row.actor or str(t("dunning.by_itself")),
        did=tally(row.did),
        hindered=why_tally(row.hindered),
        duration=_duration(row),
        state=state,
    )


def state_of(row: DunningRun) -> str:
    """The word of its state: what was withheld either waits for a click or was discarded."""
    is_discarded = row.status == "withheld" and row.error != TOO_MANY
    return "discarded" if is_discarded else row.status


def run_lines(rows: Iterable[DunningRun]) -> list[RunLine]:
    return [run_line(row) for row in rows]


def _duration(row: DunningRun) -> str:
    """From when it could begin; what waited for a click began with the click."""
    if row.finished_at is None:
        return "–"
    seconds = int((row.finished_at - (row.released_at or row.created_at)).total_seconds())
    if seconds < 1:
        return str(t("dunning.seconds_few"))
    if seconds < MINUTE_SECONDS:
        return str(t("dunning.seconds", n=seconds))
    return str(t("dunning.minutes", n=round(seconds / 60)))


# --- what stands in the way -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why reminders do not go out, and where somebody can do something about it.

    ``holds_all``: nothing of this merchant goes out; else some of it.
    """

    text: Markup
    href: str
    action: Markup
    holds_all: bool = False


def obstacles(here: Circumstances) -> list[Obstacle]:
    """What the run would find in its way now, by what it asks itself (N5)."""
    stopped = _switches(here.general)
    return stopped or [*_banks(here), *_shops(here)]


def _switches(settings: MerchantSettings) -> list[Obstacle]:
    found = []
    if settings.stop_mails:
        text, href = t("dunning.obstacle_stopped"), url_for("dashboard.settings.show_more")
        found.append(Obstacle(text, href, t("dunning.settings"), holds_all=True))
    if settings.assignment == "shadow":
        text, href = t("dunning.obstacle_shadow"), url_for("dashboard.settings.show")
        found.append(Obstacle(text, href, t("dunning.settings"), holds_all=True))
    return found


def _banks(here: Circumstances) -> list[Obstacle]:
    """The accounts that customers pay to; one line a bank account, by the strictest shop."""
    if not here.payees:
        href = url_for("dashboard.bank.show_all")
        text = t("dunning.obstacle_no_account")
        return [Obstacle(text, href, t("bank.title"), holds_all=True)]
    upload, found = url_for("dashboard.statements.show_all"), []
    asked_at = here.asked_at()
    stale = {iban for iban, shops in asked_at.items() if any(here.is_stale(iban, s) for s in shops)}
    holds_all = all(here.is_stale(iban, shop) for iban, shops in asked_at.items() for shop in shops)
    for iban in sorted(stale):
        heard, bank = here.heard.get(iban), bank_name(iban)
        hours = min(here.settings(shop).bank_data_hours for shop in asked_at[iban])
        text = (
            t("dunning.obstacle_stale_bank", bank=bank, at=words.moment(heard), hours=hours)
            if heard
            else t("dunning.obstacle_no_bank", bank=bank)
        )
        found.append(Obstacle(text, upload, t("dunning.upload"), holds_all=holds_all))
    return found


def _shops(here: Circumstances) -> list[Obstacle]:
    away = [here.shops[shop_id] for shop_id in here.living if here.is_away(shop_id)]
    return [
        Obstacle(
            _away(shop),
            url_for("dashboard.shops.show", shop_id=shop.id),
            t("action.look"),
            holds_all=len(away) == len(here.living),
        )
        for shop in away
    ]


def _away(shop: Shop) -> Markup:
    if shop.status == "error":
        return t("dunning.obstacle_shop_error", shop=shop.name)
    if shop.status != "connected" or shop.seen_at is None:
        return t("dunning.obstacle_shop_never", shop=shop.name)
    return t("dunning.obstacle_shop_away", shop=shop.name, at=words.moment(shop.seen_at))
