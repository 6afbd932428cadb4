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

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugin_sdk.client import Client, ServerAway
from plugin_sdk.connector import Connector
from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected
from plugin_sdk.receiver import Receiver
from plugin_sdk.state import State
from plugin_sdk.sync import (
    COMPARE_ALL_SECONDS,
    COMPARE_ALL_SPREAD_SECONDS,
    COMPARE_SECONDS,
    COMPARE_UNTOLD_SECONDS,
    CONFIRM_SECONDS,
    OrderSync,
    Report,
    Rhythm,
    Troubles,
)
from plugin_sdk.types import Acknowledgement, Discovery

DISCOVER_SECONDS = 24 * 60 * 60
DISCOVER_AGAIN_SECONDS = 60 * 60
HEARTBEAT_SECONDS = 60
POLL_SECONDS = 20
UPDATES_AT_ONCE = 10
LEASE_MARGIN_SECONDS = 60  # the lease is 120 s; a push may take some time of its own
IDLE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STOP_SECONDS = 1.5


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
        self._troubles = Troubles()
        self._state = State(state_directory)
        self._is_told = listen is not None and connector.is_told
        usual = COMPARE_SECONDS if self._is_told else COMPARE_UNTOLD_SECONDS
        self._compare_seconds = usual if pace.compare_seconds is None else pace.compare_seconds
        self._sync = OrderSync(
            connector,
            client,
            self._state,
            rhythm=Rhythm(
                self._compare_seconds,
                pace.compare_all_seconds,
                pace.compare_all_spread_seconds,
                pace.confirm_seconds,
            ),
            report=report,
            is_stopping=self._stop.is_set,
        )
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
        self._sync.compare_all()
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
                    needs_person = isinstance(error, Misconfigured)
                    self._troubles.note(name, text, needs_person=needs_person)
            except Exception as error:
                # A dead thread would look like a quiet shop. The text of what nobody expected may
                # hold what is nobody's business; its kind must do.
                text = f"unexpected {type(error).__name__}"
                self._troubles.note(name, text, needs_person=True)
            else:
                self._troubles.clear(name)
                pause = IDLE_SECONDS
                continue
            if self._stop.is_set():
                return
            self._report(f"{name}: {text}")
            self._stop.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    # Orders

    def _do_orders(self) -> None:
        """One step, or sleep until there is something to do."""
        if not self._introduced.wait(IDLE_SECONDS) or self._stop.is_set():
            return  # the server judges orders by the defaults that the first heartbeat brings
        seconds = self._sync.step()
        if seconds > 0:
            self._state.outbox.wait(min(seconds, LONGEST_PAUSE_SECONDS))

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
            self._sync.requests.add(due.requests, until=leased + LEASE_MARGIN_SECONDS)
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
            self._troubles.last_error,
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
