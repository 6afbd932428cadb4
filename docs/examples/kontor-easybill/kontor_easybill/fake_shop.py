"""An easybill on loopback that answers as the published API v1 says.

python -m kontor_easybill.fake_shop --settings kontor.toml
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from plugin_sdk.testing.fake_shop import Asked, FakeShop, Refusal, Reply, serve

KEY = "key-of-the-fake-easybill"
BERLIN = ZoneInfo("Europe/Berlin")
LIST = ("limit", "page", "type", "is_draft", "is_archive", "customer_id", "project_id", "ref_id",
    "document_date", "paid_at", "title", "number", "cancel_id", "fulfillment_country",
    "vat_country", "shipping_country", "status")  # fmt: skip
MAX_LIMIT = 1000
PDF = b"%PDF-1.7\n% an invoice\n%%EOF\n"


class FakeEasybill(FakeShop):
    """``documents`` by id, ``payments`` in their order; ``plan``: requests a minute, None: any."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.documents: dict[int, dict[str, Any]] = {}
        self.payments: list[dict[str, Any]] = []
        self.requests_a_minute: int | None = None
        self._recent: deque[float] = deque()
        self._last_id = 5000

    def settings(self) -> dict[str, str]:
        """The settings of a connector that may come in."""
        return {"easybill_url": f"{self.url}/rest/v1", "easybill_key": KEY}

    def answer(self, asked: Asked) -> Reply:
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            raise Refusal(401, "401", "Invalid API key.")
        self._count_request()
        path = asked.path.removeprefix("/rest/v1")
        one = re.fullmatch(r"/documents/(\d+)(/pdf)?", path)
        if one and asked.method == "GET":
            self.only(asked)
            document = self._document(int(one[1]))
            if one[2]:
                return Reply(200, PDF, {"Content-Type": "application/pdf"})
            return Reply(200, dict(document))
        if path == "/documents" and asked.method == "GET":
            return self._answer_list(asked)
        if path == "/document-payments" and asked.method == "POST":
            return self._answer_payment(asked)
        raise Refusal(404, "404", "Not found.")

    def _count_request(self) -> None:
        now = self.now().timestamp()
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if self.requests_a_minute is not None and len(self._recent) >= self.requests_a_minute:
            raise Refusal(429, "429", "Too Many Requests")
        self._recent.append(now)

    def _document(self, number: int) -> dict[str, Any]:
        if number not in self.documents:
            raise Refusal(404, "404", "Document not found.")
        return self.documents[number]

    def _answer_list(self, asked: Asked) -> Reply:
        self.only(asked, *LIST)
        kinds = asked.query.get("type", "INVOICE").split(",")
        rows = [
            row
            for row in self.documents.values()
            if row["type"] in kinds
            and (asked.query.get("paid_at") != "null" or row["paid_at"] is None)
            and ("number" not in asked.query or row["number"] in asked.query["number"].split(","))
        ]
        limit = min(int(asked.query.get("limit", 100)), MAX_LIMIT)
        page = int(asked.query.get("page", 1))
        shown = rows[(page - 1) * limit : page * limit]
        body = {
            "page": page,
            "pages": -(-len(rows) // limit),
            "limit": limit,
            "total": len(rows),
            "items": [dict(row) for row in shown],
        }
        return Reply(200, body)

    def _answer_payment(self, asked: Asked) -> Reply:
        self.only(asked, "paid")
        payment = asked.body
        if not isinstance(payment, dict) or not isinstance(payment.get("amount"), int):
            raise Refusal(400, "400", "amount is missing.")
        document = self._document(payment["document_id"])
        kept = {"id": len(self.payments) + 1, "type": "", "is_overdue_fee": False, **payment}
        self.payments.append(kept)
        document["paid_amount"] += payment["amount"]
        if asked.query.get("paid") == "true" or document["paid_amount"] >= document["amount"]:
            document["paid_at"] = payment.get("payment_at") or self._stamp()[:10]
        document["edited_at"] = self._stamp()
        return Reply(201, kept)

    # What happens in the account

    def add_order(
        self, *, name: str = "Mustermann", item: str = "Buch", total: str = "39.90"
    ) -> str:
        """The merchant writes an invoice; returns its id."""
        with self.lock:
            self._last_id += 1
            at = self.now().astimezone(BERLIN)
            self.documents[self._last_id] = {
                "id": self._last_id,
                "type": "INVOICE",
                "number": f"RE-{self._last_id}",
                "external_id": None,
                "is_draft": False,
                "is_archive": False,
                "cancel_id": None,
                "created_at": self._stamp(),
                "edited_at": self._stamp(),
                "document_date": at.date().isoformat(),
                "due_date": (at.date() + timedelta(days=14)).isoformat(),
                "due_in_days": 14,
                "cash_allowance": None,
                "cash_allowance_days": None,
                "currency": "EUR",
                "amount": int(total.replace(".", "")),
                "paid_amount": 0,
                "paid_at": None,
                "customer_snapshot": {
                    "number": "10007",
                    "company_name": "",
                    "first_name": "Erika",
                    "last_name": name,
                    "street": "Heidestraße 17",
                    "zip_code": "51147",
                    "city": "Köln",
                    "country": "DE",
                    "emails": ["erika.mustermann@example.org"],
                    "bank_iban": "DE02120300000000202051",
                },
                "items": [{"description": item, "quantity": 1, "number": "B-1"}],
            }
            return str(self._last_id)

    def decorate(self, order_id: str, fields: Mapping[str, Any]) -> None:
        """A new version of the API has more fields."""
        self.documents[int(order_id)].update(fields)

    def set_status(self, order_id: str, status: str) -> None:
        """Somebody works in easybill."""
        with self.lock:
            document = self.documents[int(order_id)]
            document["edited_at"] = self._stamp()
            if status == "archived":
                document["is_archive"] = True
            elif status == "cancelled":
                document["cancel_id"] = 1
            elif status == "paid":
                document |= {"paid_at": self._stamp()[:10], "paid_amount": document["amount"]}
            else:
                raise ValueError(f"{status} is nothing that one does in easybill")

    def status_of(self, order_id: str) -> str:
        """In one word, as the merchant would say."""
        document = self.documents[int(order_id)]
        if document["cancel_id"]:
            return "cancelled"
        if document["paid_at"]:
            return "paid"
        if document["is_archive"]:
            return "archived"
        return "partially_paid" if document["paid_amount"] else "open"

    def delete(self, order_id: str) -> None:
        """Delete a document for good."""
        del self.documents[int(order_id)]

    def _stamp(self) -> str:
        return self.now().astimezone(BERLIN).strftime("%Y-%m-%d %H:%M:%S")


if __name__ == "__main__":
    serve(FakeEasybill, "kontor_easybill:Easybill")
