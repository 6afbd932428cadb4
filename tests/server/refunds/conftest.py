"""A merchant with two administrators, a shop, and an order of 40 EUR that was paid."""

from __future__ import annotations

import pytest

from tests.factories import make_merchant, make_order, make_posting, make_shop, make_user
from tests.server.refunds.steps import ANNA, BERT
from tests.server.test_ledger import pay


@pytest.fixture
def merchant(app):
    merchant = make_merchant()
    make_user(merchant, ANNA)
    make_user(merchant, BERT)
    return merchant


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def order(shop):
    return make_order(shop, total="40.00")


@pytest.fixture
def posting(merchant, order):
    row = make_posting(merchant, "40.00")
    pay(row, (order, "40.00"))
    return row
