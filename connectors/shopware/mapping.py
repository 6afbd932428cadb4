"""Shopware's order JSON (``Accept: application/json``) to wire.Order. Pure.

Associations are null unless they were asked for, amounts are numbers with or without a point, an
order may have no payment, no delivery and no customer. Everything optional is read with tolerance;
the few fields without which an order means nothing raise Rejected. Names that are shown to people
follow the shop's language, so only technical names are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from plugin_sdk.errors import Rejected
from plugin_sdk.reading import (
    AMOUNT_LIMIT,
    as_amount,
    read_currency,
    read_decimal,
    read_moment,
    read_object,
    read_text,
)
from plugin_sdk.schemas import MAX_ITEMS, MAX_REFERENCES
from plugin_sdk.types import Address, Customer, Invoice, Item, Order

LIVE_VERSION = "0fa91ce3e96a4bc2be4bd9ce752c3425"
"""Orders exist in versions: drafts while somebody edits them, and one for every document."""

CANCELLED = "cancelled"
ABANDONED = frozenset({"cancelled", "failed"})
"""States of payments that the customer replaced by another one."""

UNPAID = frozenset({"open", "in_progress", "unconfirmed", "authorized", "reminded", "failed"})
"""States of a payment in which nothing has come."""

HANDLERS = {
    "handler_shopware_prepayment": "payment_prepayment",
    "handler_shopware_invoicepayment": "payment_invoicepayment",
    "handler_shopware_cashpayment": "payment_cashpayment",
    "handler_shopware_debitpayment": "payment_debitpayment",
}
"""Before 6.5.7 payment methods have no technical name, but a handler."""

NO_ITEMS = frozenset({"promotion", "discount", "container", "customized-products-option"})
INVOICE, CANCELLATION = "invoice", "storno"
MAX_INVOICES = 20
RATE_DECIMALS = 10


@dataclass(frozen=True, slots=True)
class Document:
    """A document of an order, and the two keys that open its file."""

    id: str
    kind: str
    number: str | None
    date: date | None
    deep_link: str
    cancels: str | None


def order_from(row: Any) -> Order:
    """The wire's order, from one row of ``POST /api/search/order``.

    ``total`` is the amount of the active payment: with rounding to 0.05 it is another one than the
    sum of the lines. Raises Rejected naming what cannot be read.
    """
    if not isinstance(row, dict):
        raise Rejected("The shop sent something that is no order.")
    external_id = order_id(row)
    if row.get("versionId") not in (None, LIVE_VERSION):
        raise Rejected(f"Order {external_id}: this is the draft of a change, not the order.")
    payment = active_payment(row)
    currency = _currency(row, external_id)
    documents = documents_of(row)
    return Order(
        external_id=external_id,
        number=read_text(row.get("orderNumber"), 64) or external_id,
        ordered_at=_ordered_at(row, external_id),
        currency=currency,
        total=_amount_due(row, payment, currency, external_id),
        payment_method=method_code(read_object(payment.get("paymentMethod"))) if payment else None,
        shop_status=status_of(row),
        customer=_customer(row),
        billing_address=_address(row.get("billingAddress")),
        shipping_address=_shipping_address(row),
        invoices=tuple(_invoices(documents)),
        exchange_rate=_exchange_rate(row),
        items=tuple(_items(row))[:MAX_ITEMS],
        tracking_numbers=tuple(_tracking_numbers(row))[:MAX_REFERENCES],
        references=tuple(_cancelled_numbers(documents))[:MAX_REFERENCES],
    )


def order_id(row: Mapping[str, Any]) -> str:
    """The shop's key: 32 hexadecimal digits. Raises Rejected when there is none."""
    identifier = row.get("id")
    if not is_id(identifier):
        raise Rejected("The shop sent an order without a usable id.")
    return str(identifier)


def is_id(value: Any) -> bool:
    """Shopware takes ids as 32 digits in lower case; others are errors or silently not found."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def active_payment(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The order_transaction that counts; None for an order without any.

    Changing the payment method cancels one and adds one. From 6.7 the shop says which is the
    present one; before, it is the newest that is neither cancelled nor failed, else the newest.
    """
    payments = _dicts(row.get("transactions"))
    primary = row.get("primaryOrderTransactionId")
    named = [each for each in payments if primary and each.get("id") == primary]
    if named:
        return named[0]
    payments.sort(key=lambda each: str(each.get("createdAt") or ""))
    alive = [each for each in payments if payment_state(each) not in ABANDONED] or payments
    return alive[-1] if alive else None


def payment_state(payment: Mapping[str, Any]) -> str | None:
    """The technical name of a payment's state."""
    return read_text(read_object(payment.get("stateMachineState")).get("technicalName"), 128)


def order_state(row: Mapping[str, Any]) -> str | None:
    """The technical name of the order's own state: open, in_progress, completed, cancelled."""
    return read_text(read_object(row.get("stateMachineState")).get("technicalName"), 128)


def status_of(row: Mapping[str, Any]) -> str | None:
    """The state of the active payment; None for an order without a payment.

    A cancelled order keeps its payment as it was. Nobody waits for that money any more, so such a
    payment counts as cancelled too.
    """
    payment = active_payment(row)
    state = payment_state(payment) if payment else None
    if state in UNPAID and order_state(row) == CANCELLED:
        return CANCELLED
    return state


def method_code(method: Mapping[str, Any]) -> str | None:
    """How a payment method is named in a mapping."""
    handler = str(method.get("formattedHandlerIdentifier") or "")
    return read_text(method.get("technicalName"), 128) or HANDLERS.get(handler) or _id(method)


def documents_of(row: Mapping[str, Any]) -> list[Document]:
    """The order's documents, oldest first."""
    found = []
    documents = sorted(_dicts(row.get("documents")), key=lambda each: str(each.get("createdAt")))
    for document in documents:
        config = read_object(document.get("config"))
        kind = read_text(read_object(document.get("documentType")).get("technicalName"), 64)
        # Its own column since 6.5.8, before only in the configuration.
        number = read_text(document.get("documentNumber"), 64) or read_text(
            config.get("documentNumber"), 64
        )
        found.append(
            Document(
                id=_id(document) or "",
                kind=kind or "",
                number=number,
                date=_date(config.get("documentDate")),
                deep_link=read_text(document.get("deepLinkCode"), 64) or "",
                cancels=read_text(document.get("referencedDocumentId"), 64),
            )
        )
    return found


def changed_at(row: Mapping[str, Any]) -> datetime | None:
    """When anything of the order last changed, in UTC.

    A payment moves the times of its order_transaction only, a document only its own.
    """
    moments = [read_moment(row.get(name)) for name in ("createdAt", "updatedAt")]
    for association in ("transactions", "deliveries", "documents"):
        for part in _dicts(row.get(association)):
            moments += [read_moment(part.get(name)) for name in ("createdAt", "updatedAt")]
    return max((moment for moment in moments if moment is not None), default=None)


def _ordered_at(row: Mapping[str, Any], external_id: str) -> datetime:
    for key in ("orderDateTime", "createdAt"):
        moment = read_moment(row.get(key))
        if moment is not None:
            return moment
    raise Rejected(f"Order {external_id}: orderDateTime cannot be read.")


def _currency(row: Mapping[str, Any], external_id: str) -> str:
    code = read_object(row.get("currency")).get("isoCode")
    currency = read_currency(code)
    if currency is None:
        raise Rejected(f"Order {external_id}: {str(code)[:8]!r} is no currency of ISO 4217.")
    return currency


def _amount_due(
    row: Mapping[str, Any], payment: Mapping[str, Any] | None, currency: str, external_id: str
) -> Decimal:
    amount = read_object(payment.get("amount")).get("totalPrice") if payment else None
    total = read_decimal(row.get("amountTotal") if amount is None else amount)
    if total is None:
        raise Rejected(f"Order {external_id}: its total cannot be read.")
    if total >= AMOUNT_LIMIT:
        raise Rejected(f"Order {external_id}: its total is too large.")
    return as_amount(max(Decimal(0), total), currency)


def _exchange_rate(row: Mapping[str, Any]) -> Decimal | None:
    """What one unit of the shop's own currency was in the order's; None for the own currency."""
    rate = read_decimal(row.get("currencyFactor"))
    if rate is None or rate <= 0 or rate == 1:
        return None
    return round(rate, RATE_DECIMALS).normalize() or None


def _customer(row: Mapping[str, Any]) -> Customer:
    customer = read_object(row.get("orderCustomer"))
    vat_ids = customer.get("vatIds")
    given = vat_ids if isinstance(vat_ids, list) else []
    own = [*given, read_object(row.get("billingAddress")).get("vatId")]
    return Customer(
        number=read_text(customer.get("customerNumber"), 64),
        email=read_text(customer.get("email"), 320),
        language=read_text(
            read_object(read_object(row.get("language")).get("locale")).get("code"), 35
        ),
        vat_id=next((found for each in own if (found := read_text(each, 32))), None),
    )


def _address(address: Any) -> Address | None:
    if not isinstance(address, dict):
        return None
    lines = ("street", "additionalAddressLine1", "additionalAddressLine2")
    street = ", ".join(
        line for key in lines if (line := read_text(address.get(key), 98)) is not None
    )
    country = read_text(read_object(address.get("country")).get("iso"), 2)
    found = Address(
        first_name=read_text(address.get("firstName"), 200),
        last_name=read_text(address.get("lastName"), 200),
        company=read_text(address.get("company"), 200),
        street=street or None,
        postcode=read_text(address.get("zipcode"), 32),
        city=read_text(address.get("city"), 200),
        country=country if country and re.fullmatch("[A-Z]{2}", country) else None,
        phone=read_text(address.get("phoneNumber"), 64),
    )
    return None if replace(found, phone=None) == Address() else found


def _shipping_address(row: Mapping[str, Any]) -> Address | None:
    # Free shipping is a second delivery with negative costs and the same address.
    for delivery in _dicts(row.get("deliveries")):
        found = _address(delivery.get("shippingOrderAddress"))
        if found is not None:
            return found
    return None


def _invoices(documents: list[Document]) -> Iterator[Invoice]:
    """The numbers that count: an invoice that a cancellation refers to is none any more."""
    cancelled = {each.cancels for each in documents if each.kind == CANCELLATION}
    found: dict[str, Invoice] = {}
    for each in documents:
        if each.kind == INVOICE and each.number and each.id not in cancelled:
            found.setdefault(each.number, Invoice(each.number, each.date))
    yield from list(found.values())[-MAX_INVOICES:]


def _cancelled_numbers(documents: list[Document]) -> Iterator[str]:
    """A customer may have the old invoice in hand and write its number."""
    valid = {each.number for each in _invoices(documents)}
    for each in documents:
        if each.kind == INVOICE and each.number and each.number not in valid:
            yield each.number


def _items(row: Mapping[str, Any]) -> Iterator[Item]:
    lines = [each for each in _dicts(row.get("lineItems")) if not each.get("parentId")]
    lines.sort(key=_position)
    for line in lines:
        if line.get("type") in NO_ITEMS:
            continue
        yield Item(
            name=read_text(line.get("label"), 500) or "",
            quantity=_quantity(line.get("quantity")),
            number=read_text(read_object(line.get("payload")).get("productNumber"), 128),
        )


def _position(line: Mapping[str, Any]) -> int:
    position = line.get("position")
    return position if isinstance(position, int) else 0


def _quantity(value: Any) -> Decimal:
    quantity = read_decimal(value)
    return Decimal(1) if quantity is None or abs(quantity) >= AMOUNT_LIMIT else quantity


def _tracking_numbers(row: Mapping[str, Any]) -> Iterator[str]:
    for delivery in _dicts(row.get("deliveries")):
        codes = delivery.get("trackingCodes")
        for code in codes if isinstance(codes, list) else []:
            number = read_text(code, 128)
            if number:
                yield number


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; PHP sends {} for an empty list and objects for sparse ones."""
    if isinstance(value, dict):
        value = list(value.values())
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _id(row: Mapping[str, Any]) -> str | None:
    identifier = row.get("id")
    return identifier if is_id(identifier) else None


def _date(value: Any) -> date | None:
    """The day as it is printed on the document."""
    try:
        return date.fromisoformat(str(value or "")[:10])
    except ValueError:
        return None
