"""Statistics, use and callbacks, from the events not counted yet (S96, S98). Never commits.

A file of its own because counting comes a moment after the events: who takes in or delivers a mail
writes no row that all others write too. One slice a transaction, each event once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import DateTime, cast, select, true, update
from sqlalchemy.dialects.postgresql import insert

from server.db import db
from server.relay.models import (
    RelayConnection,
    RelayDelivery,
    RelayEvent,
    RelayMessage,
    RelayStat,
)
from server.relay.quota import Crossing, use, zone_of
from server.relay.telling import tell

COUNTED_AT_ONCE: Final = 5_000
FORGOTTEN_AT_ONCE: Final = 500
KINDS: Final = ("received", "delivered", "deferred", "bounced", "complained", "suppressed")


def has_uncounted(at: datetime) -> bool:
    waiting = select(RelayEvent.id).where(~RelayEvent.is_counted)
    return bool(db.session.scalar(select(waiting.exists())))


def count(at: datetime) -> tuple[int, list[Crossing]]:
    """One slice: how many events it was, and whose quota fell below his threshold."""
    waiting = (
        select(RelayEvent.id)
        .where(~RelayEvent.is_counted)
        .order_by(RelayEvent.id)
        .limit(COUNTED_AT_ONCE)
        .with_for_update(skip_locked=True)
        .cte("waiting")
    )
    taken = (
        update(RelayEvent)
        .where(RelayEvent.id.in_(select(waiting.c.id)))
        .values(is_counted=True)
        .returning(
            RelayEvent.id,
            RelayEvent.merchant_id,
            RelayEvent.connection_id,
            RelayEvent.delivery_id,
            RelayEvent.at,
            RelayEvent.kind,
        )
        .execution_options(synchronize_session=False)
    )
    events = db.session.execute(taken).all()
    if not events:
        return 0, []
    _add_to_statistics(events)
    tell(events, at)
    return len(events), _use(events, at)


def _add_to_statistics(events: Sequence[Any]) -> None:
    ids = {event.delivery_id for event in events}
    domains: dict[int, str] = {
        row[0]: row[1]
        for row in db.session.execute(
            select(RelayDelivery.id, RelayMessage.domain)
            .join(RelayMessage, RelayMessage.id == RelayDelivery.relay_message_id)
            .where(RelayDelivery.id.in_(ids))
        )
    }
    sums: dict[tuple[int, int, str, datetime], Counter[str]] = defaultdict(Counter)
    for event in events:
        hour = event.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        whose = event.merchant_id, event.connection_id, domains[event.delivery_id], hour
        sums[whose][event.kind] += 1
    for (merchant_id, connection_id, domain, hour), counts in sorted(sums.items()):
        numbers = {kind: counts.get(kind, 0) for kind in KINDS}
        row = insert(RelayStat).values(
            merchant_id=merchant_id,
            connection_id=connection_id,
            domain=domain,
            hour=hour,
            **numbers,
        )
        more = {kind: getattr(RelayStat, kind) + numbers[kind] for kind in KINDS}
        db.session.execute(
            row.on_conflict_do_update(index_elements=["connection_id", "domain", "hour"], set_=more)
        )


def _use(events: Sequence[Any], at: datetime) -> list[Crossing]:
    by_merchant: dict[int, Counter[date]] = defaultdict(Counter)
    zones: dict[int, ZoneInfo] = {}
    for event in events:
        if event.kind == "received":
            zone = zones.get(event.merchant_id) or zone_of(event.merchant_id)
            zones[event.merchant_id] = zone
            by_merchant[event.merchant_id][event.at.astimezone(zone).date()] += 1
    crossings = [use(merchant_id, days, at) for merchant_id, days in sorted(by_merchant.items())]
    return [one for one in crossings if one is not None]


# --- contents whose days are over ---------------------------------------------------------------


def has_old_content(at: datetime) -> bool:
    return db.session.scalar(old_content(at).limit(1)) is not None


def forget_content(at: datetime) -> int:
    """Of mails whose days are over and that nobody is delivering any more; the envelope stays."""
    ids = old_content(at).limit(FORGOTTEN_AT_ONCE)
    gone = (
        update(RelayMessage)
        .where(RelayMessage.id.in_(ids))
        .values(content=None)
        .execution_options(synchronize_session=False)
    )
    return int(db.session.execute(gone).rowcount)  # type: ignore[attr-defined]


def old_content(at: datetime) -> Any:
    """Ids of the mails whose content is to go, some of each connection.

    Each is asked by itself for its oldest, because there are as many contents as weeks brought.
    """
    days = RelayConnection.keep_content_days * timedelta(days=1)
    under_way = select(RelayDelivery.id).where(
        RelayDelivery.relay_message_id == RelayMessage.id,
        RelayDelivery.status.in_(("queued", "running")),
    )
    oldest = (
        select(RelayMessage.id)
        .where(
            RelayMessage.connection_id == RelayConnection.id,
            RelayMessage.content.is_not(None),
            RelayMessage.received_at < cast(at, DateTime(timezone=True)) - days,
            ~under_way.exists(),
        )
        .order_by(RelayMessage.received_at)
        .limit(FORGOTTEN_AT_ONCE)
        .correlate(RelayConnection)
        .lateral()
    )
    return select(oldest.c.id).select_from(RelayConnection).join(oldest, true())
