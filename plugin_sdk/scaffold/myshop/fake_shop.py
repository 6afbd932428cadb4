"""A shop on loopback that answers as MyShop does. Make it as odd as your shop really is.

python -m plugin_sdk.scaffold.myshop.fake_shop --settings kontor.toml
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from plugin_sdk.testing.fake_shop import Asked, FakeShop, Refusal, Reply, serve

KEY = "key-of-the-fake-shop"
WEBHOOK_KEY = "key-of-the-fake-webhooks"
METHODS = {"bank_transfer": "Bank transfer", "card": "Card"}
STATUSES = {"open": "Open", "paid": "Paid", "done": "Done", "cancelled": "Cancelled"}


class FakeMyShop(FakeShop):
    """``orders`` by id, to look at and to change; ``keys`` with what each may do."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.orders: dict[str, dict[str, Any]] = {}
        self.keys = {KEY: ["read_orders", "write_orders"]}
        self._last_id = 1000

    def settings(self) -> dict[str, str]:
        """The settings of a connector that may come in."""
        return {"shop_url": self.url, "access_key": KEY, "webhook_secret": WEBHOOK_KEY}

    def answer(self, asked: Asked) -> Reply:
        permissions = self.keys.get(asked.headers.get("authorization", "").removeprefix("Bearer "))
        if permissions is None:
            raise Refusal(401, "unknown_key", "This key is unknown.")
        one = re.fullmatch(r"/api/orders/([^/]+)", asked.path)
        if one:
            return self._answer_order(asked, one[1], permissions)
        if asked.method == "GET" and asked.path == "/api/orders":
            return self._answer_list(asked)
        if asked.method == "GET" and asked.path == "/api/shop":
            self.only(asked)
            return Reply(200, self._about(permissions))
        raise Refusal(404, "unknown_address")

    def _answer_order(self, asked: Asked, order_id: str, permissions: list[str]) -> Reply:
        self.only(asked)
        order = self.orders.get(order_id)
        if order is None:
            raise Refusal(404, "unknown_order", "There is no such order.")
        if asked.method == "PUT":
            if "write_orders" not in permissions:
                raise Refusal(403, "missing_permission", "This key may only read.")
            if asked.body["status"] not in STATUSES:
                raise Refusal(400, "unknown_status")
            self.set_status(order_id, asked.body["status"])
        return Reply(200, dict(order))

    def _answer_list(self, asked: Asked) -> Reply:
        self.only(asked, "changed_since", "number", "page", "per_page")
        since = datetime.fromisoformat(asked.query.get("changed_since", "1970-01-01T00:00+00:00"))
        number = asked.query.get("number")
        rows = [
            order
            for order in self.orders.values()
            if datetime.fromisoformat(order["changed_at"]) >= since
            and number in (None, order["number"])
        ]
        rows.sort(key=lambda order: (order["changed_at"], order["id"]))
        size = int(asked.query.get("per_page", 50))
        start = (int(asked.query.get("page", 1)) - 1) * size
        return Reply(200, [dict(row) for row in rows[start : start + size]])

    def _about(self, permissions: list[str]) -> dict[str, Any]:
        return {
            "version": "4.2",
            "currency": "EUR",
            "permissions": permissions,
            "payment_methods": [{"code": code, "name": name} for code, name in METHODS.items()],
            "statuses": [{"code": code, "name": name} for code, name in STATUSES.items()],
        }

    # What happens in the shop

    def add_order(
        self, *, name: str = "Mustermann", item: str = "Buch", total: str = "39.90"
    ) -> str:
        """A customer orders and will pay by bank transfer; returns the order's id."""
        with self.lock:
            self._last_id += 1
            at = self._stamp()
            self.orders[str(self._last_id)] = {
                "id": str(self._last_id),
                "number": f"MS-{self._last_id}",
                "status": "open",
                "created_at": at,
                "changed_at": at,
                "currency": "EUR",
                "total": total,
                "payment_method": "bank_transfer",
                "customer": {
                    "email": "erika.mustermann@example.org",
                    "first_name": "Erika",
                    "last_name": name,
                    "street": "Heidestraße 17",
                    "postcode": "51147",
                    "city": "Köln",
                    "country": "DE",
                },
                "items": [{"name": item, "quantity": 1, "sku": "B-1"}],
            }
            return str(self._last_id)

    def decorate(self, order_id: str, fields: Mapping[str, Any]) -> None:
        """A plugin of the shop adds fields that no documentation has."""
        self.orders[order_id].update(fields)

    def set_status(self, order_id: str, status: str) -> None:
        """Somebody in the shop changes an order."""
        with self.lock:
            self.orders[order_id] |= {"status": status, "changed_at": self._stamp()}

    def status_of(self, order_id: str) -> str:
        """The order's status now."""
        return str(self.orders[order_id]["status"])

    def delete(self, order_id: str) -> None:
        """Delete an order for good."""
        del self.orders[order_id]

    def delivery(self, topic: str, order_id: str) -> tuple[dict[str, str], bytes]:
        """Headers and body of a webhook as it would be delivered now."""
        body = json.dumps({"topic": topic, "id": order_id}).encode()
        proof = hmac.new(WEBHOOK_KEY.encode(), body, hashlib.sha256).hexdigest()
        return {"Content-Type": "application/json", "X-Signature": proof}, body

    def _stamp(self) -> str:
        return self.now().isoformat(timespec="seconds")


if __name__ == "__main__":
    serve(FakeMyShop, "plugin_sdk.scaffold.myshop:MyShop")
