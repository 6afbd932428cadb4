"""Builds the order JSON of Shopware: with all associations in it; the search leaves out what was
not asked for. Pure, but for the ids.

Amounts are numbers (a whole one without a point, as PHP writes it), times are UTC with
milliseconds, and what is new was never updated.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from plugin_sdk.testing.shopware_states import NAMES

Json = dict[str, Any]

LIVE = "0fa91ce3e96a4bc2be4bd9ce752c3425"
GERMAN = "2fbb5fe2e29a4d70aa5854ce7ce3e20b"
EURO = "b7d2554b0ce847cd82f3ac9bd1c0dfca"
CENT = Decimal("0.01")
TAX_PERCENT = 19


@dataclass(frozen=True, slots=True)
class Method:
    """A payment method: its technical name, what customers read, and its handler's name."""

    technical_name: str
    name: str
    handler: str
    active: bool = True


METHODS = (
    Method("payment_prepayment", "Vorkasse", "handler_shopware_prepayment"),
    Method("payment_invoicepayment", "Rechnung", "handler_shopware_invoicepayment"),
    Method("payment_cashpayment", "Nachnahme", "handler_shopware_cashpayment"),
    Method("payment_debitpayment", "Lastschrift", "handler_shopware_debitpayment", active=False),
)
CURRENCIES = {"EUR": ("Euro", 1), "CHF": ("Schweizer Franken", 1.1), "USD": ("US-Dollar", 1.17)}
COUNTRIES = {"DE": "Deutschland", "AT": "Österreich", "CH": "Schweiz", "FR": "Frankreich"}
LOCALES = {"de-DE": "Deutsch", "en-GB": "English"}
DOCUMENT_TYPES = {
    "invoice": "Rechnung",
    "storno": "Stornorechnung",
    "credit_note": "Gutschrift",
    "delivery_note": "Lieferschein",
}


def new_id() -> str:
    """32 hexadecimal digits."""
    return secrets.token_hex(16)


def stamp(moment: datetime) -> str:
    """A time as Shopware prints it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def number(amount: Decimal) -> int | float:
    """An amount as PHP prints it: 19.0 is 19."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def row(entity: str, moment: datetime, **fields: Any) -> Json:
    """A row of any entity, never updated."""
    return {
        "id": new_id(),
        "createdAt": stamp(moment),
        "updatedAt": None,
        "customFields": None,
        "extensions": {},
        "apiAlias": entity,
        **fields,
    }


def price(total: Decimal, tax_status: str = "gross") -> Json:
    """A calculated price; ``total`` is what the customer pays."""
    amount = number(total)
    if tax_status == "tax-free":
        taxes = []
    else:
        net = (total / (1 + Decimal(TAX_PERCENT) / 100)).quantize(CENT, ROUND_HALF_UP)
        taxes = [{"tax": number(total - net), "taxRate": TAX_PERCENT, "price": amount}]
    return {
        "unitPrice": amount,
        "quantity": 1,
        "totalPrice": amount,
        "calculatedTaxes": taxes,
        "taxRules": [{"taxRate": TAX_PERCENT, "percentage": 100}],
        "apiAlias": "calculated_price",
    }


def address(given: Mapping[str, Any], countries: Mapping[str, Json], moment: datetime) -> Json:
    """An order_address from its own fields; ``country`` is its ISO code."""
    code = str(given.get("country") or "DE")
    return row(
        "order_address",
        moment,
        versionId=LIVE,
        firstName=str(given.get("firstName") or ""),
        lastName=str(given.get("lastName") or ""),
        company=given.get("company"),
        department=given.get("department"),
        street=str(given.get("street") or ""),
        additionalAddressLine1=given.get("additionalAddressLine1"),
        additionalAddressLine2=None,
        zipcode=str(given.get("zipcode") or ""),
        city=str(given.get("city") or ""),
        phoneNumber=given.get("phoneNumber"),
        vatId=None,
        countryId=countries[code]["id"],
        country=countries[code],
    )


def payment(order: Mapping[str, Any], method: Json, state: Json, moment: datetime) -> Json:
    """An order_transaction over the whole sum of an order."""
    return row(
        "order_transaction",
        moment,
        versionId=LIVE,
        orderId=order["id"],
        orderVersionId=LIVE,
        paymentMethodId=method["id"],
        paymentMethod=method,
        amount=price(Decimal(str(order["amountTotal"])), str(order["taxStatus"])),
        stateId=state["id"],
        stateMachineState=state,
    )


def line_items(wanted: Iterable[Mapping[str, Any]], moment: datetime) -> list[Json]:
    """order_line_item rows from ``label``, ``quantity``, ``price`` (of one piece), ``number``."""
    found = []
    for position, line in enumerate(wanted, 1):
        quantity = int(line.get("quantity", 1))
        total = Decimal(str(line.get("price", "0"))) * quantity
        found.append(
            row(
                "order_line_item",
                moment,
                versionId=LIVE,
                label=str(line.get("label", "")),
                type=str(line.get("type", "product")),
                quantity=quantity,
                position=position,
                parentId=line.get("parentId"),
                good=line.get("type", "product") == "product",
                unitPrice=number(total / quantity),
                totalPrice=number(total),
                payload={"productNumber": line.get("number")},
            )
        )
    return found


def delivery(
    where: Json, method: Json, state: Json, codes: Iterable[str], moment: datetime
) -> Json:
    """An order_delivery to an address, by a shipping_method."""
    return row(
        "order_delivery",
        moment,
        versionId=LIVE,
        trackingCodes=list(codes),
        shippingCosts=price(Decimal(0)),
        shippingOrderAddressId=where["id"],
        shippingOrderAddress=where,
        shippingMethod=method,
        stateId=state["id"],
        stateMachineState=state,
    )


def document(kind: Json, name: str, day: datetime, *, own_column: bool) -> Json:
    """A document; its version of the order is a draft made for it. Before 6.5.8 the number had no
    column of its own.
    """
    config = {
        "name": kind["technicalName"],
        "documentNumber": name,
        "documentDate": f"{day:%Y-%m-%d}T00:00:00.000Z",
        "custom": {"invoiceNumber": name},
    }
    found = row(
        "document",
        day,
        orderVersionId=new_id(),
        documentTypeId=kind["id"],
        documentType=kind,
        deepLinkCode=secrets.token_urlsafe(24),
        referencedDocumentId=None,
        config=config,
        fileType="pdf",
        sent=False,
        static=False,
    )
    if own_column:
        found["documentNumber"] = name
    return found


def state_row(machine: Json, name: str, moment: datetime) -> Json:
    """A state_machine_state, named in the shop's language."""
    german = NAMES.get(name, name)
    return row(
        "state_machine_state",
        moment,
        technicalName=name,
        name=german,
        translated={"name": german, "customFields": []},
        stateMachineId=machine["id"],
        stateMachine=machine,
    )


def method_row(method: Method, moment: datetime, *, named: bool) -> Json:
    """A payment_method; before 6.5.7 (not ``named``) without a technical name."""
    found = row(
        "payment_method",
        moment,
        name=method.name,
        distinguishableName=method.name,
        translated={"name": method.name, "distinguishableName": method.name, "customFields": []},
        active=method.active,
        formattedHandlerIdentifier=method.handler,
    )
    if named:
        found["technicalName"] = method.technical_name
    return found
