"""The quick loader and the schema agree on every order, right or wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from plugin_sdk.quick import quick_loader
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.types import Order

ORDER: dict[str, Any] = {
    "external_id": "7",
    "number": "AA-1007",
    "ordered_at": "2026-03-01T10:00:00+01:00",
    "currency": "EUR",
    "total": "19.9",
    "payment_method": "bacs",
    "payment_code": "prepayment",
    "shop_status": "on-hold",
    "customer": {"number": "K-1", "email": "erika@example.org", "language": "de"},
    "billing_address": {"first_name": "Erika", "last_name": "Müster", "country": "DE"},
    "invoices": [{"number": "R-1", "date": "2026-03-01"}, {"number": "R-2"}],
    "due_date": "2026-03-15",
    "payment_terms": {"discount_percent": "2", "discount_days": 14, "net_days": 30},
    "items": [{"name": "Kupferstich", "quantity": "1.5"}, {"name": "Buch"}],
    "tracking_numbers": ["T-1"],
    "references": [],
}
WRONG = st.sampled_from(
    [
        None,
        "",
        0,
        1.5,
        True,
        [],
        {},
        "x" * 400,
        "a\x00",
        "\ud800",
        "-1.00",
        "EUX",
        ["", "x"],
        "0.1234",
    ]
)
SCHEMA = OrderSchema()
LOAD = quick_loader(SCHEMA)


def loaded(load: Any, raw: Any) -> Order | Any:
    try:
        return load(copy.deepcopy(raw))
    except ValidationError as error:
        return error.normalized_messages()


def test_a_right_order_is_the_same():
    assert LOAD(copy.deepcopy(ORDER)) == SCHEMA.load(copy.deepcopy(ORDER))


@pytest.mark.parametrize("raw", [None, [], "x", 3, {}, {"total": "1.00"}])
def test_what_is_no_order_is_refused_alike(raw):
    assert loaded(LOAD, raw) == loaded(SCHEMA.load, raw)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_one_thing_changed_anywhere_leads_to_the_same(data):
    raw = copy.deepcopy(ORDER)
    place: Any = raw
    while True:
        key = data.draw(st.sampled_from([*place, "unknown"] if isinstance(place, dict) else [0]))
        if isinstance(place, list) and not place:
            place.append(data.draw(WRONG))
            break
        inside = place.get(key) if isinstance(place, dict) else place[0]
        if isinstance(inside, dict | list) and data.draw(st.booleans()):
            place = inside
            continue
        if isinstance(place, dict) and data.draw(st.booleans()):
            place.pop(key, None)
        else:
            place[key] = data.draw(WRONG)
        break
    assert loaded(LOAD, raw) == loaded(SCHEMA.load, raw)
