"""A stored order as wire.Order again: what the shop told, with what was edited here (S65).

A file of its own because everything that writes to customers reads an order through it.
"""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

from marshmallow import EXCLUDE

from plugin_sdk import types as wire
from plugin_sdk.schemas import OrderSchema
from server.db import db
from server.merchants.models import Merchant
from server.orders.models import Order

_SCHEMA = OrderSchema(unknown=EXCLUDE)


def told_order(row: Order) -> wire.Order:
    """Total, e-mail and customer as they stand here, everything else as the shop told it."""
    told: wire.Order = _SCHEMA.load(row.wire)
    customer = replace(told.customer, email=row.customer_email)
    return replace(told, total=row.total, customer=customer)


def zone_of(merchant_id: int) -> ZoneInfo:
    """Where the merchant's days begin and end."""
    return ZoneInfo(db.session.get_one(Merchant, merchant_id).timezone)
