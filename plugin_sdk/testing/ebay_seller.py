"""What a fake eBay holds of its one seller: orders, payouts, the people behind them, and time."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Json = dict[str, Any]

MAIL_DAYS, PERSON_DAYS = 14, 90
"""So long after an order eBay tells the address, and name, street and phone."""

FEE = Decimal("0.12")
CENT = Decimal("0.01")


@dataclass(slots=True)
class Seller:
    """All changes under the fake's lock. ``now`` is the fake's clock."""

    now: Callable[[], datetime]
    user_id: str = "aNnAsAnTiQuArIaT"
    username: str = "annas-antiquariat"
    marketplace: str = "EBAY_DE"
    orders: dict[str, Json] = field(default_factory=dict)
    payouts: dict[str, Json] = field(default_factory=dict)
    bookings: list[Json] = field(default_factory=list)
    ignores_sales: bool = False
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def create(
        self,
        *,
        name: str = "Erika Mustermann",
        item: str = "Grimms Märchen, 1912",
        total: str = "39.90",
        currency: str = "EUR",
        method: str | None = "EFT",
        status: str = "PENDING",
        converted_from: tuple[str, str] | None = None,
        created: datetime | None = None,
        **more: Any,
    ) -> str:
        """An order; ``more`` goes over its JSON. ``method`` None: eBay does not say how."""
        number = next(self.numbers)
        order_id = f"12-{number:05}-{10_000 + number}"
        at = stamp(created or self.now())
        price = money(total, currency, converted_from)
        nothing = money("0", currency, ("0", converted_from[1]) if converted_from else None)
        contact = _contact(name)
        payment: Json = {"paymentStatus": status, "amount": _less_fee(price, method)}
        if method:
            payment["paymentMethod"] = method
        if status == "PAID":
            payment["paymentDate"] = at
        self.orders[order_id] = {
            "orderId": order_id,
            "legacyOrderId": f"1100{number:08}-2200{number:08}",
            "creationDate": at,
            "lastModifiedDate": at,
            "orderFulfillmentStatus": "NOT_STARTED",
            "orderPaymentStatus": status,
            "sellerId": self.username,
            "buyer": {
                "username": f"buyer-{number}",
                "taxAddress": {"postalCode": "51147", "countryCode": "DE"},
                "buyerRegistrationAddress": copy.deepcopy(contact),
            },
            "pricingSummary": {
                "priceSubtotal": price,
                "deliveryCost": nothing,
                "total": copy.deepcopy(price),
            },
            "cancelStatus": {"cancelState": "NONE_REQUESTED", "cancelRequests": []},
            "paymentSummary": {
                "totalDueSeller": _less_fee(price, method),
                "refunds": [],
                "payments": [payment],
            },
            "fulfillmentStartInstructions": [
                {
                    "fulfillmentInstructionsType": "SHIP_TO",
                    "ebaySupportedFulfillment": False,
                    "shippingStep": {"shipTo": contact, "shippingServiceCode": "DE_DHLPaket"},
                }
            ],
            "fulfillmentHrefs": [],
            "lineItems": [_line(number, item, price, self.marketplace)],
            "salesRecordReference": str(100 + number),
            **more,
        }
        return order_id

    def touch(self, order: Json) -> None:
        """It has changed now."""
        order["lastModifiedDate"] = stamp(self.now())

    def pay(self, order_id: str) -> None:
        """The payment is there, or the seller says so."""
        order = self.orders[order_id]
        order["orderPaymentStatus"] = "PAID"
        for payment in order["paymentSummary"]["payments"]:
            payment |= {"paymentStatus": "PAID", "paymentDate": stamp(self.now())}
        self.touch(order)

    def refund(self, order_id: str, amount: str) -> None:
        """A part or all is given back."""
        order = self.orders[order_id]
        currency = order["pricingSummary"]["total"]["currency"]
        summary = order["paymentSummary"]
        summary["refunds"].append(
            {
                "refundDate": stamp(self.now()),
                "amount": money(amount, currency),
                "refundStatus": "REFUNDED",
                "refundReferenceId": f"52{len(summary['refunds']):05}",
            }
        )
        given = sum(Decimal(each["amount"]["value"]) for each in summary["refunds"])
        is_all = given >= Decimal(order["pricingSummary"]["total"]["value"])
        order["orderPaymentStatus"] = "FULLY_REFUNDED" if is_all else "PARTIALLY_REFUNDED"
        self.touch(order)

    def visible(self, order: Json, *, in_list: bool) -> Json:
        """An order as eBay tells it today: what is too old of its people is gone."""
        shown = copy.deepcopy(order)
        age = self.now() - datetime.fromisoformat(order["creationDate"])
        step = shown["fulfillmentStartInstructions"][0]["shippingStep"]
        for contact in (shown["buyer"]["buyerRegistrationAddress"], step["shipTo"]):
            if age > timedelta(days=MAIL_DAYS):
                contact.pop("email", None)
            if age > timedelta(days=PERSON_DAYS):
                contact.pop("fullName", None)
                contact["primaryPhone"] = {}
                contact["contactAddress"].pop("addressLine1", None)
                contact["contactAddress"].pop("addressLine2", None)
        if in_list:
            shown["cancelStatus"]["cancelRequests"] = []
        return shown

    def book(self, kind: str, amount: str, *, fee: str | None = None, **more: Any) -> Json:
        """A transaction on the seller's balance. ``amount``: signed, what it adds to a payout."""
        value = Decimal(amount)
        booking: Json = {
            "transactionId": f"30-{len(self.bookings):05}",
            "transactionType": kind,
            "transactionStatus": "FUNDS_AVAILABLE_FOR_PAYOUT",
            "transactionDate": stamp(self.now()),
            "amount": money(str(abs(value)), "EUR"),
            "bookingEntry": "CREDIT" if value >= 0 else "DEBIT",
            "salesRecordReference": "0",
            **more,
        }
        if fee is not None:
            booking["totalFeeAmount"] = money(fee, "EUR")
            booking["totalFeeBasisAmount"] = money(str(abs(value) + Decimal(fee)), "EUR")
        self.bookings.append(booking)
        return booking

    def pay_out(self, amount: str | None = None, status: str = "SUCCEEDED") -> str:
        """A payout of everything booked and not paid out yet; ``amount`` tells another sum."""
        payout_id = str(5_000_000_000 + len(self.payouts))
        total = Decimal(0)
        open_bookings = [each for each in self.bookings if "payoutId" not in each]
        for booking in open_bookings:
            booking |= {"payoutId": payout_id, "transactionStatus": "PAYOUT"}
            sign = 1 if booking["bookingEntry"] == "CREDIT" else -1
            total += sign * Decimal(booking["amount"]["value"])
        self.payouts[payout_id] = {
            "payoutId": payout_id,
            "payoutStatus": status,
            "payoutDate": stamp(self.now()),
            "amount": money(amount or str(total), "EUR"),
            "bankReference": f"EBAY P*{payout_id}",
            "payoutInstrument": {
                "instrumentType": "BANK",
                "nickname": "Annas Konto",
                "accountLastFourDigits": "4711",
            },
            "transactionCount": len(open_bookings),
        }
        return payout_id


def stamp(moment: datetime) -> str:
    """A time as eBay writes it."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z"


def money(value: str, currency: str, converted_from: tuple[str, str] | None = None) -> Json:
    """An amount as eBay writes it: no more decimals than it needs, but one."""
    found = {"value": _short(value), "currency": currency}
    if converted_from:
        found |= {
            "convertedFromValue": _short(converted_from[0]),
            "convertedFromCurrency": converted_from[1],
        }
    return found


def _short(value: str) -> str:
    whole, _, cents = value.partition(".")
    return f"{whole}.{cents.rstrip('0') or '0'}"


def _less_fee(price: Json, method: str | None) -> Json:
    """What the seller gets: of what eBay collects, its fee is off already."""
    if method in (None, "EFT", "PERSONAL_CHECK", "CASHIER_CHECK", "CASH_ON_PICKUP"):
        return dict(price)
    value = Decimal(price["value"])
    kept = (value - value * FEE).quantize(CENT)
    return money(str(kept), price["currency"])


def _contact(name: str) -> Json:
    return {
        "fullName": name,
        "contactAddress": {
            "addressLine1": "Heidestraße 17",
            "city": "Köln",
            "postalCode": "51147",
            "countryCode": "DE",
        },
        "primaryPhone": {"phoneNumber": "+49 221 0000"},
        "email": "0a1b2c3d4e5f@members.ebay.com",
    }


def _line(number: int, item: str, price: Json, marketplace: str) -> Json:
    return {
        "lineItemId": f"100{number:011}",
        "legacyItemId": f"1100{number:08}",
        "sku": f"AA-{number}",
        "title": item,
        "lineItemCost": dict(price),
        "quantity": 1,
        "soldFormat": "FIXED_PRICE",
        "listingMarketplaceId": marketplace,
        "purchaseMarketplaceId": marketplace,
        "lineItemFulfillmentStatus": "NOT_STARTED",
        "total": dict(price),
        "appliedPromotions": [],
        "taxes": [],
        "refunds": [],
    }
