"""The promises that every connector keeps, and what is special about MyShop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from plugin_sdk.connector import Severity
from plugin_sdk.scaffold.myshop import MyShop
from plugin_sdk.scaffold.myshop.fake_shop import KEY, FakeMyShop
from plugin_sdk.testing.contract import ConnectorContract


class TestMyShop(ConnectorContract):
    """Exchange the statuses; a promise your shop cannot keep is overridden, with the reason."""

    open_status = "open"
    paid_status = "paid"
    closed_status = "done"
    cancelled_status = "cancelled"

    @pytest.fixture
    def shop(self) -> Iterator[FakeMyShop]:
        with FakeMyShop() as fake:
            yield fake

    def connect(self, shop: FakeMyShop, **settings: Any) -> MyShop:
        return MyShop({**shop.settings(), **settings})

    def wrong_key(self) -> Mapping[str, Any]:
        return {"access_key": "another-key"}

    def add_order(
        self,
        shop: FakeMyShop,
        *,
        name: str = "Mustermann",
        item: str = "Buch",
        total: str = "39.90",
    ) -> str:
        return shop.add_order(name=name, item=item, total=total)

    # Special about MyShop

    def test_a_key_that_may_only_read_is_found_by_check(self, shop: FakeMyShop) -> None:
        shop.keys[KEY] = ["read_orders"]
        findings = self.connect(shop).check()
        problems = [each for each in findings if each.severity is Severity.PROBLEM]
        assert [each.topic for each in problems] == ["permission"]
