"""What a matching story is told with: the matcher runs, people act, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from plugin_sdk.schemas import OrderSchema
from server.banking.models import Posting
from server.db import db
from server.mail.models import Mail
from server.matching.models import MatchDecision
from server.matching.service import look_again, match_postings
from server.merchants.models import Merchant
from server.merchants.service import change_setting
from server.orders.intake import Arrival, receive_orders
from server.orders.ledger import Ledger
from server.orders.models import Assignment, Order, Suggestion
from server.orders.receiver import receiver_of
from server.orders.service import assign, undo
from server.shops.models import PaymentUpdate, Shop
from tests.factories import AT as ARRIVED

ANNA = "anna@example.org"
AT = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)  # the factories' postings are booked by then
MOST_ROUNDS = 20

BOB = {"counterparty_name": "Bob Fremd", "counterparty_iban": "DE02100500000054540402"}
"""Somebody of whom no order knows."""


def match_all(merchant: Merchant, at: datetime = AT) -> None:
    """The matcher works until nothing waits."""
    rounds = 0
    while match_postings(merchant.id, at):
        db.session.commit()
        rounds += 1
        assert rounds < MOST_ROUNDS, "it comes to an end"
    db.session.commit()


def look_at_all_again(merchant: Merchant) -> int:
    count = look_again(merchant.id, AT)
    db.session.commit()
    match_all(merchant)
    return count


def push(shop: Shop, raw: dict[str, Any]) -> None:
    """The shop sends an order (again)."""
    receive_orders(receiver_of(shop.id), [Arrival(OrderSchema().load(raw), raw)], ARRIVED)
    db.session.commit()


def settle_on(merchant: Merchant, **wishes: str) -> None:
    """The merchant changes settings."""
    for name, typed in wishes.items():
        change_setting(merchant.id, name, typed, actor=ANNA, at=ARRIVED)
    db.session.commit()


def assign_by_hand(posting: Posting, *parts: tuple[Order, str]) -> list[Assignment]:
    named = [(order.id, Decimal(amount)) for order, amount in parts]
    rows = assign(posting.merchant_id, posting.id, named, actor=ANNA, at=AT)
    db.session.commit()
    return rows


def take_back(row: Assignment) -> None:
    undo(row.merchant_id, row.id, actor=ANNA, at=AT)
    db.session.commit()


def booked(posting: Posting) -> dict[str, str]:
    """Order number to what stands of the posting on it."""
    numbers = _numbers()
    rows = Ledger([], [posting.id]).standing_of(posting.id)
    return {numbers[row.order_id]: f"{row.amount:.2f}" for row in rows}


def _numbers() -> dict[int, str]:
    return {row[0]: row[1] for row in db.session.execute(select(Order.id, Order.number))}


def because_of(order: Order) -> list[tuple[str, str | None]]:
    """(amount, because) of the differences that stand on the order."""
    rows = Ledger([order.id]).standing(order.id)
    return [(f"{row.amount:.2f}", row.because) for row in rows if row.origin == "difference"]


def only_assignment(order: Order) -> Assignment:
    return db.session.query(Assignment).filter_by(order_id=order.id).one()


def offers(posting: Posting) -> list[list[str]]:
    """The order numbers of each suggestion, best first."""
    numbers = _numbers()
    rows = db.session.query(Suggestion).filter_by(posting_id=posting.id).order_by(Suggestion.rank)
    return [[numbers[share["order_id"]] for share in row.orders] for row in rows]


def best_offer(posting: Posting) -> Suggestion:
    return db.session.query(Suggestion).filter_by(posting_id=posting.id, rank=0).one()


def decisions(posting: Posting) -> list[MatchDecision]:
    """All that was decided about a posting, oldest first."""
    query = select(MatchDecision).where(MatchDecision.posting_id == posting.id)
    return list(db.session.scalars(query.order_by(MatchDecision.id)))


def vetoes(posting: Posting) -> list[str]:
    return list(decisions(posting)[-1].vetoes)


def status(order: Order) -> str:
    db.session.refresh(order)
    return order.payment_status


def queued(order: Order) -> list[str]:
    """The kinds of mails of the order that will be sent."""
    query = select(Mail.kind).where(Mail.order_id == order.id, Mail.status == "queued")
    return list(db.session.scalars(query.order_by(Mail.id)))


def updates(order: Order) -> list[tuple[str, str]]:
    """(intent, row status) of every update of the order, oldest first."""
    query = select(PaymentUpdate.intent, PaymentUpdate.status).where(
        PaymentUpdate.order_id == order.id
    )
    rows = db.session.execute(query.order_by(PaymentUpdate.id))
    return [(row.intent, row.status) for row in rows]


def person(first_name: str, last_name: str, **over: Any) -> dict[str, Any]:
    """The customer of an order: who he is, and where it goes."""
    email = f"{first_name}.{last_name}@example.org".lower()
    return {
        "customer": {"email": email, "language": "de"} | over,
        "billing_address": {"first_name": first_name, "last_name": last_name, "country": "DE"},
    }
