"""Marketplaces forget who a buyer was; what they have told once stays known here."""

from __future__ import annotations

import pytest

from plugin_sdk.connector import Capability
from server.db import db
from tests.factories import make_merchant, make_shop
from tests.server.life.steps import LATER, push, pushed

ERIKA = {
    "customer": {"number": "erika-4711", "email": "erika@example.org"},
    "billing_address": {
        "first_name": "Erika",
        "last_name": "Mustermann",
        "street": "Heidestraße 17",
        "postcode": "51147",
        "city": "Köln",
        "country": "DE",
    },
}
MASKED = {
    "customer": {"number": "erika-4711"},
    "billing_address": {"postcode": "51147", "city": "Köln", "country": "DE"},
}


@pytest.fixture
def shop(app):
    return make_shop(make_merchant(), "eBay", capabilities=[Capability.FORGETS_PEOPLE.value])


def told_again(shop, **changes):
    raw, order = pushed(shop, **ERIKA)
    push(shop, {**raw, **changes}, LATER)
    db.session.expire_all()
    return order


def without_address(raw):
    return {name: value for name, value in raw.items() if name != "billing_address"}


@pytest.mark.feature("S19")
def test_what_a_marketplace_tells_no_more_is_kept(shop):
    order = told_again(shop, **MASKED, shop_status="processing")
    assert order.shop_status == "processing", "the rest is taken over"
    assert order.customer_email == "erika@example.org"
    assert order.customer_name == "Erika Mustermann"
    assert order.wire["billing_address"] == ERIKA["billing_address"]
    assert "heidestraße" in order.search or "erika" in order.search


@pytest.mark.feature("S19")
def test_an_address_that_is_missing_as_a_whole_is_kept(shop):
    raw, order = pushed(shop, **ERIKA)
    push(shop, without_address({**raw, "customer": None}), LATER)
    db.session.expire_all()
    assert order.wire["billing_address"] == ERIKA["billing_address"]
    assert order.wire["customer"] == ERIKA["customer"]


def test_another_address_is_not_mixed_with_the_old_one(shop):
    other = {"last_name": "Beispiel", "city": "Bonn", "country": "DE"}
    order = told_again(shop, billing_address=other)
    assert order.wire["billing_address"] == other
    assert order.customer_email == "erika@example.org"


def test_other_shops_are_believed_when_they_remove_something(app):
    order = told_again(make_shop(make_merchant()), **MASKED)
    assert order.customer_email is None
    assert order.wire["billing_address"] == MASKED["billing_address"]
