"""Annas Antiquariat with one shop."""

from __future__ import annotations

import pytest

from tests.factories import make_merchant, make_shop, make_user


@pytest.fixture
def merchant(app):
    found = make_merchant()
    make_user(found)
    return found


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)
