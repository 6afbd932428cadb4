"""WooCommerce's REST API v3 over a fake shop: what a program may ask for and change.

Authorised requests come in as values and go out as values; the HTTP around it is in
``woocommerce_http``.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from plugin_sdk.currencies import CURRENCIES
from plugin_sdk.testing.webhook_sender import Webhook
from plugin_sdk.testing.woocommerce_answers import (
    Asked,
    Problem,
    Reply,
    bad,
    copy_of,
    invalid_id,
    joined,
    object_of,
)
from plugin_sdk.testing.woocommerce_lists import list_orders, only, shown, whole
from plugin_sdk.testing.woocommerce_orders import (
    STATUSES,
    TRASH,
    Json,
    enter_status,
    money,
    set_date,
    set_paid,
)
from plugin_sdk.testing.woocommerce_shop import Shop

API = "/wc/v3"
TOPICS = ("order.created", "order.updated", "order.deleted", "order.restored")
HOOKS = {
    "order.created": ["woocommerce_new_order"],
    "order.updated": ["woocommerce_update_order", "woocommerce_order_refunded"],
    "order.deleted": ["wp_trash_post", "woocommerce_trash_order"],
    "order.restored": ["untrashed_post", "woocommerce_untrash_order"],
}
GATEWAYS = {
    "bacs": ("Direkte Banküberweisung", "Direct bank transfer"),
    "cheque": ("Scheck", "Check payments"),
    "cod": ("Nachnahme", "Cash on delivery"),
}
EVERYWHERE = frozenset({"_fields", "_embed", "_envelope", "_", "rest_route", "x", "context"})
LIST = frozenset({"page", "per_page", "search", "after", "before", "exclude", "include", "offset",
    "order", "orderby"})  # fmt: skip
DOCUMENTED = {
    "/orders": LIST | {"modified_after", "modified_before", "dates_are_gmt", "parent",
        "parent_exclude", "status", "customer", "product", "dp", "order_item_display_meta",
        "include_meta", "exclude_meta", "created_via"},
    "/webhooks": LIST | {"status"},
}  # fmt: skip
"""Parameters of lists that WooCommerce's documentation has. Others are ignored without a word, and
counted in ``Api.unexpected``. ``_`` is what programs add against caches.
"""
MAX_BATCH = 100
MAX_WRITES = 1000


class Api:
    """The routes of one shop. ``writes``: what was written by them, the last thousand.

    ``unexpected``: parameters that no documentation has.
    """

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.writes: deque[tuple[str, str, Any]] = deque(maxlen=MAX_WRITES)
        self.unexpected: list[str] = []

    def answer(self, asked: Asked) -> Reply:
        """The reply to an authorised request."""
        self._count_unexpected(asked)
        for method, pattern, reply in ROUTES:
            found = re.fullmatch(pattern, asked.path)
            if found and method == asked.method:
                with self._shop.lock:
                    if asked.method != "GET":
                        self.writes.append((asked.method, asked.path, asked.json))
                    try:
                        made = reply(self, asked, *found.groups())
                        self._shop.changed()
                        return made
                    except Problem as problem:
                        return problem.reply
        text = "No route was found matching the URL and request method."
        return Problem(404, "rest_no_route", text).reply

    def _count_unexpected(self, asked: Asked) -> None:
        known = EVERYWHERE | DOCUMENTED.get(asked.path, frozenset())
        log_in = ("oauth_", "consumer_")
        for name in asked.query:
            if name not in known and not name.startswith(log_in):
                self.unexpected.append(f"{asked.method} {asked.path}: {name}")

    def _list_orders(self, asked: Asked) -> Reply:
        return list_orders(self._shop.orders.values(), asked.query, hpos=self._shop.hpos)

    def _order(self, order_id: str, status: int) -> Json:
        order = self._shop.orders.get(int(order_id))
        if order is None:
            raise invalid_id(status)
        return order

    def _get_order(self, asked: Asked, order_id: str) -> Reply:
        return Reply(200, shown(self._order(order_id, 404), asked.query))

    def _create_order(self, asked: Asked) -> Reply:
        wanted = object_of(asked.json)
        _check_billing(wanted)
        _check_status(wanted)
        if wanted.get("currency") and wanted["currency"] not in CURRENCIES:
            text = f"currency is not one of {joined(sorted(CURRENCIES))}."
            raise bad("currency", text, "rest_not_in_enum")
        order = self._shop.create(wanted, ("order.created", "order.updated"))
        place = f"{self._shop.url()}/wp-json{API}/orders/{order['id']}"
        return Reply(201, copy_of(order), location=place)

    def _update_order(self, asked: Asked, order_id: str) -> Reply:
        order = self._order(order_id, 400)
        wanted = object_of(asked.json)
        _check_status(wanted)
        self._change(order, wanted)
        return Reply(200, copy_of(order))

    def _change(self, order: Json, wanted: Mapping[str, Any]) -> None:
        if self._shop.ignores_writes:
            return
        before = copy_of(order)
        for name in ("transaction_id", "customer_note", "payment_method", "payment_method_title"):
            if name in wanted:
                order[name] = str(wanted[name])
        for name in ("billing", "shipping"):
            order[name] |= wanted.get(name, {})
        _put_meta(order, wanted.get("meta_data", []), self._shop.line_ids)
        restored = order["status"] == TRASH and "status" in wanted
        if "status" in wanted:
            # Only a batch gets here with a status that there is not; it becomes "pending".
            status = wanted["status"] if wanted["status"] in STATUSES else "pending"
            enter_status(order, status, self._shop.now(), self._shop.utc_offset)
        if wanted.get("set_paid"):
            set_paid(order, self._shop.now(), self._shop.utc_offset)
        moved = any(order[key] != before[key] for key in ("status", "billing", "shipping"))
        if self._shop.hpos or moved:
            self._shop.touch(order)
        if order["status"] != before["status"]:
            old, new = STATUSES.get(before["status"], TRASH), STATUSES[order["status"]]
            self._note(order["id"], f"Order status changed from {old} to {new}.")
        if not (restored and self._shop.hpos):  # coming back by a PUT is told to nobody
            self._shop.tell("order.updated", order["id"])

    def _delete_order(self, asked: Asked, order_id: str) -> Reply:
        order = self._order(order_id, 404)
        before = copy_of(order)
        if asked.query.get("force", "").lower() in ("1", "true"):
            del self._shop.orders[order["id"]]
        elif order["status"] == TRASH:
            text = "The shop_order has already been deleted."
            raise Problem(410, "woocommerce_rest_already_trashed", text)
        else:
            self._shop.to_trash(order)
        return Reply(200, before)

    def _batch(self, asked: Asked) -> Reply:
        wanted = object_of(asked.json)
        updates = wanted.get("update", [])
        if len(updates) > MAX_BATCH:
            text = f"Unable to accept more than {MAX_BATCH} items for this request."
            raise Problem(413, "woocommerce_rest_request_entity_too_large", text)
        answers = []
        for update in updates:
            try:
                order = self._order(str(update.get("id")), 400)
                self._change(order, update)
                answers.append(copy_of(order))
            except Problem as problem:
                answers.append({"id": update.get("id"), "error": problem.reply.body})
        return Reply(200, {"update": answers} if answers else {})

    def _list_notes(self, asked: Asked, order_id: str) -> Reply:
        self._order(order_id, 404)
        return Reply(200, copy_of(self._shop.notes[int(order_id)][::-1]))

    def _create_note(self, asked: Asked, order_id: str) -> Reply:
        self._order(order_id, 404)
        wanted = object_of(asked.json)
        to_customer = bool(wanted.get("customer_note"))
        note = self._note(int(order_id), str(wanted.get("note", "")), to_customer=to_customer)
        place = f"{self._shop.url()}/wp-json{API}/orders/{order_id}/notes/{note['id']}"
        return Reply(201, copy_of(note), location=place)

    def _note(self, order_id: int, text: str, *, to_customer: bool = False) -> Json:
        base = f"{self._shop.url()}/wp-json{API}/orders/{order_id}"
        number = next(self._shop.line_ids)
        note: Json = {"id": number, "author": "WooCommerce"}
        note |= _dates("date_created", self._shop.clock(), self._shop.utc_offset)
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
        self._shop.notes[order_id].append(note)
        return note

    def _list_refunds(self, asked: Asked, order_id: str) -> Reply:
        found = [
            self._shown_refund(order_id, each) for each in self._order(order_id, 404)["refunds"]
        ]
        return Reply(200, found, total=len(found), pages=1 if found else 0)

    def _create_refund(self, asked: Asked, order_id: str) -> Reply:
        order = self._order(order_id, 404)
        wanted = object_of(asked.json)
        refused = "woocommerce_rest_cannot_create_order_refund"
        due = Decimal(order["total"]) + sum(Decimal(each["total"]) for each in order["refunds"])
        try:
            amount = Decimal(str(wanted.get("amount")))
        except InvalidOperation:
            raise bad("amount", "amount is not of type string.") from None
        if not 0 < amount <= due:
            raise Problem(500, refused, "Invalid refund amount.", 500)
        if wanted.get("api_refund", True):
            text = "The payment gateway for this order does not support automatic refunds."
            raise Problem(500, refused, text, 500)
        refund = {
            "id": self._shop.take_id(),
            "reason": str(wanted.get("reason", "")),
            "total": money(-amount),
            "total_tax": "0.00",
        }
        order["refunds"].append(refund)
        if amount == due:
            enter_status(order, "refunded", self._shop.now(), self._shop.utc_offset)
        self._shop.touch(order)
        self._shop.tell("order.updated", order["id"])
        return Reply(201, self._shown_refund(order_id, refund))

    def _shown_refund(self, order_id: str, refund: Mapping[str, Any]) -> Json:
        base = f"{self._shop.url()}/wp-json{API}/orders/{order_id}"
        shown: Json = {"id": refund["id"]}
        shown |= _dates("date_created", self._shop.clock(), self._shop.utc_offset)
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
        base = f"{self._shop.url()}/wp-json{API}/payment_gateways"
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
            "settings_url": f"{self._shop.url()}/wp-admin/admin.php?page=wc-settings&tab=checkout",
            "connection_url": None,
            "setup_help_text": None,
            "required_settings_keys": [],
            "_links": {
                "self": [{"href": f"{base}/{name}", "targetHints": {"allow": ["GET", "PUT"]}}],
                "collection": [{"href": base}],
            },
        }

    def _list_statuses(self, asked: Asked) -> Reply:
        if not self._shop.hpos:  # stands for the old versions, which did not have this route
            raise invalid_id(404)
        return Reply(200, [{"slug": slug, "name": name} for slug, name in STATUSES.items()])

    def _report_totals(self, asked: Asked) -> Reply:
        counts = [order["status"] for order in self._shop.orders.values()]
        rows = [
            {"slug": slug, "name": name, "total": counts.count(slug)}
            for slug, name in STATUSES.items()
        ]
        return Reply(200, rows)

    def _system_status(self, asked: Asked) -> Reply:
        body: Json = {
            "environment": {
                "home_url": self._shop.url(),
                "version": self._shop.version,
                "wp_version": "7.0.4",
                "wp_multisite": False,
                "php_version": "8.2.36",
                "default_timezone": "UTC",
            },
            "settings": {
                "currency": self._shop.currency,
                "number_of_decimals": 2,
                "HPOS_enabled": self._shop.hpos,
                "HPOS_sync_enabled": False,
            },
            "active_plugins": [
                {"plugin": "woocommerce/woocommerce.php", "version": self._shop.version}
            ],
        }
        return Reply(200, only(body, asked.query))

    def _list_webhooks(self, asked: Asked) -> Reply:
        per_page = whole(asked.query, "per_page", 10, 100)
        rows = [self._shown_webhook(each) for each in self._shop.webhooks.values()]
        return Reply(200, rows[:per_page], total=len(rows), pages=-(-len(rows) // per_page))

    def _get_webhook(self, asked: Asked, number: str) -> Reply:
        return Reply(200, self._shown_webhook(self._webhook(number)))

    def _create_webhook(self, asked: Asked) -> Reply:
        wanted = object_of(asked.json)
        topic = str(wanted.get("topic"))
        if topic not in TOPICS:
            code = "woocommerce_rest_shop_webhook_invalid_topic"
            raise Problem(400, code, "Webhook topic is required and must be valid.")
        made = self._shop.add_webhook(
            topic, str(wanted["delivery_url"]), str(wanted.get("secret", ""))
        )
        made.name = str(wanted.get("name") or topic)
        place = f"{self._shop.url()}/wp-json{API}/webhooks/{made.id}"
        return Reply(201, self._shown_webhook(made), location=place)

    def _update_webhook(self, asked: Asked, number: str) -> Reply:
        webhook = self._webhook(number)
        # Switching on again does not forget the failures: one more switches off again.
        webhook.status = str(object_of(asked.json).get("status", webhook.status))
        webhook.modified_at = self._shop.clock()
        return Reply(200, self._shown_webhook(webhook))

    def _webhook(self, number: str) -> Webhook:
        webhook = self._shop.webhooks.get(int(number))
        if webhook is None:
            raise Problem(404, "woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.")
        return webhook

    def _shown_webhook(self, webhook: Webhook) -> Json:
        base = f"{self._shop.url()}/wp-json{API}/webhooks"
        allow = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        shown: Json = {"id": webhook.id, "name": webhook.name, "status": webhook.status}
        resource, _, event = webhook.topic.partition(".")
        shown |= {"topic": webhook.topic, "resource": resource, "event": event}
        shown |= {"hooks": HOOKS[webhook.topic], "delivery_url": webhook.delivery_url}
        shown |= _dates("date_created", webhook.created_at, self._shop.utc_offset)
        shown |= _dates("date_modified", webhook.modified_at, self._shop.utc_offset)
        shown["_links"] = {
            "self": [{"href": f"{base}/{webhook.id}", "targetHints": {"allow": allow}}],
            "collection": [{"href": base}],
        }
        return shown


ROUTES: tuple[tuple[str, str, Callable[..., Reply]], ...] = (
    ("GET", "/orders", Api._list_orders),
    ("POST", "/orders", Api._create_order),
    ("POST", "/orders/batch", Api._batch),
    ("GET", "/orders/statuses", Api._list_statuses),
    ("GET", r"/orders/(\d+)", Api._get_order),
    ("PUT", r"/orders/(\d+)", Api._update_order),
    ("DELETE", r"/orders/(\d+)", Api._delete_order),
    ("GET", r"/orders/(\d+)/notes", Api._list_notes),
    ("POST", r"/orders/(\d+)/notes", Api._create_note),
    ("GET", r"/orders/(\d+)/refunds", Api._list_refunds),
    ("POST", r"/orders/(\d+)/refunds", Api._create_refund),
    ("GET", "/payment_gateways", Api._list_gateways),
    ("GET", r"/payment_gateways/([\w-]+)", Api._get_gateway),
    ("GET", "/reports/orders/totals", Api._report_totals),
    ("GET", "/system_status", Api._system_status),
    ("GET", "/webhooks", Api._list_webhooks),
    ("POST", "/webhooks", Api._create_webhook),
    ("GET", r"/webhooks/(\d+)", Api._get_webhook),
    ("PUT", r"/webhooks/(\d+)", Api._update_webhook),
)


def _check_billing(wanted: Mapping[str, Any]) -> None:
    billing = wanted.get("billing", {})
    mail = billing.get("email") if isinstance(billing, dict) else None
    if mail is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", str(mail)):
        raise bad("billing", "Invalid email address.", "rest_invalid_email")


def _check_status(wanted: Mapping[str, Any]) -> None:
    if "status" in wanted and wanted["status"] not in STATUSES:
        text = f"status is not one of {joined(['auto-draft', *STATUSES])}."
        raise bad("status", text, "rest_not_in_enum")


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
