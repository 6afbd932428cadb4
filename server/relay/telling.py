"""What became of mails, for the programs of the merchant that want to hear of it (S96).

A file of its own beside the counting, which calls it with its slice: so each event is told once,
with the numbers that it changes, and who delivers a mail waits for none of it. Never commits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select

from server.callbacks import mails
from server.callbacks.mails import News
from server.callbacks.rules import MAIL_KINDS, MAIL_PREFIX
from server.db import db
from server.relay.models import RelayConnection, RelayDelivery, RelayEvent, RelayMessage

MAX_WORDS: Final = 500
"""Of a server's answer; the whole of it is in the log."""


def tell(events: Sequence[Any], at: datetime) -> int:
    """Of rows with ``id``, ``merchant_id`` and ``kind``; how many messages that makes."""
    by_merchant: dict[int, list[Any]] = defaultdict(list)
    for event in events:
        if f"{MAIL_PREFIX}{event.kind}" in MAIL_KINDS:
            by_merchant[event.merchant_id].append(event)
    told = 0
    for merchant_id, of_merchant in sorted(by_merchant.items()):
        addresses = mails.listening(merchant_id)
        wanted = frozenset[str]().union(*addresses.values())
        ids = [one.id for one in of_merchant if f"{MAIL_PREFIX}{one.kind}" in wanted]
        if ids:
            told += mails.tell(merchant_id, addresses, _news(ids), at)
    return told


def _news(event_ids: Sequence[int]) -> list[News]:
    query = (
        select(
            RelayEvent,
            RelayDelivery.recipient,
            RelayMessage.id.label("number"),
            RelayMessage.message_id,
            RelayMessage.header_from,
            RelayMessage.received_at,
            RelayConnection.id.label("connection_id"),
            RelayConnection.name.label("connection"),
        )
        .join(RelayDelivery, RelayDelivery.id == RelayEvent.delivery_id)
        .join(RelayMessage, RelayMessage.id == RelayDelivery.relay_message_id)
        .join(RelayConnection, RelayConnection.id == RelayEvent.connection_id)
        .where(RelayEvent.id.in_(event_ids))
        .order_by(RelayEvent.id)
    )
    return [_told(row) for row in db.session.execute(query)]


def _told(row: Any) -> News:
    """The mail's ``id`` is what the HTTP entrance answered when it took it."""
    event: RelayEvent = row.RelayEvent
    received = row.received_at.astimezone(UTC).isoformat(timespec="milliseconds")
    facts = {
        "id": str(row.number),
        "message_id": row.message_id,
        "recipient": row.recipient,
        "from": row.header_from,
        "received_at": received.replace("+00:00", "Z"),
        "connection": {"id": row.connection_id, "name": row.connection},
        "code": event.code,
        "words": event.words[:MAX_WORDS],
        "host": event.host,
    }
    return News(f"{MAIL_PREFIX}{event.kind}", event.at, facts)
