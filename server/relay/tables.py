"""What the relay tells other programs in tables: its ledger and its numbers (K34, S96, S98).

A file of its own because a program that fetches them reads all of a period at once, in the
merchant's days, where the pages show the newest.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, Select, cast, func, select

from server.relay.counting import KINDS
from server.relay.models import RelayConnection, RelayEntry, RelayStat

Rows = Select[*tuple[Any, ...]]


def ledger(merchant_id: int, first: date, last: date) -> Rows:
    """The lines of the quota's ledger, the oldest first; prices in EUR.

    By their day: a day's use is entered once more whenever more of it was counted.
    """
    return (
        select(
            RelayEntry.id.label("entry_id"),
            RelayEntry.at,
            RelayEntry.day,
            RelayEntry.kind,
            RelayEntry.mails,
            RelayEntry.price,
            RelayEntry.period_began_at,
            RelayEntry.words,
        )
        .where(RelayEntry.merchant_id == merchant_id, RelayEntry.day.between(first, last))
        .order_by(RelayEntry.id)
    )


def numbers(merchant_id: int, begin: datetime, end: datetime, zone: str) -> Rows:
    """How many mails on a day, by connection and sending domain; days are those of ``zone``."""
    day = cast(func.timezone(zone, RelayStat.hour), Date).label("day")
    return (
        select(
            day,
            RelayConnection.name.label("connection"),
            RelayStat.domain,
            *(func.sum(getattr(RelayStat, kind)).label(kind) for kind in KINDS),
        )
        .join(RelayConnection, RelayConnection.id == RelayStat.connection_id)
        .where(RelayStat.merchant_id == merchant_id, RelayStat.hour >= begin, RelayStat.hour < end)
        .group_by(day, RelayConnection.id, RelayStat.domain)
        .order_by(day, RelayConnection.name, RelayConnection.id, RelayStat.domain)
    )
