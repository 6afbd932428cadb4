"""Put recorded orders here (with invented people), and what is to become of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from plugin_sdk.errors import Rejected
from plugin_sdk.scaffold.myshop.mapping import order_from

LEAST = {
    "id": "7",
    "created_at": "2026-11-21T12:00:00+01:00",
    "total": "39.90",
    "currency": "EUR",
}


def test_an_order_with_the_least_there_is() -> None:
    order = order_from(LEAST)
    assert (order.number, order.total, order.currency) == ("7", Decimal("39.90"), "EUR")
    assert order.items == ()


@pytest.mark.parametrize(
    "spoilt", [{"id": ""}, {"total": None}, {"currency": "Taler"}, {"created_at": "yesterday"}]
)
def test_what_makes_no_order_is_refused(spoilt: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        order_from({**LEAST, **spoilt})
