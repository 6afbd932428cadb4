"""The agent: runs beside a shop, pushes its orders to Kontor and its payments back to the shop.

Four threads, each with one job:

* receiver: webhooks are verified and written into the outbox;
* orders: looks up what is in the outbox and pushes it, and what a person asked for; every 30
  minutes (3 without webhooks) compares what changed, twice a day everything (a webhook may be
  lost, and deletion may happen without one);
* payments: waits for payment updates, tells the shop, acknowledges;
* heartbeat: tells the server that all this is alive, what went wrong last, and once a day what
  payment methods and statuses the shop has.

Nothing is lost while the server or the shop is away: the cursor only advances behind what the
server has taken, the outbox is on disk, and a payment update that is not acknowledged comes again.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugin_sdk.client import Client, ServerAway, UnknownOrder
from plugin_sdk.connector import MAX_REASON, Connector, OrderPage
from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from plugin_sdk.order_requests import WaitingRequests, answer_to
from plugin_sdk.receiver import Receiver
from plugin_sdk.schemas import BATCH_LIMIT, OrderSchema
from plugin_sdk.state import State, Waiting
from plugin_sdk.types import (
    Acknowledgement,
    Discovery,
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
DISCOVER_SECONDS = 24 * 60 * 60
DISCOVER_AGAIN_SECONDS = 60 * 60
HEARTBEAT_SECONDS = 60
POLL_SECONDS = 20
UPDATES_AT_ONCE = 10
LEASE_MARGIN_SECONDS = 60  # the lease is 120 s; a push may take some time of its own
IDLE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STOP_SECONDS = 1.5
CONFIRM_SECONDS = 60  # before a vanished order is asked for the second time
TROUBLE_SECONDS = 300  # a shop may be away for so long before the merchant hears of it
FAILURES_IN_A_ROW = 3  # after that the shop is away, and not one of its orders broken
NOT_THERE = (RequestOutcome.GONE, RequestOutcome.TRASHED)
STILL_OPEN = (PaymentStatus.UNPAID, PaymentStatus.PARTIALLY_PAID)

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often what is done, in seconds.

    ``compare_seconds``: None for 30 minutes where the shop tells of new orders, 3 where it cannot.
    ``compare_all_seconds``: each time up to ``compare_all_spread_seconds`` more or less.
    """

    compare_seconds: float | None = None
    compare_all_seconds: float = COMPARE_ALL_SECONDS
    compare_all_spread_seconds: float = COMPARE_ALL_SPREAD_SECONDS
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    poll_seconds: int = POLL_SECONDS
    confirm_seconds: float = CONFIRM_SECONDS


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a thread from its job, since when, and whether only a person can help."""

    text: str
    since: float
    needs_person: bool


class Agent:
    """Runs one connector against one server until it is stopped.

    ``listen``: host and port for webhooks (port 0 finds one), None for no receiver. ``report`` is
    told one line an event: ids and outcomes, never names or secrets.
    """

    def __init__(
        self,
        connector: Connector[Any],
        client: Client,
        state_directory: Path,
        *,
        listen: tuple[str, int] | None = None,
        report: Report = lambda line: None,
        stop: threading.Event | None = None,
        pace: Pace = Pace(),
    ) -> None:
        self._connector = connector
        self._client = client
        self._report = report
        self._stop = stop or threading.Event()
        self._pace = pace
        self._troubles: dict[str, Trouble] = {}
        self._state = State(state_directory)
        self._seen_in_shop: set[str] = set()
        self._to_confirm: dict[str, float] = {}
        self._is_told = listen is not None and connector.is_told
        usual = COMPARE_SECONDS if self._is_told else COMPARE_UNTOLD_SECONDS
        self._compare_seconds = usual if pace.compare_seconds is None else pace.compare_seconds
        self._compare_at = 0.0
        self._compare_all = threading.Event()
        self._requests = WaitingRequests()
        self._discovery: Discovery | None = None
        self._discover_at = 0.0
        self._introduced = threading.Event()
        self._polling = threading.Event()
        self._receiver: Receiver | None = None
        if listen is not None:
            try:
                self._receiver = Receiver(*listen, self.receive)
            except OSError:
                self._state.close()
                raise
        self._threads = [
            threading.Thread(target=self._run, args=(name, step), name=name, daemon=True)
            for name, step in (
                ("orders", self._do_orders),
                ("payments", self._do_payments),
                ("heartbeat", self._do_heartbeat),
            )
        ]

    @property
    def address(self) -> tuple[str, int] | None:
        """Where webhooks are received."""
        return self._receiver.address if self._receiver else None

    def start(self) -> None:
        """Begin; returns at once."""
        if self._receiver:
            self._receiver.start()
            host, port = self._receiver.address
            self._report(f"listening http://{host}:{port}/")
        if not self._is_told:
            self._report(
                "no webhooks: asking the shop every 3 minutes instead, a load that they spare it"
            )
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Return when the agent is asked to stop."""
        while not self._stop.wait(60):
            pass

    def stop(self) -> None:
        """End within two seconds, whatever is in flight.

        What a thread is in the middle of is done again after the next start; none of it does harm
        when done twice.
        """
        self._stop.set()
        self._introduced.set()
        self._state.outbox.wake()
        if self._receiver:
            self._receiver.stop()
        until = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            # Who only waits for payment updates need not be waited for.
            if not (thread.name == "payments" and self._polling.is_set()):
                thread.join(max(0.0, until - time.monotonic()))
        self._state.close()
        self._client.close()
        self._connector.close()

    @property
    def running(self) -> bool:
        """True from the beginning until ``stop``."""
        return not self._stop.is_set()

    def compare_all(self) -> None:
        """Compare all orders now, not only what changed since the last time."""
        self._compare_all.set()
        self._state.outbox.wake()

    def receive(self, headers: Mapping[str, str], body: bytes) -> None:
        """A webhook. Returns when it is safely written down. Raises Rejected for a forgery."""
        try:
            hint = self._connector.read_webhook(headers, body)
        except Rejected:
            self._report("webhook refused: not genuine")
            raise
        if hint is None:
            return
        self._report(f"webhook {hint.topic} {' '.join(hint.ids)}")
        if not self._state.outbox.add(hint.ids):
            self.compare_all()

    def _run(self, name: str, step: Callable[[], None]) -> None:
        """Do one step after another; after a failure with growing pauses."""
        pause = IDLE_SECONDS
        while not self._stop.is_set():
            try:
                step()
            except ConnectorError as error:
                text = str(error)
                if not isinstance(error, ServerAway):
                    self._remember(name, text, isinstance(error, Misconfigured))
            except Exception as error:
                # A dead thread would look like a quiet shop. The text of what nobody expected may
                # hold what is nobody's business; its kind must do.
                text = f"unexpected {type(error).__name__}"
                self._remember(name, text, needs_person=True)
            else:
                self._troubles.pop(name, None)
                pause = IDLE_SECONDS
                continue
            if self._stop.is_set():
                return
            self._report(f"{name}: {text}")
            self._stop.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _remember(self, name: str, text: str, needs_person: bool) -> None:
        known = self._troubles.get(name)
        since = known.since if known else time.monotonic()
        self._troubles[name] = Trouble(text, since, needs_person)

    # Orders

    def _do_orders(self) -> None:
        """One step: what shops hint at first, then a page of the comparison, else sleep.

        Between any two steps one order that a person waits for, so that neither a long comparison
        nor many requests hold up the other.
        """
        if not self._introduced.wait(IDLE_SECONDS) or self._stop.is_set():
            return  # the server judges orders by the defaults that the first heartbeat brings
        self._answer_next_request()
        waiting = self._state.outbox.take(BATCH_LIMIT)
        if waiting:
            self._look_at(waiting)
            return
        now = time.monotonic()
        if now >= self._compare_at or self._compare_all.is_set():
            if not self._compare_page():
                self._after_comparison()
                self._compare_at = time.monotonic() + self._compare_seconds
            return
        if not self._ask_again(now) and not self._requests:
            next_at = min([self._compare_at, *self._to_confirm.values()])
            self._state.outbox.wait(min(next_at - now, LONGEST_PAUSE_SECONDS))

    def _ask_again(self, now: float) -> bool:
        """Look a second time at what has vanished; True when there was such an order.

        One answer alone does not remove an order at the server: a shop in the middle of an
        upgrade or a restore says strange things, and seldom the same one twice.
        """
        due = [key for key, at in self._to_confirm.items() if at <= now]
        return bool(due) and self._state.outbox.add(due)

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
            self._state.outbox.done(waiting)
            return
        self._push([order for order in found.values() if isinstance(order, Order)])
        for evidence in Evidence:
            self._report_gone(
                [key for key, answer in found.items() if answer is evidence], evidence
            )
        for each in waiting:
            if not isinstance(found.get(each.external_id), Evidence):
                self._to_confirm.pop(each.external_id, None)
        self._state.outbox.done(waiting)
        self._state.save()

    def _report_gone(self, external_ids: Sequence[str], evidence: Evidence) -> None:
        if not external_ids:
            return
        self._client.gone(external_ids, evidence)
        for key in external_ids:
            self._report(f"order {key} {evidence.value}")
            self._note_gone(key)

    def _note_gone(self, external_id: str) -> None:
        """The server has been told; a second look confirms it."""
        now = time.monotonic()
        self._state.pushed.pop(external_id, None)
        if external_id not in self._to_confirm:
            self._to_confirm[external_id] = now + self._pace.confirm_seconds
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
                self._state.outbox.postpone(each)
                failures += 1
                if failures >= FAILURES_IN_A_ROW or self._stop.is_set():
                    raise
        if failures:
            raise Temporary("Some orders could not be looked at.")

    def _compare_page(self) -> bool:
        """One page of the comparison; True when there is more."""
        since = time.time() - self._state.compared_all_at
        is_time = not 0 <= since < self._state.compare_all_after_seconds  # or a clock was set back
        if self._compare_all.is_set() or (is_time and not self._state.comparing_all):
            self._begin_to_compare_all()
        page = self._list()
        if self._state.comparing_all:
            self._seen_in_shop.update(order.external_id for order in page.orders)
        for problem in page.problems:
            self._report(f"order unreadable: {problem}")
        self._push(page.orders, again=self._state.comparing_all)
        # Only now: had the server been away, this page would have to come again.
        self._state.cursor = page.cursor
        self._state.save()
        return page.has_more

    def _list(self) -> OrderPage:
        try:
            return self._connector.list_orders(self._state.cursor)
        except Rejected:
            if self._state.cursor is None:
                raise
            self._begin_to_compare_all()
            return self._connector.list_orders(None)

    def _begin_to_compare_all(self) -> None:
        self._compare_all.clear()
        self._compare_at = 0.0  # page after page, until it is through
        self._state.comparing_all = True
        self._state.cursor = None
        self._seen_in_shop.clear()

    def _after_comparison(self) -> None:
        if self._state.comparing_all:
            self._ask_for_missing()
            self._state.comparing_all = False
            self._state.compared_all_at = time.time()
            spread = self._pace.compare_all_spread_seconds
            self._state.compare_all_after_seconds = (
                self._pace.compare_all_seconds + random.uniform(-spread, spread)  # noqa: S311
            )
            self._state.save()
            self._report("compared all orders")
        for finding in self._connector.tend():
            self._report(f"{finding.topic}: {finding.text}")

    def _ask_for_missing(self) -> None:
        """Look at orders that the server has as open and that the shop did not list.

        Being absent from a list proves nothing; they are asked for by id, and only the shop's word
        about each of them counts.
        """
        for status in STILL_OPEN:
            cursor: str | None = None
            while not self._stop.is_set():
                known = self._client.list_orders(status.value, cursor)
                missing = [key for key in known.external_ids if key not in self._seen_in_shop]
                if missing and not self._state.outbox.add(missing):
                    return  # so many at once: the rest is asked for tomorrow
                if known.cursor is None or known.cursor == cursor:
                    break
                cursor = known.cursor
        self._seen_in_shop.clear()

    def _push(self, orders: Sequence[Order], again: bool = False) -> None:
        """Push what the server has not seen in this form (``again``: all of it)."""
        marks = {order.external_id: _mark_of(order) for order in orders}
        new = [
            order
            for order in orders
            if again or self._state.pushed.get(order.external_id) != marks[order.external_id]
        ]
        if not new:
            return
        for order, result in zip(new, self._sent(new), strict=True):
            if result.outcome == "invalid":
                self._report(f"order {order.external_id} invalid: {result.problem}")
                continue
            self._state.pushed[order.external_id] = marks[order.external_id]
            self._state.pushed.move_to_end(order.external_id)
            if result.outcome != "unchanged":
                self._report(f"order {order.external_id} {result.outcome}")

    def _sent(self, orders: Sequence[Order]) -> list[OrderResult]:
        """The server's answers; a batch that is refused as a whole is sent one by one."""
        try:
            return self._client.push_orders(orders)
        except Rejected as error:
            if len(orders) == 1:
                only = orders[0].external_id
                return [OrderResult(0, only, "invalid", str(error))]
        return [result for order in orders for result in self._sent([order])]

    # What a person asked for

    def _answer_next_request(self) -> None:
        """Look at one order and tell the server; it comes again if the server is away."""
        request = self._requests.take(time.monotonic())
        if request is None:
            return
        answer = answer_to(self._connector, request)
        try:
            self._client.answer_request(request.id, answer)
        except UnknownOrder:
            self._report(f"request {request.id} is no longer asked")
            return
        except Rejected as error:
            if answer.outcome is not RequestOutcome.FOUND:
                raise
            answer = RequestAnswer(RequestOutcome.REJECTED, reason=str(error)[:MAX_REASON])
            self._client.answer_request(request.id, answer)
        self._after_request(request, answer)

    def _after_request(self, request: OrderRequest, answer: RequestAnswer) -> None:
        if answer.order is not None:
            key = answer.order.external_id
            self._to_confirm.pop(key, None)
            self._state.pushed[key] = _mark_of(answer.order)
            self._state.save()
        elif answer.outcome in NOT_THERE and request.external_id is not None:
            self._note_gone(request.external_id)
        name = request.external_id or f"number {request.number}"
        self._report(f"order {name} asked for: {answer.outcome.value}")

    # Payments

    def _do_payments(self) -> None:
        asked = time.monotonic()
        self._polling.set()
        try:
            due = self._client.payment_updates(self._pace.poll_seconds, UPDATES_AT_ONCE)
        finally:
            self._polling.clear()
        leased = time.monotonic()
        if due.requests:
            self._requests.add(due.requests, until=leased + LEASE_MARGIN_SECONDS)
            self._state.outbox.wake()
        for update in due.updates:
            if self._stop.is_set() or time.monotonic() - leased > LEASE_MARGIN_SECONDS:
                return  # the lease of the rest runs out, and they come again
            acknowledgement = self._connector.push_payment(update)
            self._note(update.external_id, acknowledgement)
            self._client.acknowledge(update.id, acknowledgement)
        if due.retry_after_seconds is not None:
            self._stop.wait(min(due.retry_after_seconds, LONGEST_PAUSE_SECONDS))
        elif not due.updates and leased - asked < IDLE_SECONDS:
            self._stop.wait(IDLE_SECONDS)

    def _note(self, external_id: str, acknowledgement: Acknowledgement) -> None:
        reason = f": {acknowledgement.reason}" if acknowledgement.reason else ""
        self._report(f"payment of order {external_id} {acknowledgement.outcome.value}{reason}")

    # Heartbeat

    def _do_heartbeat(self) -> None:
        heartbeat = self._connector.heartbeat(
            self._last_error(),
            discovery=self._discovery,
            compare_seconds=max(1, round(self._compare_seconds)),
        )
        self._client.heartbeat(heartbeat)
        self._introduced.set()
        self._discovery = None
        if not self._discover():
            self._stop.wait(self._pace.heartbeat_seconds)

    def _discover(self) -> bool:
        """Ask the shop about itself once a day; True when there is something to tell.

        After the first heartbeat, so that a slow shop does not hold it up. Its failure troubles
        nobody: the pickers that it fills work without it.
        """
        now = time.monotonic()
        if now < self._discover_at or self._stop.is_set():
            return False
        self._discover_at = now + DISCOVER_AGAIN_SECONDS
        try:
            self._discovery = self._connector.discover()
        except ConnectorError as error:
            self._report(f"discover: {error}")
            return False
        except Exception as error:
            self._report(f"discover: unexpected {type(error).__name__}")
            return False
        self._discover_at = now + DISCOVER_SECONDS
        return True

    def _last_error(self) -> str | None:
        """What the merchant should hear of: at once if a person must help, else if it lasts."""
        now = time.monotonic()
        for trouble in list(self._troubles.values()):
            if trouble.needs_person or now - trouble.since > TROUBLE_SECONDS:
                return trouble.text
        return None


def _mark_of(order: Order) -> str:
    """A short hash of an order as it goes over the wire."""
    text = json.dumps(OrderSchema().dump(order), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
