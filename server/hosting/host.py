"""Many shops at once: each visit has a thread, so a slow shop keeps nobody waiting but itself.

The threads outlive the job that began them. Each has a session of the database of its own; the
claim of its row is renewed while it is away, and a process that dies gives it back by its lease.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from datetime import datetime

from plugin_sdk.errors import ConnectorError
from server.db import db, now
from server.hosting.connecting import connector_of
from server.hosting.visit import Ending, Visitor, next_visit
from server.shops import connections
from server.shops.models import ShopConnection
from server.work import LEASE

SEATS = 24
HOLD_EVERY = LEASE / 4
MAX_VISITORS = 2000


class Host:
    """Visits whoever is due.

    ``in_context`` makes the database's session of a thread; ``commit`` ends its transaction.
    """

    def __init__(
        self,
        *,
        in_context: Callable[[], AbstractContextManager[object]],
        commit: Callable[[], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._in_context = in_context
        self._commit = commit
        self._is_stopping = is_stopping
        self._pool = ThreadPoolExecutor(SEATS, thread_name_prefix="visit")
        self._away: dict[Future[None], int] = {}
        self._visitors: dict[int, Visitor] = {}
        self._lock = threading.Lock()
        self._held_at = now()

    @property
    def is_busy(self) -> bool:
        return bool(self._away)

    def begin(self, at: datetime) -> None:
        """Send somebody to every shop that is due, as long as there are seats."""
        self._come_back()
        if at - self._held_at >= HOLD_EVERY:
            connections.hold(list(self._away.values()), at)
            self._commit()
            self._held_at = at
        seats = SEATS - len(self._away)
        if seats:
            for row in ShopConnection.claim(seats, at):
                self._away[self._pool.submit(self._visit, row.id, row.merchant_id, row.shop_id)] = (
                    row.id
                )

    def wait(self, seconds: float) -> None:
        """Until somebody is back; at most so long."""
        if self._away:
            wait(self._away, seconds, FIRST_COMPLETED)
        else:
            time.sleep(seconds)

    def _come_back(self) -> None:
        for future in [one for one in self._away if one.done()]:
            del self._away[future]
            future.result()  # a bug is loud; its row was put back

    def _visit(self, connection_id: int, merchant_id: int, shop_id: int) -> None:
        with self._in_context():
            try:
                self._go(connection_id, merchant_id, shop_id)
            except Exception as error:
                db.session.rollback()
                row = db.session.get(ShopConnection, connection_id)
                if row is not None:  # else it was removed meanwhile
                    row.break_off(f"unexpected {type(error).__name__}", now())
                    self._commit()
                raise
            finally:
                db.session.remove()

    def _go(self, connection_id: int, merchant_id: int, shop_id: int) -> None:
        row = connections.connection_of(merchant_id, shop_id)
        if row is None:
            self._commit()
            return
        is_due = row.claimed_at is not None and row.due_at <= row.claimed_at
        version = row.version
        try:
            visitor = self._visitor(row)
        except ConnectorError as error:  # settings that no connector can be made of
            ending = Ending(0, error)
        else:
            self._commit()  # nothing stays open while the shop is talked to
            ending = visitor.visit(is_due=is_due)
        found = db.session.get(ShopConnection, connection_id, populate_existing=True)
        if found is not None:
            _note(found, version, ending, now())
        self._commit()

    def _visitor(self, row: ShopConnection) -> Visitor:
        """The one that was there before, unless the settings have changed since."""
        with self._lock:
            known = self._visitors.pop(row.id, None)
            if known is not None and known.version != row.version:
                known.close()
                known = None
            if len(self._visitors) >= MAX_VISITORS:
                oldest = next(iter(self._visitors))
                self._visitors.pop(oldest).close()
        if known is None:
            known = Visitor(
                row, connector_of(row), commit=self._commit, is_stopping=self._is_stopping
            )
        with self._lock:
            self._visitors[row.id] = known
        return known


def _note(row: ShopConnection, version: int, ending: Ending, at: datetime) -> None:
    if ending.problem is None:
        connections.visit_ended(row, version, at, next_visit(ending, at))
    else:
        connections.visit_failed(
            row,
            version,
            str(ending.problem),
            at,
            ending.wish,
            needs_login=ending.needs_login,
        )
