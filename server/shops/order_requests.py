"""Orders that a person asks a shop for: "look at this one now" (S74, K64). Never commits.

A file of its own beside ``service.py``: these go the same way as payment updates, leased by the
shop's agent and answered, but they change nothing in the shop. What the answer means for the order
is decided by ``orders``; here is only the request.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select, update

from plugin_sdk import types as wire
from server.db import db
from server.shops.models import OrderRequest, Shop
from server.work import LEASE

REQUEST_LIFETIME = timedelta(hours=24)
MAX_WAITING = 20
MAX_NAME = 64
EXPIRED_AT_ONCE = 500
ID_PREFIX = "orderid:"
WAITING = ("queued", "running")
FAILING = frozenset({wire.RequestOutcome.NOT_SUPPORTED, wire.RequestOutcome.REJECTED})
"""Outcomes that answer nothing; with the others the shop has said its word."""

NO_ANSWER = "the shop did not answer"
NEVER_ANSWERED = "handed out, but never answered"


def named_order(text: str) -> dict[str, str]:
    """What somebody typed as ``ask_for_order`` takes it: a number, or the shop's own key as
    `orderid:1234`. Raises ValueError("order_number_invalid").
    """
    name, wanted = "number", text.strip()
    if wanted.lower().startswith(ID_PREFIX):
        name, wanted = "external_id", wanted[len(ID_PREFIX) :].strip()
    if not 1 <= len(wanted) <= MAX_NAME or not wanted.isprintable():
        raise ValueError("order_number_invalid")
    return {name: wanted}


def ask_for_order(
    shop: Shop,
    *,
    external_id: str | None = None,
    number: str | None = None,
    order_id: int | None = None,
    asked_by: str,
    at: datetime,
) -> OrderRequest:
    """Exactly one of ``external_id`` and ``number``; ``order_id`` where the order is known here.

    While one for the same order waits that one is returned. Two asked in the same moment may both
    be written: looking twice does no harm. Raises ValueError("too_many_order_requests"), and
    ValueError("shop_deregistered").
    """
    assert (external_id is None) != (number is None), "a request names an id or a number"
    if shop.status == "deregistered":
        raise ValueError("shop_deregistered")
    waiting = (OrderRequest.shop_id == shop.id, OrderRequest.status.in_(WAITING))
    same = (
        OrderRequest.number == number
        if external_id is None
        else OrderRequest.external_id == external_id
    )
    first = db.session.scalar(select(OrderRequest).where(*waiting, same).limit(1))
    if first is not None:
        return first
    count = db.session.scalar(select(func.count()).select_from(OrderRequest).where(*waiting))
    if (count or 0) >= MAX_WAITING:
        raise ValueError("too_many_order_requests")
    # Not by way of the session's new rows: those ring for a worker, and an agent fetches this one.
    made = insert(OrderRequest).values(
        merchant_id=shop.merchant_id,
        shop_id=shop.id,
        external_id=external_id,
        number=number,
        order_id=order_id,
        asked_by=asked_by,
        created_at=at,
        due_at=at,
    )
    return db.session.scalars(made.returning(OrderRequest)).one()


def lease_requests(shop: Shop, limit: int, at: datetime) -> list[OrderRequest]:
    """Hand out what is due, leased: not answered in time, it is handed out again."""
    lapsed = (
        select(OrderRequest.id)
        .where(OrderRequest.shop_id == shop.id, *_lapsed(at))
        .with_for_update(skip_locked=True)  # an answer that comes late has it in hand
    )
    db.session.execute(
        update(OrderRequest)
        .where(OrderRequest.id.in_(lapsed))
        .values(status="queued", due_at=at, error=NEVER_ANSWERED)
    )
    due = (
        select(OrderRequest)
        .where(OrderRequest.shop_id == shop.id, *_ready(at))
        .order_by(OrderRequest.due_at, OrderRequest.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    leased = list(db.session.scalars(due))
    for row in leased:
        row.status, row.claimed_at, row.attempts = "running", at, row.attempts + 1
    return leased


def shops_with_requests(shop_ids: set[int], at: datetime) -> set[int]:
    """Which of these shops have a request to fetch: one query for every waiting poll."""
    to_fetch = or_(and_(*_ready(at)), and_(*_lapsed(at)))
    due = select(OrderRequest.shop_id).where(OrderRequest.shop_id.in_(shop_ids), to_fetch)
    return set(db.session.scalars(due))


def _ready(at: datetime) -> tuple[ColumnElement[bool], ...]:
    row = OrderRequest
    return row.status == "queued", row.due_at <= at, row.created_at > at - REQUEST_LIFETIME


def _lapsed(at: datetime) -> tuple[ColumnElement[bool], ...]:
    row = OrderRequest
    forgotten = row.claimed_at < at - LEASE
    return row.status == "running", forgotten, row.created_at > at - REQUEST_LIFETIME


def request_to_answer(shop: Shop, request_id: int) -> OrderRequest | None:
    """Locked, so that an answer sent twice at once is taken in once. None: not this shop's."""
    return db.session.scalar(
        select(OrderRequest)
        .where(OrderRequest.shop_id == shop.id, OrderRequest.id == request_id)
        .with_for_update()
    )


def is_waiting(row: OrderRequest) -> bool:
    """Does it still want an answer? Of one that has ended a repeated answer changes nothing."""
    return row.status in WAITING


def is_the_one(row: OrderRequest, order: wire.Order) -> bool:
    """Is this the order that was asked for? A search of the shop's may have found another."""
    if row.external_id is not None:
        return order.external_id == row.external_id
    return order.number == row.number


def answer_request(row: OrderRequest, answer: wire.RequestAnswer, at: datetime) -> None:
    """What the shop said ends it; trouble puts it back on the schedule, for 24 h at most."""
    assert is_waiting(row), "an ended request wants no answer"
    row.outcome = answer.outcome.value
    if answer.outcome is wire.RequestOutcome.TEMPORARY:
        _postpone(row, answer.reason, at)
    elif answer.outcome in FAILING:
        row.give_up(answer.reason or answer.outcome.value, at)
    else:
        row.succeed(at)
        row.error = answer.reason


def _postpone(row: OrderRequest, reason: str | None, at: datetime) -> None:
    pause = row.schedule[min(max(row.attempts, 1), len(row.schedule)) - 1]
    if at + pause >= row.created_at + REQUEST_LIFETIME:
        row.give_up(NO_ANSWER, at)
        return
    row.status, row.error, row.due_at = "queued", reason, at + pause


def expire_requests(at: datetime) -> int:
    """End what is 24 h old: the agent is away, or the shop is. Returns how many."""
    old = (
        select(OrderRequest)
        .where(OrderRequest.status.in_(WAITING), OrderRequest.created_at <= at - REQUEST_LIFETIME)
        .order_by(OrderRequest.id)
        .limit(EXPIRED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    ended = list(db.session.scalars(old))
    for row in ended:
        row.give_up(NO_ANSWER, at)
    return len(ended)


def has_expired_requests(at: datetime) -> bool:
    """Is there a request past its 24 h? Asked by the clock. Also one whose agent fetched it and was
    never heard of again: nobody else would end it."""
    old = exists().where(
        OrderRequest.status.in_(WAITING), OrderRequest.created_at <= at - REQUEST_LIFETIME
    )
    return bool(db.session.scalar(select(old)))


def request_of(merchant_id: int, request_id: int) -> OrderRequest | None:
    return db.session.scalar(
        select(OrderRequest).where(
            OrderRequest.merchant_id == merchant_id, OrderRequest.id == request_id
        )
    )


def to_wire(row: OrderRequest) -> wire.OrderRequest:
    return wire.OrderRequest(str(row.id), external_id=row.external_id, number=row.number)
