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
import signal
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from plugin_sdk.testing.webhook_sender import Webhook, WebhookSender, signed_headers
from plugin_sdk.testing.woocommerce_answers import Asked, copy_of
from plugin_sdk.testing.woocommerce_api import GATEWAYS, TOPICS, Api
from plugin_sdk.testing.woocommerce_authorize import Authorize
from plugin_sdk.testing.woocommerce_http import FAILURES, Server, Visit
from plugin_sdk.testing.woocommerce_login import Key, Login
from plugin_sdk.testing.woocommerce_orders import Json, enter_status, links, refresh
from plugin_sdk.testing.woocommerce_shop import Shop, body_builder

CONSUMER_KEY = "ck_demo"
CONSUMER_SECRET = "cs_demo"  # noqa: S105 - opens a shop that exists on this machine only
WEBHOOK_SECRET = "demo-webhooks"  # noqa: S105 - as above
STATUS_AT_CHECKOUT = {"bacs": "on-hold", "cheque": "on-hold", "cod": "processing"}


@dataclass(slots=True)
class _Failure:
    kind: str
    times: int


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
        self.authorize = Authorize(self.login.keys)
        self.sender = WebhookSender(lambda: self.url, "11.0.1")
        self.shop = Shop(url=lambda: self.url, sender=self.sender)
        self.name = "Annas Antiquariat"
        self.demo = demo
        self.plain_permalinks = plain_permalinks
        self.secure = tls is not None if secure is None else secure
        self.api = Api(self.shop)
        self.requests: deque[str] = deque(maxlen=1000)
        self.hang = threading.Event()
        self._scheme = "https" if tls else "http"
        self._failures: list[_Failure] = []
        self._server = Server(("127.0.0.1", port), Visit)
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

    def settings(self) -> dict[str, str]:
        """The settings of a connector that may come in."""
        return {
            "shop_url": self.url,
            "consumer_key": CONSUMER_KEY,
            "consumer_secret": CONSUMER_SECRET,
            "webhook_secret": WEBHOOK_SECRET,
        }

    @property
    def unexpected(self) -> list[str]:
        """Requests with parameters that WooCommerce's documentation does not have."""
        return self.api.unexpected

    @property
    def writes(self) -> deque[tuple[str, str, Any]]:
        """What was written by the API: method, path and body, the last thousand."""
        return self.api.writes

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
        self.api.answer(Asked("POST", path, {}, {"amount": amount, "api_refund": False}))

    def decorate(self, order_id: str, fields: Mapping[str, Any]) -> None:
        """A plugin adds fields to an order that no documentation has."""
        self.orders[int(order_id)].update(fields)

    def skew(self, seconds: int) -> None:
        """Set the shop's clock wrong."""
        self.login.skew_seconds = seconds

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
        return self.shop.add_webhook(topic, url, secret)

    def delivery(
        self, topic: str, order_id: str, secret: str = WEBHOOK_SECRET
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of a webhook as it would be delivered now."""
        body = body_builder(self.shop, topic, int(order_id))()
        webhook = Webhook(1, topic, topic, "", secret)
        return signed_headers(webhook, body, self.url, self.shop.version), body

    def fail(self, kind: str, times: int = 1) -> None:
        """Spoil the next ``times`` answers of the API.

        Kinds: 500, 503 (maintenance, HTML), 429 (Retry-After: 7), html (200), firewall (403 HTML),
        type (200, no JSON), empty (200, nothing),
        cut (half of the JSON), notice (PHP's words before the JSON), hang (no answer until
        ``hang`` is set), drop (hang up), redirect (to https).
        """
        if kind not in FAILURES:
            raise ValueError(f"{kind} is none of {', '.join(sorted(FAILURES))}")
        self._failures.append(_Failure(kind, times))

    def heal(self) -> None:
        """Forget the failures that were not met yet."""
        self._failures.clear()

    # Misbehaving

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

    # The demonstration

    def demo_orders(self) -> list[Json]:
        """The orders, newest first, for the page and the control API."""
        with self.shop.lock:
            return [copy_of(order) for order in reversed(self.orders.values())]

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
    fake.authorize.takes_http = True  # a demonstration has no certificate
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
