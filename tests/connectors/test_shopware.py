"""The Shopware connector against a shop that answers as a real one does."""

from __future__ import annotations

import pytest

from connectors.shopware import Shopware
from plugin_sdk.testing.contract import ConnectorContract
from plugin_sdk.testing.fake_shopware import FakeShopware


@pytest.mark.feature("S21", "S22", "S26", "S41", "S42")
class TestShopware(ConnectorContract):
    open_status = "open"
    paid_status = "paid"
    closed_status = "authorized"
    cancelled_status = "cancelled"
    updated_topic = "state_enter.order_transaction.state.paid"
    unknown_id = "f" * 32

    @pytest.fixture
    def shop(self):
        with FakeShopware() as fake:
            yield fake

    def connect(self, shop, **settings):
        return Shopware({**shop.settings(), **settings})

    def wrong_key(self):
        return {"client_secret": "wrong"}

    def add_order(self, shop, *, name="Erika Mustermann", item="Buch", total="39.90"):
        return shop.add_order(
            billing={"firstName": "", "lastName": name, "email": "erika@example.org"},
            line_items=[{"label": item, "quantity": 1, "price": total}],
        )
