"""Several at once: one order, one mail, one booking, one winner, and no error for the losers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from plugin_sdk.types import Acknowledgement, Outcome
from server.banking.models import Posting
from server.banking.service import store_statement
from server.db import db, now
from server.jobs import drain_match_request, drain_statement
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.merchants.service import lock_merchant
from server.orders.models import Assignment, MatchRequest, Order
from server.orders.service import (
    NotPossible,
    acknowledge_update,
    assign,
    mark_as_paid,
    request_match,
    undo,
)
from server.shops.models import PaymentUpdate, Shop
from server.shops.service import lease_updates
from tests.factories import (
    bearer,
    make_key,
    make_merchant,
    make_order,
    make_posting,
    make_shop,
    make_user,
    wire_order,
)
from tests.server.test_statements import camt, numbered

pytestmark = pytest.mark.real_commits
AT_ONCE = 8
ACTOR = "anna@example.org"


@pytest.fixture
def shop(app):
    merchant = make_merchant()
    make_user(merchant)
    return make_shop(merchant)


@pytest.fixture
def together(app):
    """Run functions at the same moment, each in a session of its own; their results."""

    def together(*actions):
        start = threading.Barrier(len(actions))

        def run(action):
            with app.app_context():
                db.session.connection()  # connected before the start, so that nobody is late
                db.session.rollback()
                start.wait(10)
                try:
                    return action()
                except NotPossible as refused:
                    return refused.args[0]
                finally:
                    db.session.remove()

        with ThreadPoolExecutor(len(actions)) as pool:
            results = list(pool.map(run, actions))
        db.session.rollback()
        db.session.expire_all()
        return results

    return together


def count(model, **by):
    return db.session.query(model).filter_by(**by).count()


def test_the_same_order_pushed_at_once_is_one_order_and_one_mail(app, shop, together):
    key = bearer(make_key(db.session.get_one(Merchant, shop.merchant_id), "shop", shop)[1])
    order = wire_order()

    def push():
        answer = app.test_client().post("/api/v1/orders", json=order, headers=key)
        return answer.status_code, answer.json["outcome"]

    results = together(*[push] * AT_ONCE)
    assert {status for status, _ in results} == {200}
    assert [outcome for _, outcome in results].count("created") == 1
    assert {outcome for _, outcome in results} <= {"created", "unchanged"}
    assert (count(Order), count(Mail)) == (1, 1)


def test_batches_in_opposite_order_from_two_shops_both_get_through(app, shop, together):
    """New and changed orders mixed: the locks are taken in an order that cannot knot."""
    merchant = db.session.get_one(Merchant, shop.merchant_id)
    shops = [shop, make_shop(merchant, "Zweiter Laden")]
    keys = [bearer(make_key(merchant, "shop", one)[1]) for one in shops]
    orders = [wire_order() for _ in range(10)]

    def push(key, batch):
        answer = app.test_client().post("/api/v1/orders/batch", json={"orders": batch}, headers=key)
        return answer.status_code

    for total in ("20.00", "30.00", "40.00"):
        batch = [order | {"total": total} for order in orders] + [wire_order() for _ in range(3)]
        actions = [
            lambda key=key, part=part: push(key, part)
            for key in keys
            for part in (batch, batch[::-1])
        ]
        assert together(*actions) == [200] * 4
    assert count(Order) == 2 * (10 + 9)
    assert {order.total for order in db.session.query(Order)} == {
        Decimal("40.00"),
        Decimal("19.90"),
    }


def test_an_idempotency_key_used_at_once_runs_once(app, shop, together):
    key = bearer(make_key(db.session.get_one(Merchant, shop.merchant_id), "shop", shop)[1])
    order = wire_order()

    def push():
        headers = {**key, "Idempotency-Key": "once"}
        return app.test_client().post("/api/v1/orders", json=order, headers=headers).status_code

    results = together(*[push] * AT_ONCE)
    assert set(results) <= {200, 409}
    assert results.count(200) >= 1
    assert count(Order) == 1


def test_matchers_at_once_book_once(shop, together):
    merchant = db.session.get_one(Merchant, shop.merchant_id)
    for n in range(5):
        make_order(shop, number=f"AA-5{n}017", total=f"{20 + n}.00")
        make_posting(merchant, f"{20 + n}.00", f"Bestellung AA-5{n}017")

    def match():
        request_match(merchant.id, now())
        db.session.commit()
        drain_match_request()

    together(*[match] * AT_ONCE)
    assert {order.payment_status for order in db.session.query(Order)} == {"paid"}
    assert count(Assignment) == 5
    assert count(PaymentUpdate) == 5
    assert count(Mail, kind="payment_received") == 5
    assert count(MatchRequest) == 0


def test_claims_at_once_take_each_row_once(shop, together):
    for _ in range(30):
        make_order(shop)
    taken = together(*[lambda: [mail.id for mail in Mail.claim(5, now())]] * AT_ONCE)
    ids = [number for claimed in taken for number in claimed]
    assert len(ids) == len(set(ids))
    assert max(map(len, taken)) <= 5
    assert count(Mail, status="running") == len(ids)


def test_leases_at_once_hand_out_each_update_once(shop, together):
    for _ in range(20):
        order = make_order(shop)
        mark_as_paid(shop.merchant_id, order.id, actor=ACTOR, at=now())
        db.session.commit()

    def lease():
        rows = lease_updates(db.session.get_one(Shop, shop.id), 5, now())
        db.session.commit()
        return [row.id for row in rows]

    ids = [number for leased in together(*[lease] * AT_ONCE) for number in leased]
    assert len(ids) == len(set(ids)) > 5


def test_two_people_assign_the_same_posting_and_one_wins(shop, together):
    merchant = db.session.get_one(Merchant, shop.merchant_id)
    orders = [make_order(shop, total="19.90").id for _ in range(AT_ONCE)]
    posting = make_posting(merchant, "19.90").id

    def take(order_id):
        assign(merchant.id, posting, [(order_id, Decimal("19.90"))], actor=ACTOR, at=now())
        db.session.commit()
        return "booked"

    results = together(*[lambda order=order: take(order) for order in orders])
    assert sorted(results) == ["assign_more_than_left"] * (AT_ONCE - 1) + ["booked"]
    assert count(Assignment) == 1
    assert sorted(o.payment_status for o in db.session.query(Order)) == (
        ["paid"] + ["unpaid"] * (AT_ONCE - 1)
    )


@pytest.mark.feature("S80")
def test_mark_as_paid_at_once_marks_once(shop, together):
    order = make_order(shop).id

    def mark():
        mark_as_paid(shop.merchant_id, order, actor=ACTOR, at=now())
        db.session.commit()
        return "marked"

    results = together(*[mark] * AT_ONCE)
    assert sorted(results) == ["already_paid"] * (AT_ONCE - 1) + ["marked"]
    assert (count(Assignment), count(PaymentUpdate)) == (1, 1)


def test_an_undo_at_once_undoes_once(shop, together):
    order = make_order(shop).id
    row = mark_as_paid(shop.merchant_id, order, actor=ACTOR, at=now()).id
    db.session.commit()

    def take_back():
        undo(shop.merchant_id, row, actor=ACTOR, at=now())
        db.session.commit()
        return "undone"

    results = together(*[take_back] * AT_ONCE)
    assert sorted(results) == ["already_undone"] * (AT_ONCE - 1) + ["undone"]
    assert count(Assignment) == 2


def test_what_a_view_loaded_before_the_lock_decides_nothing(app, shop):
    """A page shows the order as paid; meanwhile it is undone; then it is marked as paid again."""
    order = make_order(shop)
    row = mark_as_paid(shop.merchant_id, order.id, actor=ACTOR, at=now())
    db.session.commit()
    assert order.payment_status == "paid"  # held by this session from here on

    def elsewhere():
        with app.app_context():
            undo(shop.merchant_id, row.id, actor=ACTOR, at=now())
            db.session.commit()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    mark_as_paid(shop.merchant_id, order.id, actor=ACTOR, at=now())
    db.session.commit()
    db.session.expire_all()
    assert order.payment_status == "paid"


def test_one_fault_reported_at_once_is_told_once(shop, together):
    rows = []
    for _ in range(AT_ONCE):
        order = make_order(shop)
        mark_as_paid(shop.merchant_id, order.id, actor=ACTOR, at=now())
        rows.append(db.session.query(PaymentUpdate).filter_by(order_id=order.id).one().id)
    db.session.commit()
    lease_updates(shop, 100, now())
    db.session.commit()

    def fail(update_id):
        ack = Acknowledgement(Outcome.MISCONFIGURED, "wrong password")
        acknowledge_update(db.session.get_one(Shop, shop.id), update_id, ack, now())
        db.session.commit()

    together(*[lambda one=one: fail(one) for one in rows])
    assert count(Mail, kind="shop_error") == 1


def test_overlapping_statements_read_at_once_give_each_posting_once(shop, together):
    for first in (1, 21, 11, 1):
        content = camt(*numbered(first, first + 39))
        store_statement(shop.merchant_id, "a.xml", content, uploaded_by="")
    db.session.commit()
    together(*[drain_statement] * 4)
    assert count(Posting) == 60


def test_an_order_comes_in_while_the_merchants_money_is_locked(app, shop):
    """The matcher may be at a long slice; nobody's order waits for it."""
    key = bearer(make_key(db.session.get_one(Merchant, shop.merchant_id), "shop", shop)[1])
    lock_merchant(shop.merchant_id)
    answers = []

    def push():
        answers.append(app.test_client().post("/api/v1/orders", json=wire_order(), headers=key))

    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    thread.join(10)
    assert [answer.status_code for answer in answers] == [200]
    db.session.rollback()
