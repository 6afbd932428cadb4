"""Kontor's API (/api/v1) for a connector: what a shop's key may do, one method each.

Every call may be repeated: the server recognises orders by their external id and payment updates
by their id. So trouble on the way is retried here, with growing pauses, until ``budget_seconds``
are used up; after that Temporary is raised and the caller decides.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from marshmallow import EXCLUDE, ValidationError
from requests import PreparedRequest
from requests.auth import AuthBase

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from plugin_sdk.http import Answer, ErrorRule, HttpSession
from plugin_sdk.schemas import (
    BATCH_LIMIT,
    AcknowledgementSchema,
    HeartbeatSchema,
    OrderRequestSchema,
    OrderResultSchema,
    OrderSchema,
    PaymentUpdateSchema,
    RefundRequestSchema,
    RefundSchema,
    RequestAnswerSchema,
)
from plugin_sdk.types import (
    WIRE_VERSION,
    Acknowledgement,
    Evidence,
    Heartbeat,
    Order,
    OrderRequest,
    OrderResult,
    PaymentUpdate,
    Refund,
    RefundRequest,
    RequestAnswer,
)

BUDGET_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
MAX_WAIT_SECONDS = 20
MAX_INVOICE_BYTES = 10 * 1024 * 1024
POLL_SLACK_SECONDS = 15.0

ResultT = TypeVar("ResultT")


class UnknownOrder(Rejected):
    """The server has no such order in this shop."""


class ServerAway(Temporary):
    """Kontor cannot be reached or is in trouble. That is no fault of the shop's."""


@dataclass(frozen=True, slots=True)
class PaymentUpdates:
    """What is due, and which orders a person wants looked at now.

    ``retry_after_seconds``: the server does not let us wait now; ask later.
    """

    updates: tuple[PaymentUpdate, ...]
    retry_after_seconds: int | None = None
    requests: tuple[OrderRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownOrders:
    """External ids of the server's orders; ``cursor`` is None on the last page."""

    external_ids: tuple[str, ...]
    cursor: str | None


class Client:
    """One shop's view of the server. Raises Temporary, Rejected or Misconfigured.

    ``stop``: an event that ends waiting between retries at once. May be shared between threads.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        budget_seconds: float = BUDGET_SECONDS,
        stop: threading.Event | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Misconfigured("KONTOR_URL is no http or https address.")
        if not api_key or not api_key.isascii() or not api_key.isprintable():
            raise Misconfigured("KONTOR_API_KEY is missing or unreadable.")
        self._base = f"{url.rstrip('/')}/api/v1"
        self._auth = _Bearer(api_key)
        self._budget = budget_seconds
        self._stop = stop or threading.Event()
        self._http = HttpSession(
            "Kontor",
            user_agent=f"kontor-sdk/{WIRE_VERSION}",
            rules=(
                ErrorRule(UnknownOrder, "Kontor does not know this order", status=404),
                ErrorRule(Rejected, "That exists already", status=409, words="is taken"),
                ErrorRule(Temporary, "The same request is still running", status=409),
            ),
            secrets=(api_key,),
        )

    def push_order(self, order: Order) -> OrderResult:
        """Store one order; ``invalid`` comes as a result, as it does in a batch."""
        return self.push_orders([order])[0]

    def push_orders(self, orders: Sequence[Order]) -> list[OrderResult]:
        """Store orders, in batches of 100; one result each, ``index`` counting over all."""
        results: list[OrderResult] = []
        for start in range(0, len(orders), BATCH_LIMIT):
            batch = OrderSchema(many=True).dump(orders[start : start + BATCH_LIMIT])
            body = self._send("POST", "orders/batch", json={"orders": batch}).body
            for result in self._read(body, _results_of):
                moved = OrderResult(
                    result.index + start, result.external_id, result.outcome, result.problem
                )
                results.append(moved)
        if len(results) != len(orders):
            raise ServerAway("Kontor answered with fewer results than orders were sent.")
        return results

    def get_order(self, external_id: str) -> Mapping[str, Any]:
        """The order as the server shows it. Raises UnknownOrder."""
        body = self._send("GET", f"orders/{_segment(external_id)}").body
        if not isinstance(body, dict):
            raise ServerAway("Kontor answered with something that is no order.")
        return body

    def list_orders(self, payment_status: str, cursor: str | None = None) -> KnownOrders:
        """A page of the orders that the server has in this payment status."""
        query = {"payment_status": payment_status, "limit": str(BATCH_LIMIT)}
        if cursor:
            query["cursor"] = cursor
        body = self._send("GET", f"orders?{urlencode(query)}").body
        return self._read(body, _known_orders)

    def gone(self, external_ids: Sequence[str], evidence: Evidence) -> None:
        """Report orders of which the shop has said that they are deleted or in the trash.

        What is said twice is believed, so a report that is only tried again must not count again.
        """
        for start in range(0, len(external_ids), BATCH_LIMIT):
            batch = list(external_ids[start : start + BATCH_LIMIT])
            body = {"external_ids": batch, "evidence": evidence.value}
            headers = {"Idempotency-Key": secrets.token_hex(16)}
            self._send("POST", "orders/gone", json=body, headers=headers)

    def put_invoice(self, external_id: str, number: str, pdf: bytes) -> None:
        """Deliver the PDF of an invoice, any time after the order. Raises UnknownOrder."""
        if not pdf.startswith(b"%PDF-") or len(pdf) > MAX_INVOICE_BYTES:
            raise Rejected("The invoice is no PDF or larger than 10 MB.")
        path = f"orders/{_segment(external_id)}/invoices/{_segment(number)}"
        self._send("PUT", path, content=pdf, headers={"Content-Type": "application/pdf"})

    def ask_refund(self, external_id: str, asked: RefundRequest) -> Refund:
        """Money of this order is to go back. Raises UnknownOrder, and Rejected with the reason.

        Tried again on the way it is still one repayment; called again it is another, unless it
        has the same external reference, which is refused. Without one the same amount of the same
        order within a minute is taken for a double click: that repayment is the answer.
        """
        path = f"orders/{_segment(external_id)}/refunds"
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        body = RefundRequestSchema().dump(asked)
        return self._read(self._send("POST", path, json=body, headers=headers).body, _refund)

    def refunds(self, external_id: str) -> tuple[Refund, ...]:
        """The repayments of an order, the newest first. Raises UnknownOrder."""
        body = self._send("GET", f"orders/{_segment(external_id)}/refunds").body
        return self._read(body, lambda found: tuple(_refund(one) for one in found["refunds"]))

    def payment_updates(
        self, wait_seconds: int = MAX_WAIT_SECONDS, limit: int = 10
    ) -> PaymentUpdates:
        """What is due for the shop, leased for 120 s; waits up to 20 s until there is something."""
        query = urlencode({"wait_seconds": min(wait_seconds, MAX_WAIT_SECONDS), "limit": limit})
        body = self._send(
            "GET",
            f"payment-updates?{query}",
            read_timeout_seconds=wait_seconds + POLL_SLACK_SECONDS,
        ).body
        return self._read(body, _payment_updates)

    def acknowledge(self, update_id: str, acknowledgement: Acknowledgement) -> None:
        """Tell what became of a payment update."""
        path = f"payment-updates/{_segment(update_id)}/acknowledgement"
        self._send("POST", path, json=AcknowledgementSchema().dump(acknowledgement))

    def answer_request(self, request_id: str, answer: RequestAnswer) -> None:
        """Tell what the shop says about a requested order. UnknownOrder: no such request."""
        path = f"order-requests/{_segment(request_id)}/answer"
        self._send("POST", path, json=RequestAnswerSchema().dump(answer))

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Say that this connector is there, what it can do and what went wrong last."""
        self._send("POST", "heartbeat", json=HeartbeatSchema().dump(heartbeat))

    def close(self) -> None:
        """Close idle connections."""
        self._http.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout_seconds: float | None = None,
    ) -> Answer:
        began = time.monotonic()
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._http.request(
                    method,
                    f"{self._base}/{path}",
                    json=json,
                    content=content,
                    headers={"Kontor-Wire-Version": str(WIRE_VERSION), **(headers or {})},
                    auth=self._auth,
                    read_timeout_seconds=read_timeout_seconds,
                )
            except Temporary as error:
                # A little randomness, so that a hundred agents do not come back all at once.
                wait = max(pause * random.uniform(0.8, 1.2), error.retry_after_seconds or 0)  # noqa: S311
                if time.monotonic() - began + wait > self._budget or self._stop.wait(wait):
                    raise ServerAway(str(error), error.retry_after_seconds) from None
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _read(self, body: Any, reader: Callable[[Any], ResultT]) -> ResultT:
        try:
            return reader(body)
        except (ValidationError, KeyError, TypeError, ValueError):
            raise ServerAway("Kontor answered in a form that this version cannot read.") from None


class _Bearer(AuthBase):
    """The API key, in every request."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


def _results_of(body: Any) -> list[OrderResult]:
    results: list[OrderResult] = OrderResultSchema(many=True, unknown=EXCLUDE).load(body["results"])
    return results


def _payment_updates(body: Any) -> PaymentUpdates:
    """A newer server may send more than this version knows; what it knows it must understand."""
    loaded = PaymentUpdateSchema(many=True, unknown=EXCLUDE).load(body["payment_updates"])
    wish = body.get("retry_after_seconds")
    return PaymentUpdates(
        tuple(loaded),
        int(wish) if wish is not None else None,
        tuple(_order_requests(body.get("order_requests") or ())),
    )


def _order_requests(raws: Sequence[Any]) -> Iterator[OrderRequest]:
    """What this version does not understand must not hold up the payments."""
    schema = OrderRequestSchema(unknown=EXCLUDE)
    for raw in raws:
        with contextlib.suppress(ValidationError):
            yield schema.load(raw)


def _refund(body: Any) -> Refund:
    made: Refund = RefundSchema(unknown=EXCLUDE).load(body)
    return made


def _known_orders(body: Any) -> KnownOrders:
    cursor = body.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise TypeError("cursor")
    return KnownOrders(tuple(str(order["external_id"]) for order in body["orders"]), cursor)


def _segment(text: str) -> str:
    return quote(text, safe="")
