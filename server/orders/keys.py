"""How an order is found: its keys, from what the shop told and what a person added (S85).

A file of its own because both the intake and a person's addition write them. Never commits.
"""

from __future__ import annotations

from marshmallow import EXCLUDE
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from plugin_sdk import types as wire
from plugin_sdk.schemas import OrderSchema
from server.db import db
from server.orders.models import Order, OrderKey
from server.orders.rules import order_keys


def keys_of(
    order: wire.Order,
    reference: str,
    additional_name: str | None = None,
    additional_number: str | None = None,
) -> tuple[tuple[str, str], ...]:
    """(key, kind) of an order; ``reference`` is our own payment reference."""
    addresses = [a for a in (order.billing_address, order.shipping_address) if a is not None]
    names = [name for a in addresses for name in (a.last_name, a.company) if name]
    return order_keys(
        order.number,
        invoice_numbers=[invoice.number for invoice in order.invoices],
        payment_reference=reference,
        references=order.references,
        names=[*names, additional_name] if additional_name else names,
        people=[(a.first_name or "", a.last_name or "") for a in addresses],
        customer_number=order.customer.number,
        additional_number=additional_number,
    )


def rewrite_keys(row: Order, told: wire.Order | None = None) -> None:
    """Store the keys that the order has now. ``told`` is what the shop sent, if at hand."""
    told = told or OrderSchema(unknown=EXCLUDE).load(row.wire)
    wanted = set(keys_of(told, row.payment_reference, row.additional_name, row.additional_number))
    query = select(OrderKey.key, OrderKey.kind).where(OrderKey.order_id == row.id)
    present = {(key, kind) for key, kind in db.session.execute(query)}
    for key, kind in present - wanted:
        db.session.execute(
            delete(OrderKey).where(
                OrderKey.order_id == row.id, OrderKey.key == key, OrderKey.kind == kind
            )
        )
    missing = [
        {"merchant_id": row.merchant_id, "order_id": row.id, "key": key, "kind": kind}
        for key, kind in wanted - present
    ]
    if missing:
        db.session.execute(insert(OrderKey).on_conflict_do_nothing(), missing)


def added_search(row: Order) -> str:
    """What a person added, as the list's text filter looks for it (K63)."""
    return " ".join(filter(None, (row.additional_name, row.additional_number))).lower()
