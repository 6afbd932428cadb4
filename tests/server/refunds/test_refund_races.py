"""Several people at once: the cap holds, and nothing goes to the bank twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from server.db import db
from server.orders.ledger import NotPossible
from server.orders.models import Refund
from server.refunds import batches, service
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.refunds.steps import ANNA, AT, BERT, ready, repay, send_back
from tests.server.test_ledger import pay

pytestmark = pytest.mark.real_commits
AT_ONCE = 6


@pytest.fixture
def at_once(app):
    """Run the same for each of these at the same moment; None where it was not possible."""

    def run(action, arguments):
        start = threading.Barrier(len(arguments))

        def one(argument):
            with app.app_context():
                start.wait()
                try:
                    made = action(argument)
                    db.session.commit()
                except NotPossible:
                    db.session.rollback()
                    return None
                else:
                    return made.id
                finally:
                    db.session.remove()

        with ThreadPoolExecutor(len(arguments)) as pool:
            return list(pool.map(one, arguments))

    return run


@pytest.mark.feature("K57", "S78")
def test_the_cap_holds_whoever_arranges_at_once(app, at_once):
    merchant = make_merchant()
    order = make_order(make_shop(merchant), total="40.00")
    pay(make_posting(merchant, "40.00"), (order, "40.00"))
    merchant_id, order_id = merchant.id, order.id

    def arrange(actor):
        return service.arrange(
            merchant_id, order_id=order_id, amount=Decimal(40), actor=actor, at=AT
        )

    made = at_once(arrange, [f"{number}@example.org" for number in range(AT_ONCE)])
    assert sum(one is not None for one in made) == 2, "twice the order at most"


def test_a_double_click_at_once_is_one(app, at_once):
    merchant = make_merchant()
    posting_id = make_posting(merchant, "40.00").id
    merchant_id = merchant.id

    def arrange(actor):
        return service.arrange(
            merchant_id, posting_id=posting_id, amount=Decimal(10), actor=actor, at=AT
        )

    assert len(set(at_once(arrange, [ANNA] * AT_ONCE))) == 1
    db.session.expire_all()
    assert db.session.query(Refund).count() == 1


@pytest.mark.feature("C15")
def test_it_goes_into_one_batch_whoever_makes_one(app, at_once):
    merchant = make_merchant()
    refund = send_back(make_posting(merchant, "40.00"), "10.00")
    merchant_id, refund_id = merchant.id, refund.id
    account_id = batches.paying_accounts(merchant_id)[0].id

    def make(actor):
        return batches.make_batch(
            merchant_id, account_id, [refund_id], channel="pain001", actor=actor, at=AT
        )

    made = at_once(make, [f"{number}@example.org" for number in range(AT_ONCE)])
    assert sum(one is not None for one in made) == 1


def test_what_is_cancelled_while_a_batch_is_made_is_in_none_or_not_cancelled(app, at_once):
    merchant = make_merchant()
    order = make_order(make_shop(merchant), total="40.00")
    pay(make_posting(merchant, "40.00"), (order, "40.00"))
    refund = ready(repay(order, "40.00"))
    merchant_id, refund_id = merchant.id, refund.id
    account_id = batches.paying_accounts(merchant_id)[0].id

    def act(what):
        row = service.refund_of(merchant_id, refund_id)
        if what == "cancel":
            return service.cancel(row, actor=BERT, at=AT)
        return batches.make_batch(
            merchant_id, account_id, [refund_id], channel="pain001", actor=ANNA, at=AT
        )

    made = at_once(act, ["cancel", "batch"])
    assert sum(one is not None for one in made) == 1
    db.session.expire_all()
    row = service.refund_of(merchant_id, refund_id)
    assert (row.status, row.batch_id is None) in [("cancelled", True), ("in_process", False)]
