"""Bad input gets a clear answer below 500, and nothing of it is stored."""

from __future__ import annotations

import io

import pytest

from plugin_sdk.schemas import OrderResultSchema
from server.api.wire import MAX_JSON_BYTES
from server.db import db
from server.orders.models import Invoice, Order
from server.orders.service import MAX_INVOICE_BYTES
from tests.factories import bearer, make_key, make_merchant, make_order, make_shop, wire_order

PDF = b"%PDF-1.7\n1 0 obj\n"
INVOICE = "/api/v1/orders/77/invoices/R-1"


@pytest.fixture
def shop(app):
    return make_shop(make_merchant())


@pytest.fixture
def key(shop):
    from server.merchants.models import Merchant

    return bearer(make_key(db.session.get_one(Merchant, shop.merchant_id), "shop", shop)[1])


def test_ten_megabytes_of_json_are_refused(client, key):
    body = b'{"orders": ["' + b"x" * (10 * 1024 * 1024) + b'"]}'
    answer = client.post(
        "/api/v1/orders/batch", data=body, headers=key, content_type="application/json"
    )
    assert (answer.status_code, answer.content_type) == (413, "application/problem+json")
    assert str(MAX_JSON_BYTES) in answer.json["detail"]


def test_neither_are_they_taken_in_chunks(client, key):
    body = b" " * (MAX_JSON_BYTES + 1)
    answer = client.post(
        "/api/v1/orders",
        input_stream=io.BytesIO(body),
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        headers={**key, "Content-Type": "application/json"},
    )
    assert answer.status_code == 413


def test_a_batch_too_long_and_deep_nesting(client, key):
    many = client.post(
        "/api/v1/orders/batch", json={"orders": [wire_order() for _ in range(101)]}, headers=key
    )
    assert (many.status_code, "100" in many.json["detail"]) == (422, True)
    deep = client.post(
        "/api/v1/orders", data=b'{"a":' * 100_000, headers=key, content_type="application/json"
    )
    assert deep.status_code == 400
    assert db.session.query(Order).count() == 0


def test_an_order_whose_id_cannot_be_read_is_answered_as_the_sdk_reads_it(client, key):
    answer = client.post("/api/v1/orders/batch", json={"orders": [{"external_id": 7}]}, headers=key)
    (result,) = answer.json["results"]
    assert (result["external_id"], result["outcome"]) == (None, "invalid")
    assert OrderResultSchema().load(result).index == 0


@pytest.mark.feature("S31", "S60")
def test_an_invoice_comes_any_time_after_the_order_and_may_be_replaced(client, key, shop):
    order = make_order(shop, external_id="77", invoices=[{"number": "R-1"}])
    for pdf in (PDF, PDF + b"2"):
        answer = client.put(INVOICE, data=pdf, headers=key, content_type="application/pdf")
        assert answer.status_code == 204
    db.session.expire_all()
    invoice = db.session.query(Invoice).one()
    assert (invoice.order_id, invoice.number, invoice.pdf) == (order.id, "R-1", PDF + b"2")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"GIF89a", "application/pdf", 422),
        (b"", "application/pdf", 422),
        (PDF, "text/plain", 415),
        (PDF + bytes(MAX_INVOICE_BYTES), "application/pdf", 413),
    ],
    ids=["no pdf", "empty", "another type", "too large"],
)
def test_what_is_no_invoice(client, key, shop, body, kind, status):
    make_order(shop, external_id="77")
    answer = client.put(INVOICE, data=body, headers=key, content_type=kind)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.json["detail"]
    assert db.session.query(Invoice).count() == 0


def test_a_method_that_an_address_does_not_take(client, key):
    for method, url, allowed in (
        ("DELETE", "/api/v1/orders", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("GET", "/api/v1/heartbeat", {"OPTIONS", "POST"}),
    ):
        answer = client.open(url, method=method, headers=key)
        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) == allowed
        assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("cursor", ["x", "AAAA", "MXx4fDE=", "é", "a" * 200, "a" * 201])
def test_a_cursor_that_is_none_of_ours(client, key, cursor):
    answer = client.get("/api/v1/orders", query_string={"cursor": cursor}, headers=key)
    assert answer.status_code == 422
    assert "ursor" in answer.json["detail"]


def test_pages_of_orders_hold_each_order_once(client, key, shop):
    wanted = {make_order(shop).external_id for _ in range(7)}
    seen, cursor = [], None
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        answer = client.get("/api/v1/orders", query_string=query, headers=key).json
        seen += [order["external_id"] for order in answer["orders"]]
        cursor = answer["cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(wanted)
