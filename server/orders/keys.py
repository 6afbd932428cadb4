"""How an order is found: its keys and search text, from what the shop told and what was added.

A file of its own because the intake, a delivered invoice and a person (S65, S85) all write them.
Never commits.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from plugin_sdk import types as wire
from server.db import db
from server.orders.models import Invoice, Order, OrderKey
from server.orders.rules import order_keys
from server.orders.told import told_order


def keys_of(
    order: wire.Order,
    reference: str,
    additional_name: str | None = None,
    additional_number: str | None = None,
    delivered_invoices: Sequence[str] = (),
) -> tuple[tuple[str, str], ...]:
    """(key, kind) of an order; ``reference`` is our own payment reference."""
    addresses = [a for a in (order.billing_address, order.shipping_address) if a is not None]
    names = [name for a in addresses for name in (a.last_name, a.company) if name]
    return order_keys(
        order.number,
        invoice_numbers=[*(one.number for one in order.invoices), *delivered_invoices],
        payment_reference=reference,
        references=order.references,
        names=[*names, additional_name] if additional_name else names,
        people=[(a.first_name or "", a.last_name or "") for a in addresses],
        customer_number=order.customer.number,
        additional_number=additional_number,
    )


def rewrite_keys(row: Order, told: wire.Order | None = None) -> None:
    """Store keys and search text that the order has now. ``told`` is what the shop sent, if at
    hand."""
    told = told or told_order(row)
    delivered = db.session.scalars(
        select(Invoice.number)
        .where(Invoice.order_id == row.id, Invoice.received_at.is_not(None))
        .order_by(Invoice.id)
    ).all()
    added = (row.additional_name, row.additional_number)
    row.search = search_text(told, (*delivered, *added))
    wanted = set(keys_of(told, row.payment_reference, *added, delivered))
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


def search_text(order: wire.Order, added: Sequence[str | None] = ()) -> str:
    """What the list's text filter looks through (K63): numbers, names, e-mail; lower case."""
    addresses = [a for a in (order.billing_address, order.shipping_address) if a is not None]
    parts = [
        order.number,
        order.external_id,
        *(invoice.number for invoice in order.invoices),
        *(part for a in addresses for part in (a.first_name, a.last_name, a.company)),
        order.customer.email,
        order.customer.number,
        *added,
    ]
    return " ".join(dict.fromkeys(part for part in parts if part)).lower()
