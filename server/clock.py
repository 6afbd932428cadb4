"""The clock: every two seconds, ring for whatever is due.

It knows nothing and decides nothing; two of them are harmless, and it outlives Redis.
"""

from __future__ import annotations

import logging
import signal
import threading
from datetime import datetime, timedelta

from flask import Flask
from redis.exceptions import RedisError
from sqlalchemy.exc import OperationalError

from server.db import db, now
from server.dunning.runs import begin_daily_runs
from server.jobs import KINDS, Bell, due_kinds
from server.letters.handover import has_letters_to_ask
from server.orders.lifecycle import has_monitored
from server.refunds.service import has_planned
from server.relay.counting import has_old_content, has_uncounted
from server.relay.quota import has_period_over
from server.shops.order_requests import has_expired_requests
from server.shops.service import has_expired, has_lasting_error

TICK_SECONDS = 2.0
RELEASE_EVERY = timedelta(seconds=10)
BEGIN_EVERY = timedelta(minutes=1)
HOUSEKEEPING = {
    "payment_update": (
        has_expired,
        has_expired_requests,
        has_lasting_error,
        has_monitored,
        has_planned,
    ),
    "letter": (has_letters_to_ask,),
    "relay_delivery": (has_uncounted, has_period_over, has_old_content),
}
"""What else a worker is rung for. That payment updates are due is no such thing: their shops fetch
them."""

log = logging.getLogger(__name__)


def tick(bell: Bell, at: datetime) -> set[str]:
    """One round: what is due is rung. Returns what was."""
    kinds = due_kinds(at) - {"payment_update"}
    kinds |= {kind for kind, asks in HOUSEKEEPING.items() if any(ask(at) for ask in asks)}
    db.session.rollback()
    bell.ring_now(kinds)
    return kinds


def release(at: datetime) -> int:
    """Rows whose worker died go back to the queue."""
    return sum(kind.release_abandoned(at) for kind in KINDS.values())


def begin(at: datetime) -> int:
    """The daily run of every merchant whose hour has come, once in his day."""
    begun = begin_daily_runs(at)
    db.session.commit()
    return begun


def run(app: Flask) -> None:
    """Until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    released, begun = now() - RELEASE_EVERY, now() - BEGIN_EVERY
    with app.app_context():
        bell: Bell = app.extensions["kontor.bell"]
        while not stop.wait(TICK_SECONDS):
            at = now()
            try:
                if at - released >= RELEASE_EVERY:
                    release(at)
                    released = at
                if at - begun >= BEGIN_EVERY:
                    begin(at)
                    begun = at
                tick(bell, at)
            except (RedisError, OperationalError) as error:
                log.warning("waiting: %s", str(error).splitlines()[0])
            finally:
                db.session.remove()
