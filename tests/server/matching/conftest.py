"""Annas Antiquariat with an account and a shop, as all tests of matching begin."""

from __future__ import annotations

import pytest
from flask import Flask

from server.merchants.models import Merchant
from server.shops.models import Shop
from tests.factories import make_merchant, make_shop, make_user


@pytest.fixture
def merchant(app: Flask) -> Merchant:
    merchant = make_merchant()
    make_user(merchant)
    return merchant


@pytest.fixture
def shop(merchant: Merchant) -> Shop:
    return make_shop(merchant)
