"""Runs and base rates as they are stored; reminders stand with the orders that they charge."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Numeric,
    String,
    text,
)
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from server.db import Base, Id, Ref, Time
from server.work import WorkItem, work_indexes


class DunningRun(WorkItem, Base):
    """One pass over all open orders: daily by itself, or when a person asks for it (S84).

    As work: ``queued`` waits for its turn, ``withheld`` for a click, because it would send far
    more than usual, ``done`` is over. ``after_order_id`` is where the next slice goes on, and
    ``released_by`` who clicked. ``did`` counts what was done by kind, ``hindered`` what was due and
    left undone, by reason; ``looked_at`` are the open orders that it has seen. First it looks at
    all of them and notes whose turn it is (``due_ids``), then, ``is_counted``, it does what is
    due. ``listed`` are the first orders that it cancelled or handed over, for the mail.
    """

    __tablename__ = "dunning_run"
    schedule: ClassVar[Sequence[timedelta]] = (
        timedelta(minutes=1),
        timedelta(minutes=10),
        timedelta(hours=1),
        timedelta(hours=3),
    )

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            Index(
                "ix_dunning_run_daily",
                "merchant_id",
                "run_date",
                unique=True,
                postgresql_where=text("origin = 'daily'"),
            ),
            Index("ix_dunning_run_merchant_id", "merchant_id", "id"),
            *work_indexes("dunning_run"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    run_date: Mapped[date]
    origin: Mapped[str] = mapped_column(String(8), default="daily")
    actor: Mapped[str] = mapped_column(String(320), default="")
    released_by: Mapped[str | None] = mapped_column(String(320))
    released_at: Mapped[Time | None]
    after_order_id: Mapped[int] = mapped_column(BigInteger, default=0)
    looked_at: Mapped[int] = mapped_column(default=0)
    is_counted: Mapped[bool] = mapped_column(default=False)
    due_ids: Mapped[list[int]] = mapped_column(JSON, default=list)
    listed: Mapped[dict[str, list[int]]] = mapped_column(JSON, default=dict)
    did: Mapped[dict[str, int]] = mapped_column(JSON, default=dict)
    hindered: Mapped[dict[str, int]] = mapped_column(JSON, default=dict)


class BaseRate(Base):
    """A country's base rate of interest from a day on, as its central bank publishes it (N15).

    Of the whole installation; the operator adds the new one twice a year. ``percent`` a year.
    """

    __tablename__ = "base_rate"

    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    valid_from: Mapped[date] = mapped_column(primary_key=True)
    percent: Mapped[Any] = mapped_column(Numeric(6, 3))
