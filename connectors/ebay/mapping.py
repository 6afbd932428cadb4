"""eBay's order JSON (Fulfillment API) to wire.Order. Pure: reads anything, writes what fits.

eBay returns more fields than it publishes and leaves out what has expired: an e-mail address after
14 days, name, street and phone after 90. What is gone or masked is left out here, never sent as an
empty text, so that it cannot overwrite what was known before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
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
    read_objects,
    read_text,
)
from plugin_sdk.schemas import MAX_ITEMS
from plugin_sdk.types import Address, Customer, Item, Order

PENDING, PAID, FAILED = "PENDING", "PAID", "FAILED"
PARTIALLY_REFUNDED, FULLY_REFUNDED = "PARTIALLY_REFUNDED", "FULLY_REFUNDED"
CANCELED = "CANCELED"

OFFLINE_METHODS = frozenset({"EFT", "PERSONAL_CHECK", "CASHIER_CHECK", "CASH_ON_PICKUP"})
"""Paid to the seller himself; all the others are paid to eBay."""

NOT_CHOSEN = "NOT_CHOSEN"
"""Our word for an order of which eBay does not say how it will be paid."""

MASK = "**"
NO_RECORD = "0"  # eBay's salesRecordReference since 2020

LANGUAGES = {
    "EBAY_AT": "de-AT", "EBAY_AU": "en-AU", "EBAY_CA": "en-CA", "EBAY_CH": "de-CH",
    "EBAY_DE": "de", "EBAY_ES": "es", "EBAY_FR": "fr", "EBAY_GB": "en-GB", "EBAY_IE": "en-IE",
    "EBAY_IT": "it", "EBAY_NL": "nl", "EBAY_PL": "pl", "EBAY_US": "en-US",
}  # fmt: skip


def order_from(order: Any) -> Order:
    """The wire's order, from one object of /sell/fulfillment/v1/order.

    ``total`` is in the buyer's currency: where eBay converted for the seller, the amount before
    that is taken, because that is what was agreed. What the seller gets (``totalDueSeller``, the
    amounts of the payments) is never looked at: eBay's fees are off there already.
    Raises Rejected naming what cannot be read.
    """
    if not isinstance(order, dict):
        raise Rejected("eBay sent something that is no order.")
    external_id = order_id(order)
    ordered_at = read_moment(order.get("creationDate"))
    if ordered_at is None:
        raise Rejected(f"Order {external_id}: creationDate cannot be read.")
    total, currency = _amount_due(order, external_id)
    ship_to = _ship_to(order)
    registered = read_object(read_object(order.get("buyer")).get("buyerRegistrationAddress"))
    shipping = _address(ship_to)
    return Order(
        external_id=external_id,
        number=external_id,
        ordered_at=ordered_at,
        currency=currency,
        total=total,
        payment_method=payment_method(order),
        shop_status=status_of(order) or None,
        customer=_customer(order, registered, ship_to),
        billing_address=_address(registered) or shipping,
        shipping_address=shipping,
        items=tuple(_items(order))[:MAX_ITEMS],
        references=_references(order, external_id),
    )


def order_id(order: Mapping[str, Any]) -> str:
    """eBay's key as text. Raises Rejected when there is none."""
    identifier = order.get("orderId")
    if not isinstance(identifier, str) or not re.fullmatch(r"[!-+\--~]{1,64}", identifier):
        raise Rejected("eBay sent an order without a usable orderId.")
    return identifier


def status_of(order: Mapping[str, Any]) -> str:
    """One word for where an order stands: that of its payment, unless it was cancelled."""
    if read_object(order.get("cancelStatus")).get("cancelState") == CANCELED:
        return CANCELED
    return read_text(order.get("orderPaymentStatus"), 128) or ""


def payment_method(order: Mapping[str, Any]) -> str:
    """How it is or will be paid; of several attempts the last one that did not fail."""
    payments = read_objects(read_object(order.get("paymentSummary")).get("payments"))
    named = [
        (read_text(payment.get("paymentMethod"), 128), payment.get("paymentStatus") != FAILED)
        for payment in payments
    ]
    methods = [method for method, _ in named if method]
    good = [method for method, is_good in named if method and is_good]
    return (good or methods or [NOT_CHOSEN])[-1]


def is_payable_offline(order: Mapping[str, Any]) -> bool:
    """May the seller be the one who is paid? Of managed payments eBay alone knows."""
    return payment_method(order) in {*OFFLINE_METHODS, NOT_CHOSEN}


def modified_at(order: Mapping[str, Any]) -> datetime | None:
    """When the order last changed; None when eBay does not say."""
    return read_moment(order.get("lastModifiedDate")) or read_moment(order.get("creationDate"))


def _amount_due(order: Mapping[str, Any], external_id: str) -> tuple[Decimal, str]:
    pricing = read_object(order.get("pricingSummary"))
    total, currency = _original(pricing.get("total"))
    if currency is None:
        raise Rejected(f"Order {external_id}: the currency of its total is none of ISO 4217.")
    if total is None or abs(total) >= AMOUNT_LIMIT:
        raise Rejected(f"Order {external_id}: its total cannot be read.")
    if order.get("orderPaymentStatus") == FULLY_REFUNDED:
        # The refunds told are what the seller gave; eBay gave its fee back beside them.
        return as_amount(Decimal(0), currency), currency
    for refund in read_objects(read_object(order.get("paymentSummary")).get("refunds")):
        if refund.get("refundStatus") in (FAILED, PENDING):
            continue
        credited, in_currency = _original(refund.get("amount"))
        if credited is None or in_currency != currency:
            raise Rejected(f"Order {external_id}: the amount of a refund cannot be read.")
        total -= credited
    return as_amount(max(Decimal(0), total), currency), currency


def _original(amount: Any) -> tuple[Decimal | None, str | None]:
    """An amount before eBay converted it, if it did."""
    given = read_object(amount)
    if given.get("convertedFromValue") is not None:
        value, currency = given["convertedFromValue"], given.get("convertedFromCurrency")
    else:
        value, currency = given.get("value"), given.get("currency")
    return read_decimal(value), read_currency(currency)


def _ship_to(order: Mapping[str, Any]) -> dict[str, Any]:
    for start in read_objects(order.get("fulfillmentStartInstructions")):
        found = read_object(read_object(start.get("shippingStep")).get("shipTo"))
        if found:
            # A parcel that eBay's own centre sends on: the buyer lives at the last address.
            final = read_object(start.get("finalDestinationAddress"))
            return {**found, "contactAddress": final} if final else found
    return {}


def _customer(
    order: Mapping[str, Any], registered: Mapping[str, Any], ship_to: Mapping[str, Any]
) -> Customer:
    buyer = read_object(order.get("buyer"))
    market = next(
        (line.get("purchaseMarketplaceId") for line in read_objects(order.get("lineItems"))), None
    )
    return Customer(
        number=_unmasked(buyer.get("username"), 64),
        email=_email(registered.get("email")) or _email(ship_to.get("email")),
        language=LANGUAGES.get(str(market)),
        vat_id=_vat_id(read_object(buyer.get("taxIdentifier"))),
    )


def _email(value: Any) -> str | None:
    text = _unmasked(value, 320)
    # Expired ones are told in words ("Invalid Request") as well.
    return text if text and re.fullmatch(r"[^@\s]+@[^@\s]+", text) else None


def _vat_id(identifier: Mapping[str, Any]) -> str | None:
    if "VAT" not in str(identifier.get("taxIdentifierType")):
        return None
    return _unmasked(identifier.get("taxpayerId"), 32)


def _address(contact: Mapping[str, Any]) -> Address | None:
    """``last_name`` is the full name: eBay knows no other, and "van der Berg" cannot be cut."""
    place = read_object(contact.get("contactAddress"))
    lines = (_unmasked(place.get(key), 149) for key in ("addressLine1", "addressLine2"))
    country = read_text(place.get("countryCode"), 2)
    found = Address(
        last_name=_unmasked(contact.get("fullName"), 200),
        company=_unmasked(contact.get("companyName"), 200),
        street=", ".join(line for line in lines if line) or None,
        postcode=_unmasked(place.get("postalCode"), 32),
        city=_unmasked(place.get("city"), 200),
        country=country if country and re.fullmatch("[A-Z]{2}", country) else None,
        phone=_unmasked(read_object(contact.get("primaryPhone")).get("phoneNumber"), 64),
    )
    return None if replace(found, phone=None) == Address() else found


def _unmasked(value: Any, longest: int) -> str | None:
    """Text; None as well for what eBay has masked."""
    text = read_text(value, longest)
    return None if text is None or MASK in text else text


def _items(order: Mapping[str, Any]) -> Iterator[Item]:
    for line in read_objects(order.get("lineItems")):
        quantity = read_decimal(line.get("quantity"))
        is_usual = quantity is not None and abs(quantity) < AMOUNT_LIMIT
        yield Item(
            name=read_text(line.get("title"), 500) or "",
            quantity=round(quantity, 6) if quantity is not None and is_usual else Decimal(1),
            number=read_text(line.get("sku"), 128) or read_text(line.get("legacyItemId"), 128),
        )


def _references(order: Mapping[str, Any], external_id: str) -> tuple[str, ...]:
    """The other numbers under which buyers and sellers know the order."""
    found = [_unmasked(order.get(key), 128) for key in ("legacyOrderId", "salesRecordReference")]
    others = (text for text in found if text and text not in (external_id, NO_RECORD))
    return tuple(dict.fromkeys(others))
