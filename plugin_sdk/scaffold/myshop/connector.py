"""Speaks MyShop's API. Begin here: exchange the addresses and fields for those of your shop."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from plugin_sdk.checks import base_address, clock_findings, encryption_findings
from plugin_sdk.connector import (
    Capability,
    Connector,
    Finding,
    OrderPage,
    Severity,
    WebhookHint,
    problem_of,
)
from plugin_sdk.cursors import Watermark, mark_of
from plugin_sdk.errors import ConnectorError, Rejected, Temporary
from plugin_sdk.http import USUAL, Answer, ErrorRule, Limits
from plugin_sdk.paging import PageNumbers, every_row
from plugin_sdk.scaffold.myshop.config import MyShopConfig
from plugin_sdk.scaffold.myshop.mapping import changed_at, order_from, order_id
from plugin_sdk.types import (
    CodeMapping,
    Discovery,
    Evidence,
    Intent,
    Order,
    PaymentCode,
    PaymentUpdate,
    ShopMethod,
)

VERSION = "0.1.0"
CURSOR_VERSION = 1
PAGES = PageNumbers(100)


class UnknownOrder(Rejected):
    """The shop says in so many words that it has no such order."""


# What the shop means by its codes, where that is more than its HTTP status says.
RULES = (ErrorRule(UnknownOrder, "The shop has no such order", status=404, code="unknown_order"),)


class MyShop(Connector[MyShopConfig]):
    """A shop on MyShop."""

    name = "myshop"
    title = "MyShop"
    version = VERSION
    Config = MyShopConfig
    capabilities = frozenset(
        {
            Capability.LIST_ORDERS,
            Capability.GET_ORDERS,
            Capability.FIND_BY_NUMBER,
            Capability.DISCOVER,
            Capability.WEBHOOKS,
            Capability.PUSH_PAID,
            Capability.PUSH_CANCELLED,
            Capability.PUSH_ANY_STATUS,
        }
    )
    defaults: ClassVar[Mapping[PaymentCode, CodeMapping]] = {
        PaymentCode.PREPAYMENT: CodeMapping(
            methods=("bank_transfer",),
            open_statuses=("open",),
            paid_status="paid",
            cancelled_status="cancelled",
        )
    }
    default_statuses: ClassVar[Mapping[Intent, str]] = {
        Intent.PAID: "paid",
        Intent.CANCELLED: "cancelled",
    }
    default_open_statuses = frozenset({"open"})
    cancelled_statuses = frozenset({"cancelled"})

    def __init__(self, settings: Mapping[str, Any], *, limits: Limits = USUAL) -> None:
        super().__init__(settings, limits=limits)
        self._base = f"{base_address(self.config.shop_url)}/api"
        self._http = self.http_session(rules=RULES)

    def close(self) -> None:
        self._http.close()

    # Reading

    def list_orders(self, cursor: str | None) -> OrderPage:
        """Orders by time of change. What the overlap brings again is not told twice."""
        at = Watermark.read(cursor, CURSOR_VERSION)
        query = PAGES.query(at.page)
        if at.since is not None:
            query["changed_since"] = at.since.isoformat()
        rows = self._list("orders", query)
        orders: list[Order] = []
        problems: list[str] = []
        for row in rows:
            try:
                if at.is_news(order_id(row), changed_at(row), mark_of(row)):
                    orders.append(order_from(row))
            except Rejected as error:
                problems.append(str(error))
        has_more = at.turn_page(full=len(rows) >= PAGES.size)
        return OrderPage(tuple(orders), at.text(CURSOR_VERSION), has_more, tuple(problems))

    def get_orders(self, ids: Sequence[str]) -> Mapping[str, Order | Evidence]:
        """Only the shop's own word that there is no such order counts as gone."""
        found: dict[str, Order | Evidence] = {}
        for external_id in dict.fromkeys(ids):
            try:
                found[external_id] = order_from(self._row(external_id))
            except UnknownOrder:
                found[external_id] = Evidence.GONE
        return found

    def find_order(self, number: str) -> Order | Evidence | None:
        """Only exact hits count: a shop that ignores a filter answers with all orders."""
        rows = every_row(PAGES, lambda query: self._page("orders", {"number": number, **query}))
        found = [order_from(row) for row in rows if row.get("number") == number]
        if len(found) > 1:
            raise Rejected(f"The shop has {len(found)} orders with the number {number}.")
        return found[0] if found else None

    # Writing

    def _read_status(self, external_id: str) -> str | Evidence:
        try:
            return str(self._row(external_id).get("status"))
        except UnknownOrder:
            return Evidence.GONE

    def _write_status(self, update: PaymentUpdate, shop_status: str) -> str:
        path = f"orders/{quote(update.external_id, safe='')}"
        row = self._call("PUT", path, json={"status": shop_status}).body
        return str(row.get("status")) if isinstance(row, dict) else ""

    # Webhooks

    @property
    def is_told(self) -> bool:
        """Without the secret every webhook is refused."""
        return bool(self.config.webhook_secret)

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookHint | None:
        """Whoever may sign may name an order to look at; nothing else in it is believed."""
        given = {name.lower(): value for name, value in headers.items()}
        wanted = hmac.new(self.config.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
        proof = given.get("x-signature", "")
        if not self.is_told or not hmac.compare_digest(wanted.encode(), proof.encode()):
            raise Rejected("The signature of the webhook does not fit.")
        try:
            content = json.loads(body)
            return WebhookHint(ids=(order_id(content),), topic=str(content.get("topic")))
        except (ValueError, AttributeError, Rejected):
            return None  # genuine, but not about an order

    # The shop about itself

    def check(self) -> list[Finding]:
        findings = encryption_findings(self._base)
        try:
            answer = self._call("GET", "shop")
            about = _object(answer.body)
        except ConnectorError as error:
            return [*findings, problem_of(error)]
        findings.append(Finding("auth", Severity.NOTE, "The access key is right."))
        findings += clock_findings(answer.headers, time.time())
        if "write_orders" in about.get("permissions", ()):
            findings.append(Finding("permission", Severity.NOTE, "Orders can be written."))
        else:
            text = "The access key may only read; give it the permission to write orders."
            findings.append(Finding("permission", Severity.PROBLEM, text))
        version = Finding("version", Severity.NOTE, f"MyShop {about.get('version', 'unknown')}.")
        return [*findings, version, *self._check_webhooks()]

    def _check_webhooks(self) -> list[Finding]:
        if self.is_told:
            return []
        text = "No webhook secret is set: new orders are only seen at the next comparison."
        return [Finding("webhooks", Severity.WARNING, text)]

    def discover(self) -> Discovery:
        about = _object(self._call("GET", "shop").body)
        return Discovery(
            payment_methods=_methods(about.get("payment_methods")),
            statuses=_methods(about.get("statuses")),
            currency=about.get("currency"),
            version=about.get("version"),
        )

    # The way there

    def _row(self, external_id: str) -> Mapping[str, Any]:
        row = _object(self._call("GET", f"orders/{quote(external_id, safe='')}").body)
        if str(row.get("id")) != external_id:
            raise Temporary("The shop answered with another order than the one asked for.")
        return row

    def _list(self, path: str, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        return self._page(path, query)[1]

    def _page(self, path: str, query: Mapping[str, str]) -> tuple[Answer, list[Mapping[str, Any]]]:
        answer = self._call("GET", path, query)
        if not isinstance(answer.body, list):
            raise Temporary("The shop answered with something else than a list.")
        return answer, [row for row in answer.body if isinstance(row, dict)]

    def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, json: Any = None
    ) -> Answer:
        asked = f"?{urlencode(query)}" if query else ""
        headers = {"Authorization": f"Bearer {self.config.access_key}"}
        return self._http.request(method, f"{self._base}/{path}{asked}", json=json, headers=headers)


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise Temporary("The shop answered with something else than an object.")
    return body


def _methods(found: Any) -> tuple[ShopMethod, ...]:
    rows = [each for each in found or () if isinstance(each, dict) and each.get("code")]
    return tuple(ShopMethod(str(row["code"]), str(row.get("name") or row["code"])) for row in rows)
