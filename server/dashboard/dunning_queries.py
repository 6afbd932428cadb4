"""What the pages about reminders read. Everything takes the merchant and finds nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.sql import ColumnElement

from server.db import db
from server.dunning.models import DunningRun
from server.dunning.runs import TOO_MANY
from server.mail.models import Mail
from server.orders.brakes import STOPPED
from server.orders.models import (
    OWING_STATUSES,
    DeferralRequest,
    Order,
    PaymentClaim,
    Reminder,
)

RUNS_SHOWN = 30
REMINDERS_SHOWN = 500
CLAIMS_SHOWN = 50


# --- runs -------------------------------------------------------------------------------------


def runs(
    merchant_id: int, *, before_id: int | None = None, limit: int | None = None
) -> list[DunningRun]:
    """The newest first, RUNS_SHOWN or ``limit``; with ``before_id`` those older than it."""
    query = select(DunningRun).where(DunningRun.merchant_id == merchant_id)
    if before_id is not None:
        query = query.where(DunningRun.id < before_id)
    return list(db.session.scalars(query.order_by(DunningRun.id.desc()).limit(limit or RUNS_SHOWN)))


def run_of(merchant_id: int, run_id: int) -> DunningRun | None:
    return db.session.scalar(
        select(DunningRun).where(DunningRun.merchant_id == merchant_id, DunningRun.id == run_id)
    )


def open_run(merchant_id: int) -> DunningRun | None:
    """The one that is on its way or waits for a click, the newest."""
    query = select(DunningRun).where(
        DunningRun.merchant_id == merchant_id,
        or_(DunningRun.status.in_(("queued", "running")), _waits()),
    )
    return db.session.scalar(query.order_by(DunningRun.id.desc()).limit(1))


def waiting_run(merchant_id: int) -> DunningRun | None:
    """The newest one that waits for a click."""
    query = select(DunningRun).where(DunningRun.merchant_id == merchant_id, _waits())
    return db.session.scalar(query.order_by(DunningRun.id.desc()).limit(1))


def _waits() -> ColumnElement[bool]:
    """For a click; one that a person discarded is withheld too, and waits for nothing."""
    return and_(DunningRun.status == "withheld", DunningRun.error == TOO_MANY)


def last_done_run(merchant_id: int) -> DunningRun | None:
    query = select(DunningRun).where(
        DunningRun.merchant_id == merchant_id, DunningRun.status == "done"
    )
    return db.session.scalar(query.order_by(DunningRun.id.desc()).limit(1))


def has_daily_run(merchant_id: int, day: date) -> bool:
    """Has the daily run of this local date begun?"""
    found = exists().where(
        DunningRun.merchant_id == merchant_id,
        DunningRun.run_date == day,
        DunningRun.origin == "daily",
    )
    return bool(db.session.scalar(select(found)))


def ended_orders(run: DunningRun) -> list[Order]:
    """The first of those that a run cancelled or handed to collection."""
    ids = [order_id for listed in run.listed.values() for order_id in listed]
    query = select(Order).where(Order.merchant_id == run.merchant_id, Order.id.in_(ids))
    return list(db.session.scalars(query.order_by(Order.id))) if ids else []


@dataclass(frozen=True, slots=True)
class SentReminder:
    reminder: Reminder
    order: Order
    mail: Mail | None


def reminders_of(run: DunningRun) -> list[SentReminder]:
    """What a run sent, in the order of the orders; REMINDERS_SHOWN at most."""
    rows = db.session.execute(
        select(Reminder, Order, Mail)
        .join(Order, Order.id == Reminder.order_id)
        .outerjoin(Mail, Mail.id == Reminder.mail_id)
        .where(Reminder.merchant_id == run.merchant_id, Reminder.run_id == run.id)
        .order_by(Reminder.id)
        .limit(REMINDERS_SHOWN)
    )
    return [SentReminder(*row) for row in rows]


# --- what waits for a person ------------------------------------------------------------------


def held_removals(merchant_id: int) -> dict[int, int]:
    """How many removals are held, by shop (S41)."""
    rows = db.session.execute(
        select(Order.shop_id, func.count())
        .where(Order.merchant_id == merchant_id, Order.held_removal.is_not(None))
        .group_by(Order.shop_id)
    )
    return {row[0]: row[1] for row in rows}


def claimed_orders(merchant_id: int, since: datetime) -> list[Order]:
    """Orders whose customer said since then that he has paid, that still owe, and at which nobody
    has looked; newest first."""
    claimed = exists().where(
        PaymentClaim.order_id == Order.id,
        PaymentClaim.merchant_id == merchant_id,
        PaymentClaim.claimed_at > since,
        PaymentClaim.settled_at.is_(None),
    )
    query = select(Order).where(
        Order.merchant_id == merchant_id, Order.payment_status.in_(OWING_STATUSES), claimed
    )
    return list(db.session.scalars(query.order_by(Order.id.desc()).limit(CLAIMS_SHOWN)))


def orders_that_ask(merchant_id: int) -> list[Order]:
    """Orders whose customer waits to hear whether he has more time; who waits longest first."""
    query = (
        select(Order)
        .join(DeferralRequest, DeferralRequest.order_id == Order.id)
        .where(
            Order.merchant_id == merchant_id,
            DeferralRequest.merchant_id == merchant_id,
            DeferralRequest.status == "open",
        )
    )
    return list(db.session.scalars(query.order_by(DeferralRequest.asked_at).limit(CLAIMS_SHOWN)))


def stopped_mails(merchant_id: int) -> int:
    """Mails to customers that the stop switch holds back."""
    query = select(func.count()).where(
        Mail.merchant_id == merchant_id, Mail.status == "withheld", Mail.error == STOPPED
    )
    return db.session.scalar(query) or 0
