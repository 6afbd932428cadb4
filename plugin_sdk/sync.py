"""Keeping a server up to date with a shop's orders, whoever runs it: an agent or the server itself.

What is hinted at is looked at by id; in between what changed is compared page by page, and now and
then everything. The shop's silence is never evidence: what has vanished is asked for by id, twice.
Nothing is lost while either side is away: the cursor only advances behind what the server took,
and a hint waits until it was looked at.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from plugin_sdk.client import KnownOrders, UnknownOrder
from plugin_sdk.connector import MAX_REASON, Capability, Connector, OrderPage
from plugin_sdk.errors import ConnectorError, Rejected, Temporary
from plugin_sdk.order_requests import WaitingRequests, answer_to
from plugin_sdk.schemas import BATCH_LIMIT, OrderSchema
from plugin_sdk.state import Waiting
from plugin_sdk.types import (
    Evidence,
    Order,
    OrderRequest,
    OrderResult,
    PaymentStatus,
    RequestAnswer,
    RequestOutcome,
)

COMPARE_SECONDS = 30 * 60
COMPARE_UNTOLD_SECONDS = 3 * 60  # the shop cannot tell of a new order: it is asked
COMPARE_ALL_SECONDS = 12 * 60 * 60
COMPARE_ALL_SPREAD_SECONDS = 60 * 60  # not a thousand agents at one moment
CONFIRM_SECONDS = 60  # before a vanished order is asked for the second time
TROUBLE_SECONDS = 300  # a shop may be away for so long before the merchant hears of it
MAX_INVOICES_WAITING = 1_000
INVOICE_TRIES = 10  # comparisons after which nobody waits for the file any more
TAKEN_IN = ("created", "updated")
FAILURES_IN_A_ROW = 3  # after that the shop is away, and not one of its orders broken
NOT_THERE = (RequestOutcome.GONE, RequestOutcome.TRASHED)
STILL_OPEN = (PaymentStatus.UNPAID, PaymentStatus.PARTIALLY_PAID)

Report = Callable[[str], None]


class Server(Protocol):
    """Where orders are taken in: ``client.Client``, or the server's own rooms."""

    def push_orders(self, orders: Sequence[Order]) -> list[OrderResult]: ...

    def gone(self, external_ids: Sequence[str], evidence: Evidence) -> None: ...

    def list_orders(self, payment_status: str, cursor: str | None = None) -> KnownOrders: ...

    def answer_request(self, request_id: str, answer: RequestAnswer) -> None: ...

    def put_invoice(self, external_id: str, number: str, pdf: bytes) -> None: ...


class Hints(Protocol):
    """Orders to look at, oldest first; what is taken goes on waiting until it is ``done``."""

    def add(self, external_ids: Sequence[str]) -> bool:
        """False: it is full, and everything must be compared instead."""

    def take(self, limit: int) -> list[Waiting]: ...

    def done(self, looked_at: Sequence[Waiting]) -> None: ...

    def postpone(self, looked_at: Waiting) -> None: ...


class Memory(Protocol):
    """What must outlive a restart."""

    cursor: str | None
    comparing_all: bool
    compared_all_at: float
    compare_all_after_seconds: float

    @property
    def pushed(self) -> MutableMapping[str, str]:
        """External id to a mark of what the server has, the newest last."""

    @property
    def outbox(self) -> Hints: ...

    def save(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often what is compared, in seconds.

    ``compare_all_seconds``: each time up to ``compare_all_spread_seconds`` more or less.
    """

    compare_seconds: float = COMPARE_SECONDS
    compare_all_seconds: float = COMPARE_ALL_SECONDS
    compare_all_spread_seconds: float = COMPARE_ALL_SPREAD_SECONDS
    confirm_seconds: float = CONFIRM_SECONDS


class OrderSync:
    """One shop's orders, one ``step`` after another. For one thread.

    ``report`` is told one line an event: ids and outcomes, never names or secrets. ``is_stopping``
    is asked where there is much to do.
    """

    def __init__(
        self,
        connector: Connector[Any],
        server: Server,
        memory: Memory,
        *,
        rhythm: Rhythm,
        report: Report = lambda line: None,
        is_stopping: Callable[[], bool] = lambda: False,
        batch: int = BATCH_LIMIT,
    ) -> None:
        self._connector = connector
        self._server = server
        self._memory = memory
        self._rhythm = rhythm
        self._report = report
        self._is_stopping = is_stopping
        self._batch = batch
        self._seen_in_shop: set[str] = set()
        self._to_confirm: dict[str, float] = {}
        self._compare_at = 0.0
        self._compare_all = threading.Event()
        self._invoices: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._later: OrderedDict[tuple[str, str], int] = OrderedDict()
        self.requests = WaitingRequests()

    def compare_all(self) -> None:
        """Compare all orders next, not only what changed since the last time."""
        self._compare_all.set()

    def compare_now(self) -> None:
        """Do not wait for the hour of the next comparison."""
        self._compare_at = 0.0

    def step(self) -> float:
        """What is hinted at first, then a page of the comparison.

        In front of both one order that a person waits for, so that neither a long comparison nor
        many requests hold up the other. Returns the seconds until there is something to do; 0
        when something was done. Raises ConnectorError; what it was at comes again.
        """
        self._answer_next_request()
        waiting = self._memory.outbox.take(self._batch)
        if waiting:
            self._look_at(waiting)
            return 0
        now = time.monotonic()
        if now >= self._compare_at or self._compare_all.is_set():
            if not self._compare_page():
                self._after_comparison()
                self._invoices.update(self._later)
                self._later.clear()
                self._compare_at = time.monotonic() + self._rhythm.compare_seconds
            return 0
        if self._ask_again(now) or self.requests or self._deliver_invoice():
            return 0
        return min([self._compare_at, *self._to_confirm.values()]) - now

    # Looking at what is hinted at

    def _ask_again(self, now: float) -> bool:
        """Look a second time at what has vanished; True when there was such an order.

        One answer alone does not remove an order at the server: a shop in the middle of an
        upgrade or a restore says strange things, and seldom the same one twice.
        """
        due = [key for key, at in self._to_confirm.items() if at <= now]
        return bool(due) and self._memory.outbox.add(due)

    def _look_at(self, waiting: Sequence[Waiting]) -> None:
        """Fetch by id and tell the server what the shop says."""
        try:
            found = self._connector.get_orders([each.external_id for each in waiting])
        except (Rejected, Temporary) as error:
            if len(waiting) > 1:
                self._look_at_each(waiting)
                return
            if isinstance(error, Temporary):
                raise
            self._report(f"order {waiting[0].external_id} unreadable: {error}")
            self._to_confirm.pop(waiting[0].external_id, None)
            self._memory.outbox.done(waiting)
            return
        self._push([order for order in found.values() if isinstance(order, Order)])
        for evidence in Evidence:
            self._report_gone(
                [key for key, answer in found.items() if answer is evidence], evidence
            )
        for each in waiting:
            if not isinstance(found.get(each.external_id), Evidence):
                self._to_confirm.pop(each.external_id, None)
        self._memory.outbox.done(waiting)
        self._memory.save()

    def _report_gone(self, external_ids: Sequence[str], evidence: Evidence) -> None:
        if not external_ids:
            return
        self._server.gone(external_ids, evidence)
        for key in external_ids:
            self._report(f"order {key} {evidence.value}")
            self._note_gone(key)

    def _note_gone(self, external_id: str) -> None:
        """The server has been told; a second look confirms it."""
        now = time.monotonic()
        self._memory.pushed.pop(external_id, None)
        if external_id not in self._to_confirm:
            self._to_confirm[external_id] = now + self._rhythm.confirm_seconds
        elif self._to_confirm[external_id] <= now:
            del self._to_confirm[external_id]

    def _look_at_each(self, waiting: Sequence[Waiting]) -> None:
        """One by one, so that a broken order (a plugin that fails on it) holds up no other."""
        failures = 0
        for each in waiting:
            try:
                self._look_at([each])
                failures = 0
            except Temporary:
                self._memory.outbox.postpone(each)
                failures += 1
                if failures >= FAILURES_IN_A_ROW or self._is_stopping():
                    raise
        if failures:
            raise Temporary("Some orders could not be looked at.")

    # Comparing

    def _compare_page(self) -> bool:
        """One page of the comparison; True when there is more."""
        memory = self._memory
        since = time.time() - memory.compared_all_at
        is_time = not 0 <= since < memory.compare_all_after_seconds  # or a clock was set back
        if self._compare_all.is_set() or (is_time and not memory.comparing_all):
            self._begin_to_compare_all()
        page = self._list()
        if memory.comparing_all:
            self._seen_in_shop.update(order.external_id for order in page.orders)
        for problem in page.problems:
            self._report(f"order unreadable: {problem}")
        self._push(page.orders, again=memory.comparing_all)
        # Only now: had the server been away, this page would have to come again.
        memory.cursor = page.cursor
        memory.save()
        return page.has_more

    def _list(self) -> OrderPage:
        try:
            return self._connector.list_orders(self._memory.cursor)
        except Rejected:
            if self._memory.cursor is None:
                raise
            self._begin_to_compare_all()
            return self._connector.list_orders(None)

    def _begin_to_compare_all(self) -> None:
        self._compare_all.clear()
        self._compare_at = 0.0  # page after page, until it is through
        self._memory.comparing_all = True
        self._memory.cursor = None
        self._seen_in_shop.clear()

    def _after_comparison(self) -> None:
        memory = self._memory
        if memory.comparing_all and not self._ask_for_missing():
            self._begin_to_compare_all()  # stopped midway: what was not asked for is not compared
            memory.save()
            return
        if memory.comparing_all:
            memory.comparing_all = False
            memory.compared_all_at = time.time()
            spread = self._rhythm.compare_all_spread_seconds
            memory.compare_all_after_seconds = (
                self._rhythm.compare_all_seconds + random.uniform(-spread, spread)  # noqa: S311
            )
            memory.save()
            self._report("compared all orders")
        for finding in self._connector.tend():
            self._report(f"{finding.topic}: {finding.text}")

    def _ask_for_missing(self) -> bool:
        """Look at orders that the server has as open and that the shop did not list.

        False when it was stopped before all of them were asked for.

        Being absent from a list proves nothing; they are asked for by id, and only the shop's word
        about each of them counts.
        """
        for status in STILL_OPEN:
            cursor: str | None = None
            while True:
                if self._is_stopping():
                    return False
                known = self._server.list_orders(status.value, cursor)
                missing = [key for key in known.external_ids if key not in self._seen_in_shop]
                if missing and not self._memory.outbox.add(missing):
                    return True  # so many at once: the rest is asked for tomorrow
                if known.cursor is None or known.cursor == cursor:
                    break
                cursor = known.cursor
        self._seen_in_shop.clear()
        return True

    def _push(self, orders: Sequence[Order], again: bool = False) -> None:
        """Push what the server has not seen in this form (``again``: all of it)."""
        pushed = self._memory.pushed
        marks = {order.external_id: _mark_of(order) for order in orders}
        new = [
            order
            for order in orders
            if again or pushed.get(order.external_id) != marks[order.external_id]
        ]
        if not new:
            return
        for order, result in zip(new, self._sent(new), strict=True):
            if result.outcome == "invalid":
                self._report(f"order {order.external_id} invalid: {result.problem}")
                continue
            pushed.pop(order.external_id, None)  # the newest stands last
            pushed[order.external_id] = marks[order.external_id]
            if result.outcome != "unchanged":
                self._report(f"order {order.external_id} {result.outcome}")
            if result.outcome in TAKEN_IN:
                self._want_invoices(order)

    def _sent(self, orders: Sequence[Order]) -> list[OrderResult]:
        """The server's answers; a batch that is refused as a whole is sent one by one."""
        try:
            return self._server.push_orders(orders)
        except Rejected as error:
            if len(orders) == 1:
                only = orders[0].external_id
                return [OrderResult(0, only, "invalid", str(error))]
        return [result for order in orders for result in self._sent([order])]

    # The files of invoices

    def _want_invoices(self, order: Order) -> None:
        """Of an order that is new or changed; the file may come later than the number."""
        if Capability.INVOICE_PDF not in self._connector.capabilities:
            return
        for invoice in order.invoices:
            if len(self._invoices) < MAX_INVOICES_WAITING:
                self._invoices[order.external_id, invoice.number] = INVOICE_TRIES

    def _deliver_invoice(self) -> bool:
        """One of those that wait; False if none does. What fails is tried after a comparison."""
        if not self._invoices:
            return False
        (external_id, number), tries = self._invoices.popitem(last=False)
        try:
            pdf = self._connector.get_invoice(external_id, number)
            if pdf is not None:
                self._server.put_invoice(external_id, number, pdf)
                self._report(f"order {external_id} invoice delivered")
        except Rejected as error:
            self._report(f"order {external_id} invoice refused: {error}")
            return True
        except ConnectorError:
            self._later[external_id, number] = tries
            raise
        if pdf is None and tries > 1:
            self._later[external_id, number] = tries - 1
        return True

    # What a person asked for

    def _answer_next_request(self) -> None:
        """Look at one order and tell the server; it comes again if the server is away."""
        request = self.requests.take(time.monotonic())
        if request is None:
            return
        answer = answer_to(self._connector, request)
        try:
            self._server.answer_request(request.id, answer)
        except UnknownOrder:
            self._report(f"request {request.id} is no longer asked")
            return
        except Rejected as error:
            if answer.outcome is not RequestOutcome.FOUND:
                raise
            answer = RequestAnswer(RequestOutcome.REJECTED, reason=str(error)[:MAX_REASON])
            self._server.answer_request(request.id, answer)
        self._after_request(request, answer)

    def _after_request(self, request: OrderRequest, answer: RequestAnswer) -> None:
        if answer.order is not None:
            key = answer.order.external_id
            self._to_confirm.pop(key, None)
            self._memory.pushed[key] = _mark_of(answer.order)
            self._memory.save()
        elif answer.outcome in NOT_THERE and request.external_id is not None:
            self._note_gone(request.external_id)
        name = request.external_id or f"number {request.number}"
        self._report(f"order {name} asked for: {answer.outcome.value}")


class Troubles:
    """What keeps the parts of a sync from their jobs, and what a person should hear of it."""

    def __init__(self) -> None:
        self._of_part: dict[str, tuple[str, float, bool]] = {}

    def note(self, part: str, text: str, *, needs_person: bool) -> None:
        """It failed. ``needs_person``: only somebody who changes something can help."""
        known = self._of_part.get(part)
        self._of_part[part] = (text, known[1] if known else time.monotonic(), needs_person)

    def clear(self, part: str) -> None:
        """It works."""
        self._of_part.pop(part, None)

    @property
    def last_error(self) -> str | None:
        """What the merchant should hear of: at once if a person must help, else if it lasts."""
        now = time.monotonic()
        for text, since, needs_person in list(self._of_part.values()):
            if needs_person or now - since > TROUBLE_SECONDS:
                return text
        return None


def _mark_of(order: Order) -> str:
    """A short hash of an order as it goes over the wire."""
    text = json.dumps(_ORDER_SCHEMA.dump(order), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


_ORDER_SCHEMA = OrderSchema()
