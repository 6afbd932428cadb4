"""Rows that somebody must act on: the outbox and the inbox of the house.

A row is written in the same transaction as the fact that caused it, so neither exists without
the other. After the commit the session's listener rings; the clock rings again for whatever is
due. A worker claims rows with one conditional UPDATE, so ringing twice changes nothing. The row
owns its retries: ``due_at`` is the next attempt, whatever becomes of Redis.

    queued -> running -> done | failed | withheld | unknown
       ^---------'  (Temporary, or the worker died and its lease ran out)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from sqlalchemy import ColumnElement, Index, String, Text, event, select, text, update
from sqlalchemy.orm import Mapped, Session, declared_attr, mapped_column

from server.db import Time, db, now

DRAIN_SECONDS = 20
JOB_TIMEOUT_SECONDS = 3 * DRAIN_SECONDS
LEASE = timedelta(seconds=2 * JOB_TIMEOUT_SECONDS)
"""Longer than any job may live, so that a row is never released under a living worker."""

Ring = Callable[[set[str]], None]
_RUNG = "kontor.rung"


class WorkItem:
    """Mixin for the tables that are worked off. ``schedule`` are the pauses between attempts."""

    schedule: ClassVar[Sequence[timedelta]] = tuple(
        timedelta(minutes=m) for m in (1, 5, 15, 30, 60, 120, 240)
    )
    lease: ClassVar[timedelta] = LEASE
    """Twice as long as a job that works on it may live."""
    if_worker_died: ClassVar[str] = "queued"
    """The state of a row whose worker died while it had it: `queued` or `unknown`."""

    status: Mapped[str] = mapped_column(String(16), default="queued")
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Time] = mapped_column(default=now)
    due_at: Mapped[Time] = mapped_column(default=now)
    claimed_at: Mapped[Time | None]
    finished_at: Mapped[Time | None]
    error: Mapped[str | None] = mapped_column(Text)

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return work_indexes(cls.__tablename__)  # type: ignore[attr-defined]

    @classmethod
    def is_due(cls, at: datetime) -> bool:
        """Is anything to be done? One index probe; also what the clock asks."""
        return bool(db.session.scalar(select(select(cls).where(cls.ready(at)).exists())))

    @classmethod
    def ready(cls, at: datetime) -> ColumnElement[bool]:
        """Which rows may be claimed."""
        return (cls.status == "queued") & (cls.due_at <= at)

    @classmethod
    def claim(cls, limit: int, at: datetime) -> list[Self]:
        """Take up to ``limit`` due rows, oldest first, and commit: nobody else has them now."""
        table: Any = cls
        due = (  # a CTE runs once; a subquery may run again for each row and pass the limit
            select(table.id)
            .where(cls.ready(at))
            .order_by(cls.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        taken = (
            update(cls)
            .where(table.id.in_(select(due.c.id)), cls.status == "queued")
            .values(status="running", attempts=cls.attempts + 1, claimed_at=at)
            .returning(table.id)
            .execution_options(synchronize_session=False)
        )
        ids = list(db.session.scalars(taken))
        db.session.commit()
        if not ids:
            return []
        rows = select(cls).where(table.id.in_(ids)).order_by(cls.due_at, table.id)
        # As they are now: a row that this session knows already has just changed under it.
        claimed = list(db.session.scalars(rows.execution_options(populate_existing=True)))
        db.session.commit()  # nothing stays open while the row is acted on
        return claimed

    @classmethod
    def release_abandoned(cls, at: datetime) -> int:
        """Workers died holding these; put them back, or aside where repeating is a question."""
        lost = (
            update(cls)
            .where(cls.status == "running", cls.claimed_at < at - cls.lease)
            .values(status=cls.if_worker_died, due_at=at, error="the worker stopped while at it")
        )
        count = db.session.execute(lost).rowcount  # type: ignore[attr-defined]
        db.session.commit()
        return int(count)

    def succeed(self, at: datetime) -> None:
        self.status, self.error, self.finished_at = "done", None, at

    def give_up(self, why: str, at: datetime) -> None:
        self.status, self.error, self.finished_at = "failed", why, at

    def withhold(self, why: str) -> None:
        """Not sent, on purpose; the reason is shown. Someone may queue it again."""
        self.status, self.error = "withheld", why

    def put_back(self, at: datetime) -> None:
        """Not finished, nothing wrong: the next drain goes on with it, and nothing is counted."""
        self.status, self.due_at, self.attempts = "queued", at, max(self.attempts - 1, 0)

    def break_off(self, why: str, at: datetime) -> None:
        """An error that nobody foresaw ended the work on it."""
        self.retry(why, at)

    def retry(self, why: str, at: datetime, after: timedelta | None = None) -> None:
        """Back on the schedule; past its end the row fails."""
        if self.attempts > len(self.schedule):
            self.give_up(why, at)
            return
        self.status, self.error = "queued", why
        self.due_at = at + max(after or timedelta(0), self.schedule[self.attempts - 1])


def work_indexes(table: str) -> tuple[Index, ...]:
    """Two small partial indexes: what is due, and what is being worked on."""
    return (
        Index(f"ix_{table}_due", "due_at", postgresql_where=text("status = 'queued'")),
        Index(f"ix_{table}_running", "claimed_at", postgresql_where=text("status = 'running'")),
    )


def announce(kind: type[WorkItem]) -> None:
    """Ring for ``kind`` once this transaction has committed. For rows written in bulk."""
    db.session.info.setdefault(_RUNG, set()).add(kind.__tablename__)  # type: ignore[attr-defined]


_bell: list[Ring] = []


def listen(ring: Ring) -> None:
    """Hand the bell to the session: called by ``create_app``."""
    if not _bell:
        event.listen(db.session, "before_flush", _note_new_rows)
        event.listen(db.session, "after_commit", _ring_after_commit)
        event.listen(db.session, "after_rollback", _forget)
    _bell[:] = [ring]


def _note_new_rows(session: Session, *_: Any) -> None:
    for row in session.new:
        if isinstance(row, WorkItem):
            session.info.setdefault(_RUNG, set()).add(type(row).__tablename__)  # type: ignore[attr-defined]


def _ring_after_commit(session: Session) -> None:
    kinds = session.info.pop(_RUNG, None)
    if kinds:
        _bell[0](kinds)


def _forget(session: Session) -> None:
    session.info.pop(_RUNG, None)
