"""What the log of mails and its statistics read (S4, S69).

Lists never load what a mail says: its HTML is many times larger than all that a line shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, tuple_
from sqlalchemy.orm import load_only

from server.dashboard import queries
from server.db import db
from server.mail.kinds import KINDS
from server.mail.models import Mail, MailReport
from server.orders.brakes import CUSTOMER_KINDS
from server.orders.failed_mails import failed_mails, went_wrong
from server.orders.models import Order

MAILS_A_PAGE: Final = 50
LINES_SHOWN: Final = 500
MAILS_SHOWN_FOR: Final = timedelta(days=3 * 366)
"""36 months; older mails are not shown (S69)."""
DIGEST_DAYS: Final = 7
MOST_COUNTED: Final = 1_000
ORDERS_OF_NUMBER: Final = 20
READERS: Final = ("customer", "merchant")
STATES: Final = (
    "wrong",
    "sent",
    "delivered",
    "delayed",
    "waiting",
    "failed",
    "bounced",
    "complained",
    "unknown",
    "withheld",
)

_ACCOUNT_KINDS: Final = tuple(name for name, kind in KINDS.items() if kind.footer == "account")
SHOWN: Final = load_only(
    Mail.id,
    Mail.shop_id,
    Mail.order_id,
    Mail.kind,
    Mail.language,
    Mail.recipient,
    Mail.redirected_to,
    Mail.once,
    Mail.subject,
    Mail.status,
    Mail.attempts,
    Mail.error,
    Mail.failure,
    Mail.delivery,
    Mail.delivery_words,
    Mail.smtp_response,
    Mail.created_at,
    Mail.due_at,
    Mail.finished_at,
    Mail.claimed_at,
    raiseload=True,
)

Cursor = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class MailFilter:
    """``first_date`` None is as long as mails are shown; ``reader`` one of READERS or ""."""

    text: str = ""
    state: str = ""
    kind: str = ""
    reader: str = ""
    shop_id: int | None = None
    first_date: date | None = None


@dataclass(frozen=True, slots=True)
class DayOfMails:
    """What became of the mails that were written on a day; ``sent`` are those that are fine."""

    day: date
    sent: int = 0
    delivered: int = 0
    failed: int = 0
    bounced: int = 0

    @property
    def wrong(self) -> int:
        return self.failed + self.bounced

    @property
    def count(self) -> int:
        """``delivered`` are among those that were sent."""
        return self.sent + self.wrong


# --- the list ----------------------------------------------------------------------------------


def matching_mails(merchant_id: int, wanted: MailFilter, zone: ZoneInfo, at: datetime) -> Any:
    """The mails that the filter asks for, unordered."""
    oldest = at - MAILS_SHOWN_FOR
    if wanted.first_date is not None:
        oldest = max(oldest, queries.midnight(wanted.first_date, zone))
    query = select(Mail).where(
        Mail.merchant_id == merchant_id,
        Mail.created_at >= oldest,
        Mail.kind.not_in(_ACCOUNT_KINDS),
    )
    if wanted.state:
        query = query.where(_in_state(wanted.state))
    if wanted.kind:
        query = query.where(Mail.kind == wanted.kind)
    if wanted.reader:
        is_to_customer = Mail.kind.in_(CUSTOMER_KINDS)
        query = query.where(is_to_customer if wanted.reader == "customer" else ~is_to_customer)
    if wanted.shop_id is not None:
        query = query.where(Mail.shop_id == wanted.shop_id)
    if wanted.text:
        query = query.where(_says(merchant_id, wanted.text))
    return query


def _in_state(state: str) -> ColumnElement[bool]:
    """Of ``Mail``. What went wrong is asked for as the index of it is written."""
    states: dict[str, ColumnElement[bool]] = {
        "wrong": went_wrong(),
        "sent": and_(Mail.status == "done", _is_no_news()),
        "delivered": Mail.delivery == "delivered",
        "delayed": Mail.delivery == "delayed",
        "waiting": Mail.status.in_(("queued", "running")),
        "failed": and_(went_wrong(), Mail.status == "failed"),
        "bounced": and_(went_wrong(), Mail.delivery == "bounced"),
        "complained": and_(went_wrong(), Mail.delivery == "complained"),
        "unknown": and_(went_wrong(), Mail.status == "unknown"),
        "withheld": Mail.status == "withheld",
    }
    return states[state]


def _is_no_news() -> ColumnElement[bool]:
    """The server took it, and nobody has said anything since."""
    return or_(Mail.delivery.is_(None), Mail.delivery == "accepted")


def _says(merchant_id: int, text: str) -> ColumnElement[bool]:
    """Exactly the number of an order, else a part of the recipient's address.

    Asked beforehand: the mails of an order are found by its index, those of an address are not.
    """
    numbered = select(Order.id).where(Order.merchant_id == merchant_id, Order.number == text)
    order_ids = list(db.session.scalars(numbered.limit(ORDERS_OF_NUMBER)))
    if order_ids:
        return Mail.order_id.in_(order_ids)
    return Mail.recipient.icontains(text, autoescape=True)


def mail_page(
    matching: Select[Any],
    *,
    before: Cursor | None = None,
    after: Cursor | None = None,
    size: int = MAILS_A_PAGE,
) -> tuple[list[Mail], bool, bool]:
    """(the newest first, are there newer ones, are there older ones)."""
    place = tuple_(Mail.created_at, Mail.id)
    query = matching.options(SHOWN)
    if after is not None:
        query = query.where(place > after).order_by(Mail.created_at, Mail.id)
    else:
        if before is not None:
            query = query.where(place < before)
        query = query.order_by(Mail.created_at.desc(), Mail.id.desc())
    found = list(db.session.scalars(query.limit(size + 1)))
    rows, has_more = found[:size], len(found) > size
    if after is not None:
        return rows[::-1], has_more, True
    return rows, before is not None, has_more


def mail_count(matching: Select[Any], most: int = MOST_COUNTED) -> int:
    """How many there are; counting ends at one more than ``most``."""
    some = matching.with_only_columns(Mail.id).limit(most + 1).subquery()
    return int(db.session.scalar(select(func.count()).select_from(some)) or 0)


def numbers_of(merchant_id: int, mails: Sequence[Mail]) -> dict[int, str]:
    """Order id to its number, of the orders that these mails are about."""
    ids = {mail.order_id for mail in mails if mail.order_id is not None}
    if not ids:
        return {}
    query = select(Order.id, Order.number).where(
        Order.merchant_id == merchant_id, Order.id.in_(ids)
    )
    return dict(db.session.execute(query).all())


def mails_by_day(merchant_id: int, today: date, days: int, zone: ZoneInfo) -> list[DayOfMails]:
    """To customers, by the day on which they were written; every day is there, oldest first."""
    first = today - timedelta(days=days - 1)
    day = func.date(func.timezone(str(zone), Mail.created_at))
    is_bounced = Mail.delivery.in_(("bounced", "complained"))
    is_failed = Mail.status.in_(("failed", "unknown")) & func.coalesce(~is_bounced, True)
    is_sent = (Mail.status == "done") & func.coalesce(~is_bounced, True)
    rows = db.session.execute(
        select(
            day,
            func.count().filter(is_sent),
            func.count().filter(Mail.delivery == "delivered"),
            func.count().filter(is_failed),
            func.count().filter(is_bounced),
        )
        .where(
            Mail.merchant_id == merchant_id,
            Mail.created_at >= queries.midnight(first, zone),
            Mail.kind.in_(CUSTOMER_KINDS),
        )
        .group_by(day)
    )
    found = {row[0]: DayOfMails(*row) for row in rows}
    every = [first + timedelta(days=number) for number in range(days)]
    return [found.get(one, DayOfMails(one)) for one in every]


# --- one mail, one order, one week ---------------------------------------------------------------


def mails_of_order(merchant_id: int, order_id: int, at: datetime) -> list[Mail]:
    """To customer and merchant, of the last 36 months, the newest first (S69)."""
    query = select(Mail).where(
        Mail.merchant_id == merchant_id,
        Mail.order_id == order_id,
        Mail.created_at > at - MAILS_SHOWN_FOR,
    )
    newest = query.options(SHOWN).order_by(Mail.id.desc())
    return list(db.session.scalars(newest.limit(LINES_SHOWN)))


def reports_of(merchant_id: int, mail_id: int) -> list[MailReport]:
    """What came back about a mail, the newest first, without the raw reports."""
    query = select(MailReport).where(
        MailReport.merchant_id == merchant_id, MailReport.mail_id == mail_id
    )
    shown = load_only(
        MailReport.kind, MailReport.status_code, MailReport.words, MailReport.received_at
    )
    return list(
        db.session.scalars(
            query.options(shown).order_by(MailReport.received_at.desc(), MailReport.id.desc())
        )
    )


def failed_this_week(merchant_id: int, at: datetime, limit: int) -> list[Mail]:
    """Mails to customers that went wrong in the last days and that nothing has replaced."""
    query = failed_mails(merchant_id, at - timedelta(days=DIGEST_DAYS)).options(SHOWN)
    return list(db.session.scalars(query.limit(limit)))
