"""What a world stands on: a database that forgets it afterwards, its own clock, chance and bell.

Only the edges are replaced: the system's clock where a row's default or a worker reads it, the
source of randomness (so that a seed replays), and the bell, which is rung here and not in Redis.
"""

from __future__ import annotations

import random
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flask import Flask
from sqlalchemy import text

from server import app as _every_table
from server import jobs, work
from server.banking import intake
from server.config import Settings
from server.db import db
from server.db import now as present

KEPT = ("base_rate",)
"""Filled by a migration."""
assert _every_table.TABLES, "defaults are changed when all tables are known"
READS_CLOCK = (jobs, intake)
"""Rooms and doors of the background that ask for the present themselves."""


class Clock:
    """What the house reads as the present: aware, UTC. ``at`` is moved by the world alone."""

    def __init__(self, at: datetime) -> None:
        assert at.tzinfo is not None, "times are aware"
        self.at = at.astimezone(UTC)


@contextmanager
def fresh(app: Flask) -> Iterator[None]:
    """The app's context on empty tables, which are emptied again. Commits are real: in one long
    transaction no row that has changed is ever cleared away, and months take minutes."""
    with app.app_context():
        _empty()
        try:
            yield
        finally:
            db.session.remove()
            _empty()


def _empty() -> None:
    names = ", ".join(f'"{name}"' for name in db.metadata.tables if name not in KEPT)
    with db.engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


@contextmanager
def governed(clock: Clock, seed: int, ring: Callable[[set[str]], None]) -> Iterator[None]:
    """The house reads ``clock``, draws its chances from ``seed`` and rings ``ring``."""
    chance = random.Random(f"house {seed}")
    bell = work._bell[0]
    before = random.getstate()
    with ExitStack() as stack:
        for room in READS_CLOCK:
            stack.enter_context(patch.object(room, "now", lambda: clock.at))
        _clocks.append(clock)
        stack.callback(_clocks.remove, clock)
        stack.enter_context(patch.object(jobs, "YIELD_SECONDS", 0))
        stack.enter_context(patch.object(secrets, "randbits", chance.getrandbits))
        random.seed(f"jitter {seed}")
        work.listen(ring)
        try:
            yield
        finally:
            work.listen(bell)
            random.setstate(before)


_clocks: list[Clock] = []


def _present(_: Any) -> datetime:
    """Of the world that is played, else of the system."""
    return _clocks[-1].at if _clocks else present()


def _let_defaults_read_worlds() -> None:
    """Once and for all, before any statement is made: statements that are kept for their next use
    keep the defaults of their columns, so these must not differ from world to world."""
    for table in db.metadata.tables.values():
        for column in table.columns:
            if getattr(getattr(column.default, "arg", None), "__wrapped__", None) is present:
                column.default.arg = _present


_let_defaults_read_worlds()


@contextmanager
def own_house() -> Iterator[Flask]:
    """An app on an embedded Postgres of its own, for the command line."""
    from server import migrations
    from server.app import create_app
    from server.embedded import Embedded

    with tempfile.TemporaryDirectory(prefix="kt-", dir="/tmp") as name:
        home = Path(name)
        home.chmod(0o755)
        services = Embedded(home, lambda _: None, durable=False)
        services.start(redis=False)
        try:
            migrations.upgrade(services.database_url)
            yield create_app(
                Settings(
                    database_url=services.database_url,
                    redis_url=services.redis_url,
                    secret_key="a secret of thirty-two characters or more",
                    encryption_keys=("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",),
                    var=home / "house",
                    mail_from="Kontor <system@kontor.example.org>",
                    log="WARNING",
                )
            )
        finally:
            services.stop()
