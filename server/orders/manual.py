"""Orders that a person enters: no shop knows them, so none is read and none is told (K64).

A file of its own because it is the third way an order comes in, beside pushes and requests.
Never commits.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from marshmallow import ValidationError
from sqlalchemy import select

from plugin_sdk import types as wire
from plugin_sdk.schemas import OrderSchema, amount_text
from server.db import db
from server.merchants.service import lock_merchant
from server.orders.intake import Arrival, store_by_hand
from server.orders.ledger import NotPossible, note
from server.orders.lifecycle import EARLIEST_DATE, LARGEST_TOTAL, LATEST_IN, check_email
from server.orders.models import Order
from server.orders.told import zone_of
from server.shops.service import shop_of

ID_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class ManualOrder:
    """What a person typed. Texts may be empty; ``invoice_date`` counts with a number only."""

    number: str
    ordered_on: date
    code: wire.PaymentCode
    total: Decimal
    currency: str
    email: str = ""
    language: str = ""
    invoice_number: str = ""
    invoice_date: date | None = None
    address: dict[str, str] = field(default_factory=dict)
    """first_name, last_name, company, street, postcode, city, country."""


def create_manual_order(
    merchant_id: int, shop_id: int, typed: ManualOrder, *, actor: str, at: datetime
) -> Order:
    """Managed from the start, in the name of one of the merchant's shops. Raises NotPossible."""
    shop = shop_of(merchant_id, shop_id)
    if shop is None or shop.status == "deregistered":
        raise NotPossible("shop_unknown")
    if not typed.number.strip():
        raise NotPossible("manual_number_missing")
    if not 0 < typed.total <= LARGEST_TOTAL or typed.total != typed.total.quantize(Decimal("0.01")):
        raise NotPossible("edit_amount_out_of_range")
    if not EARLIEST_DATE <= typed.ordered_on <= at.date() + LATEST_IN:
        raise NotPossible("date_out_of_range")
    if typed.email:
        check_email(typed.email)
    lock_merchant(merchant_id)
    taken = select(Order.id).where(Order.shop_id == shop_id, Order.number == typed.number.strip())
    if db.session.scalar(taken.limit(1)) is not None:
        raise NotPossible("manual_number_taken", number=typed.number.strip())
    raw = _wire(typed, merchant_id)
    try:
        told = OrderSchema().load(raw)
    except ValidationError as problem:
        raise NotPossible("manual_unreadable", fields=", ".join(problem.messages_dict)) from None
    order = store_by_hand(shop, Arrival(told, raw), at)
    order.sync = "manual"
    note(order, "manual_created", actor, at)
    return order


def _wire(typed: ManualOrder, merchant_id: int) -> dict[str, Any]:
    """As a shop would tell it; noon of the day, where the merchant lives."""
    noon = datetime.combine(typed.ordered_on, time(12), zone_of(merchant_id)).astimezone(UTC)
    raw: dict[str, Any] = {
        "external_id": f"manual:{secrets.token_hex(ID_BYTES)}",
        "number": typed.number.strip(),
        "ordered_at": noon.isoformat(),
        "currency": typed.currency.strip().upper(),
        "total": amount_text(typed.total),
        "payment_code": typed.code.value,
        "customer": {"email": typed.email or None, "language": typed.language or None},
    }
    address = {name: text.strip() for name, text in typed.address.items() if text.strip()}
    if address:
        raw["billing_address"] = address
    if typed.invoice_number.strip():
        day = typed.invoice_date.isoformat() if typed.invoice_date else None
        raw["invoices"] = [{"number": typed.invoice_number.strip(), "date": day}]
    return raw
