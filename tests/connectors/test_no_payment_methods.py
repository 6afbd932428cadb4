"""No connector makes a payment method in a shop (S24); the merchant adds what is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connectors.ebay import Ebay
from connectors.shopware import Shopware
from connectors.woocommerce import WooCommerce
from plugin_sdk.testing.fake_ebay import FakeEbay
from plugin_sdk.testing.fake_shopware import FakeShopware
from plugin_sdk.testing.fake_woocommerce import FakeWooCommerce
from plugin_sdk.types import Intent, Outcome, PaymentStatus, PaymentUpdate
from tests.connectors.test_ebay import settings_of


@pytest.mark.feature("S24")
@pytest.mark.parametrize(
    ("kind", "fake"),
    [(WooCommerce, FakeWooCommerce), (Shopware, FakeShopware), (Ebay, FakeEbay)],
)
def test_all_that_is_ever_written_is_about_the_order(kind, fake):
    with fake() as shop:
        connector = kind(settings_of(shop) if kind is Ebay else shop.settings())
        before = connector.discover().payment_methods
        key = shop.add_order()
        connector.check()
        connector.list_orders(None)
        connector.tend()
        tried = len(shop.writes)  # check tries what the key may write, at an order that is none
        update = PaymentUpdate(
            id="1",
            external_id=key,
            number=key,
            payment_status=PaymentStatus.PAID,
            paid_total=Decimal("39.90"),
            currency="EUR",
            intent=Intent.PAID,
            created_at=datetime.now(UTC),
        )
        assert connector.push_payment(update).outcome is Outcome.APPLIED
        written = [str(write).lower() for write in shop.writes]
        assert len(written) > tried
        assert not [write for write in written if "payment_gateway" in write]
        assert not [write for write in written if "payment-method" in write]
        assert connector.discover().payment_methods == before
        connector.close()
