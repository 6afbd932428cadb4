"""What a story of an order's life is told with: the shop pushes, people act, mails wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from plugin_sdk.schemas import OrderSchema
from server.db import db, now
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.merchants.service import change_setting
from server.orders.intake import Arrival, receive_orders
from server.orders.models import Order, OrderEvent
from server.orders.receiver import receiver_of
from server.orders.service import assign
from server.shops.models import PaymentUpdate, Shop
from tests.factories import AT, make_posting, wire_order

ANNA = "anna@example.org"
LATER = AT + timedelta(hours=3)
PAID_AT = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)


def push(shop: Shop, raw: dict[str, Any], at: datetime = AT) -> str:
    """The shop sends an order (again); the outcome."""
    outcomes = receive_orders(receiver_of(shop.id), [Arrival(OrderSchema().load(raw), raw)], at)
    db.session.commit()
    return outcomes[0]


def order_of(shop: Shop, raw: dict[str, Any]) -> Order | None:
    db.session.expire_all()
    found = db.session.query(Order).filter_by(shop_id=shop.id, external_id=raw["external_id"])
    return found.one_or_none()


def pushed(shop: Shop, at: datetime = AT, **over: Any) -> tuple[dict[str, Any], Order]:
    """An order that came in: its JSON and the row."""
    raw = wire_order(**over)
    push(shop, raw, at)
    row = order_of(shop, raw)
    assert row is not None
    return raw, row


def wishes(merchant: Merchant, shop: Shop | None = None, **values: str) -> None:
    """The merchant changes settings; ``__`` stands for the dot."""
    for name, typed in values.items():
        change_setting(
            merchant.id,
            name.replace("__", "."),
            typed,
            actor=ANNA,
            at=AT,
            shop_id=shop.id if shop else None,
        )
    db.session.commit()


def mails(order: Order, kind: str | None = None) -> list[Mail]:
    """All mails of an order, oldest first."""
    query = db.session.query(Mail).filter_by(order_id=order.id).order_by(Mail.id)
    return [mail for mail in query if kind in (None, mail.kind)]


def asked(order: Order) -> list[tuple[str, str]]:
    """(recipient, status) of every payment information."""
    return [(mail.recipient, mail.status) for mail in mails(order, "payment_information")]


def send_all(order: Order) -> None:
    """Every mail that waits goes out."""
    for mail in mails(order):
        if mail.status == "queued":
            mail.attempts = 1
            mail.succeed(now())
    db.session.commit()


def pay(merchant: Merchant, order: Order, amount: str | None = None) -> None:
    """Money comes, and a person assigns it."""
    posting = make_posting(merchant, amount or str(order.total), order.payment_reference)
    part = min(Decimal(posting.amount), Decimal(posting.amount))
    assign(merchant.id, posting.id, [(order.id, part)], actor=ANNA, at=PAID_AT)
    db.session.commit()


def updates(order: Order) -> list[tuple[str, str]]:
    query = db.session.query(PaymentUpdate).filter_by(order_id=order.id).order_by(PaymentUpdate.id)
    return [(row.intent, row.status) for row in query]


def events(order: Order) -> list[str]:
    query = db.session.query(OrderEvent).filter_by(order_id=order.id).order_by(OrderEvent.id)
    return [row.kind for row in query]
