"""Reminders worked out a second time: by walking day after day, from what is written down.

Simple and slow on purpose, and not a line of it from ``server.dunning``: settings come from what
the world's merchants wished, what was sent from the mails' keys, dates set by hand from the
history. It says who gets a reminder in a run of this moment, and why nothing may happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import holidays
from sqlalchemy import text

from server.db import db

if TYPE_CHECKING:
    from tests.simulator.world import World

DEFAULTS: Final = {
    "prepayment": {
        "reminders": "1",
        "first_reminder_days": "7",
        "ask_when": "at_once",
        "cancel_after_days": "0",
        "reminder_base": "invoice_date",
    },
    "invoice": {
        "reminders": "2",
        "first_reminder_days": "21",
        "reminder_2_days": "10",
        "ask_when": "at_once",
        "cancel_after_days": "0",
        "reminder_base": "invoice_date",
    },
}
"""As docs/features.md has them; further reminders follow after 7 days."""
GENERAL: Final = {
    "saturday_reminders": "off",
    "bank_data_hours": "72",
    "stop_mails": "off",
    "mode": "live",
    "run_hour": "9",
    "claim_fees": "off",
}
SEVEN: Final = "7"
ONE_DAY: Final = timedelta(days=1)
REACTION_DAYS: Final = 3
"""So long after he was asked first, or the order was brought back, nobody is reminded."""
SILENCE: Final = timedelta(minutes=15)

OPEN_ORDERS: Final = """
SELECT o.id, o.shop_id, o.payment_code, o.payment_status, o.total, o.ordered_at, o.customer_email,
    o.wire, o.reminders_blocked_at, o.paused_until, o.held_removal, o.fee_total, o.sync,
    (SELECT min(date) FROM invoice WHERE order_id = o.id) AS invoice_date,
    EXISTS (SELECT FROM invoice WHERE order_id = o.id) AS has_invoice,
    (SELECT facts ->> 'day' FROM order_event WHERE order_id = o.id AND kind = 'base_date_set'
        ORDER BY id DESC LIMIT 1) AS base_by_hand,
    (SELECT coalesce(finished_at, created_at) FROM mail WHERE order_id = o.id
        AND kind = 'payment_information' AND status <> 'withheld' ORDER BY id LIMIT 1) AS asked_at,
    (SELECT max(at) FROM order_event WHERE order_id = o.id
        AND kind IN ('reopened', 'open_again', 'taken_over', 'imported')) AS resumed_at,
    (SELECT json_agg(json_build_array(once, coalesce(finished_at, :now))) FROM mail
        WHERE order_id = o.id AND kind IN ('reminder', 'dunning_notice')
            AND status <> 'withheld') AS reminded,
    EXISTS (SELECT FROM suggestion s JOIN posting p ON p.id = s.posting_id AND p.is_open
        WHERE s.probability >= 0.1 AND s.returns_id IS NULL
            AND s.orders::text ~ ('"order_id": ' || o.id || '[,}]')) AS maybe_paid
FROM "order" o WHERE o.merchant_id = :merchant_id
    AND o.payment_status IN ('unpaid', 'partially_paid') ORDER BY o.id
"""
UNLOOKED: Final = """
SELECT EXISTS (SELECT FROM posting WHERE merchant_id = :merchant_id AND is_open AND needs_match)
"""


def wish(world: World, merchant_id: int, shop_id: int | None, name: str) -> str:
    """What the merchant wants: for this shop, for all, or nothing yet."""
    for whose in (shop_id, None):
        if (merchant_id, whose, name) in world.wishes:
            return world.wishes[merchant_id, whose, name]
    code, _, plain = name.rpartition(".")
    return DEFAULTS[code].get(plain, SEVEN) if code in DEFAULTS else GENERAL.get(plain, "0")


@dataclass(frozen=True, slots=True)
class Told:
    """Who is to be reminded now, and with which level. ``unsure``: it depends on what the matcher
    has not looked at yet, or on fees that are about to be taken back."""

    due: frozenset[tuple[int, int]]
    unsure: frozenset[int]


def reminders_now(world: World, merchant_id: int) -> Told:
    """What a run of this moment has to send."""
    unlooked = bool(db.session.scalar(text(UNLOOKED), {"merchant_id": merchant_id}))
    due: set[tuple[int, int]] = set()
    unsure: set[int] = set()
    values = {"merchant_id": merchant_id, "now": world.now}
    for row in db.session.execute(text(OPEN_ORDERS), values):
        level = _level_now(world, merchant_id, row)
        if level is None or row.maybe_paid or hindrance(world, merchant_id, row.shop_id, row.sync):
            continue
        if unlooked or row.fee_total:
            unsure.add(row.id)
        due.add((row.id, level))
    return Told(frozenset(due), frozenset(unsure))


def hindrance(world: World, merchant_id: int, shop_id: int, sync: str) -> str | None:
    """Why nothing happens by itself to orders of this shop at this moment."""
    if wish(world, merchant_id, None, "stop_mails") == "on":
        return "mails are stopped"
    if sync != "manual" and _is_away(world, shop_id):
        return "the shop is away"
    heard = world.banks[merchant_id].heard_until()
    limit = int(wish(world, merchant_id, shop_id, "bank_data_hours"))
    zone = world.banks[merchant_id].zone
    if heard is None or _banking_hours(heard, world.now, zone) > limit:
        return f"the bank was heard until {heard}"
    return None


def _is_away(world: World, shop_id: int) -> bool:
    row = db.session.execute(
        text("SELECT status, seen_at, connector FROM shop WHERE id = :id"), {"id": shop_id}
    ).one()
    if row.status != "connected":
        return True
    return bool(row.connector) and (row.seen_at is None or world.now - row.seen_at > SILENCE)


def _level_now(world: World, merchant_id: int, row: Any) -> int | None:
    """The level of which this order's turn is, by the calendar alone."""
    code = row.payment_code
    if code not in DEFAULTS or row.reminders_blocked_at or row.held_removal:
        return None
    today = world.today(merchant_id)
    if not row.customer_email or (row.paused_until and today <= row.paused_until):
        return None

    def setting(name: str) -> str:
        return wish(world, merchant_id, row.shop_id, f"{code}.{name}")

    if setting("ask_when") == "with_invoice" and not row.has_invoice:
        return None
    if not is_mail_day(today, country_of(row.wire), _saturdays(world, merchant_id, row.shop_id)):
        return None
    zone = world.banks[merchant_id].zone
    sent = {int(once.split(":")[3]): _day(at, zone) for once, at in row.reminded or []}
    level = max(sent, default=0) + 1
    if level > int(setting("reminders")):
        return None
    meant = _meant(row, setting, level, zone)
    gap = int(setting(_gap_name(level)))
    if meant is None:
        return None
    return level if _has_come(row, sent, meant, gap, today, zone) else None


def _meant(row: Any, setting: Any, level: int, zone: ZoneInfo) -> date | None:
    """The day of this level, had everything gone by plan; None if the order is to end before."""
    base = base_day(row, setting("reminder_base"), zone)
    day = base
    for each in range(1, level + 1):
        for _ in range(int(setting(_gap_name(each)))):
            day += ONE_DAY
    ends = int(setting("cancel_after_days"))
    can_end = row.payment_status == "unpaid" or row.payment_code == "invoice"
    return None if ends and can_end and day >= base + timedelta(days=ends) else day


def _has_come(
    row: Any, sent: dict[int, date], meant: date, gap: int, today: date, zone: ZoneInfo
) -> bool:
    begins = [at.astimezone(zone).date() for at in (row.asked_at, row.resumed_at) if at is not None]
    if any((today - day).days < min(gap, REACTION_DAYS) for day in begins):
        return False
    if sent:
        waited = (today - max(sent.values())).days >= gap
        return waited and (not row.base_by_hand or today >= meant)
    return today >= meant


def base_day(row: Any, rule: str, zone: ZoneInfo) -> date:
    """By hand, by the shop, of the invoice, of the order."""
    if row.base_by_hand:
        return date.fromisoformat(row.base_by_hand)
    if row.wire.get("reminder_base_date"):
        return date.fromisoformat(row.wire["reminder_base_date"])
    if rule == "invoice_date" and row.invoice_date is not None:
        return row.invoice_date
    ordered: datetime = row.ordered_at
    return ordered.astimezone(zone).date()


def _gap_name(level: int) -> str:
    return "first_reminder_days" if level == 1 else f"reminder_{level}_days"


def _saturdays(world: World, merchant_id: int, shop_id: int) -> bool:
    return wish(world, merchant_id, shop_id, "saturday_reminders") == "on"


def country_of(told: dict[str, Any]) -> str | None:
    for name in ("billing_address", "shipping_address"):
        if told.get(name):
            country: str | None = told[name].get("country")
            return country
    return None


def is_mail_day(day: date, country: str | None, saturdays: bool) -> bool:
    """Neither Sunday nor a holiday of the country; Saturdays as the merchant likes."""
    if day.isoweekday() == 7 or (day.isoweekday() == 6 and not saturdays):
        return False
    return not (country and day in _feasts(country, day.year))


@cache
def _feasts(country: str, year: int) -> frozenset[date]:
    return frozenset(getattr(holidays, country)(years=[year]))


def is_bank_day(day: date) -> bool:
    """TARGET: New Year, Good Friday, Easter Monday, 1 May, both days of Christmas."""
    if day.isoweekday() > 5 or (day.month, day.day) in ((1, 1), (5, 1), (12, 25), (12, 26)):
        return False
    return day not in (_easter(day.year) - 2 * ONE_DAY, _easter(day.year) + ONE_DAY)


@cache
def _easter(year: int) -> date:
    """The anonymous Gregorian computus (Meeus, Astronomical Algorithms)."""
    a, b, c = year % 19, year // 100, year % 100
    d = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    e = (32 + 2 * (b % 4) + 2 * (c // 4) - d - c % 4) % 7
    f = d + e - 7 * ((a + 11 * d + 22 * e) // 451) + 114
    return date(year, f // 31, f % 31 + 1)


def _banking_hours(since: datetime, until: datetime, zone: ZoneInfo) -> float:
    """Quarter of an hour by quarter, of the last weeks."""
    quarter = timedelta(minutes=15)
    hours = 0.0
    moment = max(since, until - timedelta(days=25))
    while moment < until:
        if is_bank_day(moment.astimezone(zone).date()):
            hours += min(until - moment, quarter) / timedelta(hours=1)
        moment += quarter
    return hours


def _day(written: str, zone: ZoneInfo) -> date:
    return datetime.fromisoformat(written).astimezone(zone).date()
