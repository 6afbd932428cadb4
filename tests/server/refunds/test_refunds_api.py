"""Repayments through the API (K78), by hand and through the SDK's client."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from plugin_sdk.client import Client, UnknownOrder
from plugin_sdk.errors import Rejected
from plugin_sdk.types import RefundRequest
from server.db import db
from server.merchants.models import Merchant
from server.orders.models import Refund
from server.refunds import service
from tests.factories import (
    bearer,
    make_key,
    make_merchant,
    make_order,
    make_posting,
    make_shop,
    today,
)
from tests.server.refunds.steps import OTHER_IBAN, PAYER, do
from tests.server.test_ledger import pay


def key_of(shop):
    return make_key(db.session.get_one(Merchant, shop.merchant_id), "shop", shop)[1]


@pytest.fixture
def key(shop):
    return bearer(key_of(shop))


def post(client, key, order, **body):
    path = f"/api/v1/orders/{order.external_id}/refunds"
    return client.post(path, json=body, headers=key)


@pytest.mark.feature("K55", "K78", "S78")
def test_a_shop_asks_for_a_repayment_and_sees_it(client, key, order, posting):
    answer = post(client, key, order, amount="15.00", reason="goods back", external_reference="R1")
    assert answer.status_code == 201 and answer.json["status"] == "planned"
    assert answer.json["amount"] == "15.00" and "iban" not in answer.text
    listed = client.get(f"/api/v1/orders/{order.external_id}/refunds", headers=key).json
    assert listed == {"refunds": [answer.json]}
    row = db.session.query(Refund).one()
    assert (row.payee_iban, row.requested_by) == (PAYER.iban, "Laden (API)")


@pytest.mark.feature("K78")
def test_an_external_reference_is_taken_once(client, key, order, posting):
    first = post(client, key, order, amount="15.00", external_reference="R1").json
    again = post(client, key, order, amount="15.00", external_reference="R1")
    assert again.status_code == 409 and first["reference"] in again.json["detail"]
    assert db.session.query(Refund).count() == 1


def test_the_same_request_sent_again_is_one_repayment(client, key, order, posting):
    headers = {**key, "Idempotency-Key": "once"}
    bodies = [post(client, headers, order, amount="15.00").json for _ in "12"]
    assert bodies[0] == bodies[1] and db.session.query(Refund).count() == 1


@pytest.mark.feature("K78", "K56")
def test_a_planned_day_and_missing_details(client, key, merchant, order):
    pay(make_posting(merchant, "40.00", counterparty_iban=None), (order, "40.00"))
    day = (today() + timedelta(days=20)).isoformat()
    answer = post(client, key, order, amount="40.00", planned_for=day)
    assert answer.json["status"] == "bank_details_missing"
    assert answer.json["planned_for"] >= day


@pytest.mark.feature("N9")
def test_an_account_that_only_the_shop_names_is_held(client, key, order, posting):
    answer = post(client, key, order, amount="40.00", payee_iban=OTHER_IBAN)
    assert answer.json["status"] == "held"
    assert db.session.query(Refund).one().holds == ["iban_changed"]


@pytest.mark.feature("N9")
def test_nor_is_one_paid_that_nobody_else_knows(client, key, merchant, order):
    pay(make_posting(merchant, "40.00", counterparty_iban=None), (order, "40.00"))
    post(client, key, order, amount="40.00", payee_iban=PAYER.iban, payee_name=PAYER.name)
    assert db.session.query(Refund).one().holds == ["payee_not_payer"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "amount"),
        ({"amount": 15}, "amount"),
        ({"amount": "0.00"}, "above zero"),
        ({"amount": "80.01"}, "At most 80.00"),
        ({"amount": "1.005"}, "two decimals"),
        ({"amount": "1.00", "payee_iban": "DE00"}, "payee_iban"),
        ({"amount": "1.00", "payee_iban": "DE00370400440532013000"}, "no IBAN"),
        ({"amount": "1.00", "payee_iban": PAYER.iban, "payee_name": "Эрика"}, "Latin"),
        ({"amount": "1.00", "planned_for": "2020-01-01"}, "today or later"),
        ({"amount": "1.00", "colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(client, key, order, posting, body, says):
    answer = post(client, key, order, **body)
    assert answer.status_code == 422 and says in answer.json["detail"]
    assert db.session.query(Refund).count() == 0


def test_nothing_goes_back_that_was_not_paid(client, key, order):
    answer = post(client, key, order, amount="1.00")
    assert (answer.status_code, answer.json["detail"]) == (422, "Nothing was paid of this order.")


def test_a_strangers_order_is_not_there(client, key):
    theirs = make_order(make_shop(make_merchant("Bobs Laden")))
    assert post(client, key, theirs, amount="1.00").status_code == 404
    path = f"/api/v1/orders/{theirs.external_id}/refunds"
    assert client.get(path, headers=key).status_code == 404


def test_the_order_says_what_was_refunded(client, key, order, posting):
    post(client, key, order, amount="15.00")
    do(service.mark_processed, db.session.query(Refund).one())
    told = client.get(f"/api/v1/orders/{order.external_id}", headers=key).json
    assert (told["paid_total"], told["refunded_total"]) == ("40.00", "15.00")
    assert told["payment_status"] == "partially_refunded"


def test_the_client_asks_and_says_what_is_wrong(app, live_server):
    merchant = make_merchant()
    shop = make_shop(merchant)
    order = make_order(shop, total="40.00")
    pay(make_posting(merchant, "40.00"), (order, "40.00"))
    client = Client(live_server.url, key_of(shop))
    asked = RefundRequest(Decimal("15.00"), external_reference="R1")
    made = client.ask_refund(order.external_id, asked)
    assert (made.amount, made.status, made.external_reference) == (15, "planned", "R1")
    assert client.refunds(order.external_id) == (made,)
    with pytest.raises(Rejected, match="taken"):
        client.ask_refund(order.external_id, asked)
    with pytest.raises(UnknownOrder):
        client.ask_refund("none", asked)
    client.close()
