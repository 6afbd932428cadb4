"""WooCommerce's order JSON to wire.Order. Pure: reads anything, writes only what the wire allows.

Real shops break their own schema (null and "" where a number is promised, plugins that add or
remove fields), so everything optional is read with tolerance; the few fields without which an
order means nothing raise Rejected. HTML in names stays as it is: it is text, escaped on output.
Fields that are none of Kontor's business (Germanized puts decrypted IBANs in ``direct_debit``)
are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from plugin_sdk.errors import Rejected
from plugin_sdk.reading import (
    AMOUNT_LIMIT,
    as_amount,
    read_currency,
    read_decimal,
    read_moment,
    read_objects,
    read_text,
)
from plugin_sdk.schemas import MAX_ITEMS, MAX_REFERENCES
from plugin_sdk.types import Address, Customer, Invoice, Item, Order

DRAFT_STATUSES = frozenset({"checkout-draft", "auto-draft", "draft"})
"""A cart, not an order; some versions list them among the orders."""

TRASH_STATUS = "trash"

# Plugins that give orders their own numbers keep them in these keys, most finished form first.
NUMBER_KEYS = (
    "_order_number_formatted",
    "_alg_wc_full_custom_order_number",
    "_alg_wc_custom_order_number",
    "_order_number",
)

# Invoice plugins: the key of the number and the keys of its date.
INVOICE_KEYS = (
    ("_wcpdf_invoice_number", ("_wcpdf_invoice_date_formatted", "_wcpdf_invoice_date")),
    ("_wp_wc_running_invoice_number", ("_wp_wc_running_invoice_number_date",)),
    ("_wc_gzdp_latest_invoice_number", ()),
)
INVOICE_FIELD = "wpo_wcpdf_invoice_number"

VAT_ID_KEYS = (
    "_billing_vat_id",
    "_billing_vat_number",
    "_billing_eu_vat_number",
    "_vat_number",
    "billing_vat",
    "vat_number",
)
LANGUAGE_KEYS = ("wpml_language", "trp_language", "weglot_language")
TRACKING_KEY = "_wc_shipment_tracking_items"
MAX_INVOICES = 20
QUANTITY_DECIMALS = 6


def order_from(order: Any) -> Order:
    """The wire's order, from one object of /wc/v3/orders.

    ``total`` is what the customer owes: WooCommerce leaves its total as it is when something is
    credited, so the (negative) refunds are added. Raises Rejected naming what cannot be read.
    """
    if not isinstance(order, dict):
        raise Rejected("The shop sent something that is no order.")
    external_id = order_id(order)
    meta = _meta_of(order)
    number, references = _numbers(order, external_id, meta)
    currency = _currency(order, external_id)
    billing = order.get("billing")
    return Order(
        external_id=external_id,
        number=number,
        ordered_at=_ordered_at(order, external_id),
        currency=currency,
        total=_amount_due(order, external_id, currency),
        payment_method=read_text(order.get("payment_method"), 128),
        shop_status=read_text(order.get("status"), 128),
        customer=_customer(order, billing if isinstance(billing, dict) else {}, meta),
        billing_address=_address(billing),
        shipping_address=_address(order.get("shipping")),
        invoices=_invoices(order, meta),
        items=tuple(_items(order))[:MAX_ITEMS],
        tracking_numbers=tuple(_tracking_numbers(meta))[:MAX_REFERENCES],
        references=references,
    )


def order_id(order: Mapping[str, Any]) -> str:
    """The shop's key as text. Raises Rejected when there is none (an error body, for example)."""
    identifier = order.get("id")
    if isinstance(identifier, bool) or not re.fullmatch(r"[1-9]\d{0,18}", str(identifier)):
        raise Rejected("The shop sent an order without a usable id.")
    return str(identifier)


def modified_at(order: Mapping[str, Any]) -> datetime | None:
    """When the order last changed, to the second in UTC; None when the shop does not say."""
    for key in ("date_modified_gmt", "date_created_gmt"):
        moment = read_moment(order.get(key))
        if moment is not None:
            return moment
    return None


def _numbers(
    order: Mapping[str, Any], external_id: str, meta: Mapping[str, Any]
) -> tuple[str, tuple[str, ...]]:
    """The number people read, and the others under which the order may be named."""
    own = read_text(order.get("number"), 64)
    from_plugins = [read_text(meta.get(key), 64) for key in NUMBER_KEYS]
    candidates = [own if own != external_id else None, *from_plugins, own, external_id]
    found = list(dict.fromkeys(text for text in candidates if text))
    return found[0], tuple(found[1:])


def _ordered_at(order: Mapping[str, Any], external_id: str) -> datetime:
    # The plain date_created is the shop's local time without a zone; better an hour off than lost.
    for key in ("date_created_gmt", "date_created", "date_modified_gmt"):
        moment = read_moment(order.get(key))
        if moment is not None:
            return moment
    raise Rejected(f"Order {external_id}: date_created_gmt cannot be read.")


def _currency(order: Mapping[str, Any], external_id: str) -> str:
    given = order.get("currency")
    currency = read_currency(given)
    if currency is None:
        shown = str(given or "").upper()[:8]
        raise Rejected(f"Order {external_id}: {shown!r} is no currency of ISO 4217.")
    return currency


def _amount_due(order: Mapping[str, Any], external_id: str, currency: str) -> Decimal:
    total = read_decimal(order.get("total"))
    if total is None:
        raise Rejected(f"Order {external_id}: its total cannot be read.")
    for refund in _rows(order.get("refunds")):
        credited = read_decimal(refund.get("total"))
        if credited is None:
            raise Rejected(f"Order {external_id}: the amount of a refund cannot be read.")
        total += credited
    if total >= AMOUNT_LIMIT:
        raise Rejected(f"Order {external_id}: its total is too large.")
    # The decimals are a setting of the shop: "53", "53.31" and "53.3149" are all seen. Nobody can
    # transfer the fourth one.
    return as_amount(max(Decimal(0), total), currency)


def _customer(
    order: Mapping[str, Any], billing: Mapping[str, Any], meta: Mapping[str, Any]
) -> Customer:
    number = read_text(order.get("customer_id"), 64)
    language = next(
        (found for key in LANGUAGE_KEYS if (found := read_text(meta.get(key), 35))), None
    )
    return Customer(
        number=None if number == "0" else number,
        email=read_text(billing.get("email"), 320),
        language=language.replace("_", "-") if language else None,
        vat_id=next(
            (found for key in VAT_ID_KEYS if (found := read_text(meta.get(key), 32))), None
        ),
    )


def _address(address: Any) -> Address | None:
    if not isinstance(address, dict):
        return None
    street = ", ".join(
        line
        for key in ("address_1", "address_2")
        if (line := read_text(address.get(key), 149)) is not None
    )
    country = read_text(address.get("country"), 2)
    found = Address(
        first_name=read_text(address.get("first_name"), 200),
        last_name=read_text(address.get("last_name"), 200),
        company=read_text(address.get("company"), 200),
        street=street or None,
        postcode=read_text(address.get("postcode"), 32),
        city=read_text(address.get("city"), 200),
        country=country if country and re.fullmatch("[A-Z]{2}", country) else None,
        phone=read_text(address.get("phone"), 64),
    )
    # The core sends a shipping address of empty texts for what is not shipped, and billing fields
    # such as the phone alone are no address.
    return None if replace(found, phone=None) == Address() else found


def _invoices(order: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[Invoice, ...]:
    found: dict[str, Invoice] = {}
    for key, date_keys in INVOICE_KEYS:
        number = read_text(meta.get(key), 64)
        if number:
            dates = (_invoice_date(meta.get(date_key)) for date_key in date_keys)
            when = next((day for day in dates if day is not None), None)
            found.setdefault(number, Invoice(number, when))
    number = read_text(order.get(INVOICE_FIELD), 64)
    if number:
        found.setdefault(number, Invoice(number))
    return tuple(found.values())[:MAX_INVOICES]


def _invoice_date(value: Any) -> date | None:
    """A date as "2026-11-21 17:02:29" or as seconds since 1970, as text or number."""
    text = read_text(value, 32) or ""
    if re.fullmatch(r"\d{9,10}", text):
        return datetime.fromtimestamp(int(text), UTC).date()
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _items(order: Mapping[str, Any]) -> Iterator[Item]:
    for line in _rows(order.get("line_items")):
        yield Item(
            name=read_text(line.get("name"), 500) or "",
            quantity=_quantity(line.get("quantity")),
            number=read_text(line.get("sku"), 128),
        )


def _quantity(value: Any) -> Decimal:
    """Metres and hours may be fractions; what is no sensible number is one piece."""
    quantity = read_decimal(value)
    if quantity is None or abs(quantity) >= AMOUNT_LIMIT:
        return Decimal(1)
    return round(quantity, QUANTITY_DECIMALS).normalize()


def _tracking_numbers(meta: Mapping[str, Any]) -> Iterator[str]:
    for parcel in _rows(meta.get(TRACKING_KEY)):
        number = read_text(parcel.get("tracking_number"), 128)
        if number:
            yield number


def _meta_of(order: Mapping[str, Any]) -> dict[str, Any]:
    """meta_data as a mapping; of a key that is there twice the later one, as WooCommerce does."""
    return {
        entry["key"]: entry.get("value")
        for entry in _rows(order.get("meta_data"))
        if isinstance(entry.get("key"), str)
    }


def _rows(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; PHP sends {} for an empty list and objects for sparse ones."""
    return read_objects(list(value.values()) if isinstance(value, dict) else value)
