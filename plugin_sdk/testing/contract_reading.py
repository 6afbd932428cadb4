"""The promises about reading: what an order is, that none is lost, and who is really gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from plugin_sdk.connector import Capability, Connector
from plugin_sdk.currencies import CURRENCIES
from plugin_sdk.errors import ConnectorError, Rejected
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.testing.contract_ground import (
    ODD_ITEM,
    ODD_NAME,
    TROUBLE,
    Ground,
    everything,
    everything_with_cursor,
    found_order,
    last_cursor,
    spoil,
)
from plugin_sdk.testing.contract_stories import Step, tell_stories
from plugin_sdk.types import Evidence, Order

UNKNOWN_FIELDS = {
    "kontor_unknown": "x",
    "plugin:nested": {"id": 1, "total": "1.00", "status": "odd", "list": [None, {"a": "ü"}]},
    "plugin_list": [1, "2", None],
    "plugin_nothing": None,
}


class Mapping(Ground):
    """Orders arrive as they are: money, text, times, fields that nobody knows"""

    def test_orders_survive_the_wire(self, shop: Any, connector: Connector[Any]) -> None:
        self.add_order(shop)
        (order,) = everything(connector)
        assert OrderSchema().load(OrderSchema().dump(order)) == order
        assert order.ordered_at.tzinfo is not None
        assert order.shop_status == self.open_status
        assert order.payment_method

    @pytest.mark.parametrize("total", ["0.01", "0.10", "19.90", "1234567.89"])
    def test_money_is_exact(self, shop: Any, connector: Connector[Any], total: str) -> None:
        key = self.add_order(shop, total=total)
        order = found_order(connector, key)
        assert isinstance(order.total, Decimal)
        assert order.total == Decimal(total)

    def test_text_arrives_as_it_was_written(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop, name=ODD_NAME, item=ODD_ITEM)
        order = found_order(connector, key)
        assert order.billing_address is not None
        assert order.billing_address.last_name == ODD_NAME
        assert [item.name for item in order.items] == [ODD_ITEM]

    def test_an_order_has_what_makes_an_order(self, shop: Any, connector: Connector[Any]) -> None:
        keys = [self.add_order(shop) for _ in range(2)]
        orders = everything(connector)
        assert len({order.number for order in orders}) == len(keys)
        for order in orders:
            assert order.external_id in keys
            assert order.number.strip() == order.number != ""
            assert order.currency in CURRENCIES
            assert order.total.is_finite()
            assert order.total >= 0
            assert -4 <= int(order.total.as_tuple().exponent) <= 0
            assert order.ordered_at <= datetime.now(UTC) + timedelta(days=1)
            assert OrderSchema().validate(OrderSchema().dump(order)) == {}

    def test_an_order_is_the_same_however_it_is_asked_for(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        key = self.add_order(shop)
        (listed,) = everything(connector)
        assert found_order(connector, key) == listed

    def test_unknown_fields_do_no_harm(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        before = found_order(connector, key)
        if not hasattr(shop, "decorate"):
            pytest.skip("the fake shop cannot add fields to an order")
        shop.decorate(key, UNKNOWN_FIELDS)
        assert found_order(connector, key) == before
        assert everything(connector) == [before]


class Listing(Ground):
    """Every change is listed and none is lost: overlap, broken cursors, trouble on the way"""

    def test_every_order_is_listed_once(self, shop: Any, connector: Connector[Any]) -> None:
        made = [self.add_order(shop) for _ in range(7)]
        assert sorted(order.external_id for order in everything(connector)) == sorted(made)

    def test_nothing_new_is_an_empty_page(self, shop: Any, connector: Connector[Any]) -> None:
        self.add_order(shop)
        cursor = last_cursor(connector)
        assert everything(connector, cursor) == []

    def test_a_change_in_the_second_of_the_cursor_is_not_lost(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        shop.freeze(datetime(2026, 11, 21, 12, tzinfo=UTC))
        key = self.add_order(shop)
        cursor = last_cursor(connector)
        shop.set_status(key, self.closed_status)
        late = self.add_order(shop)
        changed = {order.external_id: order for order in everything(connector, cursor)}
        assert set(changed) == {key, late}
        assert changed[key].shop_status == self.closed_status

    def test_a_cursor_outlives_the_connector(self, shop: Any, connector: Connector[Any]) -> None:
        self.add_order(shop)
        cursor = last_cursor(connector)
        later = self.add_order(shop)
        again = self.connect(shop)
        assert later in [order.external_id for order in everything(again, cursor)]
        again.close()

    def test_a_broken_cursor_is_refused(self, connector: Connector[Any]) -> None:
        for cursor in ("nonsense", "{}", '{"version": 99}', "[]", "null"):
            with pytest.raises(Rejected):
                connector.list_orders(cursor)

    @pytest.mark.parametrize("kind", [*TROUBLE, "503", "429", "type", "empty"])
    def test_trouble_on_the_way_loses_no_order(
        self, shop: Any, connector: Connector[Any], kind: str
    ) -> None:
        self.add_order(shop)
        cursor = last_cursor(connector)
        later = self.add_order(shop)
        spoil(shop, kind)
        with pytest.raises(ConnectorError):
            everything(connector, cursor)
        shop.heal()
        assert later in [order.external_id for order in everything(connector, cursor)]

    def test_whatever_happens_meanwhile_the_last_state_is_listed(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        """A property: any order of new orders, changes, ticks of the clock and comparisons."""
        began = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        clock = [began]

        def story(steps: list[Step]) -> None:
            told: dict[str, str | None] = {}
            mine: list[str] = []
            cursor = last_cursor(connector)
            for step in (*steps, Step("compare")):
                shop.freeze(clock[0])
                if step.what == "order":
                    mine.append(self.add_order(shop))
                elif step.what == "change" and mine:
                    status = (self.closed_status, self.cancelled_status)[step.number % 2]
                    shop.set_status(mine[step.number % len(mine)], status)
                elif step.what == "tick":
                    clock[0] += timedelta(seconds=step.number)
                elif step.what == "compare":
                    orders, cursor = everything_with_cursor(connector, cursor)
                    told |= {order.external_id: order.shop_status for order in orders}
            shop.freeze(None)
            assert {key: told.get(key) for key in mine} == {
                key: shop.status_of(key) for key in mine
            }
            clock[0] += timedelta(minutes=10)

        tell_stories(story)


class ById(Ground):
    """By id and by number: found, trashed, gone; silence is never evidence"""

    def test_found_trashed_and_gone(self, shop: Any, connector: Connector[Any]) -> None:
        kept, trashed, deleted = (self.add_order(shop) for _ in range(3))
        shop.delete(deleted)
        wanted = [kept, deleted, self.unknown_id]
        if Capability.TRASH in connector.capabilities:
            shop.trash(trashed)
            wanted.append(trashed)
        found = connector.get_orders(wanted)
        assert isinstance(found[kept], Order)
        assert found[deleted] is Evidence.GONE
        assert found[self.unknown_id] is Evidence.GONE
        assert found.get(trashed) in (None, Evidence.TRASHED)
        assert len(found) == len(wanted)

    def test_an_order_is_found_by_its_number(self, shop: Any, connector: Connector[Any]) -> None:
        keys = [self.add_order(shop) for _ in range(3)]
        order = found_order(connector, keys[1])
        if Capability.FIND_BY_NUMBER not in connector.capabilities:
            with pytest.raises(Rejected):
                connector.find_order(order.number)
            return
        assert connector.find_order(order.number) == order
        for other in (f"{order.number}0", f"0{order.number}", self.unknown_id, "Erika", "*", "ü"):
            assert connector.find_order(other) is None

    def test_the_number_of_a_removed_order_finds_no_order(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        if Capability.FIND_BY_NUMBER not in connector.capabilities:
            return
        key = self.add_order(shop)
        number = found_order(connector, key).number
        if Capability.TRASH in connector.capabilities:
            shop.trash(key)
            assert connector.find_order(number) in (None, Evidence.TRASHED)
        shop.delete(key)
        assert connector.find_order(number) in (None, Evidence.GONE)

    @pytest.mark.parametrize("kind", TROUBLE)
    def test_a_number_is_not_unknown_because_the_shop_is_in_trouble(
        self, shop: Any, connector: Connector[Any], kind: str
    ) -> None:
        number = found_order(connector, self.add_order(shop)).number
        shop.fail(kind, times=20)
        with pytest.raises(ConnectorError):
            connector.find_order(number)

    @pytest.mark.parametrize("kind", TROUBLE)
    def test_a_shop_in_trouble_is_no_evidence(
        self, shop: Any, connector: Connector[Any], kind: str
    ) -> None:
        key = self.add_order(shop)
        shop.fail(kind, times=20)
        with pytest.raises(ConnectorError):
            connector.get_orders([key, self.unknown_id])
