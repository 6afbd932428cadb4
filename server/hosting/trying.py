"""What can be asked of a shop before it is switched on: is all well there, and what would come in?

Nothing is stored, sent or written to the shop, and no row of the database is touched while the
shop is talked to: whoever calls has committed before.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from plugin_sdk import types as wire
from plugin_sdk.connector import Connector, Finding, Severity, problem_of
from plugin_sdk.errors import ConnectorError, Temporary
from plugin_sdk.installed import connector_class
from plugin_sdk.sync import COMPARE_SECONDS, COMPARE_UNTOLD_SECONDS
from server.hosting.connecting import connector_of, made
from server.orders.notices import recipient_name
from server.shops.connections import settings_of
from server.shops.models import Shop, ShopConnection
from server.shops.rules import is_open_status, is_watched, payment_code
from server.shops.service import mapping_of

TALKS_AT_ONCE = 6
"""A shop that hangs holds a thread of the web server: not all of them."""
DAYS = 30
MOST_ORDERS = 20
MOST_PAGES = 10
PATIENCE_SECONDS = 25.0
MOST_PROBLEMS = 5
HISTORY = "history_days"
VERDICTS = ("managed", "older", "watched", "method", "status")
"""What Kontor would do with an order, the most interesting first; see ``Judge.verdict``."""
_ORDER_OF_SEVERITY = (Severity.PROBLEM, Severity.WARNING, Severity.NOTE)

_seats = threading.BoundedSemaphore(TALKS_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Checked:
    """``findings``: the gravest first. ``heartbeat``: what the connector would say of itself."""

    findings: tuple[Finding, ...]
    heartbeat: wire.Heartbeat

    @property
    def is_good(self) -> bool:
        """Nothing stops the connector from working."""
        return all(one.severity is not Severity.PROBLEM for one in self.findings)


@dataclass(frozen=True, slots=True)
class Judge:
    """How the orders of a shop are judged: its mapping, and the cut-off ``since`` (S28)."""

    mapping: Mapping[str, Any]
    is_pinned: bool
    since: datetime

    def code(self, order: wire.Order) -> wire.PaymentCode:
        mapping = {} if self.is_pinned else self.mapping
        return payment_code(mapping, order.payment_method, order.payment_code)

    def verdict(self, order: wire.Order) -> str:
        """`managed` · not managed, because `older` than the cut-off or of a `method` that means
        nothing · `watched` (S55) · not taken in, because its `status` does not wait for money."""
        code = self.code(order)
        if not is_open_status(self.mapping, code, order.shop_status):
            return "status"
        watched = is_watched(self.mapping, order.payment_method)
        if code is wire.PaymentCode.OTHER and not watched:
            return "method"
        if order.ordered_at < self.since:
            return "older"
        return "watched" if code is wire.PaymentCode.OTHER else "managed"


@dataclass(frozen=True, slots=True)
class Preview:
    """An order as it would be taken in."""

    number: str
    ordered_at: datetime
    customer: str
    total: Decimal
    currency: str
    method: str | None
    code: wire.PaymentCode
    shop_status: str | None
    verdict: str


@dataclass(frozen=True, slots=True)
class FirstOrders:
    """``rows``: at most ``MOST_ORDERS``. ``counts``: all that were seen, by verdict.

    ``problems``: what could not be read. ``is_all``: the shop was read to the end.
    """

    rows: tuple[Preview, ...]
    counts: Mapping[str, int]
    problems: tuple[str, ...]
    is_all: bool


def check(connector: Connector[Any]) -> Checked:
    """Look at everything that must be right. Raises Temporary: too many shops are asked just now.

    What is wrong with the shop is a finding.
    """
    with _a_seat(connector):
        findings = connector.check()
        discovery = None
        if all(one.severity is not Severity.PROBLEM for one in findings):
            try:
                discovery = connector.discover()
            except ConnectorError as error:
                findings = [*findings, problem_of(error)]
        compare = COMPARE_SECONDS if connector.is_told else COMPARE_UNTOLD_SECONDS
        heartbeat = connector.heartbeat(discovery=discovery, compare_seconds=compare)
    ranked = sorted(findings, key=lambda one: _ORDER_OF_SEVERITY.index(one.severity))
    return Checked(tuple(ranked), heartbeat)


def reader_of(row: ShopConnection) -> Connector[Any]:
    """A connector that looks back no longer than the preview does. Raises Misconfigured."""
    if HISTORY not in {one.name for one in fields(connector_class(row.connector).Config)}:
        return connector_of(row)
    return made(row.connector, {**settings_of(row), HISTORY: DAYS})


def judge_of(shop: Shop, at: datetime) -> Judge:
    """As if it were switched on at ``at``, where it was not before."""
    since = shop.connected_at or at.replace(microsecond=0)
    return Judge(mapping_of(shop), shop.mapping_pinned, since)


def first_orders(connector: Connector[Any], judge: Judge, at: datetime) -> FirstOrders:
    """The orders of the last ``DAYS`` days, as they would be taken in. Raises ConnectorError."""
    with _a_seat(connector):
        found, problems, is_all = _read(connector)
    earliest = at - timedelta(days=DAYS)
    young = [one for one in found.values() if one.ordered_at >= earliest]
    previews = [_preview(judge, one) for one in young]
    previews.sort(key=lambda one: one.ordered_at, reverse=True)
    previews.sort(key=lambda one: VERDICTS.index(one.verdict))
    counts = Counter(one.verdict for one in previews)
    shown = {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}
    return FirstOrders(tuple(previews[:MOST_ORDERS]), shown, problems[:MOST_PROBLEMS], is_all)


def _read(connector: Connector[Any]) -> tuple[dict[str, wire.Order], tuple[str, ...], bool]:
    """Orders by external id, what could not be read, and whether that is all."""
    found: dict[str, wire.Order] = {}
    problems: list[str] = []
    until = time.monotonic() + PATIENCE_SECONDS
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = connector.list_orders(cursor)
        found |= {one.external_id: one for one in page.orders}
        problems += page.problems
        cursor = page.cursor
        if not page.has_more:
            return found, tuple(problems), True
        if time.monotonic() > until:
            break
    return found, tuple(problems), False


def _preview(judge: Judge, order: wire.Order) -> Preview:
    return Preview(
        number=order.number,
        ordered_at=order.ordered_at,
        customer=recipient_name(order),
        total=order.total,
        currency=order.currency,
        method=order.payment_method,
        code=judge.code(order),
        shop_status=order.shop_status,
        verdict=judge.verdict(order),
    )


@contextmanager
def _a_seat(connector: Connector[Any]) -> Iterator[None]:
    """One of those that may talk; the connector is closed afterwards. Raises Temporary."""
    if not _seats.acquire(blocking=False):
        connector.close()
        raise Temporary("Too many shops are being asked just now.")
    try:
        yield
    finally:
        _seats.release()
        connector.close()
