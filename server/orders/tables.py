"""Tables for other programs: CSV text, and what orders, postings and repayments fill it with (K34).

What strangers wrote must stay text: a spreadsheet takes a cell that begins with ``=``, ``+``,
``-`` or ``@`` for a formula, so such texts get an apostrophe in front. Amounts, numbers and dates
are no texts and stay what they are.

A file of its own because two doors write such files, for people and for programs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from server.banking.models import BankAccount, Posting
from server.db import db
from server.letters.models import Letter
from server.mail.models import Mail
from server.orders.charges import is_lost, is_told
from server.orders.ledger import taken_of_posting
from server.orders.models import Assignment, Invoice, Order, Refund, Reminder
from server.orders.rules import REFUND_PAID
from server.shops.models import Shop

Cell = str | Decimal | int | date | None

BOM: Final = "\ufeff"
CHUNK_CHARACTERS: Final = 64 * 1024
FORMULA_BEGINS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
READ_AT_ONCE: Final = 1_000


# --- text ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written; always in UTF-8, its lines ending with CRLF (RFC 4180)."""

    delimiter: str = ","
    has_bom: bool = False
    decimal_comma: bool = False


FOR_PROGRAMS: Final = Dialect()


def csv_lines(rows: Iterable[Sequence[Cell]], dialect: Dialect = FOR_PROGRAMS) -> Iterator[str]:
    """The text of a file in parts, as its rows come."""
    lines = io.StringIO(newline="")
    lines.write(BOM if dialect.has_bom else "")
    writer = csv.writer(lines, delimiter=dialect.delimiter)
    for row in rows:
        writer.writerow([_as_text(cell, dialect) for cell in row])
        if lines.tell() > CHUNK_CHARACTERS:
            yield lines.getvalue()
            lines.seek(0)
            lines.truncate()
    yield lines.getvalue()


def _as_text(cell: Cell, dialect: Dialect) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        amount = f"{cell:.2f}" if cell == cell.quantize(Decimal("0.01")) else f"{cell:f}"
        return amount.replace(".", ",") if dialect.decimal_comma else amount
    if isinstance(cell, int):
        return str(cell)
    if isinstance(cell, date):
        return cell.isoformat()
    return f"'{cell}" if cell.startswith(FORMULA_BEGINS) else cell


# --- tables -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Period:
    """Both days belong to it; they are the merchant's, as ``zone`` has them."""

    first: date
    last: date
    zone: ZoneInfo

    @property
    def times(self) -> tuple[datetime, datetime]:
        """Its begin, and its end, which does not belong to it any more."""
        begin = datetime.combine(self.first, time.min, self.zone)
        end = datetime.combine(self.last + timedelta(days=1), time.min, self.zone)
        return begin, end

    def holds(self, column: Any) -> ColumnElement[bool]:
        """Of a column of times."""
        begin, end = self.times
        return and_(column >= begin, column < end)

    def holds_day(self, column: Any) -> ColumnElement[bool]:
        """Of a column of dates."""
        return and_(column >= self.first, column <= self.last)


Rows = Select[*tuple[Any, ...]]
Query = Callable[[int, Period], Rows]


def read(query: Rows) -> Iterator[Sequence[Cell]]:
    """The head, named as the query's columns are, and its rows: read as they are taken."""
    yield [str(column["name"]) for column in query.column_descriptions]
    found = db.session.execute(query.execution_options(yield_per=READ_AT_ONCE))
    for row in found:
        yield [_in_utc(cell) if isinstance(cell, datetime) else cell for cell in row]


def _in_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def count(query: Rows, most: int) -> int:
    """How many rows there are; no further than ``most``."""
    inner = query.order_by(None).limit(most).subquery()
    return db.session.scalar(select(func.count()).select_from(inner)) or 0


def _orders(merchant_id: int, period: Period) -> Rows:
    paid = select(func.coalesce(func.sum(Assignment.amount), 0)).where(
        Assignment.order_id == Order.id
    )
    refunded = select(func.coalesce(func.sum(Refund.amount), 0)).where(
        Refund.order_id == Order.id, Refund.status.in_(REFUND_PAID)
    )
    in_order = aggregate_order_by(literal(" "), Invoice.id)
    invoices = select(func.string_agg(Invoice.number, in_order)).where(Invoice.order_id == Order.id)
    level = select(func.coalesce(func.max(Reminder.level), 0)).where(Reminder.order_id == Order.id)
    return (
        _of_shop(merchant_id)
        .add_columns(
            Order.payment_code,
            Order.payment_status,
            Order.ordered_at,
            Order.changed_at,
            Order.base_date,
            Order.customer_name,
            Order.customer_email,
            Order.total,
            paid.scalar_subquery().label("paid_total"),
            refunded.scalar_subquery().label("refunded_total"),
            Order.fee_total,
            Order.currency,
            invoices.scalar_subquery().label("invoices"),
            level.scalar_subquery().label("reminder_level"),
            Order.payment_reference,
        )
        .where(period.holds(Order.ordered_at))
        .order_by(Order.ordered_at, Order.id)
    )


def _fees(merchant_id: int, period: Period) -> Rows:
    """What each reminder charged. ``state``: ``told``, ``lost`` (does not count until it is sent
    again) or ``withheld``. Fees add up; interest is that of the highest level told."""
    state = case((is_told(), "told"), (is_lost(), "lost"), else_="withheld")
    return (
        _of_shop(merchant_id)
        .join(Reminder, Reminder.order_id == Order.id)
        .outerjoin(Mail, Mail.id == Reminder.mail_id)
        .outerjoin(Letter, Letter.id == Reminder.letter_id)
        .add_columns(
            Reminder.level,
            Reminder.sent_on,
            Reminder.fee,
            Reminder.interest,
            Order.currency,
            state.label("state"),
        )
        .where(period.holds_day(Reminder.sent_on))
        .order_by(Reminder.sent_on, Reminder.id)
    )


def _postings(merchant_id: int, period: Period) -> Rows:
    """What the bank reported. ``assigned``: what of it pays orders or goes back."""
    return (
        select(
            Posting.id.label("posting_id"),
            Posting.booking_date,
            Posting.value_date,
            Posting.amount,
            Posting.currency,
            Posting.counterparty_name,
            Posting.counterparty_iban,
            Posting.counterparty_bic,
            Posting.remittance_information,
            Posting.creditor_reference,
            Posting.end_to_end_id,
            Posting.mandate_id,
            Posting.bank_reference,
            taken_of_posting().label("assigned"),
            Posting.ignored_because,
            BankAccount.iban.label("account"),
        )
        .join(BankAccount, BankAccount.id == Posting.account_id)
        .where(
            Posting.merchant_id == merchant_id,
            ~Posting.is_pending,
            ~Posting.is_replaced,
            period.holds_day(Posting.booking_date),
        )
        .order_by(Posting.booking_date, Posting.id)
    )


def _assignments(merchant_id: int, period: Period) -> Rows:
    """Which money paid which order. A reversal is a line of its own, with the negative amount."""
    return (
        _of_shop(merchant_id)
        .join(Assignment, Assignment.order_id == Order.id)
        .outerjoin(Posting, Posting.id == Assignment.posting_id)
        .add_columns(
            Assignment.id.label("assignment_id"),
            Assignment.created_at.label("assigned_at"),
            Assignment.amount,
            Order.currency,
            Assignment.posting_id,
            Posting.booking_date,
            Assignment.origin,
            Assignment.because,
            Assignment.reverses_id,
            Assignment.decided_by,
        )
        .where(period.holds(Assignment.created_at))
        .order_by(Assignment.id)
    )


def _repayments(merchant_id: int, period: Period) -> Rows:
    return (
        select(
            Refund.reference,
            Refund.external_reference,
            Shop.name.label("shop"),
            Order.number,
            Order.external_id,
            Refund.requested_at,
            Refund.amount,
            Refund.currency,
            Refund.status,
            Refund.reason,
            Refund.payee_name,
            Refund.payee_iban,
            Refund.planned_for,
            Refund.sent_at,
            Refund.processed_at,
            Refund.requested_by,
            Refund.approved_by,
        )
        .outerjoin(Order, Order.id == Refund.order_id)
        .outerjoin(Shop, Shop.id == Order.shop_id)
        .where(Refund.merchant_id == merchant_id, period.holds(Refund.requested_at))
        .order_by(Refund.requested_at, Refund.id)
    )


def _of_shop(merchant_id: int) -> Rows:
    """The merchant's orders, as far as they count as imported."""
    return (
        select(Shop.name.label("shop"), Order.number, Order.external_id)
        .select_from(Order)
        .join(Shop, Shop.id == Order.shop_id)
        .where(Order.merchant_id == merchant_id, Order.monitor_at.is_(None))
    )


TABLES: Final[Mapping[str, Query]] = {
    "orders": _orders,
    "fees": _fees,
    "postings": _postings,
    "assignments": _assignments,
    "repayments": _repayments,
}
