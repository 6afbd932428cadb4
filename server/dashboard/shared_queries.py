"""What the pages of shared accounts and of movements read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, Select, Subquery, and_, exists, func, literal, or_, select, tuple_
from sqlalchemy.orm import aliased
from sqlalchemy.sql import ColumnElement

from server.banking import sharing
from server.banking.models import AccountMovement, BankAccount, Posting
from server.dashboard import queries
from server.db import db
from server.merchants.models import Merchant
from server.orders.models import Refund

NOBODYS_SHOWN = 50
PASSED_ON_SHOWN = 12
PAYOUTS_SHOWN = 24
FOUND_SHOWN = 20
MOVEMENTS_A_PAGE = 50
ROWS_AT_ONCE = 1_000
EARLIEST = date.min
ZERO = Decimal(0)

OWN_KINDS = ("received", "sent", "return", "refund")
MEMBER_KINDS = ("received", "return", *sharing.KINDS)
"""What the list of movements can be narrowed to: an own account, and one shared with others."""


# --- the operator -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """An account of the operator. ``balance`` is what it owes its members altogether."""

    account: BankAccount
    name: str
    members: int
    balance: Decimal
    nobodys: int


def own_accounts(operator: Merchant) -> list[OwnAccount]:
    """The operator's accounts, shared ones first. Rows of accounts of others are none."""
    query = (
        select(BankAccount)
        .where(BankAccount.merchant_id == operator.id, BankAccount.shared_account_id.is_(None))
        .order_by(BankAccount.is_shared.desc(), BankAccount.id)
    )
    return [_own_account(operator, account) for account in db.session.scalars(query)]


def _own_account(operator: Merchant, account: BankAccount) -> OwnAccount:
    name = account.label or queries.bank_name(account.iban)
    if not account.is_shared:
        return OwnAccount(account, name, 0, ZERO, 0)
    members = sharing.members(operator, account.id)
    balance = sum((one.balance for one in members), ZERO)
    return OwnAccount(account, name, len(members), balance, nobodys_count(account))


def _nobodys(account: BankAccount) -> Select[Posting]:
    """What came in, and what bounced back, that no merchant has been found for yet."""
    came_back = and_(
        Posting.is_return, Posting.amount < 0, Posting.ignored_at.is_(None), ~Posting.no_assignment
    )
    return select(Posting).where(
        Posting.merchant_id == account.merchant_id,
        Posting.account_id == account.id,
        or_(Posting.is_open, came_back),
        ~Posting.is_passed_on,
        ~Posting.is_assigned,
        ~Posting.is_pending,
        ~Posting.is_replaced,
    )


def nobodys_count(account: BankAccount) -> int:
    return int(db.session.scalar(_nobodys(account).with_only_columns(func.count())) or 0)


def nobodys(account: BankAccount) -> list[Posting]:
    """The oldest ones; they have waited longest."""
    query = _nobodys(account).order_by(Posting.booking_date.asc().nulls_first(), Posting.id)
    return list(db.session.scalars(query.limit(NOBODYS_SHOWN)))


@dataclass(frozen=True, slots=True)
class PassedOn:
    """A posting of the operator, and whose it is now. ``is_assigned``: its order is found."""

    posting: Posting
    merchant_name: str
    is_assigned: bool


def passed_on(account: BankAccount) -> list[PassedOn]:
    """The last ones, as they were passed on."""
    copy = aliased(Posting)
    rows = db.session.execute(
        select(Posting, Merchant.name, copy.is_assigned)
        .join(copy, copy.passed_on_from_id == Posting.id)
        .join(Merchant, Merchant.id == copy.merchant_id)
        .where(Posting.merchant_id == account.merchant_id, Posting.account_id == account.id)
        .order_by(copy.id.desc())
        .limit(PASSED_ON_SHOWN)
    )
    return [PassedOn(*row) for row in rows]


def last_movements(account_ids: Collection[int]) -> dict[int, date]:
    """Account id to the day of its newest posting or movement."""
    last: dict[int, date] = {}
    for table, day in (
        (Posting, Posting.booking_date),
        (AccountMovement, AccountMovement.booked_on),
    ):
        rows = db.session.execute(
            select(table.account_id, func.max(day))
            .where(table.account_id.in_(account_ids))
            .group_by(table.account_id)
        )
        for account_id, found in rows:
            if found is not None:
                last[account_id] = max(found, last.get(account_id, found))
    return last


def merchants_to_add(account: BankAccount, text: str) -> list[Merchant]:
    """Merchants with that number or part of a name who are not on the account, or left it."""
    on_it = exists().where(
        BankAccount.merchant_id == Merchant.id,
        BankAccount.shared_account_id == account.id,
        BankAccount.is_payee,
    )
    matches: ColumnElement[bool] = func.lower(Merchant.name).contains(text.lower(), autoescape=True)
    if text.isascii() and text.isdigit() and len(text) < 19:
        matches = or_(matches, Merchant.id == int(text))
    query = (
        select(Merchant)
        .where(Merchant.id != account.merchant_id, ~on_it, matches)
        .order_by(Merchant.name, Merchant.id)
    )
    return list(db.session.scalars(query.limit(FOUND_SHOWN)))


# --- movements --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MovementFilter:
    """The filter of the list as it stands in the URL (K52)."""

    kind: str = ""
    first_date: date | None = None
    last_date: date | None = None
    text: str = ""

    @property
    def is_narrow(self) -> bool:
        return self != MovementFilter()


@dataclass(frozen=True, slots=True)
class MovementRow:
    """A line of the list. ``posting_id`` is None for what is no posting; ``balance`` is what the
    operator owed the merchant afterwards, None on an account of one's own."""

    id: int
    posting_id: int | None
    kind: str
    booked_on: date | None
    amount: Decimal
    currency: str
    name: str
    iban: str
    text: str
    balance: Decimal | None

    @property
    def cursor(self) -> Cursor:
        return self.booked_on or EARLIEST, int(self.posting_id is None), self.id


Cursor = tuple[date, int, int]
"""Day, 0 for a posting and 1 for another movement, id: where a page ended."""


@dataclass(frozen=True, slots=True)
class MovementSums:
    """Of the whole filtered list, one a currency: how many, in, out (negative), both."""

    currency: str
    count: int
    received: Decimal
    sent: Decimal
    total: Decimal


def kinds_of(account: BankAccount) -> Sequence[str]:
    return OWN_KINDS if account.shared_account_id is None else MEMBER_KINDS


def movement_page(
    account: BankAccount,
    wanted: MovementFilter,
    after: Cursor | None = None,
    size: int = MOVEMENTS_A_PAGE,
) -> tuple[list[MovementRow], bool]:
    """Newest first, and whether more follow. What was owed afterwards is of the whole account,
    whatever the filter."""
    query, place = _newest_first(account, wanted)
    if after is not None:
        query = query.where(tuple_(*place) < tuple_(*after))
    found = db.session.execute(query.limit(size + 1)).all()
    return [_row(row) for row in found[:size]], len(found) > size


def all_movements(account: BankAccount, wanted: MovementFilter) -> Iterator[MovementRow]:
    """Those of all pages, read while they are used: one look at the account and not one a page."""
    query, _ = _newest_first(account, wanted)
    for row in db.session.execute(query.execution_options(yield_per=ROWS_AT_ONCE)):
        yield _row(row)


def _newest_first(
    account: BankAccount, wanted: MovementFilter
) -> tuple[Select[*tuple[Any, ...]], list[ColumnElement[Any]]]:
    """The query, and the columns of a ``Cursor``."""
    rows = sharing.movement_rows(account)
    day = func.coalesce(rows.c.booked_on, EARLIEST)
    balance: ColumnElement[Any] = literal(None)
    if account.shared_account_id is not None:
        balance = func.sum(rows.c.amount).over(order_by=[day, rows.c.source, rows.c.id])
    is_refund = _is_refund(account, rows).label("is_refund")
    told = select(rows, day.label("day"), balance.label("balance"), is_refund).subquery()
    place: list[ColumnElement[Any]] = [told.c.day, told.c.source, told.c.id]
    query = select(told).where(*_conditions(account, told, wanted))
    return query.order_by(*(column.desc() for column in place)), place


def _row(row: Row[Any]) -> MovementRow:
    kind = row.kind
    if kind == "posting":
        kind = "return" if row.is_return else "sent" if row.amount < 0 else "received"
        kind = "refund" if row.is_refund else kind
    return MovementRow(
        row.id,
        row.id if row.kind == "posting" else None,
        kind,
        row.booked_on,
        row.amount,
        row.currency,
        row.name or "",
        row.iban or "",
        row.text or "",
        row.balance,
    )


def movement_sums(account: BankAccount, wanted: MovementFilter) -> list[MovementSums]:
    rows = sharing.movement_rows(account)
    received = func.coalesce(func.sum(rows.c.amount).filter(rows.c.amount > 0), ZERO)
    sent = func.coalesce(func.sum(rows.c.amount).filter(rows.c.amount < 0), ZERO)
    found = db.session.execute(
        select(rows.c.currency, func.count(), received, sent, func.sum(rows.c.amount))
        .where(*_conditions(account, rows, wanted))
        .group_by(rows.c.currency)
        .order_by(rows.c.currency)
    )
    return [MovementSums(*row) for row in found]


def _is_refund(account: BankAccount, rows: Subquery) -> ColumnElement[bool]:
    """Whether a posting executed repayments (S78); what a member got back is told otherwise."""
    sent = select(Refund.sent_posting_id).where(
        Refund.merchant_id == account.merchant_id, Refund.sent_posting_id.is_not(None)
    )
    return and_(rows.c.kind == "posting", rows.c.id.in_(sent))


def _conditions(
    account: BankAccount, rows: Subquery, wanted: MovementFilter
) -> list[ColumnElement[bool]]:
    conditions = sharing.movement_conditions(
        rows, since=wanted.first_date, until=wanted.last_date, text=wanted.text
    )
    is_posting, is_refund = rows.c.kind == "posting", _is_refund(account, rows)
    kinds = {
        "received": and_(is_posting, ~rows.c.is_return, rows.c.amount >= 0),
        "sent": and_(is_posting, ~rows.c.is_return, ~is_refund, rows.c.amount < 0),
        "return": and_(is_posting, ~is_refund, rows.c.is_return),
    }
    if account.shared_account_id is None:
        kinds["refund"] = is_refund
    if wanted.kind:
        conditions.append(kinds.get(wanted.kind, rows.c.kind == wanted.kind))
    return conditions
