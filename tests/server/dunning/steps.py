"""What the stories about reminders do: days go by, the bank is heard, a run takes place."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from server.db import db
from server.dunning.circumstances import Circumstances
from server.dunning.models import DunningRun
from server.dunning.reading import plan_for, read_order
from server.dunning.rules import Plan
from server.dunning.runs import ask_run, step
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.merchants.service import change_setting
from server.orders.models import Order, OrderEvent, Reminder
from tests.factories import make_order, make_posting

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ANNA = "anna@example.org"
STEPS_AT_MOST = 200


def day(count: float) -> datetime:
    return MONDAY + timedelta(days=count)


def merchant_of(row) -> Merchant:
    return db.session.get_one(Merchant, row.merchant_id)


def set_to(shop, **values) -> None:
    """Settings of the shop; a name as ``invoice__reminders``."""
    for name, value in values.items():
        per_shop = name not in ("stop_mails", "run_hour", "assignment")
        change_setting(
            shop.merchant_id,
            name.replace("__", "."),
            str(value),
            actor=ANNA,
            at=MONDAY,
            shop_id=shop.id if per_shop else None,
        )
    db.session.commit()


def order_of(shop, **over) -> Order:
    """Ordered, received and asked for on the Monday; on invoice with
    ``payment_method="invoice"``."""
    values = {"ordered_at": "2026-03-02T08:00:00+00:00"}
    if over.get("payment_method") == "invoice":
        values |= {
            "shop_status": "processing",
            "invoices": [{"number": "R-1001", "date": "2026-03-02"}],
        }
    if over.get("payment_method") == "cod":
        values |= {"shop_status": "processing"}
    order = make_order(shop, at=MONDAY, **(values | over))
    send_mails(MONDAY)
    return order


def bank_is_heard(merchant, at) -> None:
    """A posting of no interest came by the API."""
    make_posting(merchant, "-1.00", created_at=at)


def send_mails(at) -> None:
    """What is due is on its way."""
    for mail in db.session.query(Mail).filter_by(status="queued"):
        mail.succeed(at)
    db.session.commit()


def run_at(merchant, at, *, hears_bank=True, actor="") -> DunningRun:
    """One run, to its end, and its mails go out."""
    if hears_bank:
        bank_is_heard(merchant, at)
    run = ask_run(merchant.id, actor=actor, at=at)
    db.session.commit()
    play(run, at)
    send_mails(at)
    return run


def play(run, at) -> None:
    for _ in range(STEPS_AT_MOST):
        more = step(run, at)
        db.session.commit()
        if not more:
            return
    raise AssertionError("the run does not end")


def run_daily(merchant, first, last) -> None:
    """A run each day, from the ``first`` day after the Monday to the ``last``."""
    for count in range(first, last + 1):
        run_at(merchant, day(count))


def mails_of(order, *kinds) -> list[Mail]:
    found = db.session.query(Mail).filter_by(order_id=order.id).order_by(Mail.id)
    return [mail for mail in found if not kinds or mail.kind in kinds]


def reminders_of(order) -> list[Reminder]:
    return db.session.query(Reminder).filter_by(order_id=order.id).order_by(Reminder.level).all()


def sent_on(order) -> list[int]:
    """Days after the Monday on which reminders went out."""
    return [(row.sent_on - MONDAY.date()).days for row in reminders_of(order)]


def plan_of(order, at) -> Plan:
    """What comes next for the order."""
    here = Circumstances(order.merchant_id, at)
    return plan_for(read_order(order, here), here)


def first_on(plan, kind) -> date | None:
    """The day of the first step of a kind."""
    return next((step.due_on for step in plan.steps if step.kind == kind), None)


def notices_of(merchant, kind) -> list[Mail]:
    return db.session.query(Mail).filter_by(merchant_id=merchant.id, kind=kind).all()


def events_of(order) -> list[str]:
    query = db.session.query(OrderEvent).filter_by(order_id=order.id).order_by(OrderEvent.id)
    return [event.kind for event in query]
