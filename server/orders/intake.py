"""Orders that arrive from shops: stored once, decided by mapping and cut-off, in bulk.

A file of its own because it is the hot path: a fixed number of statements however many orders
come at once. Never commits.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from plugin_sdk import types as wire
from plugin_sdk.schemas import amount_text
from server.banking.models import BankAccount
from server.banking.service import payee_account
from server.db import db
from server.mail.models import Mail
from server.merchants.service import lock_merchant
from server.orders.models import Invoice, Order, OrderEvent, OrderKey
from server.orders.notices import (
    ASKS_FOR_MONEY,
    queue_payment_information,
    recipient_name,
)
from server.orders.rules import make_payment_reference, order_keys, payment_status
from server.orders.service import request_match, settle, withhold_mails
from server.shops.models import Shop
from server.shops.rules import is_open_status, payment_code
from server.shops.service import connect, mapping_of

REFERENCE_TRIES = 5
MAX_GONE = 1000
LOST_IF_CLOSED = frozenset({"unpaid", "partially_paid", "cancelled"})
"""What becomes "removed externally" when the shop no longer waits for the money."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An order as loaded, beside the JSON it came in (stored as it is) and its digest."""

    order: wire.Order
    raw: Mapping[str, Any]

    @property
    def digest(self) -> bytes:
        text = json.dumps(self.raw, sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an arrival will be here."""

    arrival: Arrival
    code: wire.PaymentCode
    is_open: bool
    is_managed: bool

    @property
    def external_id(self) -> str:
        return self.arrival.order.external_id

    @property
    def outcome(self) -> str:
        if self.is_managed:
            return "created"
        return "not_managed" if self.is_open else "ignored"


def receive_orders(shop: Shop, arrivals: Sequence[Arrival], at: datetime) -> list[str]:
    """Store what the shop sent; sending it twice is harmless. One outcome per arrival:

    `created` managed from now on · `updated` · `unchanged` · `not_managed` kept, but nothing is
    sent (older than the cut-off, or no payment code of ours) · `ignored` no longer open, so it
    does not come in (S28 to S30).
    """
    connect(shop, at)
    shop.last_order_at = shop.seen_at = at
    latest = {arrival.order.external_id: arrival for arrival in arrivals}
    known = _known(shop, list(latest))
    mapping = mapping_of(shop)
    plans = {
        external_id: _plan(shop, mapping, arrival)
        for external_id, arrival in latest.items()
        if external_id not in known
    }
    wanted = [plan for plan in plans.values() if plan.outcome != "ignored"]
    created = _insert(shop, wanted, at) if wanted else {}
    outcomes = {external_id: plan.outcome for external_id, plan in plans.items()}
    raced = [
        p.arrival.order.external_id for p in wanted if p.arrival.order.external_id not in created
    ]
    if raced:  # somebody else stored it between our look and our insert
        known |= _known(shop, raced)
    for external_id in known:
        outcomes[external_id] = _compare(shop, known[external_id], latest[external_id], at)
    if any(outcome in {"created", "updated", "not_managed"} for outcome in outcomes.values()):
        request_match(shop.merchant_id, at)
    return [outcomes[arrival.order.external_id] for arrival in arrivals]


def _known(shop: Shop, external_ids: list[str]) -> dict[str, tuple[int, bytes]]:
    query = select(Order.external_id, Order.id, Order.content_hash).where(
        Order.shop_id == shop.id, Order.external_id.in_(external_ids)
    )
    return {row[0]: (row[1], row[2]) for row in db.session.execute(query)}


def _plan(shop: Shop, mapping: Mapping[str, Any], arrival: Arrival) -> _Plan:
    order = arrival.order
    code = payment_code(
        {} if shop.mapping_pinned else mapping, order.payment_method, order.payment_code
    )
    is_open = is_open_status(mapping, code, order.shop_status)
    assert shop.connected_at is not None, "connect() came first"
    is_new = order.ordered_at >= shop.connected_at
    is_managed = is_open and is_new and code is not wire.PaymentCode.OTHER
    return _Plan(arrival, code, is_open, is_managed)


# --- new orders --------------------------------------------------------------------------------


def _insert(shop: Shop, plans: Sequence[_Plan], at: datetime) -> dict[str, int]:
    """External id to our id, of those orders that were not there yet."""
    ids: dict[str, tuple[int, str]] = {}
    left = list(plans)
    for _ in range(REFERENCE_TRIES):
        written = db.session.execute(
            insert(Order)
            .on_conflict_do_nothing()
            .returning(Order.external_id, Order.id, Order.payment_reference),
            [_row(shop, plan, at) for plan in left],
        )
        ids |= {row[0]: (row[1], row[2]) for row in written}
        left = [plan for plan in left if plan.external_id not in ids]
        taken = _known(shop, [plan.external_id for plan in left]) if left else {}
        left = [plan for plan in left if plan.external_id not in taken]
        if not left:
            break  # what is missing now exists; nothing failed for its reference alone
    _insert_keys(shop, plans, ids)
    _insert_invoices(shop, plans, ids)
    account = payee_account(shop.merchant_id)
    for plan in plans:
        found = ids.get(plan.external_id)
        if found is not None and account is not None:
            _ask_for_money(shop, plan, found, account)
    return {external_id: found[0] for external_id, found in ids.items()}


def _row(shop: Shop, plan: _Plan, at: datetime) -> dict[str, Any]:
    order = plan.arrival.order
    status = payment_status(order.total, order.total * 0, managed=plan.is_managed)
    return {
        "merchant_id": shop.merchant_id,
        "shop_id": shop.id,
        "external_id": order.external_id,
        **_content(plan.arrival),
        "payment_code": plan.code.value,
        "payment_reference": make_payment_reference(secrets.SystemRandom()),
        "payment_status": status.value,
        "is_managed": plan.is_managed,
        "needs_match": True,
        "created_at": at,
        "changed_at": at,
    }


def _content(arrival: Arrival) -> dict[str, Any]:
    order = arrival.order
    return {
        "number": order.number,
        "ordered_at": order.ordered_at,
        "currency": order.currency,
        "total": order.total,
        "payment_method": order.payment_method,
        "shop_status": order.shop_status,
        "customer_name": recipient_name(order)[:500],
        "customer_email": order.customer.email,
        "language": (order.customer.language or "")[:8],
        "search": search_text(order),
        "wire": dict(arrival.raw),
        "content_hash": arrival.digest,
    }


def search_text(order: wire.Order) -> str:
    """What the list's text filter looks through (K63): numbers, names, e-mail; lower case."""
    addresses = [a for a in (order.billing_address, order.shipping_address) if a is not None]
    parts = [
        order.number,
        order.external_id,
        *(invoice.number for invoice in order.invoices),
        *(part for a in addresses for part in (a.first_name, a.last_name, a.company)),
        order.customer.email,
        order.customer.number,
    ]
    return " ".join(dict.fromkeys(part for part in parts if part)).lower()


def _keys(shop: Shop, order: wire.Order, order_id: int, reference: str) -> list[dict[str, Any]]:
    return [
        {"merchant_id": shop.merchant_id, "order_id": order_id, "key": key, "kind": kind}
        for key, kind in order_keys(
            order.number,
            invoice_numbers=[invoice.number for invoice in order.invoices],
            payment_reference=reference,
            references=order.references,
        )
    ]


def _insert_keys(shop: Shop, plans: Sequence[_Plan], ids: Mapping[str, tuple[int, str]]) -> None:
    rows = [
        row
        for plan in plans
        if (found := ids.get(plan.external_id)) is not None
        for row in _keys(shop, plan.arrival.order, *found)
    ]
    if rows:
        db.session.execute(insert(OrderKey).on_conflict_do_nothing(), rows)


def _insert_invoices(
    shop: Shop, plans: Sequence[_Plan], ids: Mapping[str, tuple[int, str]]
) -> None:
    rows = [
        {
            "merchant_id": shop.merchant_id,
            "order_id": found[0],
            "number": invoice.number,
            "date": invoice.date,
        }
        for plan in plans
        if (found := ids.get(plan.external_id)) is not None
        for invoice in plan.arrival.order.invoices
    ]
    if rows:
        db.session.execute(insert(Invoice).on_conflict_do_nothing(), rows)


def _ask_for_money(shop: Shop, plan: _Plan, found: tuple[int, str], account: BankAccount) -> None:
    order = plan.arrival.order
    if plan.is_managed and plan.code in ASKS_FOR_MONEY and order.total > 0:
        queue_payment_information(shop, order, plan.code, *found, account)


def ask_for_money_of_waiting(merchant_id: int) -> int:
    """The first bank account was entered: write to whoever is waiting for it. Returns how many."""
    from plugin_sdk.schemas import OrderSchema

    account = payee_account(merchant_id)
    assert account is not None, "called after the account was saved"
    asked = select(Mail.order_id).where(
        Mail.merchant_id == merchant_id,
        Mail.kind == "payment_information",
        Mail.order_id.is_not(None),
    )
    waiting = select(Order).where(
        Order.merchant_id == merchant_id,
        Order.payment_status == wire.PaymentStatus.UNPAID.value,
        Order.payment_code.in_([code.value for code in ASKS_FOR_MONEY]),
        Order.id.not_in(asked),
    )
    schema = OrderSchema()
    count = 0
    for row in db.session.scalars(waiting):
        order: wire.Order = schema.load(row.wire)
        shop = db.session.get_one(Shop, row.shop_id)
        code = wire.PaymentCode(row.payment_code)
        count += queue_payment_information(
            shop, order, code, row.id, row.payment_reference, account
        )
    return count


# --- known orders ------------------------------------------------------------------------------


def _compare(shop: Shop, known: tuple[int, bytes], arrival: Arrival, at: datetime) -> str:
    """Take over what the shop changed (S35, S38); whatever we know about payments stays."""
    order_id, digest = known
    if digest == arrival.digest:
        return "unchanged"
    lock_merchant(shop.merchant_id)
    row = db.session.get_one(Order, order_id, with_for_update=True)
    before = row.total
    for name, value in _content(arrival).items():
        setattr(row, name, value)
    row.changed_at, row.needs_match = at, True
    row.gone_evidence = None
    mapping = mapping_of(shop)
    order = arrival.order
    code = payment_code(
        {} if shop.mapping_pinned else mapping, order.payment_method, order.payment_code
    )
    row.payment_code = code.value
    _follow_status(row, is_open_status(mapping, code, order.shop_status), at)
    _rewrite_keys(shop, row, order)
    if before != row.total:
        _note(row, "total_changed", at, before=amount_text(before), after=amount_text(row.total))
    settle(row, at)
    return "updated"


def _follow_status(row: Order, is_open: bool, at: datetime) -> None:
    """Not open in the shop any more and not paid here: removed externally (S38, S39)."""
    if is_open and row.removed_at is not None:
        row.removed_at = None
        _note(row, "open_again", at)
    elif not is_open and row.removed_at is None and row.payment_status in LOST_IF_CLOSED:
        row.removed_at = at
        _note(row, "removed", at, shop_status=row.shop_status or "")
        withhold_mails(row, "payment_information", "the order is no longer open in the shop")


def _rewrite_keys(shop: Shop, row: Order, order: wire.Order) -> None:
    wanted = {(k["key"], k["kind"]) for k in _keys(shop, order, row.id, row.payment_reference)}
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
    numbers = set(db.session.scalars(select(Invoice.number).where(Invoice.order_id == row.id)))
    for invoice in order.invoices:
        if invoice.number not in numbers:
            db.session.add(
                Invoice(
                    merchant_id=row.merchant_id,
                    order_id=row.id,
                    number=invoice.number,
                    date=invoice.date,
                )
            )


def orders_gone(
    shop: Shop, external_ids: Sequence[str], evidence: wire.Evidence, at: datetime
) -> int:
    """The shop was asked by id and does not have these (S41): removed, unless they are paid.

    One answer alone does not remove an order: the first is noted, a second one of the same kind
    confirms it. Returns how many are removed now.
    """
    lock_merchant(shop.merchant_id)
    query = select(Order).where(Order.shop_id == shop.id, Order.external_id.in_(external_ids))
    removed = 0
    for row in db.session.scalars(query.with_for_update()):
        if row.gone_evidence is None:
            row.gone_evidence = evidence.value
        elif row.removed_at is None and row.payment_status in LOST_IF_CLOSED:
            row.removed_at = at
            removed += 1
            _note(row, "removed", at, evidence=evidence.value)
            withhold_mails(row, "payment_information", "the order was deleted in the shop")
            settle(row, at)
    return removed


def _note(row: Order, kind: str, at: datetime, **facts: Any) -> None:
    db.session.add(
        OrderEvent(
            merchant_id=row.merchant_id, order_id=row.id, kind=kind, at=at, actor="", facts=facts
        )
    )
