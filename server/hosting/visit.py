"""One shop that Kontor talks to, and what is done there at a visit.

A visit tells payments first, then looks at what a person or a webhook asked for, then compares, and
ends after ten seconds or when nothing is left. Payments are told again between any two steps. The
order of things and the retries are those of an agent; see ``plugin_sdk.sync``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from plugin_sdk.connector import Capability, Connector
from plugin_sdk.errors import ConnectorError, LoginNeeded, Misconfigured, Temporary
from plugin_sdk.sync import COMPARE_SECONDS, COMPARE_UNTOLD_SECONDS, OrderSync, Rhythm, Troubles
from plugin_sdk.types import Acknowledgement, Discovery, Outcome
from server.hosting.house import House
from server.hosting.memory import RowMemory
from server.shops.models import ShopConnection

VISIT_SECONDS = 10
HINTS_AT_ONCE = 25
LEASE_SECONDS = 60  # of a request: half of what it is leased for
DISCOVER_SECONDS = 24 * 60 * 60
DISCOVER_AGAIN_SECONDS = 60 * 60
PAYOUTS_SECONDS = 60 * 60
FAILURES_IN_A_ROW = 3
SLOW_SECONDS = 5
"""A failure that took so long is the shop's and not one order's: nothing else is tried."""
TROUBLED = frozenset({Outcome.TEMPORARY, Outcome.MISCONFIGURED})


@dataclass(frozen=True, slots=True)
class Ending:
    """How a visit ended. ``problem`` None: well, and the next one is in ``next_seconds``."""

    next_seconds: float
    problem: ConnectorError | None = None

    @property
    def needs_login(self) -> bool:
        """Only the merchant can help, by logging in once more."""
        return isinstance(self.problem, LoginNeeded)

    @property
    def wish(self) -> timedelta:
        """How long the shop itself wants to be left alone."""
        wish = self.problem.retry_after_seconds if isinstance(self.problem, Temporary) else None
        return timedelta(seconds=wish or 0)


class Visitor:
    """Goes to one shop again and again; what it has learnt there lives as long as the process."""

    def __init__(
        self,
        row: ShopConnection,
        connector: Connector[Any],
        *,
        commit: Callable[[], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self.version = row.version
        self._connector = connector
        self._house = House(row.shop_id, commit)
        self._is_stopping = is_stopping
        self._compare_seconds = COMPARE_SECONDS if connector.is_told else COMPARE_UNTOLD_SECONDS
        self._memory = RowMemory(row, commit)
        self._sync = OrderSync(
            connector,
            self._house,
            self._memory,
            rhythm=Rhythm(self._compare_seconds),
            is_stopping=is_stopping,
            batch=HINTS_AT_ONCE,
        )
        self._troubles = Troubles()
        self._was_introduced = False
        self._discover_at = 0.0
        self._payouts_at = 0.0

    def visit(self, *, is_due: bool) -> Ending:
        """Do what is to be done. Raises only what is a bug.

        ``is_due``: its hour has come, so what changed is compared; else something waits.
        """
        if is_due:
            self._sync.compare_now()
        until = time.monotonic() + VISIT_SECONDS
        if not self._house.is_on():
            return Ending(self._compare_seconds)
        try:
            if not self._was_introduced:  # the defaults decide how its orders are judged
                self._introduce()
            seconds = self._work(until)
        except ConnectorError as error:
            self._troubles.note("visit", str(error), needs_person=isinstance(error, Misconfigured))
            ending = Ending(0, error)
        else:
            self._troubles.clear("visit")
            ending = Ending(seconds)
        self._introduce()
        return ending

    def close(self) -> None:
        """Give connections back."""
        self._connector.close()

    def _introduce(self, discovery: Discovery | None = None) -> None:
        heartbeat = self._connector.heartbeat(
            self._troubles.last_error,
            discovery=discovery,
            compare_seconds=self._compare_seconds,
        )
        self._house.heartbeat(heartbeat)
        self._was_introduced = True

    def _work(self, until: float) -> float:
        """Returns the seconds until there is something to do."""
        seconds = 0.0
        while seconds <= 0 and time.monotonic() < until and not self._is_stopping():
            self._tell_payments(until)
            requests = self._house.requests()
            if requests:
                self._sync.requests.add(requests, until=time.monotonic() + LEASE_SECONDS)
            seconds = self._sync.step()
        if seconds > 0:
            self._discover()
            self._take_payouts(until)
        return max(seconds, 0)

    def _take_payouts(self, until: float) -> None:
        """Once an hour, what the marketplace has paid out since (N6)."""
        if Capability.PAYOUTS not in self._connector.capabilities:
            return
        if time.monotonic() < self._payouts_at:
            return
        has_more = True
        while has_more and time.monotonic() < until and not self._is_stopping():
            page = self._connector.list_payouts(self._memory.payouts_cursor)
            self._house.take_payouts(page.payouts, self._connector.title or self._connector.name)
            self._memory.payouts_cursor = page.cursor
            self._memory.save()
            has_more = page.has_more
        self._payouts_at = time.monotonic() + (0 if has_more else PAYOUTS_SECONDS)

    def _tell_payments(self, until: float) -> None:
        """Raises Temporary or Misconfigured when the shop, and not one of its orders, fails."""
        failures = 0
        while time.monotonic() < until and not self._is_stopping():
            update = self._house.next_update()
            if update is None:
                return
            began = time.monotonic()
            told = self._connector.push_payment(update)
            self._house.acknowledge(update.id, told)
            failures = failures + 1 if told.outcome in TROUBLED else 0
            if failures and time.monotonic() - began > SLOW_SECONDS:
                failures = FAILURES_IN_A_ROW
            if failures >= FAILURES_IN_A_ROW:
                raise _as_error(told)

    def _discover(self) -> None:
        """Ask the shop about itself once a day. Its failure troubles nobody."""
        now = time.monotonic()
        if now < self._discover_at:
            return
        self._discover_at = now + DISCOVER_AGAIN_SECONDS
        try:
            discovery = self._connector.discover()
        except ConnectorError:
            return
        self._discover_at = now + DISCOVER_SECONDS
        self._introduce(discovery)


def _as_error(told: Acknowledgement) -> ConnectorError:
    reason = told.reason or "The shop does not take payment statuses."
    if told.outcome is Outcome.MISCONFIGURED:
        return Misconfigured(reason)
    return Temporary(reason, told.retry_after_seconds)


def next_visit(ending: Ending, at: datetime) -> datetime:
    """When to come again if nothing happens before."""
    return at + timedelta(seconds=ending.next_seconds)
