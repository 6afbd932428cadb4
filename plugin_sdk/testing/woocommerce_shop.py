"""What a fake WooCommerce shop holds, and what happens in it: orders, notes, webhooks, trash."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from plugin_sdk.testing.webhook_sender import Delivery, Webhook, WebhookSender
from plugin_sdk.testing.woocommerce_answers import invalid_id, php_json
from plugin_sdk.testing.woocommerce_orders import (
    TRASH,
    Catalogue,
    Json,
    Numbered,
    new_order,
    refresh,
    set_date,
)


@dataclass(slots=True)
class Shop:
    """What the shop holds; the HTTP server is around it. All changes under ``lock``."""

    url: Callable[[], str]
    sender: WebhookSender
    version: str = "11.0.1"
    hpos: bool = True
    utc_offset: timedelta = timedelta(hours=1)
    clock: Callable[[], float] = time.time
    currency: str = "EUR"
    catalogue: Catalogue = field(default_factory=Catalogue)
    orders: dict[int, Json] = field(default_factory=dict)
    notes: dict[int, list[Json]] = field(default_factory=dict)
    webhooks: dict[int, Webhook] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    next_id: int = 1
    line_ids: Any = field(default_factory=lambda: itertools.count(1))
    ignores_writes: bool = False
    changed: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def take_id(self) -> int:
        number, self.next_id = self.next_id, self.next_id + 1
        return number

    def create(self, wanted: Mapping[str, Any], events: Sequence[str]) -> Json:
        with self.lock:
            numbered = Numbered(
                self.take_id(), self.line_ids, self.now(), self.utc_offset, self.url(), self.version
            )
            order = new_order(wanted, self.catalogue, numbered)
            self.orders[order["id"]] = order
            self.notes[order["id"]] = []
            for event in events:
                self.tell(event, order["id"])
            return order

    def touch(self, order: Json) -> None:
        set_date(order, "modified", self.now(), self.utc_offset)

    def tell(self, topic: str, order_id: int) -> None:
        """An event: every active webhook of the topic gets a delivery, built when it is sent."""
        for webhook in self.webhooks.values():
            if webhook.topic == topic and webhook.status == "active":
                build = body_builder(self, topic, order_id)
                self.sender.send(Delivery(webhook, build))
        self.changed()

    def to_trash(self, order: Json) -> None:
        meta = order["meta_data"]
        for key, value in (
            ("_wp_trash_meta_status", f"wc-{order['status']}"),
            ("_wp_trash_meta_time", str(int(self.clock()))),
        ):
            meta.append({"id": next(self.line_ids), "key": key, "value": value})
        order["status"] = TRASH
        refresh(order)
        self.touch(order)
        self.tell("order.deleted", order["id"])

    def add_webhook(self, topic: str, url: str, secret: str) -> Webhook:
        """A webhook; its unsigned ping is sent at once."""
        with self.lock:
            number = max(self.webhooks, default=0) + 1
            webhook = Webhook(number, topic, topic, url, secret)
            self.webhooks[number] = webhook
        self.sender.ping(webhook)
        return webhook


def body_builder(shop: Shop, topic: str, order_id: int) -> Callable[[], bytes]:
    """A delivery carries what the shop holds when it is sent, not when it happened."""

    def body() -> bytes:
        if topic == "order.deleted":
            return php_json({"id": order_id})
        with shop.lock:
            order = shop.orders.get(order_id)
            if order is None:
                return php_json(invalid_id(404).reply.body)
            return php_json(order)

    return body
