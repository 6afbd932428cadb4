"""What reminders charge: only what somebody was told of (K28, N4).

A file of its own because whatever holds a mail back takes its charge back as well, be it a payment,
a person or a run; and so does a mail that did not arrive. A level that went by mail and by letter
is told by either. ``Order.fee_total`` is the one sum that all others read, and here is what it is.
Never commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from sqlalchemy import ColumnElement, Numeric, and_, case, func, not_, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from server.db import db
from server.letters.models import Letter
from server.mail.models import Mail
from server.orders.brakes import STOPPED
from server.orders.ledger import ZERO, order_now
from server.orders.models import Order, Reminder


@dataclass(frozen=True, slots=True)
class Levels:
    """The reminders of an order, by level.

    ``reached`` are those that were written; ``lost`` those of them of which neither mail nor letter
    arrived. ``untold`` are those of which nothing will ever be sent: they may be written again.
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
        select(Reminder, is_told(), is_lost())
        .outerjoin(Mail, Mail.id == Reminder.mail_id)
        .outerjoin(Letter, Letter.id == Reminder.letter_id)
        .where(Reminder.order_id == order_id)
        .order_by(Reminder.level)
        .execution_options(populate_existing=True)
    )
    reached: dict[int, Reminder] = {}
    lost: dict[int, Reminder] = {}
    untold: dict[int, Reminder] = {}
    for row, told, went_lost in rows:
        (reached if told or went_lost else untold)[row.level] = row
        if went_lost and not told:
            lost[row.level] = row
    return Levels(reached, lost, untold)


def is_told() -> ColumnElement[bool]:
    """Of ``Reminder`` with its ``Mail`` and its ``Letter``: one of them went, or still will. One
    whose rows were removed with the years has been told."""
    by_mail = and_(Reminder.mail_id.is_not(None), not_(_is_withheld(Mail)), not_(_mail_is_lost()))
    by_letter = and_(
        Reminder.letter_id.is_not(None), not_(_is_withheld(Letter)), not_(_letter_is_lost())
    )
    by_nothing = and_(Reminder.mail_id.is_(None), Reminder.letter_id.is_(None))
    return or_(by_mail, by_letter, by_nothing)


def is_lost() -> ColumnElement[bool]:
    """Of the same: one of them was sent and did not arrive."""
    return or_(_mail_is_lost(), _letter_is_lost())


def _is_withheld(sent: type[Mail | Letter]) -> ColumnElement[bool]:
    """For good; what is only stopped goes out when mails may go out again."""
    for_good = and_(sent.status == "withheld", sent.error.is_distinct_from(STOPPED))
    return func.coalesce(for_good, False)


def _mail_is_lost() -> ColumnElement[bool]:
    """No server took it, or it came back. One that is sent once more is not lost."""
    return func.coalesce(or_(Mail.status == "failed", Mail.delivery == "bounced"), False)


def _letter_is_lost() -> ColumnElement[bool]:
    """Nobody printed it, or the post brought it back."""
    gone = or_(Letter.status == "failed", Letter.delivery.in_(("failed", "returned")))
    return func.coalesce(gone, False)


def is_untold(status: str, error: str | None) -> bool:
    """Of a mail or a letter, as ``reminders_of`` asks the database."""
    return status == "withheld" and error != STOPPED


def went_lost(status: str, delivery: str | None) -> bool:
    """The same, of what did not arrive."""
    return status == "failed" or delivery in ("bounced", "failed", "returned")


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
    """Orders whose ``fee_total`` is not what counts any more, because of how what told of them
    fared."""
    told = is_told()
    told_interest = case((told, Reminder.interest), else_=ZERO)
    highest_first = aggregate_order_by(told_interest, told.desc(), Reminder.level.desc())
    interest = func.array_agg(highest_first, type_=ARRAY(Numeric))[1]
    fees = func.sum(case((told, Reminder.fee), else_=ZERO))
    charging = select(Reminder.order_id).where(
        Reminder.merchant_id == merchant_id, (Reminder.fee > 0) | (Reminder.interest > 0)
    )
    query = (
        select(Reminder.order_id)
        .join(Order, Order.id == Reminder.order_id)
        .outerjoin(Mail, Mail.id == Reminder.mail_id)
        .outerjoin(Letter, Letter.id == Reminder.letter_id)
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
    for row, lost in _lost_like(mail):
        if lost.id != new.id:
            row.mail_id = new.id
            lost.once = f"{lost.once}:{lost.id}"
            count_charges(order_now(mail.merchant_id, mail.order_id))


def follow_lettered(mail: Mail, letter_id: int) -> None:
    """A reminder whose mail did not arrive goes by letter (S71): the letter counts as well, and
    the level stays what it was."""
    if mail.order_id is None:
        return
    for row, _ in _lost_like(mail):
        row.letter_id = letter_id
        count_charges(order_now(mail.merchant_id, mail.order_id))


def _lost_like(mail: Mail) -> list[tuple[Reminder, Mail]]:
    """Reminders whose mails said the same and got lost; also if this one failed before them."""
    rows = db.session.execute(
        select(Reminder, Mail)
        .join(Mail, Mail.id == Reminder.mail_id)
        .where(Reminder.order_id == mail.order_id, _mail_is_lost())
    )
    return [
        (row, lost)
        for row, lost in rows.all()
        if (lost.kind, lost.facts) == (mail.kind, mail.facts)
    ]
