"""What an agent says over HTTP, said to the rooms: orders, what is gone, answers, signs of life.

A file of its own because it is the other end of ``plugin_sdk.sync.Server``. Each call is one
transaction, so that no connection to the database is held while the shop is talked to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from marshmallow import ValidationError
from sqlalchemy import select

from plugin_sdk import types as wire
from plugin_sdk.client import KnownOrders, UnknownOrder
from plugin_sdk.connector import MAX_REASON
from plugin_sdk.errors import Rejected, Temporary
from plugin_sdk.quick import quick_loader
from plugin_sdk.schemas import OrderSchema
from server.banking.intake import store_postings
from server.db import db, now
from server.hosting.payouts import account_name, postings_of
from server.orders.intake import Arrival, orders_gone, receive_answer, receive_orders
from server.orders.ledger import NotPossible
from server.orders.models import Order
from server.orders.receiver import StaleReceiver, receiver_of
from server.orders.service import (
    acknowledge_update,
    hear_heartbeat,
    orders_in_status,
    request_match,
    store_invoice,
)
from server.orders.told import zone_of
from server.shops.models import Shop
from server.shops.order_requests import (
    is_waiting,
    lease_requests,
    request_to_answer,
)
from server.shops.order_requests import (
    to_wire as request_to_wire,
)
from server.shops.service import lease_updates, may_have_updates, to_wire

TRIES = 5
PAGE = 100
REQUESTS_AT_ONCE = 10

ORDER_SCHEMA = OrderSchema()
LOAD_ORDER = quick_loader(ORDER_SCHEMA)
ResultT = TypeVar("ResultT")


class House:
    """The rooms, as one shop's ``OrderSync`` needs them. For one thread at a time."""

    def __init__(self, shop_id: int, commit: Callable[[], None]) -> None:
        self._shop_id = shop_id
        self._commit = commit

    def push_orders(self, orders: Sequence[wire.Order]) -> list[wire.OrderResult]:
        """Store them, each on its own: an invalid one does not hold up the others."""
        results: list[wire.OrderResult] = []
        good: list[Arrival] = []
        for index, order in enumerate(orders):
            raw = ORDER_SCHEMA.dump(order)
            try:
                good.append(Arrival(LOAD_ORDER(raw), raw))
            except ValidationError as error:
                problem = json.dumps(error.messages, ensure_ascii=False)[:MAX_REASON]
                results.append(wire.OrderResult(index, order.external_id, "invalid", problem))
            else:
                results.append(wire.OrderResult(index, order.external_id, ""))
        outcomes = iter(self._stored(good)) if good else iter(())
        return [
            one if one.outcome else wire.OrderResult(one.index, one.external_id, next(outcomes))
            for one in results
        ]

    def _stored(self, arrivals: Sequence[Arrival]) -> list[str]:
        for _ in range(TRIES):
            receiver = receiver_of(self._shop_id)
            if receiver.status == "deregistered":
                raise Temporary("The shop is deregistered.")  # since this visit began
            try:
                outcomes = receive_orders(receiver, arrivals, now())
            except StaleReceiver:  # somebody changes the shop just now
                db.session.rollback()
                continue
            self._commit()
            return outcomes
        raise Temporary("The shop is being changed just now.")

    def gone(self, external_ids: Sequence[str], evidence: wire.Evidence) -> None:
        for start in range(0, len(external_ids), PAGE):
            orders_gone(self._shop(), external_ids[start : start + PAGE], evidence, now())
            self._commit()

    def list_orders(self, payment_status: str, cursor: str | None = None) -> KnownOrders:
        after = int(cursor) if cursor else 0
        found = orders_in_status(self._shop_id, payment_status, after, PAGE)
        self._commit()
        last = str(found[-1].id) if len(found) == PAGE else None
        return KnownOrders(tuple(row.external_id for row in found), last)

    def requests(self) -> list[wire.OrderRequest]:
        """The orders that a person wants looked at now, leased."""
        leased = lease_requests(self._shop(), REQUESTS_AT_ONCE, now())
        self._commit()
        return [request_to_wire(row) for row in leased]

    def answer_request(self, request_id: str, answer: wire.RequestAnswer) -> None:
        shop = self._shop()
        row = request_to_answer(shop, int(request_id))
        if row is None:
            raise UnknownOrder("There is no such request.")
        raw = ORDER_SCHEMA.dump(answer.order) if answer.order is not None else None
        try:
            if is_waiting(row):
                receive_answer(shop, row, answer, raw, now())
        except NotPossible:
            db.session.rollback()
            raise Rejected("This is another order than the one that was asked for.") from None
        self._commit()

    def put_invoice(self, external_id: str, number: str, pdf: bytes) -> None:
        """Raises Rejected: no such order, or no PDF that is kept."""
        order = db.session.scalar(
            select(Order).where(Order.shop_id == self._shop_id, Order.external_id == external_id)
        )
        if order is None:
            self._commit()
            raise UnknownOrder("There is no such order.")
        try:
            store_invoice(order, number, pdf, now())
        except NotPossible as refused:
            db.session.rollback()
            raise Rejected(f"The invoice cannot be kept ({refused.args[0]}).") from None
        self._commit()

    def next_update(self) -> wire.PaymentUpdate | None:
        """The payment update that is due, leased; one at a time, so that none waits in vain."""
        at = now()
        due = []
        if may_have_updates(self._shop_id, at):
            due = lease_updates(self._shop(), 1, at)
        self._commit()
        return to_wire(due[0]) if due else None

    def acknowledge(self, update_id: str, acknowledgement: wire.Acknowledgement) -> None:
        acknowledge_update(self._shop(), int(update_id), acknowledgement, now())
        self._commit()

    def heartbeat(self, heartbeat: wire.Heartbeat) -> None:
        hear_heartbeat(self._shop(), heartbeat, now())
        self._commit()

    def take_payouts(self, payouts: Sequence[wire.Payout], title: str) -> None:
        """Postings of an account of the marketplace's; one that is known already adds nothing."""
        if not payouts:
            return
        shop = self._shop()
        zone = zone_of(shop.merchant_id)
        account = account_name(title, shop.id)
        for payout in payouts:
            store_postings(shop.merchant_id, postings_of(payout, account, title, zone))
        request_match(shop.merchant_id, now())
        self._commit()

    def is_on(self) -> bool:
        """Switched off and given up shops are left alone."""
        is_off = self._shop().status in {"disabled", "deregistered"}
        self._commit()
        return not is_off

    def _shop(self) -> Shop:
        """As it is now: somebody may have changed it during the last words with the shop."""
        found: Any = db.session.get(Shop, self._shop_id, populate_existing=True)
        assert found is not None, "a connection has a shop"
        shop: Shop = found
        return shop
