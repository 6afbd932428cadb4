"""What came back about a delivery: written on it, once. Never commits.

As for Kontor's own mails the signed return path alone says whose it is, so a stranger can change
nothing. The same news again is no news.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from server.db import db
from server.mail.bounces import StillSending, mail_of, reason_to_suppress
from server.mail.reports import Report, read_report
from server.mail.suppression import suppress
from server.relay.delivery import add_event
from server.relay.models import RelayDelivery, RelayEvent

MOST_EVENTS: Final = 60
"""Of one delivery: who sends more reports wants to fill our disk."""
_EVENTS: Final = {
    "bounced": "bounced",
    "delayed": "deferred",
    "complaint": "complained",
}
_DELIVERY: Final = {"delayed": "delayed", "delivered": "delivered", "bounced": "bounced",
                    "complaint": "complained"}  # fmt: skip
_ORDER: Final = (None, "accepted", "delayed", "delivered", "bounced", "complained")


def is_of_relay(address: str) -> bool:
    return mail_of([address], "r") is not None


def receive(raw: bytes, recipient: str, at: datetime) -> bool:
    """False if it is about no delivery of ours, says nothing new, or quotes whom we have forgotten.

    Raises StillSending where it overtakes the answer of the server that took the mail.
    """
    report = read_report(raw)
    delivery_id = mail_of((recipient, report.return_path), "r")
    if delivery_id is None:
        return False
    locked = select(RelayDelivery).where(RelayDelivery.id == delivery_id).with_for_update()
    row = db.session.scalar(locked.execution_options(populate_existing=True))
    if row is None or not row.is_addressed:
        return False
    if row.status == "running":
        raise StillSending(row.id)
    return _tell(row, report, at)


def _tell(row: RelayDelivery, report: Report, at: datetime) -> bool:
    news = _DELIVERY.get(report.kind)
    if news is None or _is_known(row, report):
        return False
    if _ORDER.index(news) >= _ORDER.index(row.delivery):
        row.delivery, row.delivery_words = news, report.words
    if news == "delivered":
        row.delivered_at = at
    kind = _EVENTS.get(report.kind)
    if kind is not None:
        add_event(row, kind, at, words=report.words, code=report.status_code, host=report.reporter)
    reason = reason_to_suppress(report)
    if reason is not None:
        suppress(row.merchant_id, row.recipient, reason, at=at, evidence=report.words)
    db.session.flush()
    return True


def _is_known(row: RelayDelivery, report: Report) -> bool:
    of_row = RelayEvent.delivery_id == row.id
    count = db.session.scalar(select(func.count()).select_from(RelayEvent).where(of_row)) or 0
    if count >= MOST_EVENTS:
        return True
    same = select(RelayEvent.id).where(
        of_row,
        RelayEvent.kind == _EVENTS.get(report.kind, ""),
        RelayEvent.code == report.status_code[:16],
        RelayEvent.words == report.words,
    )
    return db.session.scalar(same.limit(1)) is not None
