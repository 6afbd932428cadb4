"""The quota of a merchant: a demo, then blocks for a period each (S97 to S100). Never commits.

Every mail counts, also one that comes back (S98). Below zero sending goes on; what was too much is
billed at the end of the period at the highest unit price (S99). Whoever changes an account holds
its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from server.db import db
from server.merchants.models import Merchant
from server.relay.connections import NotPossible
from server.relay.models import RelayAccount, RelayEntry, RelayPlan

DEMO_MAILS: Final = 1_000
LEAST_BLOCK: Final = 25_000
MOST_BLOCK: Final = 1_000_000_000
PERIOD_DAYS: Final = 30
HIGHEST_UNIT_PRICE: Final = Decimal("0.00095")
"""EUR a mail, where no plan is dearer."""
CENT: Final = Decimal("0.01")
MAX_PERIODS_AT_ONCE: Final = 120
MAX_PLAN_NAME: Final = 100
TWO_CLICKS: Final = timedelta(minutes=1)
"""A plan that is set once more within it has been set already, and is billed once."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """The rest fell below the threshold: the administrators are told, once (S100)."""

    merchant_id: int
    left: int
    threshold: int
    ends_at: datetime | None


def left_of(account: RelayAccount) -> int:
    """How many mails are left of the period; negative is what will be billed."""
    return account.granted - account.used


# --- accounts -----------------------------------------------------------------------------------


def account_of(merchant_id: int, at: datetime) -> RelayAccount:
    """Made with its demo when it is first asked for."""
    row = db.session.get(RelayAccount, merchant_id, populate_existing=True)
    if row is not None:
        return row
    values = {
        "merchant_id": merchant_id,
        "period_began_at": at,
        "granted": DEMO_MAILS,
        "used": 0,
        "renews": True,
        "is_below": False,
    }
    made = insert(RelayAccount).values(values).on_conflict_do_nothing()
    if db.session.scalar(made.returning(RelayAccount.merchant_id)) is not None:
        row = db.session.get_one(RelayAccount, merchant_id)
        _enter(row, "demo", DEMO_MAILS, at)
    return db.session.get_one(RelayAccount, merchant_id)


def locked(merchant_id: int, at: datetime) -> RelayAccount:
    """As it is now, and nobody else's until the end of the transaction."""
    account_of(merchant_id, at)
    row = select(RelayAccount).where(RelayAccount.merchant_id == merchant_id).with_for_update()
    return db.session.execute(row.execution_options(populate_existing=True)).scalar_one()


def zone_of(merchant_id: int) -> ZoneInfo:
    """Whose days the ledger's are."""
    return ZoneInfo(db.session.get_one(Merchant, merchant_id).timezone)


def set_threshold(merchant_id: int, threshold: int | None, at: datetime) -> None:
    """Raises NotPossible. Already below it: nobody is told until it was above again."""
    if threshold is not None and not 0 < threshold <= MOST_BLOCK:
        raise NotPossible("relay_threshold_out_of_range")
    row = locked(merchant_id, at)
    row.threshold = threshold
    row.is_below = threshold is not None and left_of(row) < threshold


def book(
    merchant_id: int, plan_id: int | None, *, actor: str, at: datetime, at_once: bool = False
) -> RelayAccount:
    """From now on where there is no block yet or ``at_once``, else from the next period; None ends
    with this period. Raises NotPossible."""
    row = locked(merchant_id, at)
    if plan_id is None:
        row.renews, row.next_plan_id = False, None
        return row
    plan = db.session.get(RelayPlan, plan_id)
    if plan is None or not plan.is_offered:
        raise NotPossible("relay_plan_unknown")
    row.renews = True
    if at_once and row.plan_id == plan.id and at - row.period_began_at < TWO_CLICKS:
        row.next_plan_id = None
    elif row.plan_id is None or at_once:
        _end_period(row, at)
        _begin_period(row, plan, at, actor)
    else:
        row.next_plan_id = plan.id
    return row


def roll(at: datetime, limit: int = 100) -> int:
    """End the periods that are over, and begin the next ones; returns of how many accounts."""
    over = (
        select(RelayAccount)
        .where(RelayAccount.period_ends_at <= at)
        .order_by(RelayAccount.period_ends_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = db.session.scalars(over.execution_options(populate_existing=True)).all()
    for row in rows:
        for _ in range(MAX_PERIODS_AT_ONCE):
            if row.period_ends_at is None or row.period_ends_at > at:
                break
            _next_period(row, row.period_ends_at)
    return len(rows)


def has_period_over(at: datetime) -> bool:
    over = select(RelayAccount.merchant_id).where(RelayAccount.period_ends_at <= at)
    return bool(db.session.scalar(select(over.exists())))


def _next_period(row: RelayAccount, at: datetime) -> None:
    _end_period(row, at)
    plan_id = (row.next_plan_id or row.plan_id) if row.renews else None
    plan = db.session.get(RelayPlan, plan_id) if plan_id is not None else None
    if plan is not None:
        _begin_period(row, plan, at, "")
        return
    # Nothing is booked any more; what is sent all the same is billed period by period.
    row.plan_id = row.next_plan_id = None
    row.period_began_at, row.period_ends_at = at, at + timedelta(days=PERIOD_DAYS)
    row.granted = row.used = 0


def _end_period(row: RelayAccount, at: datetime) -> None:
    rest = left_of(row)
    if rest > 0:
        _enter(row, "expiry", -rest, at)
    elif rest < 0:
        price = (-rest * highest_unit_price()).quantize(CENT, ROUND_HALF_UP)
        _enter(row, "excess", -rest, at, price=price)


def _begin_period(row: RelayAccount, plan: RelayPlan, at: datetime, actor: str) -> None:
    row.plan_id, row.next_plan_id = plan.id, None
    row.period_began_at, row.period_ends_at = at, at + timedelta(days=plan.period_days)
    row.granted, row.used = plan.block, 0
    row.is_below = row.threshold is not None and plan.block < row.threshold
    _enter(row, "block", plan.block, at, price=plan.price, actor=actor, words=plan.name)


# --- use ----------------------------------------------------------------------------------------


def use(merchant_id: int, by_day: Mapping[date, int], at: datetime) -> Crossing | None:
    """So many mails were taken in; Crossing if the rest fell below the threshold by it."""
    row = locked(merchant_id, at)
    row.used += sum(by_day.values())
    for day, count in sorted(by_day.items()):
        entry = insert(RelayEntry).values(
            merchant_id=merchant_id,
            at=at,
            day=day,
            kind="use",
            mails=-count,
            period_began_at=row.period_began_at,
            words="",
            actor="",
        )
        merged = entry.on_conflict_do_update(
            index_elements=["merchant_id", "period_began_at", "day"],
            index_where=text("kind = 'use'"),  # a parameter would hide which index it is
            set_={"mails": RelayEntry.mails - count, "at": at},
        )
        db.session.execute(merged)
    if row.threshold is None or row.is_below or left_of(row) >= row.threshold:
        return None
    row.is_below = True
    return Crossing(merchant_id, left_of(row), row.threshold, row.period_ends_at)


def _enter(
    row: RelayAccount,
    kind: str,
    mails: int,
    at: datetime,
    *,
    price: Decimal | None = None,
    actor: str = "",
    words: str = "",
) -> None:
    db.session.add(
        RelayEntry(
            merchant_id=row.merchant_id,
            at=at,
            day=at.astimezone(zone_of(row.merchant_id)).date(),
            kind=kind,
            mails=mails,
            price=price,
            period_began_at=row.period_began_at,
            words=words[:200],
            actor=actor,
        )
    )
    db.session.flush()


def entries_of(merchant_id: int, *, before: int | None = None, limit: int) -> list[RelayEntry]:
    """The ledger, the newest first; ``before`` is the id of the last one shown."""
    rows = select(RelayEntry).where(RelayEntry.merchant_id == merchant_id)
    if before is not None:
        rows = rows.where(RelayEntry.id < before)
    return list(db.session.scalars(rows.order_by(RelayEntry.id.desc()).limit(limit)))


def excess(*, before: int | None = None, limit: int) -> list[tuple[RelayEntry, str]]:
    """What is to be billed beyond the blocks, with the merchant's name, the newest first (S99)."""
    rows = (
        select(RelayEntry, Merchant.name)
        .join(Merchant, Merchant.id == RelayEntry.merchant_id)
        .where(RelayEntry.kind == "excess")
    )
    if before is not None:
        rows = rows.where(RelayEntry.id < before)
    found = db.session.execute(rows.order_by(RelayEntry.id.desc()).limit(limit))
    return [(row[0], row[1]) for row in found]


def accounts(limit: int) -> list[tuple[RelayAccount, str]]:
    """Whoever uses the relay, with his name; who has the least left comes first."""
    rows = (
        select(RelayAccount, Merchant.name)
        .join(Merchant, Merchant.id == RelayAccount.merchant_id)
        .order_by(RelayAccount.granted - RelayAccount.used, RelayAccount.merchant_id)
    )
    return [(row[0], row[1]) for row in db.session.execute(rows.limit(limit))]


# --- plans --------------------------------------------------------------------------------------


def plans(*, only_offered: bool = True) -> list[RelayPlan]:
    rows = select(RelayPlan).order_by(RelayPlan.block, RelayPlan.id)
    return list(db.session.scalars(rows.where(RelayPlan.is_offered) if only_offered else rows))


def add_plan(name: str, block: int, price: Decimal, at: datetime) -> RelayPlan:
    """By the operator; ``price`` EUR for the block. Raises NotPossible."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_PLAN_NAME:
        raise NotPossible("relay_plan_no_name")
    if not LEAST_BLOCK <= block <= MOST_BLOCK:
        raise NotPossible("relay_plan_block_out_of_range")
    if not 0 <= price <= 1_000_000 or price != price.quantize(CENT):
        raise NotPossible("relay_plan_price_out_of_range")
    unit = (price / block).quantize(Decimal("0.000001"))
    row = RelayPlan(
        name=name,
        block=block,
        price=price,
        unit_price=unit,
        period_days=PERIOD_DAYS,
        created_at=at,
    )
    db.session.add(row)
    db.session.flush()
    return row


def withdraw_plan(plan_id: int) -> None:
    """Nobody books it any more; who has it keeps it."""
    row = db.session.get(RelayPlan, plan_id)
    if row is None:
        raise NotPossible("relay_plan_unknown")
    row.is_offered = False


def highest_unit_price() -> Decimal:
    """What a mail beyond the block costs, in EUR (S99)."""
    dearest = db.session.scalar(select(func.max(RelayPlan.unit_price)))
    return max(dearest or Decimal(0), HIGHEST_UNIT_PRICE)
