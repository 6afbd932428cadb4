"""MyShop's order JSON to Kontor's order. Pure: the part that grows, and is easy to test.

Read with tolerance: what is unknown is not looked at, what is optional may be missing. Without the
few fields that make an order it raises Rejected, which holds up no other order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from plugin_sdk.errors import Rejected
from plugin_sdk.reading import (
    read_currency,
    read_decimal,
    read_moment,
    read_object,
    read_objects,
    read_text,
)
from plugin_sdk.schemas import MAX_ITEMS
from plugin_sdk.types import Address, Customer, Item, Order

MAX_TEXT, MAX_NUMBER, MAX_POSTCODE = 200, 64, 20  # what the wire takes


def order_from(row: Mapping[str, Any]) -> Order:
    """One order of the shop's API. Raises Rejected naming what cannot be read."""
    external_id = order_id(row)
    customer = read_object(row.get("customer"))
    total, currency = read_decimal(row.get("total")), read_currency(row.get("currency"))
    if total is None or currency is None:
        raise Rejected(f"Order {external_id}: its total or its currency cannot be read.")
    return Order(
        external_id=external_id,
        number=read_text(row.get("number"), MAX_NUMBER) or external_id,
        ordered_at=_moment(row, "created_at"),
        currency=currency,
        total=total,
        payment_method=read_text(row.get("payment_method"), MAX_NUMBER),
        shop_status=read_text(row.get("status"), MAX_NUMBER),
        customer=Customer(email=read_text(customer.get("email"), MAX_TEXT)),
        billing_address=Address(
            first_name=read_text(customer.get("first_name"), MAX_TEXT),
            last_name=read_text(customer.get("last_name"), MAX_TEXT),
            street=read_text(customer.get("street"), MAX_TEXT),
            postcode=read_text(customer.get("postcode"), MAX_POSTCODE),
            city=read_text(customer.get("city"), MAX_TEXT),
            country=read_text(customer.get("country"), 2),
        ),
        items=tuple(_items(row.get("items"))),
    )


def order_id(row: Mapping[str, Any]) -> str:
    """The shop's key of an order. Raises Rejected."""
    found = read_text(row.get("id"), MAX_NUMBER)
    if found is None:
        raise Rejected("The shop sent an order without an id.")
    return found


def changed_at(row: Mapping[str, Any]) -> datetime:
    """When it was last changed. Raises Rejected."""
    return _moment(row, "changed_at")


def _items(rows: Any) -> Iterator[Item]:
    for row in read_objects(rows)[:MAX_ITEMS]:
        name = read_text(row.get("name"), MAX_TEXT)
        if name:
            number = read_text(row.get("sku"), MAX_NUMBER)
            yield Item(name, read_decimal(row.get("quantity")) or Decimal(1), number)


def _moment(row: Mapping[str, Any], name: str) -> datetime:
    moment = read_moment(row.get(name))
    if moment is None:
        raise Rejected(f"Order {row.get('id')}: {name} is no time.")
    return moment
