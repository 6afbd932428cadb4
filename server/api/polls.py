"""Long polls that do not starve the server.

At most half of the web threads may wait; further polls are answered at once. One thread asks the
database for all that wait, so waiting costs neither a connection nor a query each. A server that
is stopping ends every waiting poll.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from flask import Flask, current_app
from sqlalchemy.exc import SQLAlchemyError

from server.db import db, now
from server.shops.order_requests import shops_with_requests
from server.shops.service import shops_with_due_updates

LOOK_SECONDS = 0.1
BUSY_RETRY_SECONDS = 5


class Polls:
    """The waiting polls of one process. ``is_stopping`` is asked as often as the database."""

    def __init__(self, app: Flask, limit: int, is_stopping: Callable[[], bool]) -> None:
        self._app = app
        self._limit = limit
        self.is_stopping = is_stopping
        self._change = threading.Condition()
        self._waiting: dict[object, int] = {}
        self._woken: set[object] = set()
        self._looker: threading.Thread | None = None

    def wait(self, shop_id: int, seconds: float) -> bool:
        """True when something may be due, or the time is over; False if no poll may wait now."""
        ticket = object()
        with self._change:
            if len(self._waiting) >= self._limit or self.is_stopping():
                return False
            self._waiting[ticket] = shop_id
            if self._looker is None or not self._looker.is_alive():
                self._looker = threading.Thread(target=self._look, name="polls", daemon=True)
                self._looker.start()
            self._change.wait_for(lambda: ticket in self._woken, seconds)
            self._woken.discard(ticket)
            del self._waiting[ticket]
        return True

    def _look(self) -> None:
        """Until nobody waits any more."""
        while True:
            time.sleep(LOOK_SECONDS)
            with self._change:
                waiting = dict(self._waiting)
                if not waiting:
                    self._looker = None
                    return
            due = set(waiting.values()) if self.is_stopping() else self._due(set(waiting.values()))
            if due:
                with self._change:
                    self._woken |= {t for t, shop in self._waiting.items() if shop in due}
                    self._change.notify_all()

    def _due(self, shop_ids: set[int]) -> set[int]:
        with self._app.app_context():
            try:
                at = now()
                return shops_with_due_updates(shop_ids, at) | shops_with_requests(shop_ids, at)
            except SQLAlchemyError:
                return set()
            finally:
                db.session.remove()


def register(app: Flask) -> None:
    threads = app.config["SETTINGS"].web_threads
    app.extensions["kontor.polls"] = Polls(app, max(1, threads // 2), lambda: False)


def polls() -> Polls:
    found: Polls = current_app.extensions["kontor.polls"]
    return found
