"""A shop as it is by itself: what it knows of its orders, and how it speaks with the house.

It uses the functions that the API's doors use; nothing here looks into the house's tables.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from plugin_sdk import types as wire
from plugin_sdk.schemas import OrderSchema
from server.db import db
from server.orders.intake import Arrival, orders_gone, receive_orders, receive_wanted
from server.orders.receiver import receiver_of
from server.orders.service import acknowledge_update, hear_heartbeat
from server.shops.models import OrderRequest, PaymentUpdate, Shop
from server.shops.order_requests import answer_request, is_waiting, lease_requests
from server.shops.service import lease_updates, to_wire

if TYPE_CHECKING:
    from tests.simulator.world import World

BATCH = 100
OWN_STATUS = {"paid": "processing", "cancelled": "cancelled", "unpaid": "on-hold"}
"""What it writes where the house leaves the status to it; other intents it does not know."""
EVIDENCE = {"gone": wire.Evidence.GONE, "trashed": wire.Evidence.TRASHED}
_SCHEMA = OrderSchema()


class ShopModel:
    """``orders`` by the shop's key, as the wire tells them. ``unsent`` have changed since the house
    last heard of them. ``removed``: key to "gone" or "trashed"."""

    def __init__(self, shop_id: int, merchant_id: int, chance: Random, *, has_agent: bool) -> None:
        self.id, self.merchant_id, self.chance, self.has_agent = (
            shop_id,
            merchant_id,
            chance,
            has_agent,
        )
        self.orders: dict[str, dict[str, Any]] = {}
        self.unsent: set[str] = set()
        self.removed: dict[str, str] = {}
        self.is_away = self.is_moody = False

    # --- what happens in it

    def place(self, raw: dict[str, Any]) -> None:
        self.orders[raw["external_id"]] = raw
        self.unsent.add(raw["external_id"])

    def change(self, key: str, **over: Any) -> None:
        self.orders[key] = {**self.orders[key], **over}
        self.unsent.add(key)

    def remove(self, key: str, how: str) -> None:
        self.removed[key] = how
        self.unsent.discard(key)

    def living(self) -> list[str]:
        return [key for key in self.orders if key not in self.removed]

    # --- how it speaks with the house

    def push(self, world: World, keys: list[str] | None = None) -> list[str]:
        """Tell of what has changed, or of ``keys``; the outcomes. Nothing if it is away."""
        if self.is_away or not world.is_house_up:
            return []
        chosen = sorted(self.unsent) if keys is None else [k for k in keys if k in self.orders]
        outcomes: list[str] = []
        for start in range(0, len(chosen), BATCH):
            part = [deepcopy(self.orders[key]) for key in chosen[start : start + BATCH]]
            arrivals = [Arrival(_SCHEMA.load(raw), raw) for raw in part]
            outcomes += receive_orders(receiver_of(self.id), arrivals, world.now)
            db.session.commit()
        self.unsent -= set(chosen)
        return outcomes

    def push_old(self, world: World, raw: dict[str, Any]) -> None:
        """An earlier message about an order comes late."""
        if not self.is_away and world.is_house_up:
            arrival = Arrival(_SCHEMA.load(raw), raw)
            receive_orders(receiver_of(self.id), [arrival], world.now)
            db.session.commit()
            self.unsent.add(raw["external_id"])

    def report_removed(self, world: World) -> None:
        """Asked by id, it says which it does not have."""
        if self.is_away or not world.is_house_up:
            return
        for how, evidence in EVIDENCE.items():
            keys = sorted(key for key, said in self.removed.items() if said == how)
            if keys:
                orders_gone(self.row(), keys, evidence, world.now)
        db.session.commit()

    def beat(self, world: World, error: str | None = None) -> None:
        """The agent's sign of life."""
        if self.has_agent and not self.is_away and world.is_house_up:
            heartbeat = wire.Heartbeat("woocommerce", "1.0", last_error=error)
            hear_heartbeat(self.row(), heartbeat, world.now)
            db.session.commit()

    def poll(self, world: World) -> None:
        """Fetch what the house wants it to know or to look at."""
        if self.is_away or not world.is_house_up:
            return
        for leased in lease_updates(self.row(), BATCH, world.now):
            world.checker.update_leased(leased)
            self._apply(world, leased)
        for request in lease_requests(self.row(), BATCH, world.now):
            self._answer(world, request)
        db.session.commit()

    def _ask_later(self, world: World) -> None:
        """An agent asks all the time; here, when the lease of what it has is over."""
        world.later(timedelta(minutes=6), "poll", lambda: self.poll(world))

    def row(self) -> Shop:
        return db.session.get_one(Shop, self.id)

    def _apply(self, world: World, row: PaymentUpdate) -> None:
        mood = self.chance.random()
        if mood < 0.02 or (self.is_moody and mood < 0.3):
            self._ask_later(world)  # the answer is lost: it is handed out again
            return
        told = to_wire(row)
        acknowledgement = wire.Acknowledgement(self._outcome(told, mood), "as the shop says")
        acknowledge_update(self.row(), row.id, acknowledgement, world.now)
        db.session.commit()

    def _outcome(self, told: wire.PaymentUpdate, mood: float) -> wire.Outcome:
        if self.is_moody and mood < 0.6:
            return wire.Outcome.TEMPORARY
        if mood > 0.99:
            return wire.Outcome.REJECTED
        if mood > 0.98:
            return wire.Outcome.MISCONFIGURED
        raw = self.orders.get(told.external_id)
        if raw is None or told.external_id in self.removed:
            return wire.Outcome.NO_LONGER_OPEN
        wanted = told.shop_status or OWN_STATUS.get(told.intent.value)
        if wanted is None:
            return wire.Outcome.NOT_SUPPORTED
        status = raw["shop_status"]
        if status == wanted:
            return wire.Outcome.ALREADY_THERE
        is_late = status == "cancelled" and told.intent is wire.Intent.PAID
        if told.open_statuses and status not in told.open_statuses and not is_late:
            return wire.Outcome.NO_LONGER_OPEN
        self.change(told.external_id, shop_status=wanted)
        return wire.Outcome.APPLIED

    def _answer(self, world: World, request: OrderRequest) -> None:
        if not is_waiting(request) or self.chance.random() < 0.1:
            self._ask_later(world)
            return
        key = request.external_id or ""
        outcome = wire.RequestOutcome.FOUND
        if key in self.removed:
            outcome = wire.RequestOutcome(self.removed[key])
            orders_gone(self.row(), [key], EVIDENCE[self.removed[key]], world.now)
        elif key not in self.orders:
            outcome = wire.RequestOutcome.UNKNOWN
        else:
            raw = deepcopy(self.orders[key])
            arrival = Arrival(_SCHEMA.load(raw), raw)
            receive_wanted(self.row(), arrival, actor=request.asked_by, at=world.now)
        answer_request(request, wire.RequestAnswer(outcome), world.now)
        db.session.commit()
