"""What can be asked of a shop before it is switched on: how its orders are judged, and limits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from plugin_sdk.errors import Temporary
from plugin_sdk.installed import connector_class
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.testing.fake_woocommerce import FakeWooCommerce
from server.hosting import trying
from server.hosting.trying import MOST_ORDERS, TALKS_AT_ONCE, Judge, check, first_orders
from tests.factories import AT, MAPPING, wire_order

JUDGE = Judge(MAPPING | {"other": {"methods": ["sepa"]}}, False, AT)


def order(**over):
    return OrderSchema().load(wire_order(**{"ordered_at": AT.isoformat(), **over}))


@pytest.fixture
def fake():
    with FakeWooCommerce() as running:
        yield running


def connector(fake):
    return connector_class("woocommerce")(fake.settings())


@pytest.mark.feature("C5", "S23", "S25", "S28", "S29", "S55")
@pytest.mark.parametrize(
    ("over", "verdict"),
    [
        ({"payment_method": "bacs", "shop_status": "on-hold"}, "managed"),
        ({"payment_method": "bacs", "shop_status": None}, "managed"),
        ({"payment_method": "bacs", "shop_status": "cancelled"}, "status"),
        ({"payment_method": "paypal"}, "method"),
        ({"payment_method": "sepa"}, "watched"),
        ({"ordered_at": (AT - timedelta(seconds=1)).isoformat()}, "older"),
        ({"payment_method": "sepa", "ordered_at": "2020-01-01T00:00:00+00:00"}, "older"),
    ],
)
def test_an_order_is_judged_as_it_will_be(over, verdict):
    given = {"payment_method": "bacs", "shop_status": "on-hold"} | over
    assert JUDGE.verdict(order(**given)) == verdict


def test_a_plugin_that_decides_itself_is_believed():
    pinned = Judge(MAPPING, True, AT)
    sent = order(payment_method="bacs", payment_code="invoice", shop_status="on-hold")
    assert (pinned.code(sent), JUDGE.code(sent)) == ("invoice", "prepayment")


def test_few_are_shown_the_interesting_first_and_all_are_counted(fake):
    for number in range(MOST_ORDERS + 5):
        key = fake.add_order()
        if number % 2:
            fake.set_status(key, "cancelled")
    at = AT.now(tz=AT.tzinfo) + timedelta(seconds=5)
    judge = Judge(MAPPING, False, at - timedelta(hours=1))
    found = first_orders(connector(fake), judge, at)
    assert len(found.rows) == MOST_ORDERS and found.is_all
    assert found.counts == {"managed": 13, "status": 12}
    assert [one.verdict for one in found.rows] == ["managed"] * 13 + ["status"] * 7
    assert first_orders(connector(fake), judge, at + timedelta(days=31)).rows == ()


def test_not_more_shops_are_asked_at_once_than_there_are_seats(fake):
    for _ in range(TALKS_AT_ONCE):
        assert trying._seats.acquire(blocking=False)
    try:
        with pytest.raises(Temporary):
            check(connector(fake))
        with pytest.raises(Temporary):
            first_orders(connector(fake), JUDGE, AT)
        assert not fake.requests
    finally:
        for _ in range(TALKS_AT_ONCE):
            trying._seats.release()
    assert check(connector(fake)).is_good, "every seat was given back"
