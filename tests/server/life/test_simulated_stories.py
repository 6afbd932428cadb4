"""Stories that the simulator found, each as small as it can be."""

from __future__ import annotations

import pytest

from plugin_sdk.types import Acknowledgement, Outcome
from server.db import db
from server.orders.lifecycle import cancel_order
from server.orders.service import acknowledge_update
from server.shops.service import lease_updates
from tests.server.life.steps import ANNA, LATER, PAID_AT, order_of, pay, push, pushed, wishes


def tell(shop, at=LATER):
    """The shop's agent fetches what waits and writes it."""
    for row in lease_updates(shop, 10, at):
        acknowledge_update(shop, row.id, Acknowledgement(Outcome.APPLIED), at)
    db.session.commit()


@pytest.mark.feature("S51", "S54")
def test_a_shop_that_repeats_what_it_was_told_does_not_remove_the_order(merchant, shop):
    """Cancelled here, written to the shop, pushed back by the shop: a payment still revives it."""
    wishes(merchant, prepayment__revive_cancelled="on")
    raw, order = pushed(shop)
    cancel_order(merchant.id, order.id, actor=ANNA, at=LATER)
    db.session.commit()
    tell(shop)
    push(shop, {**raw, "shop_status": "cancelled"}, PAID_AT)
    assert order_of(shop, raw).payment_status == "cancelled"
    pay(merchant, order_of(shop, raw))
    order = order_of(shop, raw)
    assert (order.payment_status, order.cancelled_at) == ("paid", None)


@pytest.mark.feature("S38")
def test_another_end_in_the_shop_still_removes_a_cancelled_order(merchant, shop):
    raw, order = pushed(shop)
    cancel_order(merchant.id, order.id, actor=ANNA, at=LATER)
    db.session.commit()
    tell(shop)
    push(shop, {**raw, "shop_status": "refunded"}, PAID_AT)
    assert order_of(shop, raw).payment_status == "removed"


@pytest.mark.feature("K3", "S38")
def test_an_order_that_owes_a_rest_again_stays_though_the_shop_has_it_as_paid(merchant, shop):
    """Paid, so the shop says what we wrote; its total is raised; then anything else changes."""
    raw, order = pushed(shop)
    pay(merchant, order)
    tell(shop, PAID_AT)
    raised = {**raw, "total": "29.90", "shop_status": "processing"}
    push(shop, raised, PAID_AT)
    tell(shop, PAID_AT)
    push(shop, {**raised, "tracking_numbers": ["1Z"]}, PAID_AT)
    assert order_of(shop, raw).payment_status == "partially_paid"
