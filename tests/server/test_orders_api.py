"""Orders through the API: stored once, decided by mapping and cut-off, answered clearly."""

from __future__ import annotations

from datetime import timedelta

import pytest

from plugin_sdk.types import WIRE_VERSION
from server.db import db, now
from server.mail.models import Mail
from server.merchants.models import IdempotencyKey, Merchant
from server.orders.models import MatchRequest, Order, OrderKey
from tests.factories import bearer, make_key, make_merchant, make_shop, wire_order


@pytest.fixture
def shop(app):
    return make_shop(make_merchant())


@pytest.fixture
def key(shop):
    return bearer(make_key(db.session.get_one(Merchant, shop.merchant_id), "shop", shop)[1])


@pytest.mark.feature("S28", "S31", "K1", "K15")
def test_a_new_order_is_kept_and_the_customer_is_asked(client, key):
    answer = client.post("/api/v1/orders", json=wire_order(total="87.40"), headers=key)
    assert (answer.status_code, answer.json["outcome"]) == (200, "created")
    order = db.session.query(Order).one()
    assert (order.payment_status, order.payment_code) == ("unpaid", "prepayment")
    mail = db.session.query(Mail).one()
    assert (mail.kind, mail.recipient) == ("payment_information", "erika@example.org")
    assert mail.facts["amount_due"] == "87,40\u00a0€"
    assert mail.facts["payment_reference"] == order.payment_reference
    assert db.session.query(MatchRequest).count() == 1
    assert db.session.query(OrderKey).filter_by(kind="payment_reference").count() == 1


def test_sending_it_twice_is_harmless(client, key):
    order = wire_order()
    outcomes = [
        client.post("/api/v1/orders", json=order, headers=key).json["outcome"] for _ in "12"
    ]
    assert outcomes == ["created", "unchanged"]
    assert db.session.query(Mail).count() == 1


@pytest.mark.feature("S29", "S30")
def test_the_cut_off(client, key):
    old = {"ordered_at": "2025-12-31T23:59:59+00:00"}
    orders = [wire_order(**old), wire_order(**old, shop_status="completed")]
    answer = client.post("/api/v1/orders/batch", json={"orders": orders}, headers=key)
    assert [r["outcome"] for r in answer.json["results"]] == ["not_managed", "ignored"]
    assert db.session.query(Order).one().payment_status == "not_managed"
    assert db.session.query(Mail).count() == 0


def test_an_invalid_order_does_not_hold_up_the_others(client, key):
    orders = [wire_order(), wire_order(total="-1.00"), {"nonsense": 1}, 7, wire_order()]
    answer = client.post("/api/v1/orders/batch", json={"orders": orders}, headers=key)
    assert answer.status_code == 200
    outcomes = [r["outcome"] for r in answer.json["results"]]
    assert outcomes == ["created", "invalid", "invalid", "invalid", "created"]
    assert "total" in answer.json["results"][1]["problem"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"total": "-0.01"}, "total"),
        ({"total": 19.9}, "total"),
        ({"currency": "EUX"}, "EUX"),
        ({"ordered_at": "2026-03-01T10:00:00"}, "ordered_at"),
        ({"payment_status": "paid"}, "payment_status"),
        ({"number": "a\x00b"}, "NUL"),
    ],
)
def test_bad_fields_are_named(client, key, body, word):
    answer = client.post("/api/v1/orders", json=wire_order(**body), headers=key)
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert word in answer.json["detail"]


def test_unknown_fields_of_a_newer_wire_version_are_ignored_and_named(client, key):
    order = wire_order(colour="red", customer={"email": "e@example.org", "shoe_size": 42})
    newer = {"Kontor-Wire-Version": str(WIRE_VERSION + 1)}
    for headers in (key, {**key, "Kontor-Wire-Version": str(WIRE_VERSION)}):
        assert client.post("/api/v1/orders", json=order, headers=headers).status_code == 422
    answer = client.post("/api/v1/orders", json=order, headers={**key, **newer})
    assert answer.status_code == 200
    assert sorted(answer.json["ignored"]) == ["colour", "customer.shoe_size"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"null", b""])
def test_malformed_json(client, key, body):
    answer = client.post("/api/v1/orders", data=body, headers=key, content_type="application/json")
    assert answer.status_code in (400, 422)
    assert answer.content_type == "application/problem+json"


def test_keys(client, key, shop):
    order = wire_order()
    for headers in (
        {},
        {"Authorization": "Bearer x"},
        bearer("kontor_" + "a" * 12 + "_" + "b" * 43),
    ):
        assert client.post("/api/v1/orders", json=order, headers=headers).status_code == 401
    assert client.post("/api/v1/statements", data=b"x", headers=key).status_code == 403


def test_idempotency_key(client, key):
    order, other = wire_order(), wire_order()
    headers = {**key, "Idempotency-Key": "k-1"}
    first = client.post("/api/v1/orders", json=order, headers=headers)
    again = client.post("/api/v1/orders", json=order, headers=headers)
    assert (first.json, again.json["outcome"]) == (again.json, "created")
    assert client.post("/api/v1/orders", json=other, headers=headers).status_code == 422


@pytest.mark.feature("S41")
def test_a_report_that_is_only_sent_again_is_no_second_evidence(client, key):
    """The shop was asked once; its answer was lost on the way to the agent, not to us."""
    order = wire_order()
    client.post("/api/v1/orders", json=order, headers=key)
    report = {"external_ids": [order["external_id"]], "evidence": "gone"}

    def say(idempotency_key):
        headers = {**key, "Idempotency-Key": idempotency_key}
        return client.post("/api/v1/orders/gone", json=report, headers=headers).json["removed"]

    assert [say("first"), say("first"), say("second")] == [0, 0, 1]


def test_kept_answers_are_forgotten_after_a_day(client, key):
    for n in range(3):
        client.post(
            "/api/v1/orders", json=wire_order(), headers={**key, "Idempotency-Key": f"o{n}"}
        )
    db.session.query(IdempotencyKey).update({"created_at": now() - timedelta(hours=25)})
    db.session.commit()
    client.post("/api/v1/orders", json=wire_order(), headers={**key, "Idempotency-Key": "new"})
    assert [row.key for row in db.session.query(IdempotencyKey)] == ["new"]


@pytest.mark.parametrize(("currency", "total"), [("JPY", "53.31"), ("EUR", "19.905"), ("KWD", "1")])
def test_an_amount_with_unusual_decimals_is_no_reason_to_lose_an_order(
    client, key, currency, total
):
    answer = client.post(
        "/api/v1/orders", json=wire_order(currency=currency, total=total), headers=key
    )
    assert (answer.status_code, answer.json["outcome"]) == (200, "created")
    assert db.session.query(Mail).one().kind == "payment_information"
