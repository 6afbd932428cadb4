"""What the pages of statements, postings and ignore rules read; always of one merchant only."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, and_, case, exists, func, or_, select
from sqlalchemy.sql import ColumnElement

from server.banking.models import BankAccount, Posting, Statement, StatementPeriod
from server.dashboard import queries
from server.dashboard.queries import PostingRow, assigned, bank_name
from server.db import db
from server.orders.models import Assignment, Order, Suggestion

POSTINGS_A_PAGE = 50
STATEMENTS_A_PAGE = 50
PERIODS_SHOWN = 100
LOOKALIKES_SHOWN = 10
MOST_WORDS = 10
IBAN_BEGINS = re.compile(r"[A-Z]{2}\d{2}")


# --- postings ---------------------------------------------------------------------------------

STATES = (
    "open",
    "suggested",
    "partly_assigned",
    "assigned",
    "kept",
    "returned",
    "possible_duplicate",
    "no_assignment",
    "pending",
    "ignored",
    "return",
    "outgoing",
    "replaced",
    "all",
)
SORTS = ("-date", "date", "-amount", "amount")
Cursor = tuple[date | Decimal | None, int]
"""Date or amount of a row, whichever is sorted by, and its id."""


@dataclass(frozen=True, slots=True)
class PostingFilter:
    """The filter of the list as it stands in the URL. ``least`` and ``most`` are unsigned."""

    state: str = "all"
    account_id: int | None = None
    statement_id: int | None = None
    first_date: date | None = None
    last_date: date | None = None
    least: Decimal | None = None
    most: Decimal | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class PostingSums:
    """Of a whole filtered list, one a currency: how many, in, out (negative), not assigned yet."""

    currency: str
    count: int
    received: Decimal
    sent: Decimal
    rest: Decimal


def matching_postings(merchant_id: int, wanted: PostingFilter) -> Select[Any]:
    """The postings of the filter, unordered."""
    query = select(Posting).where(Posting.merchant_id == merchant_id)
    if wanted.state != "all":
        query = query.where(_is_in_state(wanted.state))
    if wanted.account_id is not None:
        query = query.where(Posting.account_id == wanted.account_id)
    if wanted.statement_id is not None:
        query = query.where(Posting.statement_id == wanted.statement_id)
    if wanted.first_date is not None:
        query = query.where(Posting.booking_date >= wanted.first_date)
    if wanted.last_date is not None:
        query = query.where(Posting.booking_date <= wanted.last_date)
    if wanted.least is not None:
        query = query.where(func.abs(Posting.amount) >= wanted.least)
    if wanted.most is not None:
        query = query.where(func.abs(Posting.amount) <= wanted.most)
    words = wanted.text.split()[:MOST_WORDS]
    if words:
        query = query.where(or_(and_(*map(_contains, words)), _has_iban("".join(words))))
    return query


def _is_in_state(state: str) -> ColumnElement[bool]:
    is_ignored = Posting.ignored_at.is_not(None)
    offered = exists().where(Suggestion.posting_id == Posting.id)
    conditions: dict[str, Any] = {
        "open": Posting.is_open,
        "suggested": and_(Posting.is_open, offered),
        "partly_assigned": and_(Posting.is_open, Posting.is_assigned),
        "assigned": and_(Posting.is_assigned, ~Posting.is_open, ~is_ignored),
        "kept": Posting.is_kept,
        "returned": Posting.is_returned,
        "possible_duplicate": and_(Posting.duplicate_of_id.is_not(None), ~is_ignored),
        "no_assignment": Posting.no_assignment,
        "pending": Posting.is_pending,
        "ignored": is_ignored,
        "return": Posting.is_return,
        "outgoing": Posting.amount < 0,
        "replaced": Posting.is_replaced,
    }
    found: ColumnElement[bool] = conditions[state]
    return found


def _contains(word: str) -> ColumnElement[bool]:
    """Somewhere in what the bank said, or in the number of an order that it pays."""
    purpose = func.coalesce(Posting.remittance_information, "")
    said = (
        Posting.counterparty_name,
        Posting.counterparty_iban,
        purpose,
        func.replace(purpose, "\n", ""),  # the bank may have cut the word there
        Posting.creditor_reference,
        Posting.end_to_end_id,
        Posting.bank_reference,
    )
    pays = (
        exists()
        .where(Assignment.posting_id == Posting.id, Order.id == Assignment.order_id)
        .where(Order.number.icontains(word, autoescape=True))
    )
    return or_(*(column.icontains(word, autoescape=True) for column in said), pays)


def _has_iban(typed: str) -> ColumnElement[bool]:
    return Posting.counterparty_iban == typed.upper()


def posting_sums(matching: Select[Any]) -> list[PostingSums]:
    """The line under the list, the currency with the most postings first."""
    rest = case((Posting.is_open, Posting.amount - assigned()), else_=0).label("rest")
    found = matching.with_only_columns(Posting.currency, Posting.amount, rest).subquery()
    rows = db.session.execute(
        select(
            found.c.currency,
            func.count(),
            func.coalesce(func.sum(found.c.amount).filter(found.c.amount > 0), 0),
            func.coalesce(func.sum(found.c.amount).filter(found.c.amount < 0), 0),
            func.sum(found.c.rest),
        )
        .group_by(found.c.currency)
        .order_by(func.count().desc(), found.c.currency)
    )
    return [PostingSums(*row) for row in rows]


def posting_count(matching: Select[Any], most: int) -> int:
    """How many there are; counting ends at ``most``."""
    some = matching.with_only_columns(Posting.id).limit(most).subquery()
    return int(db.session.scalar(select(func.count()).select_from(some)) or 0)


def posting_page(
    matching: Select[Any],
    sort: str = SORTS[0],
    after: Cursor | None = None,
    size: int | None = None,
) -> tuple[list[PostingRow], bool]:
    """(rows, are there more) in the order of one of SORTS, from behind the cursor on.

    Undated postings are the newest: the bank has announced them and not yet booked.
    """
    size = size or POSTINGS_A_PAGE
    best = (
        select(Suggestion.probability)
        .where(Suggestion.posting_id == Posting.id, Suggestion.rank == 0)
        .correlate(Posting)
        .scalar_subquery()
    )
    query = matching.add_columns(assigned(), best)
    if after is not None:
        query = query.where(_is_behind(sort, after))
    column = Posting.amount if sort.endswith("amount") else Posting.booking_date
    if sort.startswith("-"):
        query = query.order_by(column.desc(), Posting.id.desc())
    else:
        query = query.order_by(column, Posting.id)
    found = list(db.session.execute(query.limit(size + 1)))
    ids = [posting.id for posting, _, _ in found[:size]]
    orders, back = orders_paid_by(ids), queries.going_back(ids)
    rows = [
        PostingRow(
            posting,
            posting.amount - booked,
            probability,
            orders.get(posting.id, ()),
            posting.id in back,
        )
        for posting, booked, probability in found[:size]
    ]
    return rows, len(found) > size


def _is_behind(sort: str, after: Cursor) -> ColumnElement[bool]:
    """Null dates stand before all others in descending order, behind them in ascending."""
    value, last_id = after
    is_down = sort.startswith("-")
    column: Any = Posting.amount if sort.endswith("amount") else Posting.booking_date
    next_id = Posting.id < last_id if is_down else Posting.id > last_id
    if value is None:
        same = and_(column.is_(None), next_id)
        return or_(same, column.is_not(None)) if is_down else same
    further = column < value if is_down else or_(column > value, column.is_(None))
    return or_(further, and_(column == value, next_id))


def cursor_of(sort: str, row: PostingRow) -> Cursor:
    """Where the next page goes on."""
    posting = row.posting
    return (posting.amount if sort.endswith("amount") else posting.booking_date), posting.id


def orders_paid_by(posting_ids: Sequence[int]) -> dict[int, list[tuple[int, str]]]:
    """Posting id to (id, number) of the orders that it pays; what was undone is left out."""
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    if not posting_ids:
        return found
    rows = db.session.execute(
        select(Assignment.posting_id, Order.id, Order.number)
        .join(Order, Order.id == Assignment.order_id)
        .where(Assignment.posting_id.in_(posting_ids))
        .group_by(Assignment.posting_id, Order.id, Order.number)
        .having(func.sum(Assignment.amount) != 0)
        .order_by(Order.number)
    )
    for posting_id, order_id, number in rows:
        found[posting_id or 0].append((order_id, number))
    return found


def postings_of(merchant_id: int, posting_ids: Sequence[int]) -> list[Posting]:
    """Those of these ids that are the merchant's."""
    query = select(Posting).where(Posting.merchant_id == merchant_id, Posting.id.in_(posting_ids))
    return list(db.session.scalars(query.order_by(Posting.id)))


def doubtful_count(merchant_id: int) -> int:
    """How many possible duplicates wait for a person."""
    wanted = PostingFilter(state="possible_duplicate")
    found = matching_postings(merchant_id, wanted).with_only_columns(func.count())
    return int(db.session.scalar(found) or 0)


def lookalikes_of(merchant_id: int, posting_id: int) -> list[Posting]:
    """Postings that were taken for this one, or still may be."""
    query = select(Posting).where(
        Posting.merchant_id == merchant_id, Posting.duplicate_of_id == posting_id
    )
    return list(db.session.scalars(query.order_by(Posting.id).limit(LOOKALIKES_SHOWN)))


def ledger_of_posting(merchant_id: int, posting_id: int) -> list[tuple[Assignment, str]]:
    """Every row of the ledger, reversing ones too, with the number of its order."""
    rows = db.session.execute(
        select(Assignment, Order.number)
        .join(Order, Order.id == Assignment.order_id)
        .where(Assignment.merchant_id == merchant_id, Assignment.posting_id == posting_id)
        .order_by(Assignment.id)
    )
    return [(row, number) for row, number in rows]


def account_name(account: BankAccount) -> str:
    """What the merchant calls it, else the bank and the end of its IBAN."""
    if account.label or not IBAN_BEGINS.match(account.iban):
        return account.label or account.iban or "–"
    return f"{bank_name(account.iban)} …{account.iban[-4:]}"


def accounts(merchant_id: int) -> list[BankAccount]:
    query = select(BankAccount).where(BankAccount.merchant_id == merchant_id)
    return list(db.session.scalars(query.order_by(BankAccount.id)))


# --- statements -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """A statement as the list shows it. ``earlier``: the same file was handed in before."""

    statement: Statement
    waiting: int = 0
    earlier: Sequence[tuple[int, datetime]] = field(default=())


def statement_page(merchant_id: int, before_id: int | None = None) -> tuple[list[Statement], bool]:
    """(newest first, are there older ones)."""
    query = select(Statement).where(Statement.merchant_id == merchant_id)
    if before_id is not None:
        query = query.where(Statement.id < before_id)
    rows = list(
        db.session.scalars(query.order_by(Statement.id.desc()).limit(STATEMENTS_A_PAGE + 1))
    )
    return rows[:STATEMENTS_A_PAGE], len(rows) > STATEMENTS_A_PAGE


def deliveries(merchant_id: int, statements: Sequence[Statement]) -> list[Delivery]:
    """The same with what waits of each, and when its very bytes came before."""
    waiting = _waiting_by_statement([one.id for one in statements])
    same: dict[bytes, list[tuple[int, datetime]]] = defaultdict(list)
    if statements:
        rows = db.session.execute(
            select(Statement.content_hash, Statement.id, Statement.created_at)
            .where(
                Statement.merchant_id == merchant_id,
                Statement.content_hash.in_({one.content_hash for one in statements}),
            )
            .order_by(Statement.id.desc())
        )
        for content_hash, statement_id, at in rows:
            same[content_hash].append((statement_id, at))
    return [
        Delivery(
            one,
            waiting.get(one.id, 0),
            [pair for pair in same[one.content_hash] if pair[0] < one.id],
        )
        for one in statements
    ]


def _waiting_by_statement(statement_ids: Sequence[int]) -> dict[int, int]:
    if not statement_ids:
        return {}
    rows = db.session.execute(
        select(Posting.statement_id, func.count())
        .where(Posting.statement_id.in_(statement_ids), Posting.is_open)
        .group_by(Posting.statement_id)
    )
    return {row[0] or 0: row[1] for row in rows}


def statement_content(merchant_id: int, statement_id: int) -> bytes:
    """The file as it came."""
    content = select(Statement.content).where(
        Statement.merchant_id == merchant_id, Statement.id == statement_id
    )
    return bytes(db.session.scalar(content) or b"")


def filenames(merchant_id: int, statement_ids: Collection[int]) -> dict[int, str]:
    """Id to name of these files."""
    if not statement_ids:
        return {}
    rows = db.session.execute(
        select(Statement.id, Statement.filename).where(
            Statement.merchant_id == merchant_id, Statement.id.in_(statement_ids)
        )
    )
    return {row[0]: row[1] for row in rows}


def posting_count_of(merchant_id: int, statement_id: int) -> int:
    """How many postings came from a statement first."""
    count = select(func.count()).where(
        Posting.merchant_id == merchant_id, Posting.statement_id == statement_id
    )
    return int(db.session.scalar(count) or 0)


@dataclass(frozen=True, slots=True)
class PeriodRow:
    """A statement inside a file. ``gap`` is what its balances and postings differ by."""

    period: StatementPeriod
    account: BankAccount

    @property
    def gap(self) -> Decimal | None:
        """None where the bank gives no two balances; 0 where everything fits."""
        period = self.period
        if period.opening is None or period.closing is None:
            return None
        return period.closing - period.opening - period.booked_total


def periods_of(merchant_id: int, statement_id: int) -> list[PeriodRow]:
    rows = db.session.execute(
        select(StatementPeriod, BankAccount)
        .join(BankAccount, BankAccount.id == StatementPeriod.account_id)
        .where(
            StatementPeriod.merchant_id == merchant_id,
            StatementPeriod.statement_id == statement_id,
        )
        .order_by(StatementPeriod.position)
        .limit(PERIODS_SHOWN)
    )
    return [PeriodRow(*row) for row in rows]


# --- ignore rules -----------------------------------------------------------------------------


def ignored_counts(merchant_id: int) -> dict[tuple[str, str], int]:
    """(why, by what) to how many postings are ignored for it."""
    rows = db.session.execute(
        select(Posting.ignored_because, Posting.ignored_by, func.count())
        .where(Posting.merchant_id == merchant_id, Posting.ignored_at.is_not(None))
        .group_by(Posting.ignored_because, Posting.ignored_by)
    )
    return {(row[0] or "", row[1] or ""): row[2] for row in rows}
