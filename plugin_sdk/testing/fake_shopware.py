"""A Shopware 6 shop on loopback that answers as a real 6.6.7 was seen to answer.

A real HTTP server, so that a connector is tested with everything between it and its shop. What
trips connectors up is there on purpose: "paid" that is no action where an order was reminded, an
``updatedAt`` that stays null, payments that replace each other, associations that are null unless
asked for, drafts that look like orders in webhooks, mails that are sent unless one says no, tokens
that run out. ``version`` makes it an older or a newer one.

As a process, for demonstrations:
    python -m plugin_sdk.testing.fake_shopware --port 8092 --webhook URL --secret SECRET
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from plugin_sdk.testing.fake_shop import Asked, FakeShop, Reply
from plugin_sdk.testing.shopware_api import Api
from plugin_sdk.testing.shopware_app import Installed, install, read_manifest
from plugin_sdk.testing.shopware_login import Integration, Logins
from plugin_sdk.testing.shopware_orders import LIVE, Json
from plugin_sdk.testing.shopware_page import page
from plugin_sdk.testing.shopware_shop import Mail, Store
from plugin_sdk.testing.shopware_webhooks import (
    Event,
    Source,
    Webhook,
    delivery_of,
    entity_event,
    order_event,
    send,
)

CLIENT_ID = "SWIADEMODEMODEMODEMODEMO42"
CLIENT_SECRET = "demo-secret-access-key"  # noqa: S105 - opens a shop of this machine only
APP_SECRET = "demo-app-secret"  # noqa: S105 - as above
SHOP_ID = "DemoShopDemoShop"
VERSION = "6.6.7.0"
ENTITY_EVENTS = {"order.written": "update", "order.deleted": "delete"}
EVENTS = (
    "checkout.order.placed",
    "order.written",
    "order.deleted",
    "state_enter.order_transaction.state.paid",
    "state_enter.order_transaction.state.open",
    "state_enter.order_transaction.state.cancelled",
)
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
DEMO_CUSTOMER = {
    "firstName": "Erika",
    "lastName": "Mustermann",
    "street": "Heidestraße 17",
    "zipcode": "51147",
    "city": "Köln",
    "country": "DE",
    "email": "erika.mustermann@example.org",
    "phoneNumber": "+49 221 0000",
}
DEMO_ORDER: Json = {
    "payment_method": "payment_prepayment",
    "billing": DEMO_CUSTOMER,
    "line_items": ({"label": "Grimms Märchen, 1912", "quantity": 1, "price": "39.90"},),
}


class FakeShopware(FakeShop):
    """Start it, talk to it, look inside, stop it; a context manager does the first and the last.

    ``integrations``: client id to Integration. ``mails``: what the shop's own flows mailed to
    customers. ``demo`` opens the page at / and the control API at /_demo/orders. ``state``: a file
    that keeps the orders over a restart.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        version: str = VERSION,
        integrations: Mapping[str, Integration] | None = None,
        demo: bool = False,
        state: Path | None = None,
    ) -> None:
        super().__init__(port)
        self.name = "Annas Antiquariat"
        self.demo = demo
        self.store = Store(now=self.now, version=version, lock=self.lock)
        given = dict(integrations or {CLIENT_ID: Integration(CLIENT_SECRET)})
        self.logins = Logins(given, self.now)
        self.api = Api(self.store, self.logins, self.unexpected)
        self._state = state
        if state is not None and state.exists():
            self._load(state)

    # For tests

    @property
    def orders(self) -> dict[str, Json]:
        """The orders by id, to look at and to change."""
        return self.store.orders

    @property
    def mails(self) -> list[Mail]:
        """What the shop mailed to customers because nobody said no."""
        return self.store.mails

    @property
    def webhooks(self) -> list[Webhook]:
        """Who is told of what happens."""
        return self.api.webhooks

    def settings(self) -> Mapping[str, str]:
        return {
            "shop_url": self.url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "webhook_secret": APP_SECRET,
        }

    def add_order(self, **wanted: Any) -> str:
        """An order as a customer makes it at the checkout; returns its id.

        ``billing`` and ``shipping`` (fields of an address, ``country`` as its code, ``email``),
        ``line_items`` (``label quantity price number type``), ``payment_method`` (None: without a
        payment), ``total`` (if it is not the sum of the lines), ``currency tax_status number
        language sales_channel vat_ids customer_number tracking_numbers``.
        """
        order = self.store.create(DEMO_ORDER | wanted)
        self._tell()
        return str(order["id"])

    def set_status(self, order_id: str, status: str) -> None:
        """Somebody in the shop sets the state of the active payment."""
        with self.lock:
            order = self.orders[order_id]
            self.store.enter(order, "order_transaction", self.store.active(order), status)
        self._tell()

    def status_of(self, order_id: str) -> str:
        """The state of the active payment now."""
        return str(self.payment_of(order_id)["stateMachineState"]["technicalName"])

    def set_order_state(self, order_id: str, state: str) -> None:
        """Somebody in the shop sets the state of the order itself."""
        with self.lock:
            order = self.orders[order_id]
            self.store.enter(order, "order", order, state)
        self._tell()

    def payment_of(self, order_id: str) -> Json:
        """The order_transaction that counts."""
        return self.store.active(self.orders[order_id])

    def change_method(self, order_id: str, method: str) -> None:
        """The customer chooses another payment method after the order."""
        with self.lock:
            order = self.orders[order_id]
            self.store.add_payment(order, method)
            self.store.touch(order)
            changed = "checkout.order.payment_method.changed"
            self.store.events.append(order_event(changed, order))
        self._tell()

    def touch(self, order_id: str) -> None:
        """Somebody saves the order without changing anything that matters."""
        with self.lock:
            self.store.touch(self.orders[order_id])
        self._tell()

    def decorate(self, order_id: str, fields: Mapping[str, Any]) -> None:
        """A plugin adds fields to an order."""
        self.orders[order_id].update(fields)

    def delete(self, order_id: str) -> None:
        """Delete an order for good; there is no trash."""
        with self.lock:
            if self.orders.pop(order_id, None) is not None:
                self.store.events.append(entity_event("order.deleted", order_id, "delete"))
        self._tell()

    def add_document(self, order_id: str, number: str, kind: str = "invoice") -> Json:
        """The merchant makes a document: ``invoice storno credit_note delivery_note``."""
        made = self.store.add_document(self.orders[order_id], kind, number, PDF)
        self._tell()
        return made

    def open_draft(self, order_id: str) -> str:
        """Somebody begins to edit the order; returns the version of the draft."""
        version = self.store.open_draft(order_id)
        self._tell()
        return version

    def pass_time(self, seconds: float) -> None:
        """Stop the clock so much later than now."""
        self.freeze(self.now() + timedelta(seconds=seconds))

    def add_webhook(self, event: str, url: str, secret: str | None = APP_SECRET) -> None:
        """A webhook of the app; without a secret one of an integration."""
        only_live = secret is not None
        self.webhooks.append(Webhook(event, url, secret, only_live))

    def install_app(
        self, manifest: str, *, url: str | None = None, before: Installed | None = None
    ) -> Installed:
        """Register an app by the text of its manifest; ``before``: again. Raises Refused.

        ``url``: the address that the shop gives as its own, where it has moved.
        """
        now = int(self.now().timestamp())
        app = install(read_manifest(manifest), SHOP_ID, url or self.url, now, before)
        with self.lock:
            if before is not None:
                self.logins.integrations.pop(before.client_id, None)
                self.webhooks[:] = [each for each in self.webhooks if each.secret != before.secret]
            self.logins.integrations[app.client_id] = app.integration
            self.webhooks.extend(app.webhooks())
        return app

    def delivery(
        self, topic: str, order_id: str, secret: str | None = APP_SECRET, version: str = LIVE
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of an event as it would be delivered now."""
        if topic in ENTITY_EVENTS:
            event = entity_event(topic, order_id, ENTITY_EVENTS[topic], version)
        else:
            event = order_event(topic, self.orders[order_id])
        return delivery_of(Webhook(topic, "", secret), event, self._source(), self.now())

    # For the server

    def answer(self, asked: Asked) -> Reply:
        if self.demo and asked.path in ("/", "/_demo/orders"):
            return self._demo(asked)
        return self.api.answer(asked)

    def is_write(self, asked: Asked) -> bool:
        searches = ("/api/search/", "/api/oauth/token", "/_demo/")
        return asked.method != "GET" and not asked.path.startswith(searches)

    def respond(self, asked: Asked) -> tuple[str, Reply]:
        failure, reply = super().respond(asked)
        self._tell()
        return failure, reply

    def server_date(self) -> str:
        moment = self.now() + timedelta(seconds=self._skew_seconds)
        return format_datetime(moment, usegmt=True)

    def _tell(self) -> None:
        """Send what happened: before the request is answered, but while nobody waits for a lock."""
        with self.lock:
            events, self.store.events = self.store.events, []
            if events and self._state is not None:
                self._save(self._state)
        for event in events:
            for webhook in list(self.webhooks):
                if _is_for(webhook, event):
                    send(webhook.url, *delivery_of(webhook, event, self._source(), self.now()))

    def _source(self) -> Source:
        return Source(self.url, SHOP_ID, self.store.version)

    # The demonstration

    def _demo(self, asked: Asked) -> Reply:
        """A form may only come from this page, JSON from programs: browsers ask before JSON."""
        orders = [*reversed(self.orders.values())]
        if asked.method == "GET":
            return Reply(200, page(self.name, orders).encode() if asked.path == "/" else orders)
        if asked.method != "POST" or asked.path == "/":
            return Reply(405, b"GET or POST.")
        is_json = asked.headers.get("content-type", "").startswith("application/json")
        origin = asked.headers.get("origin")
        if not is_json and origin not in (None, f"http://{asked.headers.get('host')}"):
            return Reply(403, b"Not from here.")
        wanted = asked.body if is_json and isinstance(asked.body, dict) else {}
        try:
            order = self.store.create(DEMO_ORDER | wanted)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
            return Reply(400, b"This is no order.")
        if is_json:
            return Reply(201, order)
        return Reply(303, b"", {"Location": "/"})

    def _save(self, state: Path) -> None:
        content = {"orders": list(self.orders.values())}
        beside = state.with_name(state.name + ".new")
        beside.write_text(json.dumps(content), encoding="utf-8")
        beside.replace(state)

    def _load(self, state: Path) -> None:
        content = json.loads(state.read_text(encoding="utf-8"))
        for order in content["orders"]:
            self.orders[order["id"]] = order
        behind = max((order["autoIncrement"] for order in content["orders"]), default=0)
        self.store.numbers = itertools.count(behind + 1)


def _is_for(webhook: Webhook, event: Event) -> bool:
    return webhook.event == event.name and not (webhook.only_live and event.version != LIVE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the shop until SIGTERM or SIGINT. Prints its address as the first line."""
    parser = argparse.ArgumentParser(description="A Shopware 6 shop for demonstrations.")
    parser.add_argument("--port", type=int, default=0, help="0 finds a free one")
    parser.add_argument("--webhook", help="send the app's events to this address")
    parser.add_argument("--secret", default=APP_SECRET, help="the secret that signs them")
    parser.add_argument("--client-id", default=CLIENT_ID)
    parser.add_argument("--client-secret", default=CLIENT_SECRET)
    parser.add_argument("--shop-version", default=VERSION)
    parser.add_argument("--name", help="the shop's name on its page")
    parser.add_argument("--state", type=Path, help="keep the orders in this file")
    arguments = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    fake = FakeShopware(
        arguments.port,
        version=arguments.shop_version,
        integrations={arguments.client_id: Integration(arguments.client_secret)},
        demo=True,
        state=arguments.state,
    )
    fake.name = arguments.name or fake.name
    for event in EVENTS if arguments.webhook else ():
        fake.add_webhook(event, arguments.webhook, arguments.secret)
    with fake:
        sys.stdout.write(f"{fake.url}\n")
        sys.stdout.flush()
        while not stop.wait(60):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
