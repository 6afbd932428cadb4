"""Who changed a shop and its mapping, and when, stands beside the changes of settings."""

from __future__ import annotations

import re

import pytest

from server.db import db
from server.merchants.models import Merchant
from server.merchants.service import settings_of
from tests.factories import make_merchant, make_shop
from tests.server.dashboard.visitor import member


def words_of(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


@pytest.fixture
def shop(app):
    return make_shop(make_merchant())


@pytest.fixture
def anna(app, shop):
    return member(app, db.session.get_one(Merchant, shop.merchant_id))


@pytest.mark.feature("N21", "K66", "S22")
def test_who_changed_the_shop_or_its_mapping_stands_in_the_log_of_the_settings(anna, shop):
    edited = {"name": "Neuer Name", "system": shop.system, "url": shop.url}
    for _ in range(2):  # the second one changes nothing
        anna.post(f"/shops/{shop.id}/edit", edited)
    page = words_of(anna.get("/settings/changes"))
    assert page.count("Name (Neuer Name) : Laden → Neuer Name") == 1
    assert "anna@example.org" in page
    anna.post(f"/shops/{shop.id}/mapping", {"prepayment-methods": "sepa"})
    anna.post(f"/shops/{shop.id}/mapping/default", {"code": "prepayment"})
    page = words_of(anna.get("/settings/changes"))
    default = "Zahlarten im Shop: bacs; Gilt als offen im Status: on-hold, pending;"
    assert f"Vorkasse (Neuer Name) : {default}" in page
    assert f"Vorkasse (Neuer Name) : Zahlarten im Shop: sepa → {default}" in page
    assert settings_of(shop.merchant_id, shop.id) == settings_of(shop.merchant_id)
    assert anna.get(f"/settings/prepayment?shop={shop.id}").status_code == 200
