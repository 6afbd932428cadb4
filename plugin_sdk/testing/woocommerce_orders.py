"""Builds WooCommerce's order JSON: the 47 keys, sums and dates as the real one fills them in.

Amounts are decimal strings, ``*_gmt`` times are UTC, the others the shop's local time, none with
a zone. Pure: the shop that keeps the orders is in ``woocommerce_shop``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Json = dict[str, Any]

STATUSES = {
    "pending": "Pending payment",
    "processing": "Processing",
    "on-hold": "On hold",
    "completed": "Completed",
    "cancelled": "Cancelled",
    "refunded": "Refunded",
    "failed": "Failed",
    "checkout-draft": "Draft",
}
TRASH = "trash"
UNPAID_STATUSES = ("pending", "failed", "checkout-draft")
EDITABLE_STATUSES = ("pending", "on-hold", "auto-draft")
PAID_STATUSES = ("processing", "completed")
PAID_ON_COMPLETION = ("cod",)
ADDRESS_KEYS = (
    "first_name last_name company address_1 address_2 city state postcode country".split()
)
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "CHF": "CHF", "JPY": "¥", "PLN": "zł"}
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Product:
    """Something to buy. ``price`` without tax."""

    name: str
    price: Decimal
    sku: str


@dataclass(frozen=True, slots=True)
class Coupon:
    """A discount in percent on all lines."""

    id: int
    percent: Decimal


@dataclass(slots=True)
class Catalogue:
    """What the sums of an order are made from. ``tax_percent`` is added to every price."""

    products: dict[int, Product] = field(default_factory=dict)
    coupons: dict[str, Coupon] = field(default_factory=dict)
    tax_percent: Decimal = Decimal(19)


@dataclass(frozen=True, slots=True)
class Numbered:
    """What an order gets from its shop: its id, the next line ids, the moment, the shop's place."""

    id: int
    next_id: Iterable[int]
    now: datetime
    utc_offset: timedelta
    url: str
    version: str


def new_order(wanted: Mapping[str, Any], catalogue: Catalogue, numbered: Numbered) -> Json:
    """An order from what POST /orders takes: addresses, lines, status, meta data, currency."""
    ids = iter(numbered.next_id)
    lines = _lines(wanted, catalogue, ids)
    shipping = [_shipping_line(line, catalogue, ids) for line in wanted.get("shipping_lines", [])]
    fees = [_fee_line(line, catalogue, ids) for line in wanted.get("fee_lines", [])]
    currency = str(wanted.get("currency") or "EUR")
    key = f"wc_order_{secrets.token_hex(6)}"
    sums = _sums(lines, shipping, fees)
    order: Json = {
        "id": numbered.id,
        "parent_id": 0,
        "status": str(wanted.get("status") or "pending"),
        "currency": currency,
        "version": numbered.version,
        "prices_include_tax": False,
        "date_created": None,
        "date_modified": None,
        **{name: money(amount) for name, amount in sums.items()},
        "customer_id": int(wanted.get("customer_id") or 0),
        "order_key": key,
        "billing": _address(wanted.get("billing"), "email", "phone"),
        "shipping": _address(wanted.get("shipping"), "phone"),
        "payment_method": str(wanted.get("payment_method") or ""),
        "payment_method_title": str(wanted.get("payment_method_title") or ""),
        "transaction_id": str(wanted.get("transaction_id") or ""),
        "customer_ip_address": "",
        "customer_user_agent": "",
        "created_via": str(wanted.get("created_via") or "rest-api"),
        "customer_note": str(wanted.get("customer_note") or ""),
        "date_completed": None,
        "date_paid": None,
        "cart_hash": "",
        "number": str(wanted.get("number") or numbered.id),
        "meta_data": [
            {"id": next(ids), "key": str(meta["key"]), "value": meta.get("value")}
            for meta in wanted.get("meta_data", [])
        ],
        "line_items": lines,
        "tax_lines": _tax_lines(catalogue, sums["cart_tax"], sums["shipping_tax"], ids),
        "shipping_lines": shipping,
        "fee_lines": fees,
        "coupon_lines": _coupon_lines(wanted, catalogue, sums, ids),
        "refunds": [],
        "payment_url": f"{numbered.url}/checkout/order-pay/{numbered.id}/"
        f"?pay_for_order=true&key={key}",
        "is_editable": False,
        "needs_payment": False,
        "needs_processing": True,
        "date_created_gmt": None,
        "date_modified_gmt": None,
        "date_completed_gmt": None,
        "date_paid_gmt": None,
        "currency_symbol": SYMBOLS.get(currency, currency),
        "_links": links(numbered.url, numbered.id),
    }
    for name in ("created", "modified"):
        set_date(order, name, numbered.now, numbered.utc_offset)
    if order["status"] in PAID_STATUSES:
        enter_status(order, order["status"], numbered.now, numbered.utc_offset)
    if wanted.get("set_paid"):
        set_paid(order, numbered.now, numbered.utc_offset, creating=True)
    refresh(order)
    return order


def enter_status(order: Json, status: str, now: datetime, utc_offset: timedelta) -> None:
    """Change the status, with what follows: paid at "processing", but cash only at completion."""
    order["status"] = status
    paid = status in PAID_STATUSES and not (
        status == "processing" and order["payment_method"] in PAID_ON_COMPLETION
    )
    if paid and order["date_paid"] is None:
        set_date(order, "paid", now, utc_offset)
    if status == "completed" and order["date_completed"] is None:
        set_date(order, "completed", now, utc_offset)
    refresh(order)


def set_paid(order: Json, now: datetime, utc_offset: timedelta, *, creating: bool = False) -> None:
    """``set_paid: true``: works on unpaid statuses only, and says nothing where it does not."""
    if order["needs_payment"] or (creating and order["status"] not in PAID_STATUSES):
        enter_status(order, "processing", now, utc_offset)


def set_date(order: Json, name: str, now: datetime, utc_offset: timedelta) -> None:
    """Fill in ``date_<name>`` (local) and ``date_<name>_gmt``, to the second."""
    utc = now.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    order[f"date_{name}"] = (utc + utc_offset).isoformat()
    order[f"date_{name}_gmt"] = utc.isoformat()


def refresh(order: Json) -> None:
    """Recompute what depends on the status."""
    order["is_editable"] = order["status"] in EDITABLE_STATUSES
    order["needs_payment"] = order["status"] in UNPAID_STATUSES and Decimal(order["total"]) > 0


def links(url: str, order_id: int) -> Json:
    """The ``_links`` of an order."""
    base = f"{url}/wp-json/wc/v3/orders"
    allow = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    mails = f"{base}/{order_id}/actions/email_templates"
    return {
        "self": [{"href": f"{base}/{order_id}", "targetHints": {"allow": allow}}],
        "collection": [{"href": base}],
        "email_templates": [{"embeddable": True, "href": mails}],
    }


def money(amount: Decimal) -> str:
    """Two decimals, whatever the currency: the decimals are a setting of the whole shop."""
    return f"{amount.quantize(CENT, ROUND_HALF_UP):f}"


def _sums(lines: list[Json], shipping: list[Json], fees: list[Json]) -> dict[str, Decimal]:
    """The sums of an order, in the order in which WooCommerce lists them."""
    cart_tax = _sum(lines, "total_tax") + _sum(fees, "total_tax")
    shipping_tax = _sum(shipping, "total_tax")
    net = _sum(lines, "total") + _sum(shipping, "total") + _sum(fees, "total")
    return {
        "discount_total": _sum(lines, "subtotal") - _sum(lines, "total"),
        "discount_tax": _sum(lines, "subtotal_tax") - _sum(lines, "total_tax"),
        "shipping_total": _sum(shipping, "total"),
        "shipping_tax": shipping_tax,
        "cart_tax": cart_tax,
        "total": net + cart_tax + shipping_tax,
        "total_tax": cart_tax + shipping_tax,
    }


def _lines(wanted: Mapping[str, Any], catalogue: Catalogue, ids: Any) -> list[Json]:
    percent = sum((coupon.percent for _, coupon in _coupons(wanted, catalogue)), Decimal(0))
    return [_line(line, catalogue, percent, ids) for line in wanted.get("line_items", [])]


def _line(line: Mapping[str, Any], catalogue: Catalogue, discount: Decimal, ids: Any) -> Json:
    product_id = int(line.get("product_id") or 0)
    product = catalogue.products.get(product_id) or Product(
        str(line.get("name") or ""), Decimal(str(line.get("price") or 0)), ""
    )
    quantity = int(line.get("quantity") or 1)
    subtotal = product.price * quantity
    total = (subtotal * (100 - discount) / 100).quantize(CENT, ROUND_HALF_UP)
    line_id = next(ids)
    subtotal_tax, total_tax = _tax(subtotal, catalogue), _tax(total, catalogue)
    price = total / quantity
    return {
        "id": line_id,
        "name": str(line.get("name") or product.name),
        "product_id": product_id,
        "variation_id": 0,
        "quantity": quantity,
        "tax_class": "",
        "subtotal": money(subtotal),
        "subtotal_tax": money(subtotal_tax),
        "total": money(total),
        "total_tax": money(total_tax),
        "taxes": [{"id": 1, "total": money(total_tax), "subtotal": money(subtotal_tax)}],
        "meta_data": [],
        "sku": product.sku,
        "global_unique_id": "",
        "price": int(price) if price == price.to_integral_value() else float(price),
        "image": {"id": "", "src": ""},
        "parent_name": None,
    }


def _shipping_line(line: Mapping[str, Any], catalogue: Catalogue, ids: Any) -> Json:
    total = Decimal(str(line.get("total") or 0))
    tax = money(_tax(total, catalogue))
    return {
        "id": next(ids),
        "method_title": str(line.get("method_title") or ""),
        "method_id": str(line.get("method_id") or ""),
        "instance_id": "",
        "total": money(total),
        "total_tax": tax,
        "taxes": [{"id": 1, "total": tax, "subtotal": ""}],
        "tax_status": "taxable",
        "meta_data": [],
    }


def _fee_line(line: Mapping[str, Any], catalogue: Catalogue, ids: Any) -> Json:
    total = Decimal(str(line.get("total") or 0))
    tax = money(_tax(total, catalogue))
    return {
        "id": next(ids),
        "name": str(line.get("name") or ""),
        "tax_class": "",
        "tax_status": "taxable",
        "amount": "",
        "total": money(total),
        "total_tax": tax,
        "taxes": [{"id": 1, "total": tax, "subtotal": ""}],
        "meta_data": [],
    }


def _tax_lines(catalogue: Catalogue, cart: Decimal, shipping: Decimal, ids: Any) -> list[Json]:
    if not catalogue.tax_percent:
        return []
    percent = catalogue.tax_percent
    label = f"{percent.normalize():f}% MwSt."
    return [
        {
            "id": next(ids),
            "rate_code": f"DE-{label.upper()}-1",
            "rate_id": 1,
            "label": label,
            "compound": False,
            "tax_total": money(cart),
            "shipping_tax_total": money(shipping),
            "rate_percent": float(percent) if percent % 1 else int(percent),
            "meta_data": [],
        }
    ]


def _coupon_lines(
    wanted: Mapping[str, Any], catalogue: Catalogue, sums: Mapping[str, Decimal], ids: Any
) -> list[Json]:
    return [
        {
            "id": next(ids),
            "code": code,
            "discount": money(sums["discount_total"]),
            "discount_tax": money(sums["discount_tax"]),
            "meta_data": [
                {
                    "id": next(ids),
                    "key": "coupon_info",
                    "value": f'[{coupon.id},"{code}","percent",{int(coupon.percent)}]',
                }
            ],
            "discount_type": "percent",
            "nominal_amount": int(coupon.percent),
            "free_shipping": False,
        }
        for code, coupon in _coupons(wanted, catalogue)
    ]


def _coupons(wanted: Mapping[str, Any], catalogue: Catalogue) -> list[tuple[str, Coupon]]:
    codes = [str(line.get("code")) for line in wanted.get("coupon_lines", [])]
    return [(code, catalogue.coupons[code]) for code in codes if code in catalogue.coupons]


def _address(address: Any, *more: str) -> Json:
    given = address if isinstance(address, dict) else {}
    return {key: str(given.get(key) or "") for key in (*ADDRESS_KEYS, *more)}


def _tax(amount: Decimal, catalogue: Catalogue) -> Decimal:
    return (amount * catalogue.tax_percent / 100).quantize(CENT, ROUND_HALF_UP)


def _sum(lines: Iterable[Mapping[str, Any]], key: str) -> Decimal:
    return sum((Decimal(line[key]) for line in lines), Decimal("0.00"))
