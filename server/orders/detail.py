"""An order as the API tells it, and as a callback tells that its payment status has changed.

A file of its own because both must say the same, and stand on different floors.
"""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from typing import Any

from plugin_sdk.schemas import amount_text
from server.db import db
from server.orders.models import Order
from server.shops.models import Shop


def detail_of(row: Order, paid: Decimal, refunded: Decimal) -> dict[str, Any]:
    """What the API says of an order; amounts and times are no texts yet.

    ``paid`` is all that came, ``refunded`` what of it was paid back.
    """
    return {
        "external_id": row.external_id,
        "number": row.number,
        "ordered_at": row.ordered_at,
        "currency": row.currency,
        "total": row.total,
        "paid_total": paid,
        "refunded_total": refunded,
        "payment_status": row.payment_status,
        "payment_code": row.payment_code,
        "payment_reference": row.payment_reference,
        "shop_status": row.shop_status,
        "changed_at": row.changed_at,
    }


def told_change(row: Order, paid: Decimal, refunded: Decimal, before: str) -> dict[str, Any]:
    """The same as JSON, with the status it had ``before`` and the shop it belongs to."""
    shop = db.session.get_one(Shop, row.shop_id)
    return {
        **detail_of(row, paid, refunded),
        "ordered_at": row.ordered_at.astimezone(UTC).isoformat(),
        "changed_at": row.changed_at.astimezone(UTC).isoformat(),
        "total": amount_text(row.total),
        "paid_total": amount_text(paid),
        "refunded_total": amount_text(refunded),
        "previous_payment_status": before,
        "shop": {"id": shop.id, "name": shop.name, "system": shop.system},
    }
