"""What reminders charge: only what somebody was told of (K28, N4).

A file of its own because whatever holds a mail back takes its charge back as well, be it a payment,
a person or a run. Never commits.
"""

from __future__ import annotations

from sqlalchemy import select

from server.db import db
from server.mail.models import Mail
from server.orders.brakes import STOPPED
from server.orders.ledger import ZERO
from server.orders.models import Order, Reminder


def reminders_of(order_id: int) -> tuple[dict[int, Reminder], dict[int, Reminder]]:
    """By level: those that are reached, and those whose mails will never be sent."""
    db.session.flush()
    rows = db.session.execute(
        select(Reminder, Mail.status, Mail.error)
        .outerjoin(Mail, Mail.id == Reminder.mail_id)
        .where(Reminder.order_id == order_id)
        .order_by(Reminder.level)
        .execution_options(populate_existing=True)
    )
    reached: dict[int, Reminder] = {}
    untold: dict[int, Reminder] = {}
    for row, status, error in rows:
        (untold if is_untold(status, error) else reached)[row.level] = row
    return reached, untold


def is_untold(status: str | None, error: str | None) -> bool:
    """Of a mail: withheld for good; what is only stopped goes out when mails may go out again."""
    return status == "withheld" and error != STOPPED


def count_charges(order: Order) -> None:
    """Bring ``order.fee_total`` up to date; a customer owes no fee that he never read of."""
    reached, untold = reminders_of(order.id)
    for row in untold.values():
        row.fee = row.interest = ZERO
    interest = reached[max(reached)].interest if reached else ZERO
    order.fee_total = sum((row.fee for row in reached.values()), interest)
