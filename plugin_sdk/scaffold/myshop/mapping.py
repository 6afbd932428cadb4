"""MyShop's order JSON to Kontor's order. Pure: the part that grows, and is easy to test.

Read with tolerance: what is unknown is not looked at, what is optional may be missing. Without the
few fields that make an order it raises Rejected, which holds up no other order.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from plugin_sdk.errors import Rejected
from plugin_sdk.types import Address, Customer, Item, Order


def order_from(row: Mapping[str, Any]) -> Order:
    """One order of the shop's API. Raises Rejected naming what cannot be read."""
    external_id = order_id(row)
    customer = row.get("customer") or {}
    return Order(
        external_id=external_id,
        number=str(row.get("number") or external_id),
        ordered_at=_moment(row, "created_at"),
        currency=_text(row.get("currency")) or "EUR",
        total=_amount(row, "total"),
        payment_method=_text(row.get("payment_method")),
        shop_status=_text(row.get("status")),
        customer=Customer(email=_text(customer.get("email"))),
        billing_address=Address(
            first_name=_text(customer.get("first_name")),
            last_name=_text(customer.get("last_name")),
            street=_text(customer.get("street")),
            postcode=_text(customer.get("postcode")),
            city=_text(customer.get("city")),
            country=_text(customer.get("country")),
        ),
        items=tuple(_item(each) for each in row.get("items") or () if each.get("name")),
    )


def order_id(row: Mapping[str, Any]) -> str:
    """The shop's key of an order. Raises Rejected."""
    if not row.get("id"):
        raise Rejected("The shop sent an order without an id.")
    return str(row["id"])


def changed_at(row: Mapping[str, Any]) -> datetime:
    """When it was last changed. Raises Rejected."""
    return _moment(row, "changed_at")


def _item(row: Mapping[str, Any]) -> Item:
    return Item(
        name=str(row["name"]),
        quantity=Decimal(str(row.get("quantity") or 1)),
        number=_text(row.get("sku")),
    )


def _amount(row: Mapping[str, Any], name: str) -> Decimal:
    """Never by way of a float: those lie about cents."""
    try:
        amount = Decimal(str(row.get(name)))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise Rejected(f"Order {row.get('id')}: {name} is no amount.")
    return amount


def _moment(row: Mapping[str, Any], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(row.get(name)))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Rejected(f"Order {row.get('id')}: {name} is no time with a zone.")
    return moment


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None
