"""A WooCommerce shop on loopback that answers as a real WooCommerce 11 was seen to answer.

A real HTTP server, so that a connector is tested with everything between it and its shop. What
trips connectors up is there on purpose: ``set_paid`` that does nothing on on-hold orders, an
exclusive ``modified_after``, unknown parameters that are ignored without a word, 404 when read but
400 when written, a trash that answers 200, webhooks that come late and out of order, and log-ins
that depend on TLS. ``fail`` makes it misbehave as overloaded or "protected" shops do.

As a process, for demonstrations:
    python -m plugin_sdk.testing.fake_woocommerce --port 8091 --webhook URL --secret SECRET
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import signal
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from plugin_sdk.currencies import CURRENCIES
from plugin_sdk.testing.webhook_sender import Delivery, Webhook, WebhookSender, signed_headers
from plugin_sdk.testing.woocommerce_login import Call, Key, Login, Refused
from plugin_sdk.testing.woocommerce_orders import (
    STATUSES,
    TRASH,
    Catalogue,
    Json,
    Numbered,
    enter_status,
    links,
    money,
    new_order,
    refresh,
    set_date,
    set_paid,
)
from plugin_sdk.testing.woocommerce_page import page

CONSUMER_KEY = "ck_demo"
CONSUMER_SECRET = "cs_demo"  # noqa: S105 - opens a shop that exists on this machine only
WEBHOOK_SECRET = "demo-webhooks"  # noqa: S105 - as above
TOPICS = ("order.created", "order.updated", "order.deleted", "order.restored")
HOOKS = {
    "order.created": ["woocommerce_new_order"],
    "order.updated": ["woocommerce_update_order", "woocommerce_order_refunded"],
    "order.deleted": ["wp_trash_post", "woocommerce_trash_order"],
    "order.restored": ["untrashed_post", "woocommerce_untrash_order"],
}
ORDER_BY = ("date", "id", "include", "title", "slug", "modified")
GATEWAYS = {
    "bacs": ("Direkte Banküberweisung", "Direct bank transfer"),
    "cheque": ("Scheck", "Check payments"),
    "cod": ("Nachnahme", "Cash on delivery"),
}
STATUS_AT_CHECKOUT = {"bacs": "on-hold", "cheque": "on-hold", "cod": "processing"}
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_BATCH = 100
API = "/wc/v3"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the API. ``total`` is the X-WP-Total of a list."""

    status: int
    body: Any
    total: int | None = None
    pages: int | None = None
    location: str | None = None


class Problem(Exception):
    """An error answer in WordPress's form."""

    def __init__(self, status: int, code: str, message: str, extra: Any = None) -> None:
        super().__init__(message)
        more = {"status": status, **extra} if isinstance(extra, dict) else {"status": status}
        # Refund errors carry the bare number where all others carry an object.
        shown = extra if isinstance(extra, int) else more
        self.reply = Reply(status, {"code": code, "message": message, "data": shown})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to the API: ``path`` behind /wc/v3, ``query`` with the last of each name."""

    method: str
    path: str
    query: Mapping[str, str]
    json: Any


@dataclass(slots=True)
class _Failure:
    kind: str
    times: int


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
                build = _body_builder(self, topic, order_id)
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


def _body_builder(shop: Shop, topic: str, order_id: int) -> Callable[[], bytes]:
    def body() -> bytes:
        if topic == "order.deleted":
            return _php_json({"id": order_id})
        with shop.lock:
            order = shop.orders.get(order_id)
            if order is None:
                return _php_json(_invalid_id(404).reply.body)
            return _php_json(order)

    return body


class FakeWooCommerce:
    """Start it, talk to it, look inside, stop it; a context manager does the first and the last.

    ``keys``: consumer key to Key. ``secure``: whether WordPress believes in TLS (None: as it is);
    False with a certificate is a proxy that ends TLS and does not say so. ``demo`` opens the page
    at / and the control API at /_demo/. ``state``: a file that keeps the orders over a restart.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        keys: Mapping[str, Key] | None = None,
        tls: ssl.SSLContext | None = None,
        secure: bool | None = None,
        plain_permalinks: bool = False,
        demo: bool = False,
        state: Path | None = None,
    ) -> None:
        self.login = Login(dict(keys or {CONSUMER_KEY: Key(CONSUMER_SECRET)}))
        self.sender = WebhookSender(lambda: self.url, "11.0.1")
        self.shop = Shop(url=lambda: self.url, sender=self.sender)
        self.name = "Annas Antiquariat"
        self.demo = demo
        self.plain_permalinks = plain_permalinks
        self.secure = tls is not None if secure is None else secure
        self.requests: deque[str] = deque(maxlen=1000)
        self.writes: deque[tuple[str, str, Any]] = deque(maxlen=1000)
        self.hang = threading.Event()
        self._scheme = "https" if tls else "http"
        self._failures: list[_Failure] = []
        self._server = _Server(("127.0.0.1", port), _Visit)
        self._server.fake = self
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="fake shop", daemon=True
        )
        self._state = state
        if state is not None:
            self._load(state)
            self.shop.changed = self._save

    # For tests

    @property
    def url(self) -> str:
        """The shop's address, without a slash at the end."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def orders(self) -> dict[int, Json]:
        """The orders by id, to look at and to change."""
        return self.shop.orders

    def start(self) -> FakeWooCommerce:
        """Begin to answer."""
        self.sender.start()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and give the port back."""
        self.hang.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.sender.stop()

    def __enter__(self) -> FakeWooCommerce:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add_order(self, **wanted: Any) -> str:
        """An order as a customer makes it at the checkout; fires updated before created."""
        method = str(wanted.setdefault("payment_method", "bacs"))
        given = GATEWAYS.get(method, (method, method))
        wanted.setdefault("payment_method_title", given[0])
        wanted.setdefault("status", STATUS_AT_CHECKOUT.get(method, "on-hold"))
        wanted.setdefault("created_via", "checkout")
        wanted.setdefault("currency", self.shop.currency)
        wanted.setdefault("billing", DEMO_CUSTOMER)
        wanted.setdefault("line_items", DEMO_LINES)
        order = self.shop.create(wanted, ("order.updated", "order.created"))
        return str(order["id"])

    def freeze(self, moment: datetime | None) -> None:
        """Stop the shop's clock at a moment (None: let it run)."""
        self.shop.clock = moment.timestamp if moment else time.time

    def set_status(self, order_id: str, status: str) -> None:
        """Somebody in the shop changes an order."""
        with self.shop.lock:
            order = self.orders[int(order_id)]
            enter_status(order, status, self.shop.now(), self.shop.utc_offset)
            self.shop.touch(order)
            self.shop.tell("order.updated", order["id"])

    def status_of(self, order_id: str) -> str:
        """The order's status now."""
        return str(self.orders[int(order_id)]["status"])

    def refund(self, order_id: str, amount: str) -> None:
        """Credit a part of an order, as the merchant does it in the shop."""
        path = f"/orders/{order_id}/refunds"
        self.answer(Asked("POST", path, {}, {"amount": amount, "api_refund": False}))

    def trash(self, order_id: str) -> None:
        """Put an order into the trash (tells ``order.deleted``)."""
        with self.shop.lock:
            self.shop.to_trash(self.orders[int(order_id)])

    def restore(self, order_id: str) -> None:
        """Take an order out of the trash by the shop's own button (tells ``order.restored``)."""
        with self.shop.lock:
            order = self.orders[int(order_id)]
            before = next(
                meta["value"]
                for meta in reversed(order["meta_data"])
                if meta["key"] == "_wp_trash_meta_status"
            )
            order["status"] = before.removeprefix("wc-")
            refresh(order)
            self.shop.touch(order)
            self.shop.tell("order.restored", order["id"])

    def delete(self, order_id: str) -> None:
        """Delete an order for good. No webhook tells about it."""
        with self.shop.lock:
            del self.orders[int(order_id)]
            self.shop.changed()

    def add_webhook(self, topic: str, url: str, secret: str = WEBHOOK_SECRET) -> Webhook:
        """A webhook; its unsigned ping is sent at once."""
        with self.shop.lock:
            number = max(self.shop.webhooks, default=0) + 1
            webhook = Webhook(number, topic, topic, url, secret)
            self.shop.webhooks[number] = webhook
        self.sender.ping(webhook)
        return webhook

    def delivery(
        self, topic: str, order_id: str, secret: str = WEBHOOK_SECRET
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of a webhook as it would be delivered now."""
        body = _body_builder(self.shop, topic, int(order_id))()
        webhook = Webhook(1, topic, topic, "", secret)
        return signed_headers(webhook, body, self.url, self.shop.version), body

    def fail(self, kind: str, times: int = 1) -> None:
        """Spoil the next ``times`` answers of the API.

        Kinds: 500, 503 (maintenance, HTML), 429 (Retry-After: 7), html (200), firewall (403 HTML),
        cut (half of the JSON), notice (PHP's words before the JSON), hang (no answer until
        ``hang`` is set), drop (hang up), redirect (to https).
        """
        if kind not in FAILURES:
            raise ValueError(f"{kind} is none of {', '.join(sorted(FAILURES))}")
        self._failures.append(_Failure(kind, times))

    def heal(self) -> None:
        """Forget the failures that were not met yet."""
        self._failures.clear()

    # The API

    def next_failure(self) -> str | None:
        """The failure due for this request."""
        with self.shop.lock:
            if not self._failures:
                return None
            failure = self._failures[0]
            failure.times -= 1
            if failure.times <= 0:
                self._failures.pop(0)
            return failure.kind

    def answer(self, asked: Asked) -> Reply:
        """The reply to an authorised request."""
        for method, pattern, reply in ROUTES:
            found = re.fullmatch(pattern, asked.path)
            if found and method == asked.method:
                with self.shop.lock:
                    if asked.method != "GET":
                        self.writes.append((asked.method, asked.path, asked.json))
                    try:
                        made = reply(self, asked, *found.groups())
                        self.shop.changed()
                        return made
                    except Problem as problem:
                        return problem.reply
        text = "No route was found matching the URL and request method."
        return Problem(404, "rest_no_route", text).reply

    def _list_orders(self, asked: Asked) -> Reply:
        query = asked.query
        per_page = _whole(query, "per_page", 10, 100)
        number = _whole(query, "page", 1, None)
        rows = [order for order in self.orders.values() if _is_asked_for(order, query)]
        rows = _sorted(rows, query)
        shown = rows[(number - 1) * per_page : number * per_page]
        total = len(rows)
        if not shown and number > 1 and self.shop.hpos:
            total = 0  # past the end HPOS forgets the total, the posts tables do not
        body = [_shown(order, query) for order in shown]
        return Reply(200, body, total=total, pages=-(-total // per_page))

    def _order(self, order_id: str, status: int) -> Json:
        order = self.orders.get(int(order_id))
        if order is None:
            raise _invalid_id(status)
        return order

    def _get_order(self, asked: Asked, order_id: str) -> Reply:
        return Reply(200, _shown(self._order(order_id, 404), asked.query))

    def _create_order(self, asked: Asked) -> Reply:
        wanted = _object(asked.json)
        _check_billing(wanted)
        _check_status(wanted)
        if wanted.get("currency") and wanted["currency"] not in CURRENCIES:
            text = f"currency is not one of {_joined(sorted(CURRENCIES))}."
            raise _bad("currency", text, "rest_not_in_enum")
        order = self.shop.create(wanted, ("order.created", "order.updated"))
        place = f"{self.url}/wp-json{API}/orders/{order['id']}"
        return Reply(201, _copy(order), location=place)

    def _update_order(self, asked: Asked, order_id: str) -> Reply:
        order = self._order(order_id, 400)
        wanted = _object(asked.json)
        _check_status(wanted)
        self._change(order, wanted)
        return Reply(200, _copy(order))

    def _change(self, order: Json, wanted: Mapping[str, Any]) -> None:
        if self.shop.ignores_writes:
            return
        before = _copy(order)
        for name in ("transaction_id", "customer_note", "payment_method", "payment_method_title"):
            if name in wanted:
                order[name] = str(wanted[name])
        for name in ("billing", "shipping"):
            order[name] |= wanted.get(name, {})
        _put_meta(order, wanted.get("meta_data", []), self.shop.line_ids)
        restored = order["status"] == TRASH and "status" in wanted
        if "status" in wanted:
            # Only a batch gets here with a status that there is not; it becomes "pending".
            status = wanted["status"] if wanted["status"] in STATUSES else "pending"
            enter_status(order, status, self.shop.now(), self.shop.utc_offset)
        if wanted.get("set_paid"):
            set_paid(order, self.shop.now(), self.shop.utc_offset)
        moved = any(order[key] != before[key] for key in ("status", "billing", "shipping"))
        if self.shop.hpos or moved:
            self.shop.touch(order)
        if order["status"] != before["status"]:
            old, new = STATUSES.get(before["status"], TRASH), STATUSES[order["status"]]
            self._note(order["id"], f"Order status changed from {old} to {new}.")
        if not (restored and self.shop.hpos):  # coming back by a PUT is told to nobody
            self.shop.tell("order.updated", order["id"])

    def _delete_order(self, asked: Asked, order_id: str) -> Reply:
        order = self._order(order_id, 404)
        before = _copy(order)
        if asked.query.get("force", "").lower() in ("1", "true"):
            del self.orders[order["id"]]
        elif order["status"] == TRASH:
            text = "The shop_order has already been deleted."
            raise Problem(410, "woocommerce_rest_already_trashed", text)
        else:
            self.shop.to_trash(order)
        return Reply(200, before)

    def _batch(self, asked: Asked) -> Reply:
        wanted = _object(asked.json)
        updates = wanted.get("update", [])
        if len(updates) > MAX_BATCH:
            text = f"Unable to accept more than {MAX_BATCH} items for this request."
            raise Problem(413, "woocommerce_rest_request_entity_too_large", text)
        answers = []
        for update in updates:
            try:
                order = self._order(str(update.get("id")), 400)
                self._change(order, update)
                answers.append(_copy(order))
            except Problem as problem:
                answers.append({"id": update.get("id"), "error": problem.reply.body})
        return Reply(200, {"update": answers} if answers else {})

    def _list_notes(self, asked: Asked, order_id: str) -> Reply:
        self._order(order_id, 404)
        return Reply(200, _copy(self.shop.notes[int(order_id)][::-1]))

    def _create_note(self, asked: Asked, order_id: str) -> Reply:
        self._order(order_id, 404)
        wanted = _object(asked.json)
        to_customer = bool(wanted.get("customer_note"))
        note = self._note(int(order_id), str(wanted.get("note", "")), to_customer=to_customer)
        place = f"{self.url}/wp-json{API}/orders/{order_id}/notes/{note['id']}"
        return Reply(201, _copy(note), location=place)

    def _note(self, order_id: int, text: str, *, to_customer: bool = False) -> Json:
        base = f"{self.url}/wp-json{API}/orders/{order_id}"
        number = next(self.shop.line_ids)
        note: Json = {"id": number, "author": "WooCommerce"}
        note |= _dates("date_created", self.shop.clock(), self.shop.utc_offset)
        note |= {
            "note": text,
            "customer_note": to_customer,
            "_links": {
                "self": [
                    {
                        "href": f"{base}/notes/{number}",
                        "targetHints": {"allow": ["GET", "DELETE"]},
                    }
                ],
                "collection": [{"href": f"{base}/notes"}],
                "up": [{"href": base}],
            },
        }
        self.shop.notes[order_id].append(note)
        return note

    def _list_refunds(self, asked: Asked, order_id: str) -> Reply:
        found = [
            self._shown_refund(order_id, each) for each in self._order(order_id, 404)["refunds"]
        ]
        return Reply(200, found, total=len(found), pages=1 if found else 0)

    def _create_refund(self, asked: Asked, order_id: str) -> Reply:
        order = self._order(order_id, 404)
        wanted = _object(asked.json)
        refused = "woocommerce_rest_cannot_create_order_refund"
        due = Decimal(order["total"]) + sum(Decimal(each["total"]) for each in order["refunds"])
        try:
            amount = Decimal(str(wanted.get("amount")))
        except InvalidOperation:
            raise _bad("amount", "amount is not of type string.") from None
        if not 0 < amount <= due:
            raise Problem(500, refused, "Invalid refund amount.", 500)
        if wanted.get("api_refund", True):
            text = "The payment gateway for this order does not support automatic refunds."
            raise Problem(500, refused, text, 500)
        refund = {
            "id": self.shop.take_id(),
            "reason": str(wanted.get("reason", "")),
            "total": money(-amount),
            "total_tax": "0.00",
        }
        order["refunds"].append(refund)
        if amount == due:
            enter_status(order, "refunded", self.shop.now(), self.shop.utc_offset)
        self.shop.touch(order)
        self.shop.tell("order.updated", order["id"])
        return Reply(201, self._shown_refund(order_id, refund))

    def _shown_refund(self, order_id: str, refund: Mapping[str, Any]) -> Json:
        base = f"{self.url}/wp-json{API}/orders/{order_id}"
        shown: Json = {"id": refund["id"]}
        shown |= _dates("date_created", self.shop.clock(), self.shop.utc_offset)
        shown |= {
            "amount": str(refund["total"]).lstrip("-"),
            "reason": refund["reason"],
            "refunded_by": 1,
            "refunded_payment": False,
            **{name: [] for name in ("meta_data", "line_items", "shipping_lines")},
            **{name: [] for name in ("tax_lines", "fee_lines")},
            "_links": {
                "self": [
                    {
                        "href": f"{base}/refunds/{refund['id']}",
                        "targetHints": {"allow": ["GET", "DELETE"]},
                    }
                ],
                "collection": [{"href": f"{base}/refunds"}],
                "up": [{"href": base}],
            },
        }
        return shown

    def _list_gateways(self, asked: Asked) -> Reply:
        return Reply(200, [self._gateway(name) for name in GATEWAYS], total=len(GATEWAYS), pages=1)

    def _get_gateway(self, asked: Asked, name: str) -> Reply:
        if name not in GATEWAYS:
            raise Problem(
                404, "woocommerce_rest_payment_gateway_invalid", "Resource does not exist."
            )
        return Reply(200, self._gateway(name))

    def _gateway(self, name: str) -> Json:
        title, own_title = GATEWAYS[name]
        base = f"{self.url}/wp-json{API}/payment_gateways"
        return {
            "id": name,
            "title": title,
            "description": "",
            "order": "",
            "enabled": True,
            "method_title": own_title,
            "method_description": "",
            "method_supports": ["products"],
            "settings": {},
            "needs_setup": False,
            "post_install_scripts": [],
            "settings_url": f"{self.url}/wp-admin/admin.php?page=wc-settings&tab=checkout",
            "connection_url": None,
            "setup_help_text": None,
            "required_settings_keys": [],
            "_links": {
                "self": [{"href": f"{base}/{name}", "targetHints": {"allow": ["GET", "PUT"]}}],
                "collection": [{"href": base}],
            },
        }

    def _list_statuses(self, asked: Asked) -> Reply:
        if not self.shop.hpos:  # stands for the old versions, which did not have this route
            raise _invalid_id(404)
        return Reply(200, [{"slug": slug, "name": name} for slug, name in STATUSES.items()])

    def _report_totals(self, asked: Asked) -> Reply:
        counts = [order["status"] for order in self.orders.values()]
        rows = [
            {"slug": slug, "name": name, "total": counts.count(slug)}
            for slug, name in STATUSES.items()
        ]
        return Reply(200, rows)

    def _system_status(self, asked: Asked) -> Reply:
        body: Json = {
            "environment": {
                "home_url": self.url,
                "version": self.shop.version,
                "wp_version": "7.0.4",
                "wp_multisite": False,
                "php_version": "8.2.36",
                "default_timezone": "UTC",
            },
            "settings": {
                "currency": self.shop.currency,
                "number_of_decimals": 2,
                "HPOS_enabled": self.shop.hpos,
                "HPOS_sync_enabled": False,
            },
            "active_plugins": [
                {"plugin": "woocommerce/woocommerce.php", "version": self.shop.version}
            ],
        }
        return Reply(200, _only(body, asked.query))

    def _list_webhooks(self, asked: Asked) -> Reply:
        per_page = _whole(asked.query, "per_page", 10, 100)
        rows = [self._shown_webhook(each) for each in self.shop.webhooks.values()]
        return Reply(200, rows[:per_page], total=len(rows), pages=-(-len(rows) // per_page))

    def _get_webhook(self, asked: Asked, number: str) -> Reply:
        return Reply(200, self._shown_webhook(self._webhook(number)))

    def _create_webhook(self, asked: Asked) -> Reply:
        wanted = _object(asked.json)
        topic = str(wanted.get("topic"))
        if topic not in TOPICS:
            code = "woocommerce_rest_shop_webhook_invalid_topic"
            raise Problem(400, code, "Webhook topic is required and must be valid.")
        made = self.add_webhook(topic, str(wanted["delivery_url"]), str(wanted.get("secret", "")))
        made.name = str(wanted.get("name") or topic)
        place = f"{self.url}/wp-json{API}/webhooks/{made.id}"
        return Reply(201, self._shown_webhook(made), location=place)

    def _update_webhook(self, asked: Asked, number: str) -> Reply:
        webhook = self._webhook(number)
        # Switching on again does not forget the failures: one more switches off again.
        webhook.status = str(_object(asked.json).get("status", webhook.status))
        webhook.modified_at = self.shop.clock()
        return Reply(200, self._shown_webhook(webhook))

    def _webhook(self, number: str) -> Webhook:
        webhook = self.shop.webhooks.get(int(number))
        if webhook is None:
            raise Problem(404, "woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.")
        return webhook

    def _shown_webhook(self, webhook: Webhook) -> Json:
        base = f"{self.url}/wp-json{API}/webhooks"
        allow = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        shown: Json = {"id": webhook.id, "name": webhook.name, "status": webhook.status}
        resource, _, event = webhook.topic.partition(".")
        shown |= {"topic": webhook.topic, "resource": resource, "event": event}
        shown |= {"hooks": HOOKS[webhook.topic], "delivery_url": webhook.delivery_url}
        shown |= _dates("date_created", webhook.created_at, self.shop.utc_offset)
        shown |= _dates("date_modified", webhook.modified_at, self.shop.utc_offset)
        shown["_links"] = {
            "self": [{"href": f"{base}/{webhook.id}", "targetHints": {"allow": allow}}],
            "collection": [{"href": base}],
        }
        return shown

    # The demonstration

    def demo_orders(self) -> list[Json]:
        """The orders, newest first, for the page and the control API."""
        with self.shop.lock:
            return [_copy(order) for order in reversed(self.orders.values())]

    def _save(self) -> None:
        assert self._state is not None
        with self.shop.lock:
            content = json.dumps(
                {
                    "next_id": self.shop.next_id,
                    "next_line_id": next(self.shop.line_ids),
                    "orders": list(self.orders.values()),
                    "notes": self.shop.notes,
                }
            )
            beside = self._state.with_name(self._state.name + ".new")
            beside.write_text(content, encoding="utf-8")
            beside.replace(self._state)

    def _load(self, state: Path) -> None:
        if not state.exists():
            return
        content = json.loads(state.read_text(encoding="utf-8"))
        self.shop.next_id = int(content["next_id"])
        self.shop.line_ids = itertools.count(int(content["next_line_id"]))
        self.shop.notes = {int(key): notes for key, notes in content["notes"].items()}
        for order in content["orders"]:
            order["_links"] = links(self.url, order["id"])
            self.orders[order["id"]] = order


ROUTES: tuple[tuple[str, str, Callable[..., Reply]], ...] = (
    ("GET", "/orders", FakeWooCommerce._list_orders),
    ("POST", "/orders", FakeWooCommerce._create_order),
    ("POST", "/orders/batch", FakeWooCommerce._batch),
    ("GET", "/orders/statuses", FakeWooCommerce._list_statuses),
    ("GET", r"/orders/(\d+)", FakeWooCommerce._get_order),
    ("PUT", r"/orders/(\d+)", FakeWooCommerce._update_order),
    ("DELETE", r"/orders/(\d+)", FakeWooCommerce._delete_order),
    ("GET", r"/orders/(\d+)/notes", FakeWooCommerce._list_notes),
    ("POST", r"/orders/(\d+)/notes", FakeWooCommerce._create_note),
    ("GET", r"/orders/(\d+)/refunds", FakeWooCommerce._list_refunds),
    ("POST", r"/orders/(\d+)/refunds", FakeWooCommerce._create_refund),
    ("GET", "/payment_gateways", FakeWooCommerce._list_gateways),
    ("GET", r"/payment_gateways/([\w-]+)", FakeWooCommerce._get_gateway),
    ("GET", "/reports/orders/totals", FakeWooCommerce._report_totals),
    ("GET", "/system_status", FakeWooCommerce._system_status),
    ("GET", "/webhooks", FakeWooCommerce._list_webhooks),
    ("POST", "/webhooks", FakeWooCommerce._create_webhook),
    ("GET", r"/webhooks/(\d+)", FakeWooCommerce._get_webhook),
    ("PUT", r"/webhooks/(\d+)", FakeWooCommerce._update_webhook),
)

DEMO_CUSTOMER = {
    "first_name": "Erika",
    "last_name": "Mustermann",
    "address_1": "Heidestraße 17",
    "postcode": "51147",
    "city": "Köln",
    "country": "DE",
    "email": "erika.mustermann@example.org",
    "phone": "+49 221 0000",
}
DEMO_LINES = ({"name": "Grimms Märchen, 1912", "quantity": 1, "price": "33.53"},)

FAILURES: dict[str, tuple[int, str, str, dict[str, str]]] = {
    "500": (500, "application/json", '{"code":"internal_server_error","message":"Oops"}', {}),
    "503": (503, "text/html", "<!DOCTYPE html><h1>Maintenance</h1>", {"Retry-After": "600"}),
    "429": (429, "application/json", '{"code":"rate_limited"}', {"Retry-After": "7"}),
    "html": (200, "text/html", "<!DOCTYPE html><title>Just a moment</title>", {}),
    "firewall": (403, "text/html", "<html><body>Access denied by firewall</body></html>", {}),
    "redirect": (301, "text/html", "", {"Location": "https://elsewhere.example.org/wp-json/"}),
    "cut": (200, "application/json", "", {}),
    "notice": (200, "application/json", "", {}),
    "hang": (200, "", "", {}),
    "drop": (200, "", "", {}),
}
NOTICE = (
    "<br />\n<b>Notice</b>:  Undefined index: [key] in <b>/x/{y}.php</b> on line <b>3</b><br />\n"
)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    fake: FakeWooCommerce

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no news."""


class _Visit(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._visit("GET")

    def do_POST(self) -> None:
        self._visit("POST")

    def do_PUT(self) -> None:
        self._visit("PUT")

    def do_DELETE(self) -> None:
        self._visit("DELETE")

    def _visit(self, method: str) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(413, "text/plain", b"Too large.")
            return
        body = self.rfile.read(int(length))
        parts = urlsplit(self.path)
        fake = self.server.fake
        fake.requests.append(f"{method} {self.path}")
        if fake.demo and parts.path in ("/", "/_demo/orders") and "rest_route=" not in parts.query:
            self._visit_demo(method, parts.path, body)
            return
        route = self._route(parts.path, dict(parse_qsl(parts.query)))
        if route is None:
            self._visit_nothing(parts.path)
            return
        self._visit_api(method, route, body)

    def _route(self, path: str, query: Mapping[str, str]) -> str | None:
        """What follows /wc/v3, or None when this is no address of the API."""
        for prefix in (f"/wp-json{API}", API):
            found = path if prefix != API else query.get("rest_route", "")
            if prefix != API and self.server.fake.plain_permalinks:
                continue
            if found.startswith(f"{prefix}/"):
                return found[len(prefix) :].rstrip("/")
        return None

    def _visit_nothing(self, path: str) -> None:
        if self.server.fake.plain_permalinks and path.startswith("/wp-json"):
            place = f"{self.server.fake.url}{path.rstrip('/')}/"
            self._send(301, "text/html", b"", {"Location": place})
        else:
            self._send(404, "text/html", b"<!DOCTYPE html><title>Page not found</title>")

    def _visit_api(self, method: str, route: str, body: bytes) -> None:
        fake = self.server.fake
        failure = fake.next_failure()
        if failure in ("hang", "drop"):
            if failure == "hang":
                fake.hang.wait(30)
            self.close_connection = True
            return
        if failure is not None and failure not in ("cut", "notice"):
            status, kind, text, headers = FAILURES[failure]
            self._send(status, kind, text.encode(), headers)
            return
        reply = self._reply(method, route, body)
        raw = _php_json(reply.body)
        if failure == "cut":
            raw = raw[: len(raw) // 2]
        elif failure == "notice":
            raw = NOTICE.encode() + raw
        headers = {"Link": f'<{fake.url}/wp-json/>; rel="https://api.w.org/"'}
        if reply.total is not None:
            headers |= {"X-WP-Total": str(reply.total), "X-WP-TotalPages": str(reply.pages)}
        if reply.location:
            headers["Location"] = reply.location
        self._send(reply.status, "application/json; charset=UTF-8", raw, headers)

    def _reply(self, method: str, route: str, body: bytes) -> Reply:
        fake = self.server.fake
        scheme = "https" if fake.secure else "http"
        url = f"{scheme}://{self.headers.get('Host', '')}{self.path}"
        key = fake.login.check(Call(method, url, dict(self.headers.items())))
        if isinstance(key, Refused):
            return Problem(401, key.code, key.message).reply
        if key is None:
            return _nobody(method, route)
        try:
            content = json.loads(body) if body else None
        except (ValueError, RecursionError):
            more = {"json_error_code": 4, "json_error_message": "Syntax error"}
            return Problem(400, "rest_invalid_json", "Invalid JSON body passed.", more).reply
        query = dict(parse_qsl(urlsplit(self.path).query))
        return fake.answer(Asked(method, route, query, content))

    def _visit_demo(self, method: str, path: str, body: bytes) -> None:
        """A form may only come from this page, JSON from programs: browsers ask before JSON."""
        fake = self.server.fake
        if method == "GET" and path == "/":
            text = page(fake.name, fake.demo_orders())
            self._send(200, "text/html; charset=utf-8", text.encode())
        elif method == "GET":
            self._send(200, "application/json", json.dumps(fake.demo_orders()).encode())
        elif method == "POST" and path != "/":
            self._demo_order(body)
        else:
            self._send(405, "text/plain", b"GET or POST.")

    def _demo_order(self, body: bytes) -> None:
        fake = self.server.fake
        is_json = self.headers.get("Content-Type", "").startswith("application/json")
        origin = self.headers.get("Origin")
        if not is_json and origin not in (None, f"http://{self.headers.get('Host')}"):
            self._send(403, "text/plain", b"Not from here.")
            return
        try:
            wanted = json.loads(body or b"{}") if is_json else {}
            order_id = fake.add_order(**_object(wanted))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, Problem):
            self._send(400, "text/plain", b"This is no order.")
            return
        if is_json:
            made = json.dumps(_copy(fake.orders[int(order_id)])).encode()
            self._send(201, "application/json", made)
        else:
            self._send(303, "text/plain", b"", {"Location": "/"})

    def _send(
        self, status: int, kind: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response_only(status)
        skew = self.server.fake.login.skew_seconds
        self.send_header("Date", formatdate(time.time() + skew, usegmt=True))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: what matters is in ``FakeWooCommerce.requests``."""


def _nobody(method: str, route: str) -> Reply:
    """What a request without a valid key is told; an unknown key is told the same."""
    if method == "GET":
        is_one = re.fullmatch(r".*/\d+", route)
        text = "view this resource" if is_one else "list resources"
        code = "woocommerce_rest_cannot_view"
        return Problem(401, code, f"Sorry, you cannot {text}.").reply
    verb = {"POST": "create", "PUT": "edit", "DELETE": "delete"}[method]
    text = f"Sorry, you are not allowed to {verb} this resource."
    return Problem(401, f"woocommerce_rest_cannot_{verb}", text).reply


def _invalid_id(status: int) -> Problem:
    text = "Invalid ID." if status == 404 else "ID is invalid."
    return Problem(status, "woocommerce_rest_shop_order_invalid_id", text)


def _bad(name: str, text: str, code: str = "") -> Problem:
    extra: Json = {"params": {name: text}, "details": {}}
    if code:
        extra["details"] = {name: {"code": code, "message": text, "data": None}}
    return Problem(400, "rest_invalid_param", f"Invalid parameter(s): {name}", extra)


def _object(value: Any) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _bad("body", "body is not of type object.")
    return value


def _check_billing(wanted: Mapping[str, Any]) -> None:
    billing = wanted.get("billing", {})
    mail = billing.get("email") if isinstance(billing, dict) else None
    if mail is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", str(mail)):
        raise _bad("billing", "Invalid email address.", "rest_invalid_email")


def _check_status(wanted: Mapping[str, Any]) -> None:
    if "status" in wanted and wanted["status"] not in STATUSES:
        text = f"status is not one of {_joined(['auto-draft', *STATUSES])}."
        raise _bad("status", text, "rest_not_in_enum")


def _is_asked_for(order: Json, query: Mapping[str, str]) -> bool:
    """The filters of a list. A name that is not here is ignored, as the real one does."""
    if not _has_asked_status(order, query.get("status", "any")):
        return False
    if "include" in query and str(order["id"]) not in query["include"].split(","):
        return False
    if "exclude" in query and str(order["id"]) in query["exclude"].split(","):
        return False
    if "customer" in query and str(order["customer_id"]) != query["customer"]:
        return False
    if "created_via" in query and order["created_via"] not in query["created_via"].split(","):
        return False
    if "search" in query and not _contains(order, query["search"]):
        return False
    return _is_in_time(order, query)


def _has_asked_status(order: Json, wanted: str) -> bool:
    asked = wanted.split(",")
    allowed = ["any", TRASH, "auto-draft", *STATUSES]
    for at, status in enumerate(asked):
        if status not in allowed:
            text = f"status[{at}] is not one of {_joined(allowed)}."
            raise _bad("status", text, "rest_not_in_enum")
    if "any" in asked:
        return order["status"] not in (TRASH, "checkout-draft", "auto-draft")
    return order["status"] in asked


def _is_in_time(order: Json, query: Mapping[str, str]) -> bool:
    """All four limits are exclusive and to the second; without a zone they are local time."""
    in_gmt = query.get("dates_are_gmt") == "true"
    for name, date, is_after in (
        ("modified_after", "date_modified", True),
        ("modified_before", "date_modified", False),
        ("after", "date_created", True),
        ("before", "date_created", False),
    ):
        if name not in query:
            continue
        try:
            if "T" not in query[name]:
                raise ValueError
            limit = datetime.fromisoformat(query[name])
        except ValueError:
            raise _bad(name, "Invalid date.", "rest_invalid_date") from None
        key = date if limit.tzinfo is None and not in_gmt else f"{date}_gmt"
        if limit.tzinfo is not None:
            limit = limit.astimezone(UTC).replace(tzinfo=None)
        value = datetime.fromisoformat(order[key])
        if not (value > limit if is_after else value < limit):
            return False
    return True


def _contains(order: Json, text: str) -> bool:
    """Number plugins put their numbers among what the search looks through."""
    numbers = [meta["value"] for meta in order["meta_data"] if "order_number" in meta["key"]]
    addresses = (*order["billing"].values(), *order["shipping"].values())
    places = (order["id"], order["number"], *numbers, *addresses)
    return any(text.lower() in str(place).lower() for place in places)


def _sorted(rows: list[Json], query: Mapping[str, str]) -> list[Json]:
    by = query.get("orderby", "date")
    if by not in ORDER_BY:
        text = f"orderby is not one of {_joined(ORDER_BY)}."
        raise _bad("orderby", text, "rest_not_in_enum")
    key = {"date": "date_created_gmt", "modified": "date_modified_gmt"}.get(by, "id")
    newest_first = query.get("order", "desc") == "desc"
    return sorted(rows, key=lambda order: (order[key], order["id"]), reverse=newest_first)


def _shown(order: Json, query: Mapping[str, str]) -> Json:
    return _only(_copy(order), query)


def _only(body: Json, query: Mapping[str, str]) -> Json:
    """``_fields`` keeps these keys; the links stay as well."""
    if "_fields" not in query:
        return body
    kept = {*query["_fields"].split(","), "_links"}
    return {key: value for key, value in body.items() if key in kept}


def _whole(query: Mapping[str, str], name: str, default: int, most: int | None) -> int:
    text = query.get(name, str(default))
    number = int(text) if re.fullmatch(r"-?\d{1,9}", text) else 0
    if number < 1 or (most is not None and number > most):
        if most is None:
            raise _bad(name, f"{name} must be greater than or equal to 1", "rest_out_of_bounds")
        limits = f"{name} must be between 1 (inclusive) and {most} (inclusive)"
        raise _bad(name, limits, "rest_out_of_bounds")
    return number


def _put_meta(order: Json, wanted: Sequence[Mapping[str, Any]], ids: Any) -> None:
    for meta in wanted:
        entry = next((each for each in order["meta_data"] if each["key"] == meta["key"]), None)
        if entry is not None:
            entry["value"] = meta.get("value")
        else:
            made = {"id": next(ids), "key": str(meta["key"]), "value": meta.get("value")}
            order["meta_data"].append(made)


def _dates(name: str, moment: float | None, utc_offset: timedelta) -> Json:
    if moment is None:
        return {name: None, f"{name}_gmt": None}
    dates: Json = {}
    set_date(dates, name.removeprefix("date_"), datetime.fromtimestamp(moment, UTC), utc_offset)
    return dates


def _joined(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])}, and {words[-1]}"


def _php_json(value: Any) -> bytes:
    """JSON as PHP prints it: no blanks, everything else than ASCII escaped, and slashes too."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the shop until SIGTERM or SIGINT. Prints its address as the first line."""
    parser = argparse.ArgumentParser(description="A WooCommerce shop for demonstrations.")
    parser.add_argument("--port", type=int, default=0, help="0 finds a free one")
    parser.add_argument("--webhook", help="send order webhooks to this address")
    parser.add_argument("--secret", default=WEBHOOK_SECRET, help="the secret of the webhooks")
    parser.add_argument("--consumer-key", default=CONSUMER_KEY)
    parser.add_argument("--consumer-secret", default=CONSUMER_SECRET)
    parser.add_argument("--name", help="the shop's name on its page")
    parser.add_argument("--state", type=Path, help="keep the orders in this file")
    arguments = parser.parse_args(argv)
    keys = {arguments.consumer_key: Key(arguments.consumer_secret)}
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    fake = FakeWooCommerce(arguments.port, keys=keys, demo=True, state=arguments.state)
    fake.name = arguments.name or fake.name
    with fake:
        for topic in TOPICS if arguments.webhook else ():
            fake.add_webhook(topic, arguments.webhook, arguments.secret)
        sys.stdout.write(f"{fake.url}\n")
        sys.stdout.flush()
        while not stop.wait(60):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
