"""What is asked of Shopware's search: filters, associations and fields. Pure.

Every request is written as both published schemas want it (6.6 and 6.7), which is stricter than
the shops are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

CHANGED = (
    "createdAt",
    "updatedAt",
    "transactions.createdAt",
    "transactions.updatedAt",
    "deliveries.updatedAt",
    "documents.createdAt",
)
"""Paying moves the times of the payment only, an invoice has its own, and ``updatedAt`` is null on
everything new, so an order changed when any of these did.
"""

STILL_AWAITED = ("reminded", "paid_partially")
"""Somebody works on the money of these payments, however old the order is."""

ASSOCIATIONS: Json = {
    "transactions": {
        "sort": [{"field": "createdAt", "order": "ASC"}],
        "associations": {"paymentMethod": {}, "stateMachineState": {}},
    },
    "stateMachineState": {},
    "deliveries": {
        "associations": {"shippingOrderAddress": {"associations": {"country": {}}}},
    },
    "billingAddress": {"associations": {"country": {}}},
    "orderCustomer": {},
    "currency": {},
    "language": {"associations": {"locale": {}}},
    "documents": {"associations": {"documentType": {}}},
    "lineItems": {},
}
_ADDRESS = [
    "firstName",
    "lastName",
    "company",
    "street",
    "additionalAddressLine1",
    "additionalAddressLine2",
    "zipcode",
    "city",
    "country",
    "phoneNumber",
    "vatId",
]
INCLUDES: dict[str, list[str]] = {
    # A twelfth of the whole order. Fields that a version does not have are left out by it.
    "order": [
        "id",
        "versionId",
        "autoIncrement",
        "orderNumber",
        "orderDateTime",
        "createdAt",
        "updatedAt",
        "amountTotal",
        "currencyFactor",
        "salesChannelId",
        "primaryOrderTransactionId",
        *ASSOCIATIONS,
    ],
    "order_transaction": [
        "id",
        "createdAt",
        "updatedAt",
        "amount",
        "paymentMethod",
        "stateMachineState",
    ],
    "payment_method": ["id", "technicalName", "formattedHandlerIdentifier"],
    "state_machine_state": ["technicalName"],
    "calculated_price": ["totalPrice"],
    "order_delivery": ["createdAt", "updatedAt", "trackingCodes", "shippingOrderAddress"],
    "order_address": _ADDRESS,
    "country": ["iso"],
    "order_customer": ["customerNumber", "email", "vatIds"],
    "currency": ["isoCode"],
    "language": ["locale"],
    "locale": ["code"],
    "document": [
        "id",
        "createdAt",
        "updatedAt",
        "documentNumber",
        "deepLinkCode",
        "referencedDocumentId",
        "config",
        "documentType",
    ],
    "document_type": ["technicalName"],
    "order_line_item": ["label", "type", "quantity", "position", "parentId", "payload"],
}

PRIVILEGES = {
    "order": "order",
    "order-transaction": "order_transaction",
    "payment-method": "payment_method",
    "state-machine": "state_machine",
    "state-machine-state": "state_machine_state",
    "state-machine-transition": "state_machine_transition",
    "order-delivery": "order_delivery",
    "order-address": "order_address",
    "country": "country",
    "order-customer": "order_customer",
    "currency": "currency",
    "language": "language",
    "locale": "locale",
    "document": "document",
    "document-type": "document_type",
    "order-line-item": "order_line_item",
}
"""What is searched for by what name, and the entity that the right to read it is named after."""


def orders(*filters: Json, limit: int, by: Sequence[Json] = ()) -> Json:
    """A search for whole orders that fit all ``filters``."""
    asked: Json = {
        "page": 1,
        "limit": limit,
        "associations": ASSOCIATIONS,
        "includes": INCLUDES,
    }
    if filters:
        asked["filter"] = list(filters)
    if by:
        asked["sort"] = list(by)
    return asked


def orders_with(ids: Sequence[str]) -> Json:
    """A search for whole orders by their ids; ``total`` in the answer is the exact number."""
    return {**orders(limit=len(ids)), "ids": list(ids), "total-count-mode": "exact"}


def behind(number: int) -> Json:
    """Those after an order, by the number that the database gave it. A range over ids would not do:
    it compares text with bytes and skips orders without a word.
    """
    return {
        "type": "range",
        "field": "autoIncrement",
        "value": "",
        "parameters": {"gt": number},
    }


def changed_since(moment: datetime) -> Json:
    """Those in which anything changed at or after a moment."""
    return either(_since(field, moment) for field in CHANGED)


def created_since(moment: datetime) -> Json:
    """Those ordered at or after a moment, and older ones whose money is awaited."""
    return either(
        [
            _since("createdAt", moment),
            *(
                equals("transactions.stateMachineState.technicalName", state)
                for state in STILL_AWAITED
            ),
        ]
    )


def in_sales_channels(ids: Iterable[str]) -> Json:
    """Those of sales channels."""
    return either(equals("salesChannelId", each) for each in sorted(ids))


def equals(field: str, value: str) -> Json:
    """Those with exactly this; Shopware's idea of "exactly" knows no case and no accents."""
    return {"type": "equals", "field": field, "value": value}


def either(filters: Iterable[Json]) -> Json:
    """Those that fit one of several filters.

    The schema published with 6.6 wants a field and a value of every filter; shops look at neither
    of them here.
    """
    return {"type": "multi", "operator": "or", "field": "", "value": "", "queries": list(filters)}


def stamp(moment: datetime) -> str:
    """A moment as Shopware must be given it: in UTC. Of "+01:00" it takes the hour and not the
    offset, and what it cannot read it leaves out, so that every order would fit.
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _since(field: str, moment: datetime) -> Json:
    return {
        "type": "range",
        "field": field,
        "value": "",
        "parameters": {"gte": stamp(moment)},
    }
