"""Several at once: two runs, a run and a payment, a run and a click; nothing comes twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.db import db
from server.dunning.models import DunningRun
from server.dunning.runs import begin_daily_runs, step
from server.dunning.service import run_order, send_reminder
from server.mail.models import Mail
from server.orders.ledger import NotPossible
from server.orders.models import Order, Reminder
from server.orders.service import mark_as_paid
from tests.factories import make_merchant, make_shop, make_user
from tests.server.dunning.steps import ANNA, bank_is_heard, day, order_of

pytestmark = pytest.mark.real_commits
ORDERS = 12
AT_ONCE = 6


@pytest.fixture
def shop(app):
    merchant = make_merchant()
    make_user(merchant)
    bank_is_heard(merchant, day(7))
    return make_shop(merchant)


@pytest.fixture
def together(app):
    """Run functions at the same moment, each in a session of its own; their results."""

    def together(*actions):
        start = threading.Barrier(len(actions))

        def act(action):
            with app.app_context():
                db.session.connection()
                db.session.rollback()
                start.wait(10)
                try:
                    found = action()
                    db.session.commit()
                    return found
                except NotPossible as refused:
                    return refused.args[0]
                finally:
                    db.session.remove()

        with ThreadPoolExecutor(len(actions)) as pool:
            results = list(pool.map(act, actions))
        db.session.rollback()
        db.session.expire_all()
        return results

    return together


def a_run(merchant_id):
    """The id of a run that is at work."""
    run = DunningRun(
        merchant_id=merchant_id,
        run_date=day(7).date(),
        origin="person",
        status="running",
        attempts=1,
        created_at=day(7),
        due_at=day(7),
    )
    db.session.add(run)
    db.session.commit()
    return run.id


def play(run_id):
    run = db.session.get_one(DunningRun, run_id)
    while step(run, day(7)):
        db.session.commit()
    db.session.commit()


@pytest.mark.feature("S84")
def test_runs_at_the_same_moment_send_nothing_twice(shop, together):
    for _ in range(ORDERS):
        order_of(shop)
    ids = [a_run(shop.merchant_id) for _ in range(AT_ONCE)]
    together(*[lambda run_id=run_id: play(run_id) for run_id in ids])
    assert db.session.query(Reminder).count() == ORDERS
    assert db.session.query(Mail).filter_by(kind="reminder").count() == ORDERS
    done = db.session.query(DunningRun).filter_by(status="done")
    assert sum(run.did.get("reminder", 0) for run in done) == ORDERS
    assert done.count() == AT_ONCE


@pytest.mark.feature("S83", "S84")
def test_clicks_at_the_same_moment_are_one_level(shop, together):
    order = order_of(shop)
    merchant_id, order_id = shop.merchant_id, order.id

    def click():
        return send_reminder(merchant_id, order_id, actor=ANNA, at=day(7)).level

    def run():
        step = run_order(merchant_id, order_id, actor=ANNA, at=day(7))
        return step.level if step else None

    results = together(*[click, run] * 3)
    assert results.count(1) == 1
    assert set(results) <= {1, None, "reminder_today"}
    assert db.session.query(Reminder).count() == 1


def test_who_is_marked_as_paid_at_the_same_moment_gets_no_reminder_that_still_waits(shop, together):
    orders = [order_of(shop) for _ in range(ORDERS)]
    merchant_id, run_id = shop.merchant_id, a_run(shop.merchant_id)

    def pay(order_id):
        mark_as_paid(merchant_id, order_id, actor=ANNA, at=day(7))

    together(lambda: play(run_id), *[lambda one=one.id: pay(one) for one in orders])
    assert {row.payment_status for row in db.session.query(Order)} == {"paid"}
    assert {mail.status for mail in db.session.query(Mail).filter_by(kind="reminder")} <= {
        "withheld"
    }


def test_two_clocks_begin_one_run(shop, together):
    def begin():
        begun = begin_daily_runs(day(7))
        db.session.commit()
        return begun

    assert sum(together(*[begin] * AT_ONCE)) == 1
    assert db.session.query(DunningRun).count() == 1
