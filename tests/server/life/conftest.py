"""What every story of an order's life begins with."""

from __future__ import annotations

import pytest

from server.merchants.models import Merchant
from server.shops.models import Shop
from tests.factories import make_merchant, make_shop, make_user


@pytest.fixture
def merchant(app) -> Merchant:
    made = make_merchant()
    make_user(made)
    return made


@pytest.fixture
def shop(merchant) -> Shop:
    return make_shop(merchant)
