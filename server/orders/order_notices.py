"""What those of the merchant's people hear of single orders who chose to (K40, K42).

A file of its own because nobody hears of these unless he asked for it: whoever calls knows by one
query for a whole batch that there is nothing to do. Never commits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import select

from plugin_sdk import types as wire
from server.banking.models import Posting
from server.db import db
from server.mail.languages import day, money
from server.mail.service import insert_mails
from server.merchants.models import User
from server.merchants.notices import wanting
from server.orders.ledger import Ledger
from server.orders.merchant_notices import facts_of_order, local_day, tell_people
from server.orders.models import Order
from server.shops.models import Shop

ZERO: Final = Decimal(0)
RECEIVED: Final = "order_received"


def tell_of_new_orders(
    merchant_id: int, shop_id: int, external_ids: Collection[str], at: datetime
) -> None:
    """Once an order: it came in and is managed from now on. One query if nobody wants to hear."""
    people = wanting(merchant_id, [RECEIVED]).get(RECEIVED) if external_ids else None
    if not people:
        return
    shop = db.session.get_one(Shop, shop_id)
    outbox: list[dict[str, Any]] = []
    query = select(Order).where(Order.shop_id == shop_id, Order.external_id.in_(external_ids))
    for order in db.session.scalars(query.order_by(Order.id)):
        _tell_of_new_order(order, shop, people, at, outbox)
    insert_mails(outbox)


def _tell_of_new_order(
    order: Order, shop: Shop, people: Sequence[User], at: datetime, outbox: list[dict[str, Any]]
) -> None:
    def facts(language: str) -> dict[str, Any]:
        return {
            **facts_of_order(order, shop),
            "amount": money(order.total, order.currency, language),
            "payment_method": order.payment_method or "",
        }

    tell_people(
        RECEIVED,
        order.merchant_id,
        f"order:{order.id}:{RECEIVED}",
        facts,
        shop_id=shop.id,
        order_id=order.id,
        at=at,
        people=people,
        outbox=outbox,
    )


def tell_of_payment(
    order: Order,
    posting: Posting,
    ledger: Ledger,
    at: datetime,
    *,
    left_over: Decimal,
    outbox: list[dict[str, Any]] | None,
) -> None:
    """Once an order and posting: it is paid now, in part or too much.

    To be called when the order is settled. ``left_over`` is what the posting has too much beside
    what is booked on the order. Undone before it is sent, it is withheld like every notice of an
    order and a posting.
    """
    surplus = ledger.surplus(order) + left_over
    kind = _kind_of(order, ledger, surplus)
    people = ledger.listeners(order.merchant_id).get(kind)
    if not people:
        return
    shop = db.session.get_one(Shop, order.shop_id)
    came = sum(
        (row.amount for row in ledger.standing(order.id) if row.posting_id is not None), ZERO
    )
    booked_on = posting.booking_date or local_day(order.merchant_id, at)

    def facts(language: str) -> dict[str, Any]:
        more = {
            "order_partially_paid": {"amount_open": ledger.rest(order)},
            "order_overpaid": {"surplus": surplus},
        }
        return {
            **facts_of_order(order, shop),
            "amount": money(came + left_over, order.currency, language),
            "booked_on": day(booked_on, language),
            **{
                name: money(amount, order.currency, language)
                for name, amount in more.get(kind, {}).items()
            },
        }

    tell_people(
        kind,
        order.merchant_id,
        f"order:{order.id}:posting:{posting.id}:{kind}",
        facts,
        shop_id=order.shop_id,
        order_id=order.id,
        at=at,
        people=people,
        outbox=outbox,
    )


def _kind_of(order: Order, ledger: Ledger, surplus: Decimal) -> str:
    """The notice that fits where the money left the order; nothing for anything else."""
    if order.payment_status == wire.PaymentStatus.PARTIALLY_PAID.value:
        return "order_partially_paid"
    if order.payment_status != wire.PaymentStatus.PAID.value:
        return ""
    is_too_much = surplus > ledger.settings(order).tolerance
    return "order_overpaid" if is_too_much else "order_paid"
