"""What reminders charge: only what somebody was told of (K28, N4).

A file of its own because whatever holds a mail back takes its charge back as well, be it a payment,
a person or a run; and so does a mail that did not arrive. ``Order.fee_total`` is the one sum that
all others read, and here is what it is. Never commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from sqlalchemy import ColumnElement, Numeric, and_, case, func, not_, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from server.db import db
from server.mail.models import Mail
from server.orders.brakes import STOPPED
from server.orders.ledger import ZERO, order_now
from server.orders.models import Order, Reminder


@dataclass(frozen=True, slots=True)
class Levels:
    """The reminders of an order, by level.

    ``reached`` are those that were written; ``lost`` those of them whose mails did not arrive.
    ``untold`` are those whose mails will never be sent: they may be written again.
    """

    reached: Mapping[int, Reminder]
    lost: Mapping[int, Reminder]
    untold: Mapping[int, Reminder]

    def when_told(self, level: int) -> Levels:
        """As it is when the mail of this level is sent once more."""
        return replace(self, lost={one: row for one, row in self.lost.items() if one != level})

    @property
    def fees(self) -> Decimal:
        """Of the levels that he was told of."""
        return sum((row.fee for level, row in self.reached.items() if level not in self.lost), ZERO)

    @property
    def interest(self) -> Decimal:
        """Of the highest of those: it replaces that of the levels before."""
        told = self.reached.keys() - self.lost.keys()
        return self.reached[max(told)].interest if told else ZERO


def reminders_of(order_id: int) -> Levels:
    """As they are now."""
    db.session.flush()
    rows = db.session.execute(
        select(Reminder, Mail.status, Mail.error, _is_lost())
        .outerjoin(Mail, Mail.id == Reminder.mail_id)
        .where(Reminder.order_id == order_id)
        .order_by(Reminder.level)
        .execution_options(populate_existing=True)
    )
    reached: dict[int, Reminder] = {}
    lost: dict[int, Reminder] = {}
    untold: dict[int, Reminder] = {}
    for row, status, error, is_lost in rows:
        (untold if is_untold(status, error) else reached)[row.level] = row
        if is_lost:
            lost[row.level] = row
    return Levels(reached, lost, untold)


def is_untold(status: str | None, error: str | None) -> bool:
    """Of a mail: withheld for good; what is only stopped goes out when mails may go out again."""
    return status == "withheld" and error != STOPPED


def _is_lost() -> ColumnElement[bool]:
    """Of ``Mail``: no server took it, or it came back. One that is sent once more is not lost."""
    return func.coalesce(or_(Mail.status == "failed", Mail.delivery == "bounced"), False)


def count_charges(order: Order) -> None:
    """Bring ``order.fee_total`` up to date; a customer owes no fee that he never read of.

    What was never sent has lost its charge for good. A mail that did not arrive may be sent again,
    so its charge stays on the reminder and only does not count.
    """
    levels = reminders_of(order.id)
    for row in levels.untold.values():
        row.fee = row.interest = ZERO
    order.fee_total = levels.fees + levels.interest


def drop_lost_charges(order: Order) -> bool:
    """The worker that saw a mail fail may not change orders: before money is judged.

    False if none was lost.
    """
    is_lost = bool(order.fee_total and reminders_of(order.id).lost)
    if is_lost:
        count_charges(order)
    return is_lost


def miscounted(merchant_id: int, limit: int) -> list[int]:
    """Orders whose ``fee_total`` is not what counts any more, because of how their mails fared."""
    is_withheld = and_(Mail.status == "withheld", Mail.error.is_distinct_from(STOPPED))
    is_told = func.coalesce(not_(or_(is_withheld, _is_lost())), True)
    told_interest = case((is_told, Reminder.interest), else_=ZERO)
    highest_first = aggregate_order_by(told_interest, is_told.desc(), Reminder.level.desc())
    interest = func.array_agg(highest_first, type_=ARRAY(Numeric))[1]
    fees = func.sum(case((is_told, Reminder.fee), else_=ZERO))
    charging = select(Reminder.order_id).where(
        Reminder.merchant_id == merchant_id, (Reminder.fee > 0) | (Reminder.interest > 0)
    )
    query = (
        select(Reminder.order_id)
        .join(Order, Order.id == Reminder.order_id)
        .outerjoin(Mail, Mail.id == Reminder.mail_id)
        .where(Reminder.merchant_id == merchant_id, Reminder.order_id.in_(charging))
        .group_by(Reminder.order_id, Order.fee_total)
        .having(Order.fee_total != fees + interest)
    )
    return sorted(db.session.scalars(query.limit(limit)))


def follow_resent(mail: Mail, new: Mail) -> None:
    """A reminder that did not arrive was sent once more: from now on the new mail counts.

    The charge counts again with it, and its level may be written anew if it is held back. The copy
    of a reminder that arrived is a copy and no more.
    """
    if mail.order_id is None:
        return
    rows = db.session.execute(
        select(Reminder, Mail)
        .join(Mail, Mail.id == Reminder.mail_id)
        .where(Reminder.order_id == mail.order_id, _is_lost(), Mail.id != new.id)
    )
    for row, lost in rows.all():
        if (lost.kind, lost.facts) == (mail.kind, mail.facts):  # also if ``mail`` failed before it
            row.mail_id = new.id
            lost.once = f"{lost.once}:{lost.id}"
            count_charges(order_now(mail.merchant_id, mail.order_id))
