"""The words for orders that a person asks for, over the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from marshmallow import ValidationError

from plugin_sdk.schemas import HeartbeatSchema, OrderRequestSchema, RequestAnswerSchema
from plugin_sdk.types import (
    Discovery,
    Heartbeat,
    Order,
    OrderRequest,
    RequestAnswer,
    RequestOutcome,
    ShopMethod,
)

ORDER = Order("77", "AA-1", datetime(2026, 3, 1, tzinfo=UTC), "EUR", Decimal("19.90"))


@pytest.mark.parametrize(
    "request_", [OrderRequest("1", external_id="77"), OrderRequest("1", number="AA-1")]
)
def test_a_request_survives_the_wire(request_):
    schema = OrderRequestSchema()
    assert schema.load(schema.dump(request_)) == request_


@pytest.mark.parametrize(
    "which", [{}, {"number": None}, {"external_id": "77", "number": "AA-1"}, {"number": ""}]
)
def test_a_request_names_exactly_one_order(which):
    with pytest.raises(ValidationError):
        OrderRequestSchema().load({"id": "1", **which})


@pytest.mark.parametrize(
    "answer",
    [
        RequestAnswer(RequestOutcome.FOUND, ORDER),
        RequestAnswer(RequestOutcome.GONE),
        RequestAnswer(RequestOutcome.TEMPORARY, reason="503"),
    ],
)
def test_an_answer_survives_the_wire(answer):
    schema = RequestAnswerSchema()
    assert schema.load(schema.dump(answer)) == answer


@pytest.mark.parametrize(
    "answer", [RequestAnswer(RequestOutcome.FOUND), RequestAnswer(RequestOutcome.GONE, ORDER)]
)
def test_an_order_goes_with_found_and_only_with_it(answer):
    schema = RequestAnswerSchema()
    with pytest.raises(ValidationError, match="order"):
        schema.load(schema.dump(answer))


def test_a_heartbeat_with_and_without_what_version_1_does_not_know():
    schema = HeartbeatSchema()
    old = {"wire_version": 1, "connector": "myshop", "connector_version": "1"}
    assert schema.load(old) == Heartbeat("myshop", "1", wire_version=1)
    found = Discovery((ShopMethod("bacs", "Überweisung"),), (), "EUR", "11.0.1")
    new = Heartbeat("myshop", "1", discovery=found, compare_seconds=180)
    assert schema.load(schema.dump(new)) == new
