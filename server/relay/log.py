"""What the relay's pages read: mails with the way of each recipient, and numbers by the hour.

Lists never load what a mail says. Everything here asks for a merchant, so a number of somebody
else's finds nothing (S96).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, tuple_

from server.db import db
from server.relay.models import (
    RelayConnection,
    RelayDelivery,
    RelayEvent,
    RelayMessage,
    RelayStat,
)

MESSAGES_A_PAGE: Final = 50
MOST_COUNTED: Final = 1_000
MOST_EVENTS: Final = 2_000
"""Shown of one mail."""
STATES: Final = (
    "wrong",
    "waiting",
    "deferred",
    "sent",
    "delivered",
    "failed",
    "bounced",
    "complained",
    "suppressed",
)
"""What can be asked for; ``wrong`` is each of the last four and ``delayed``."""

Cursor = tuple[datetime, int]
_WHOLE: Final = re.compile(r"<?[^\s<>@]+@[^\s<>@]+\.[^\s<>@.]{2,}>?")


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """``first`` None is as long as there are mails; ``state`` one of STATES or ""."""

    text: str = ""
    state: str = ""
    connection_id: int | None = None
    first: datetime | None = None


@dataclass(frozen=True, slots=True)
class Numbers:
    """How many deliveries, by what happened to them. One may be in several."""

    received: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    complained: int = 0
    suppressed: int = 0

    def __add__(self, other: Numbers) -> Numbers:
        return Numbers(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        )

    @property
    def sent(self) -> int:
        """What a server took and nobody complained of, for the drawing."""
        return max(self.delivered - self.bounced - self.complained, 0)

    @property
    def wrong(self) -> int:
        return self.bounced + self.complained + self.suppressed

    @property
    def count(self) -> int:
        return self.sent + self.wrong


KINDS: Final = tuple(one.name for one in fields(Numbers))


# --- connections --------------------------------------------------------------------------------


def connection_names(merchant_id: int) -> dict[int, str]:
    """Of all there are and were: what was sent by a removed one stays in the log."""
    query = select(RelayConnection.id, RelayConnection.name).where(
        RelayConnection.merchant_id == merchant_id
    )
    return dict(db.session.execute(query.order_by(RelayConnection.name)).all())


def numbers_since(merchant_id: int, first: datetime) -> dict[int, Numbers]:
    """By connection, from the hour that begins at ``first``."""
    sums = [func.sum(getattr(RelayStat, kind)) for kind in KINDS]
    query = (
        select(RelayStat.connection_id, *sums)
        .where(RelayStat.merchant_id == merchant_id, RelayStat.hour >= first)
        .group_by(RelayStat.connection_id)
    )
    return {row[0]: Numbers(*map(int, row[1:])) for row in db.session.execute(query)}


def hours_of(row: RelayConnection, first: datetime) -> dict[tuple[str, datetime], Numbers]:
    """By domain and hour, from the hour that begins at ``first``."""
    numbers = [getattr(RelayStat, kind) for kind in KINDS]
    query = select(RelayStat.domain, RelayStat.hour, *numbers).where(
        RelayStat.connection_id == row.id, RelayStat.hour >= first
    )
    return {(one[0], one[1]): Numbers(*one[2:]) for one in db.session.execute(query)}


def counted_until(at: datetime) -> datetime:
    """The moment up to which all events are in the numbers."""
    waiting = select(RelayEvent.at).where(~RelayEvent.is_counted).order_by(RelayEvent.id)
    return min(db.session.scalar(waiting.limit(1)) or at, at)


# --- the list of mails --------------------------------------------------------------------------


def matching(merchant_id: int, wanted: MessageFilter) -> Select[Any]:
    """The mails that the filter asks for, unordered."""
    query = select(RelayMessage).where(RelayMessage.merchant_id == merchant_id)
    if wanted.first is not None:
        query = query.where(RelayMessage.received_at >= wanted.first)
    if wanted.connection_id is not None:
        query = query.where(RelayMessage.connection_id == wanted.connection_id)
    if wanted.state:
        query = query.where(_has_delivery(_in_state(wanted.state)))
    if wanted.text:
        query = query.where(_says(merchant_id, wanted.text))
    return query


def _has_delivery(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    of_mail = RelayDelivery.relay_message_id == RelayMessage.id
    return select(RelayDelivery.id).where(of_mail, condition).exists()


def _in_state(state: str) -> ColumnElement[bool]:
    """Of ``RelayDelivery``."""
    status, delivery = RelayDelivery.status, RelayDelivery.delivery
    is_queued = status.in_(("queued", "running"))
    states: dict[str, ColumnElement[bool]] = {
        "waiting": is_queued,
        "deferred": or_(
            and_(is_queued, RelayDelivery.attempts > 0, RelayDelivery.error.is_not(None)),
            delivery == "delayed",
        ),
        "sent": and_(status == "done", or_(delivery.is_(None), delivery == "accepted")),
        "delivered": delivery == "delivered",
        "failed": status == "failed",
        "bounced": delivery == "bounced",
        "complained": delivery == "complained",
        "suppressed": status == "withheld",
        "wrong": or_(
            status.in_(("failed", "withheld")),
            delivery.in_(("bounced", "complained", "delayed")),
        ),
    }
    return states[state]


def _says(merchant_id: int, text: str) -> ColumnElement[bool]:
    """Its Message-ID, with or without its angle brackets, or the whole address of a recipient;
    else a part of an address or of the subject.

    What is whole is found by an index, and what people paste is whole.
    """
    is_id = RelayMessage.message_id.in_((text, f"<{text}>"))
    if _WHOLE.fullmatch(text):
        address = text.strip("<>").lower()
        to_him = select(RelayDelivery.relay_message_id).where(
            RelayDelivery.merchant_id == merchant_id,
            func.lower(RelayDelivery.recipient) == address,
        )
        return or_(is_id, RelayMessage.id.in_(to_him))
    return or_(
        RelayMessage.subject.icontains(text, autoescape=True),
        _has_delivery(RelayDelivery.recipient.icontains(text, autoescape=True)),
    )


def message_page(
    found: Select[Any],
    *,
    before: Cursor | None = None,
    after: Cursor | None = None,
    size: int = MESSAGES_A_PAGE,
) -> tuple[list[RelayMessage], bool, bool]:
    """(the newest first, are there newer ones, are there older ones)."""
    place = tuple_(RelayMessage.received_at, RelayMessage.id)
    if after is not None:
        query = found.where(place > after).order_by(RelayMessage.received_at, RelayMessage.id)
    else:
        query = found if before is None else found.where(place < before)
        query = query.order_by(RelayMessage.received_at.desc(), RelayMessage.id.desc())
    rows = list(db.session.scalars(query.limit(size + 1)))
    shown, has_more = rows[:size], len(rows) > size
    if after is not None:
        return shown[::-1], has_more, True
    return shown, before is not None, has_more


def message_count(found: Select[Any]) -> int:
    """How many there are; counting ends at one more than MOST_COUNTED."""
    some = found.with_only_columns(RelayMessage.id).limit(MOST_COUNTED + 1).subquery()
    return int(db.session.scalar(select(func.count()).select_from(some)) or 0)


def deliveries_of(messages: Sequence[RelayMessage]) -> Mapping[int, list[RelayDelivery]]:
    """By mail, as they were named in it."""
    query = (
        select(RelayDelivery)
        .where(RelayDelivery.relay_message_id.in_([one.id for one in messages]))
        .order_by(RelayDelivery.id)
    )
    found: dict[int, list[RelayDelivery]] = defaultdict(list)
    for row in db.session.scalars(query):
        found[row.relay_message_id].append(row)
    return found


# --- one mail -----------------------------------------------------------------------------------


def message_of(merchant_id: int, message_id: int) -> RelayMessage | None:
    row = db.session.get(RelayMessage, message_id)
    return row if row is not None and row.merchant_id == merchant_id else None


def content_of(row: RelayMessage) -> bytes | None:
    """Byte for byte as it came; None once its days are over."""
    return db.session.scalar(select(RelayMessage.content).where(RelayMessage.id == row.id))


def events_of(deliveries: Sequence[RelayDelivery]) -> Mapping[int, list[RelayEvent]]:
    """By delivery, in their order."""
    query = (
        select(RelayEvent)
        .where(RelayEvent.delivery_id.in_([one.id for one in deliveries]))
        .order_by(RelayEvent.id)
        .limit(MOST_EVENTS)
    )
    found: dict[int, list[RelayEvent]] = defaultdict(list)
    for event in db.session.scalars(query):
        found[event.delivery_id].append(event)
    return found


def resent_from(row: RelayMessage) -> list[RelayMessage]:
    """The mails that were made of this one, the newest first."""
    query = select(RelayMessage).where(
        RelayMessage.merchant_id == row.merchant_id,
        RelayMessage.received_at >= row.received_at,
        RelayMessage.resent_from_id == row.id,
    )
    return list(db.session.scalars(query.order_by(RelayMessage.id.desc()).limit(MESSAGES_A_PAGE)))
